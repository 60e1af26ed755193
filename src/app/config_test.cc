#include "app/config.h"

#include "app/local_file.h"

namespace pangu::app {
namespace {

ConfigSource from_file(std::string text) {
  ConfigSource source;
  source.file.emplace("pangu.toml", std::move(text));
  return source;
}
std::string refused(std::string text) {
  const auto config = Config::load(from_file(std::move(text)));
  EXPECT_FALSE(config.ok());
  return config.ok() ? "" : std::string(config.error().context());
}

TEST(Config, EveryFallbackIsValid) {
  const auto config = Config::load({});
  ASSERT_TRUE(config.ok());
  for (const ConfigKey& key : config_keys()) {
    EXPECT_TRUE(check_value(key.kind, key.choices, key.fallback).ok()) << key.name;
    EXPECT_EQ(config->origin(key.name), Origin::built_in);
  }
  EXPECT_EQ(config->size("limits.receive"), 12 * kMiB);
}

TEST(Config, FlagBeatsEnvironmentBeatsFile) {
  ConfigSource source = from_file(
      "[server]\nlisten = \"1.1.1.1:1\"\nrack = \"r1\"\ndata = \"/d\"\n"
      "[device]\npaths = [\"/a,size=1G\", \"/b\"]\nformat_if_blank = true\n"
      "[limits]\nconnections = 7\n");
  source.environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "PANGU_SERVER_RACK") {
      return "r2";
    }
    return name == "PANGU_SERVER_LISTEN" ? std::optional<std::string>("2.2.2.2:2") : std::nullopt;
  };
  source.flags = {{"server.listen", "3.3.3.3:3"}};
  const auto config = Config::load(source);
  ASSERT_TRUE(config.ok()) << config.error().message();
  EXPECT_EQ(config->text("server.listen"), "3.3.3.3:3");
  EXPECT_EQ(config->origin("server.listen"), Origin::flag);
  EXPECT_EQ(config->text("server.rack"), "r2");
  EXPECT_EQ(config->origin_text("server.rack"), "PANGU_SERVER_RACK");
  EXPECT_EQ(config->text("server.data"), "/d");
  EXPECT_EQ(config->origin_text("server.data"), "pangu.toml line 4");
  EXPECT_EQ(config->list("device.paths"), (std::vector<std::string>{"/a,size=1G", "/b"}));
  EXPECT_TRUE(config->toggle("device.format_if_blank"));
  EXPECT_EQ(config->count("limits.connections"), 7u);
  EXPECT_EQ(config->toml_value("device.paths"), R"(["/a,size=1G", "/b"])");
}

TEST(Config, MistakesNameFileLineKeyAndTheNearestRight) {
  EXPECT_EQ(refused("[server]\nlisten = \"a\"\nlissten = \"b\"\n"),
            "pangu.toml line 3: unknown key server.lissten; hint: did you mean server.listen?");
  EXPECT_EQ(refused("[sever]\ndata = \"a\"\n"),
            "pangu.toml line 2: unknown key sever.data; hint: did you mean server.data?");
  EXPECT_NE(refused("[client]\ntimeout = 5\n").find("client.timeout: '5' is no duration"),
            std::string::npos);
  EXPECT_NE(refused("[runtime]\nio = \"iouring\"\n").find("did you mean io_uring?"),
            std::string::npos);
  EXPECT_NE(refused("[server\n").find("pangu.toml line 1"), std::string::npos);
  EXPECT_NE(refused("listen = \"a\"\n").find("'listen' stands outside a section"),
            std::string::npos);
  EXPECT_NE(refused("[client]\ncopies_max = 1.5\n").find("line 2: client.copies_max is neither"),
            std::string::npos);
}

TEST(Config, ClusterVariableNamesTheMasters) {
  ConfigSource source;
  source.environment = [](const std::string& name) -> std::optional<std::string> {
    return name == "PANGU_CLUSTER" ? std::optional<std::string>("h:1,h:2") : std::nullopt;
  };
  const auto config = Config::load(source);
  ASSERT_TRUE(config.ok());
  EXPECT_EQ(config->text("cluster.masters"), "h:1,h:2");
}

TEST(Config, UnknownVariablesAreNamed) {
  const std::vector<std::string> names = {"HOME", "PANGU_CLUSTR", "PANGU_SERVER_LISTEN"};
  const auto unknown = unknown_environment(names);
  ASSERT_EQ(unknown.size(), 1u);
  EXPECT_EQ(unknown[0], "PANGU_CLUSTR means nothing to pangu; hint: did you mean PANGU_CLUSTER?");
}

TEST(Config, DocumentationNamesEveryKey) {
  const auto text = read_small_file(PANGU_SOURCE_DIR "/docs/config.md");
  ASSERT_TRUE(text.ok()) << text.error().message();
  for (const ConfigKey& key : config_keys()) {
    EXPECT_NE(text->find("`" + std::string(key.name) + "`"), std::string::npos) << key.name;
    EXPECT_NE(text->find(key.help), std::string::npos) << key.name << ": " << key.help;
  }
}

}  // namespace
}  // namespace pangu::app
