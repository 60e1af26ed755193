#pragma once
#include <deque>
#include <memory>

#include "client/chunk_writer.h"

// What a writer owes the stream service, done in the background and in order: reports of chunks it
// has left (PROTOCOL 16) and spares it gives back (PROTOCOL 28). Nothing of it is needed for
// safety; without it the next opener has more to recover.
namespace pangu::client {

class AppendPipeline;

struct Chore {
  enum class Kind : u8 { report, release };
  Kind kind = Kind::release;
  u32 sequence = 0;
  u64 base = 0;                    // report
  u32 length = 0;                  // report
  std::vector<ServerId> suspects;  // report
};

class StreamChores {
 public:
  StreamChores(ClientCore& core, AppendPipeline& pipeline, FileId file, Epoch epoch)
      : core_(core), pipeline_(pipeline), file_(file), epoch_(epoch) {}

  void add(Chore chore);
  bool idle() const { return !running_; }
  // Why some chore could not be done, since the beginning.
  const std::optional<Error>& failure() const { return failure_; }
  // Forgets what is left to do: the epoch is over.
  void cancel();

 private:
  Task<void> run(std::shared_ptr<AppendPipeline> keep);
  Task<Status> perform(const Chore& chore);

  ClientCore& core_;
  AppendPipeline& pipeline_;
  const FileId file_;
  const Epoch epoch_;
  std::deque<Chore> chores_;
  bool running_ = false;
  bool cancelled_ = false;
  std::optional<Error> failure_;
};

}  // namespace pangu::client
