#pragma once
#include "client/batcher.h"
#include "client/meta_client.h"

namespace pangu::client {

// Questions where the chunks of files are, for many callers at once.
class StreamQuestions {
 public:
  // All must outlive it.
  StreamQuestions(Reactor& reactor, Gate& gate, MetaClient& meta, ClientCounters& counters);
  // Errors are the file's own (kNotFound: it was removed), or kUnavailable.
  Task<Result<pb::GetStreamReply>> ask(pb::GetStreamRequest request, Instant deadline);

 private:
  using Question = pb::GetStreamRequest;
  using Answer = pb::GetStreamReply;
  static Task<std::vector<Result<Answer>>> send(void* self, u64 lane,
                                                std::vector<Question> questions, Instant deadline);
  Task<Result<pb::GetStreamsReply>> send_together(u64 group, std::vector<Question> questions,
                                                  Instant deadline);

  MetaClient& meta_;
  ClientCounters& counters_;
  Batcher<Question, Answer> batcher_;
};

}  // namespace pangu::client
