#pragma once
#include <deque>
#include <memory>
#include <string>

#include "sim/stage.h"
#include "sim/stream_oracle.h"

// Writers and readers of a few files that all client hosts share: pipelined appends of all sizes,
// writers that close, seal, vanish, fall asleep and come back as zombies, openers that race,
// readers that follow the tail and readers that jump about. Every answer goes to the file's oracle.
namespace pangu::sim {

struct StreamFile {
  std::string path;
  StreamOracle oracle;
  client::FileOptions options;
  bool mortal = false;  // made at the start, removed at some time

  u64 id = 0;  // once known
  // Every length that is asked for from now on is at least this.
  u64 floor = 0;
  bool seal_begun = false;
  bool sealed = false;
  u64 sealed_length = 0;
  bool remove_begun = false;
  bool removed = false;
  bool unsettled = false;  // at the end there was no space to settle it
  u32 readers = 0;

  StreamFile(u64 number, std::string at, const client::FileOptions& how)
      : path(std::move(at)), oracle(number), options(how) {}
};

class StreamWorkload {
 public:
  explicit StreamWorkload(Stage& stage);

  // Makes the folder and the mortal files. To be repeated until it succeeds.
  Task<Status> prepare(client::Client& client);
  // Uses the files until the run winds down.
  Task<void> act(Actor& actor);

  std::deque<StreamFile>& files() { return files_; }
  static constexpr const char* kFolder = "/streams";

 private:
  struct WriteSession;
  struct Plan;

  Task<void> write(Actor& actor, StreamFile& file);
  Task<std::unique_ptr<client::Writer>> open(Actor& actor, StreamFile& file);
  Task<void> write_pipelined(Actor& actor, std::shared_ptr<WriteSession> session);
  static Task<void> append_one(Actor& actor, std::shared_ptr<WriteSession> session);
  static Task<void> write_enqueued(Actor& actor, WriteSession& session);
  Task<void> end_session(Actor& actor, WriteSession& session);
  Task<void> seal_from_outside(Actor& actor, StreamFile& file);
  Task<void> remove(Actor& actor, StreamFile& file);
  Task<void> follow_tail(Actor& actor, StreamFile& file);
  Task<void> read_anywhere(Actor& actor, StreamFile& file);
  Task<std::unique_ptr<client::Reader>> open_reader(Actor& actor, StreamFile& file);
  // Returns how many bytes came, or an error that faults explain.
  static Task<Result<u64>> read_at(Actor& actor, StreamFile& file, client::Reader& reader,
                                   u64 offset, u64 size);
  static void note_sealed(Actor& actor, StreamFile& file, u64 length);

  Stage& stage_;
  std::deque<StreamFile> files_;
};

}  // namespace pangu::sim
