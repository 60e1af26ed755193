#include "client/lookups.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

#include "base/reached.h"

namespace pangu::client {

namespace {

// Of one request: the chain of each has up to 64 ids.
constexpr size_t kPlacesMax = 512;
// Questions that were asked together stay together for so long.
constexpr Duration kTogether = milliseconds(500);

// A request in the making. What several callers ask stands in it once.
struct Merged {
  pb::LookupRequest request;
  std::map<std::string, int> known;
  std::vector<std::vector<int>> indices;  // by question

  void add(std::vector<pb::Place> places) {
    std::vector<int>& mine = indices.emplace_back();
    for (pb::Place& place : places) {
      const auto [at, fresh] = known.emplace(place.SerializeAsString(), request.places_size());
      if (fresh) {
        *request.add_places() = std::move(place);
      } else {
        REACHED("client: two callers ask for the same place");
      }
      mine.push_back(at->second);
    }
  }
};

}  // namespace

Lookups::Lookups(Reactor& reactor, Gate& gate, MetaClient& meta, ClientCounters& counters)
    : reactor_(reactor),
      gate_(gate),
      meta_(meta),
      counters_(counters),
      batcher_(reactor, gate, &Lookups::send, this) {}

Task<Result<LookedUp>> Lookups::ask(u64 group, Kind kind, std::vector<pb::Place> places,
                                    Instant deadline) {
  const u64 lane = group * 2 + (kind == Kind::guess ? 1 : 0);
  return batcher_.ask(lane, std::move(places), deadline);
}

Task<Lookups::Answers> Lookups::send(void* self, u64 lane, std::vector<Question> questions,
                                     Instant deadline) {
  Answers answers;
  std::vector<Question> some;
  size_t places = 0;
  for (Question& question : questions) {
    if (places + question.size() > kPlacesMax && !some.empty()) {
      REACHED("client: lookups that do not fit into one request");
      co_await static_cast<Lookups*>(self)->send_some(lane, std::move(some), deadline, answers);
      some.clear();
      places = 0;
    }
    places += question.size();
    some.push_back(std::move(question));
  }
  co_await static_cast<Lookups*>(self)->send_some(lane, std::move(some), deadline, answers);
  co_return answers;
}

// Appends one answer a question. What waits for a lock is not to hold up the others for long.
Task<void> Lookups::send_some(u64 lane, std::vector<Question> questions, Instant deadline,
                              Answers& answers) {
  const bool alone = questions.size() == 1;
  const Instant patience = alone ? deadline : std::min(deadline, reactor_.now() + kTogether);
  auto merged = co_await send_merged(lane, questions, patience);
  const bool apart = !alone && merged.front().code() == Code::kUnavailable && patience < deadline;
  if (apart) {
    REACHED("client: lookups that were asked together are asked one by one");
    std::vector<std::shared_ptr<Result<LookedUp>>> parts;
    const auto batch = std::make_shared<Batch>(questions.size());
    for (Question& question : questions) {
      parts.push_back(std::make_shared<Result<LookedUp>>(Error(Code::kClosed)));
      if (!gate_.spawn(reactor_, "look up", TaskClass::foreground,
                       send_alone(lane, std::move(question), deadline, parts.back(), batch))) {
        batch->finish(ok_status());
      }
    }
    auto finished = co_await batch->wait();
    (void)finished;  // each has its own answer
    merged.clear();
    for (const auto& part : parts) {
      merged.push_back(std::move(*part));
    }
  }
  std::move(merged.begin(), merged.end(), std::back_inserter(answers));
}

Task<void> Lookups::send_alone(u64 lane, Question question, Instant deadline,
                               std::shared_ptr<Result<LookedUp>> answer,
                               std::shared_ptr<Batch> batch) {
  std::vector<Question> one;
  one.push_back(std::move(question));
  auto answers = co_await send_merged(lane, std::move(one), deadline);
  *answer = std::move(answers.front());
  batch->finish(ok_status());
}

Task<Lookups::Answers> Lookups::send_merged(u64 lane, std::vector<Question> questions,
                                            Instant deadline) {
  const bool guess = lane % 2 == 1;
  const Target target{.group = lane / 2, .stale = guess ? Target::Stale::map : Target::Stale::way};
  Merged merged;
  for (Question& question : questions) {
    merged.add(std::move(question));
  }
  merged.request.set_guess(guess);
  const int places = merged.request.places_size();
  ++counters_.lookups;
  auto reply = co_await meta_.ask<pb::LookupReply>(target, wire::Method::lookup,
                                                   std::move(merged.request), deadline);
  if (reply.ok() && reply->answers_size() != places) {
    reply = Error(Code::kBadFrame, fmt::format("{} answers came to a lookup of {} places",
                                               reply->answers_size(), places));
  }
  Answers answers;
  for (const std::vector<int>& indices : merged.indices) {
    if (!reply.ok()) {
      answers.emplace_back(reply.error());
      continue;
    }
    LookedUp mine{.tree_epoch = reply->tree_epoch()};
    for (const int index : indices) {
      mine.answers.push_back(reply->answers(index));
    }
    answers.emplace_back(std::move(mine));
  }
  co_return answers;
}

}  // namespace pangu::client
