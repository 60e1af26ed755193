#pragma once
#include <set>
#include <string>
#include <vector>

#include "client/links.h"
#include "pangu/counters.h"
#include "pangu/options.h"
#include "wire/proto.h"

// Calls to the masters: finds one that answers, repeats what may be repeated, and makes every
// change exactly once by its request id.
//
// Invariants
// 1. One change() keeps its request id through all its attempts; the id is reported as answered
//    (first_unanswered) only when change() has returned.
// 2. Nothing is retried beyond the deadline.
namespace pangu::client {

class MetaClient {
 public:
  // `links` and `counters` must outlive it. REQUIRES: !masters.empty()
  MetaClient(Reactor& reactor, Links& links, std::vector<env::Address> masters, Uuid client,
             Duration attempt_timeout, ClientCounters& counters);

  // A question. kUnavailable when no master answered in time.
  template <class Reply, class Request>
  Task<Result<Reply>> ask(wire::Method method, Request request, Instant deadline) {
    auto answer = co_await exchange(method, request.SerializeAsString(), deadline, Effect::none);
    co_return parse<Reply>(std::move(answer));
  }
  // A mutation: `request` has a field `id`, which is filled here. kUnknownOutcome when the deadline
  // passed and an attempt may have been carried out; kUnavailable when surely none was.
  template <class Reply, class Request>
  Task<Result<Reply>> change(wire::Method method, Request request, Instant deadline) {
    const u64 sequence = take_sequence(*request.mutable_id());
    auto answer = co_await exchange(method, request.SerializeAsString(), deadline, Effect::changes);
    outstanding_.erase(sequence);
    co_return parse<Reply>(std::move(answer));
  }

 private:
  enum class Effect : u8 { none, changes };
  template <class Reply>
  static Result<Reply> parse(Result<Slice> answer) {
    if (!answer.ok()) {
      return std::move(answer).error();
    }
    Reply reply;
    if (!reply.ParseFromArray(answer->data(), static_cast<int>(answer->size()))) {
      return Error(Code::kBadFrame, "the master's reply does not parse");
    }
    return reply;
  }
  u64 take_sequence(pb::RequestId& id);
  // The reply's body, or the master's error.
  Task<Result<Slice>> exchange(wire::Method method, std::string body, Instant deadline,
                               Effect effect);
  // Goes to the master that `text` names, or to the next one.
  void choose_other(std::string_view text);

  Reactor& reactor_;
  Links& links_;
  std::vector<env::Address> masters_;
  size_t current_ = 0;
  const Uuid client_;
  const Duration attempt_timeout_;
  ClientCounters& counters_;
  u64 next_sequence_ = 1;
  std::set<u64> outstanding_;
};

}  // namespace pangu::client
