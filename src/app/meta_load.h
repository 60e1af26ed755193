#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "app/world.h"
#include "base/histogram.h"
#include "pangu/client.h"

// Load on the metadata for `pangu bench meta`: many callers, each with some operations in flight, who
// use a few clients of the SDK.
namespace pangu::app {

enum class MetaOperation : u8 { create, make_directory, stat, list, remove };

struct MetaLoadOptions {
  MetaOperation operation = MetaOperation::create;
  std::string directory;   // all is done in here
  u64 callers = 1;
  u64 depth = 1;           // operations in flight of each
  u64 directories = 1;     // caller i works in directory i modulo this
  u64 files = 0;           // that are there before, for stat, list and remove; in all
  Duration warm_up;
  Duration duration;
  bool keep_names = false; // of what was made or removed, in `acknowledged`
};

struct MetaLoadReport {
  Histogram latency_ns;  // of the operations that succeeded within the window
  u64 errors = 0;        // of the whole run, as what follows
  std::map<std::string, u64> errors_by_code;
  std::optional<Error> first_error;
  Duration elapsed;
  Duration client_cpu;
  Duration server_cpu;          // of `processes`
  bool servers_measured = false;
  // The longest time in which no operation of any caller succeeded; or none of one caller.
  Duration longest_gap;
  Duration longest_caller_gap;
  std::vector<std::string> acknowledged;  // paths; warm-up and what came after the window included
};

class MetaLoad {
 public:
  // `clients` do the work, each for several callers; all must outlive run(). `processes`: whose
  // processor time is counted.
  MetaLoad(World& world, std::vector<client::Client*> clients, std::vector<i32> processes,
           MetaLoadOptions options);

  // Makes the directories, and the files that the operation needs.
  Task<Status> prepare();
  // Warms up, measures, and waits for what is under way.
  Task<void> run();
  const MetaLoadReport& report() const { return report_; }

 private:
  struct Caller {
    u64 number = 0;
    u64 next_name = 0;
    Instant last_success;
    Duration longest_gap;
  };
  std::string directory_of(u64 number) const;
  std::string prepared_file(u64 number) const;
  client::Client& client_of(u64 caller) const { return *clients_[caller % clients_.size()]; }
  Task<void> make_directories(u64 first, Status& status);
  Task<void> make_files(u64 first, Status& status);
  Task<void> call(Caller& caller, u64 seed);
  Task<Status> operate(Caller& caller, std::string path);
  std::optional<std::string> next_path(Caller& caller, u64 random);
  void count(Caller& caller, Instant start, std::string path, const Status& status);
  void note_success(Caller& caller, Instant now);
  void open_window();
  void close_window();
  Duration servers_cpu() const;

  World& world_;
  std::vector<client::Client*> clients_;
  std::vector<i32> processes_;
  MetaLoadOptions options_;
  MetaLoadReport report_;
  std::vector<Caller> callers_;
  bool measuring_ = false;
  bool ending_ = false;
  u64 next_file_ = 0;  // to be removed
  u64 errors_in_a_row_ = 0;
  u64 running_ = 0;
  Instant opened_;
  Instant last_success_;
  WaitList ended_;
};

}  // namespace pangu::app
