#include "client/stream_questions.h"

#include <fmt/format.h>

#include "base/reached.h"

namespace pangu::client {

StreamQuestions::StreamQuestions(Reactor& reactor, Gate& gate, MetaClient& meta,
                                 ClientCounters& counters)
    : meta_(meta), counters_(counters), batcher_(reactor, gate, &StreamQuestions::send, this) {}

Task<Result<pb::GetStreamReply>> StreamQuestions::ask(pb::GetStreamRequest request,
                                                      Instant deadline) {
  const u64 group = PartitionMap::group_of_file(FileId{request.file()});
  return batcher_.ask(group, std::move(request), deadline);
}

Task<Result<pb::GetStreamsReply>> StreamQuestions::send_together(u64 group,
                                                                 std::vector<Question> questions,
                                                                 Instant deadline) {
  pb::GetStreamsRequest request;
  for (Question& question : questions) {
    *request.add_requests() = std::move(question);
  }
  const int count = request.requests_size();
  ++counters_.stream_fetches;
  auto reply = co_await meta_.ask<pb::GetStreamsReply>(
      {.group = group}, wire::Method::get_streams, std::move(request), deadline);
  if (reply.ok() && reply->replies_size() != count) {
    co_return Error(Code::kBadFrame, fmt::format("{} answers came to questions about {} files",
                                                 reply->replies_size(), count));
  }
  co_return reply;
}

Task<std::vector<Result<pb::GetStreamReply>>> StreamQuestions::send(
    void* self, u64 lane, std::vector<Question> questions, Instant deadline) {
  StreamQuestions& mine = *static_cast<StreamQuestions*>(self);
  std::vector<Result<Answer>> answers;
  if (questions.size() == 1) {
    questions.front().set_group(lane);
    ++mine.counters_.stream_fetches;
    auto reply = co_await mine.meta_.ask<pb::GetStreamReply>(
        {.group = lane}, wire::Method::get_stream, std::move(questions.front()), deadline);
    answers.push_back(std::move(reply));
    co_return answers;
  }
  // Those for which there was no room in a reply are asked again.
  for (size_t done = 0; done < questions.size();) {
    const std::vector<Question> rest(questions.begin() + static_cast<std::ptrdiff_t>(done),
                                     questions.end());
    auto reply = co_await mine.send_together(lane, rest, deadline);
    if (!reply.ok()) {
      answers.resize(questions.size(), Result<Answer>(reply.error()));
      break;
    }
    for (pb::GetStreamsReply::One& one : *reply->mutable_replies()) {
      const Code code = code_from_number(static_cast<u16>(one.code()));
      if (code == Code::kBusy && &one != &reply->replies(0)) {
        REACHED("client: chunk lists that do not fit into one reply");
        break;
      }
      ++done;
      if (code == Code::kOk) {
        answers.emplace_back(std::move(*one.mutable_reply()));
      } else {
        answers.emplace_back(Error(code, one.text()));
      }
    }
  }
  co_return answers;
}

}  // namespace pangu::client
