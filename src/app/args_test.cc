#include "app/args.h"

#include "app/command.h"
#include "app/exit_code.h"
#include "app/local_file.h"
#include "app/nearest.h"
#include "app/report.h"

namespace pangu::app {
namespace {

Syntax bench_syntax() {
  Syntax syntax;
  syntax.flags = {
      {.name = "size", .kind = ValueKind::size, .value_name = "SIZE", .fallback = "4k"},
      {.name = "depth", .kind = ValueKind::count, .value_name = "N", .letter = 'd'},
      {.name = "seconds", .kind = ValueKind::duration, .value_name = "TIME"},
      {.name = "device", .kind = ValueKind::text, .config = "device.paths", .repeated = true},
      {.name = "mode", .kind = ValueKind::text, .choices = "append|read"},
      {.name = "recursive", .letter = 'r'},
      {.name = "long", .letter = 'l'},
      {.name = "help", .letter = 'h'},
  };
  syntax.arguments = "SOURCE... PATH";
  syntax.arguments_min = 1;
  syntax.arguments_max = 3;
  return syntax;
}

Result<Args> parse(std::vector<std::string> words) { return Args::parse(bench_syntax(), words); }

std::string wrong(std::vector<std::string> words) {
  const auto args = parse(std::move(words));
  EXPECT_FALSE(args.ok());
  return args.ok() ? "" : std::string(args.error().context());
}

TEST(Args, FlagsAndArgumentsInAnyOrder) {
  const auto args = parse({"-rl", "a", "--size=64M", "b", "--depth", "8", "--", "--c"});
  ASSERT_TRUE(args.ok());
  EXPECT_EQ(args->arguments(), (std::vector<std::string>{"a", "b", "--c"}));
  EXPECT_EQ(args->size("size"), 64 * kMiB);
  EXPECT_EQ(args->count("depth"), 8u);
  EXPECT_TRUE(args->toggle("recursive"));
  EXPECT_TRUE(args->toggle("long"));
  EXPECT_FALSE(args->given("seconds"));
}

TEST(Args, FallbacksLettersAndRepetition) {
  const auto args = parse({"-", "-d16", "--device", "/a,size=1G", "--device", "/b"});
  ASSERT_TRUE(args.ok());
  EXPECT_EQ(args->size("size"), 4096u);
  EXPECT_EQ(args->count("depth"), 16u);
  EXPECT_EQ(args->arguments(), (std::vector<std::string>{"-"}));
  EXPECT_EQ(args->all("device"), (std::vector<std::string>{"/a,size=1G", "/b"}));
  EXPECT_EQ(args->config_overrides().at("device.paths"), "/a,size=1G\n/b");
}

TEST(Args, EachMistakeIsNamed) {
  EXPECT_EQ(wrong({"a", "--sise", "4k"}), "unknown flag --sise; hint: did you mean --size?");
  EXPECT_EQ(wrong({"a", "-x"}), "unknown flag -x");
  EXPECT_EQ(wrong({"a", "--size"}), "--size needs a value: --size SIZE");
  EXPECT_NE(wrong({"a", "--size", "lots"}).find("'lots' is no size"), std::string::npos);
  EXPECT_NE(wrong({"a", "--seconds", "5"}).find("--seconds: '5' is no duration"),
            std::string::npos);
  EXPECT_EQ(wrong({"a", "--depth=1", "--depth=2"}), "--depth was given twice");
  EXPECT_EQ(wrong({"a", "--recursive=yes"}), "--recursive takes no value");
  EXPECT_EQ(wrong({"a", "--mode", "apend"}),
            "--mode: 'apend' is none of append|read; hint: did you mean append?");
  EXPECT_EQ(wrong({}), "missing argument: it takes SOURCE... PATH");
  EXPECT_EQ(wrong({"a", "b", "c", "d"}), "unexpected argument 'd'");
}

TEST(Args, HelpNeedsNoArguments) { EXPECT_TRUE(parse({"--help"}).ok()); }

TEST(Nearest, SlipsAreFoundAndStrangersAreNot) {
  const std::vector<std::string_view> known = {"append", "status", "stat", "get"};
  EXPECT_EQ(edit_distance("appned", "append"), 1u);
  EXPECT_EQ(edit_distance("", "get"), 3u);
  EXPECT_EQ(nearest("apend", known), "append");
  EXPECT_EQ(nearest("statsu", known), "status");
  EXPECT_EQ(nearest("app", known), "append");
  EXPECT_EQ(nearest("frobnicate", known), "");
}

TEST(ExitCodes, AsDocumented) {
  EXPECT_EQ(exit_code_of(Code::kOk), 0);
  EXPECT_EQ(exit_code_of(Code::kNotFound), 1);
  EXPECT_EQ(exit_code_of(Code::kInvalidArgument), 2);
  EXPECT_EQ(exit_code_of(Code::kTimeout), 124);
  EXPECT_EQ(exit_code_of(Code::kCancelled), 130);
}

TEST(Report, TheUsualRemedyIsAddedOnceAndOnlyWhereThereIsOne) {
  EXPECT_EQ(error_line(Error(Code::kNotFound, "/a")), "error[NOT_FOUND]: not found: /a");
  EXPECT_EQ(error_line(Error(Code::kConnectFailed, "x; hint: look")),
            "error[CONNECT_FAILED]: cannot connect: x; hint: look");
  EXPECT_NE(error_line(Error(Code::kConnectFailed, "x")).find("; hint: is the cluster running?"),
            std::string::npos);
}

int run(std::vector<std::string> words) { return run_command_line(words); }

TEST(CommandLine, ExitCodes) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  EXPECT_EQ(run({"--version"}), kExitOk);
  EXPECT_EQ(run({"help"}), kExitOk);
  EXPECT_EQ(run({"--help"}), kExitOk);
  EXPECT_EQ(run({"config", "--help"}), kExitOk);
  const std::string out = testing::internal::GetCapturedStdout();
  EXPECT_NE(out.find("Usage: pangu COMMAND"), std::string::npos);
  EXPECT_EQ(run({}), kExitUsage);
  EXPECT_EQ(run({"config"}), kExitUsage);
  testing::internal::GetCapturedStderr();

