#include "app/process.h"

#include <unistd.h>

#include "app/local_file.h"
#include "app/sha256.h"
#include "app/value.h"

namespace pangu::app {
namespace {

TEST(Process, KnowsItselfAndNobodyElseUnderThePid) {
  const ProcessId self = own_process();
  EXPECT_TRUE(is_running(self));
  EXPECT_FALSE(is_running({self.pid, self.start_ticks + 1}));
  EXPECT_TRUE(processor_time_of(self.pid));
  EXPECT_LE(processor_time_of(self.pid)->ns, processor_time().ns + 20'000'000);
  EXPECT_FALSE(processor_time_of(-5));
  EXPECT_EQ(send_signal({self.pid, self.start_ticks + 1}, Signal::kill).code(), Code::kNotFound);
}

TEST(Process, ASignalledChildIsSeenToEnd) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  // The child's start time is what the kernel says of it.
  const auto stat = read_small_file("/proc/" + std::to_string(child) + "/stat");
  ASSERT_TRUE(stat.ok());
  const auto fields = split(stat->substr(stat->rfind(')') + 1), ' ');
  const ProcessId process{child, *parse_count(fields[19])};
  EXPECT_TRUE(is_running(process));
  EXPECT_FALSE(wait_for_exit(process, milliseconds(1)));
  EXPECT_TRUE(send_signal(process, Signal::kill).ok());
  EXPECT_TRUE(wait_for_exit(process, seconds(10)));
  EXPECT_FALSE(is_running(process));
}

TEST(Process, LastLines) {
  const auto directory = make_temporary_directory("app-test");
  ASSERT_TRUE(directory.ok());
  const std::string path = *directory + "/log";
  FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fputs("one\ntwo\nthree\n", file);
  std::fclose(file);
  EXPECT_EQ(last_lines(path, 2), "two\nthree\n");
  EXPECT_EQ(last_lines(path, 9), "one\ntwo\nthree\n");
  EXPECT_EQ(last_lines(path + "-absent", 9), "");
  std::vector<std::string> skipped;
  const auto entries = walk(*directory, skipped);
  ASSERT_TRUE(entries.ok());
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[1].relative, "log");
  EXPECT_EQ((*entries)[1].size, 14u);
  EXPECT_TRUE(remove_tree(*directory).ok());
  EXPECT_FALSE(is_local_directory(*directory));
}

TEST(LocalFile, BaseName) {
  EXPECT_EQ(base_name("/a/b.txt"), "b.txt");
  EXPECT_EQ(base_name("b"), "b");
  EXPECT_EQ(base_name("/a/b/"), "b");
}

TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(Sha256().digits(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 abc;
  abc.add(as_bytes_of(std::string_view("a")));
  abc.add(as_bytes_of(std::string_view("bc")));
  EXPECT_EQ(abc.digits(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace pangu::app
