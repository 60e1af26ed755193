#pragma once
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "base/types.h"

// Processes of this program: starting copies of itself, telling whether one still runs, ending it.
// The only place of src/app that makes such calls to the operating system.
namespace pangu::app {

// A process and when the kernel started it (clock ticks since boot): a pid that was given to
// another program since then is never mistaken for it.
struct ProcessId {
  i32 pid = 0;
  u64 start_ticks = 0;
};

// Runs and is no zombie.
bool is_running(const ProcessId& process);
// This process.
ProcessId own_process();

enum class Signal : u8 { terminate, kill, stop, resume };
// NotFound: it does not run any more; then nothing was signalled.
Status send_signal(const ProcessId& process, Signal signal);
// True once it has ended; false if it still ran after `timeout`. Reaps it if it was our child.
bool wait_for_exit(const ProcessId& process, Duration timeout);

struct StartOptions {
  std::vector<std::string> words;  // arguments of this same program
  std::string log_path;            // its standard output and error are appended here
};

// A process that was started and says when it is ready (announce_ready).
class StartedProcess {
 public:
  // Runs this very program again in a session of its own, detached from the terminal.
  static Result<StartedProcess> start(const StartOptions& options);
  StartedProcess(StartedProcess&& other) noexcept;
  StartedProcess& operator=(StartedProcess&&) = delete;
  ~StartedProcess();

  const ProcessId& process() const { return process_; }
  // What the process announced. Fails with the last lines of its log if it ended instead, with
  // Timeout if neither happened in time.
  Result<std::string> wait_ready(Duration timeout);

 private:
  StartedProcess(ProcessId process, int ready_fd, std::string log_path);
  ProcessId process_;
  int ready_fd_ = -1;
  std::string log_path_;
};

// Runs another program, found along $PATH, to its end. Fails if it does not end with 0.
Status run_program(const std::vector<std::string>& words);

// For the started process: tells the starter through the descriptor `fd` (flag --ready-fd), once.
void announce_ready(int fd, std::string_view text);

// The last `lines` lines of a file, or "" if it cannot be read.
std::string last_lines(const std::string& path, size_t lines);

// Raises the limit of open files to `wanted` or as near as this process may.
void raise_open_files(u64 wanted);
// Processor time that this process has used so far.
Duration processor_time();
// That another one has; nothing if there is none with this id.
std::optional<Duration> processor_time_of(i32 pid);
std::string own_program_path();
// How a person calls this program from here: "pangu" if that is found along $PATH, else its path.
std::string own_program_name();
// A fresh directory for temporary data, below $TMPDIR.
Result<std::string> make_temporary_directory(std::string_view name);
Status remove_tree(const std::string& path);
// Names of the environment variables of this process.
std::vector<std::string> environment_names();
std::optional<std::string> environment_value(const std::string& name);

}  // namespace pangu::app