  testing::internal::CaptureStderr();
  EXPECT_EQ(run({"config", "shwo"}), kExitUsage);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("did you mean config show?"),
            std::string::npos);
  testing::internal::CaptureStderr();
  EXPECT_EQ(run({"hlep"}), kExitUsage);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("did you mean help?"), std::string::npos);
  testing::internal::CaptureStderr();
  EXPECT_EQ(run({"config", "check"}), kExitUsage);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("missing argument: it takes FILE"),
            std::string::npos);
  testing::internal::CaptureStderr();
  EXPECT_EQ(run({"config", "check", "/nowhere/pangu.toml"}), kExitFailed);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("/nowhere/pangu.toml"), std::string::npos);
}

TEST(CommandLine, GlobalFlagsMayStandBeforeTheCommand) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(run({"--cluster", "127.0.0.1:9", "--json", "config", "show"}), kExitOk);
  EXPECT_NE(testing::internal::GetCapturedStdout().find(
                R"("cluster.masters":{"value":"127.0.0.1:9","origin":"flag"})"),
            std::string::npos);
}

TEST(CommandLine, EveryCommandHasHelpWithAnExample) {
  for (const Command* command : all_commands()) {
    const std::string text = help_text(*command);
    EXPECT_NE(text.find("Examples\n  "), std::string::npos) << command->name;
    EXPECT_TRUE(command->examples.find("pangu") != std::string_view::npos) << command->name;
    EXPECT_FALSE(command->summary.ends_with('.')) << command->name;
    EXPECT_GE(command->arguments_max, command->arguments_min) << command->name;
  }
}

TEST(CommandLine, FlagsOfEveryCommandAreUniqueAndTheirFallbacksValid) {
  for (const Command* command : all_commands()) {
    std::set<std::string_view> names;
    std::set<char> letters;
    for (const Flag& flag : syntax_of(*command).flags) {
      EXPECT_TRUE(names.insert(flag.name).second) << command->name << " --" << flag.name;
      EXPECT_TRUE(flag.letter == 0 || letters.insert(flag.letter).second)
          << command->name << " -" << flag.letter;
      EXPECT_TRUE(flag.fallback.empty() ||
                  check_value(flag.kind, flag.choices, flag.fallback).ok())
          << command->name << " --" << flag.name;
    }
  }
}

TEST(CommandLine, DocumentationNamesEveryCommandAndFlag) {
  const auto text = read_small_file(PANGU_SOURCE_DIR "/docs/cli.md");
  ASSERT_TRUE(text.ok());
  for (const Command* command : all_commands()) {
    EXPECT_NE(text->find("`" + std::string(command->name)), std::string::npos) << command->name;
    for (const Flag& flag : syntax_of(*command).flags) {
      const std::string written =
          flag.letter != 0 ? fmt::format("`-{}`", flag.letter) : fmt::format("--{}", flag.name);
      EXPECT_TRUE(flag.hidden || text->find(written) != std::string::npos)
          << command->name << " " << written;
    }
  }
}

}  // namespace
}  // namespace pangu::app
