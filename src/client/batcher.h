#pragma once
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "runtime/await.h"
#include "runtime/sync.h"

// Questions to one place that are asked close together leave as one request. With nothing under way
// a question leaves at once, with those of the same turn of the loop; otherwise it waits for company
// until that has come back, kGather is over, or kBatchMax have gathered.
//
// An answer is of a moment after the question was asked: what is on its way takes on nobody.
namespace pangu::client {

inline constexpr Duration kGather = microseconds(100);
inline constexpr size_t kBatchMax = 64;

template <class Question, class Answer>
class Batcher {
 public:
  // Asks all at once: one result a question, in their order. `lane` says whom. `self` is what was
  // given to the constructor.
  using Send = Task<std::vector<Result<Answer>>> (*)(void* self, u64 lane,
                                                     std::vector<Question> questions,
                                                     Instant deadline);
  // `reactor`, `gate` and `self` must outlive it. Questions asked when the gate is closed fail.
  Batcher(Reactor& reactor, Gate& gate, Send send, void* self)
      : reactor_(reactor), gate_(gate), send_(send), self_(self) {}

  Task<Result<Answer>> ask(u64 lane, Question question, Instant deadline) {
    auto waiting = std::make_shared<Waiting>();
    waiting->question = std::move(question);
    waiting->deadline = deadline;
    std::unique_ptr<Lane>& place = lanes_[lane];
    if (place == nullptr) {
      place = std::make_unique<Lane>();
    }
    Lane& mine = *place;  // lanes stay
    mine.queue.push_back(waiting);
    if (!mine.collecting) {
      mine.collecting = gate_.spawn(reactor_, "collect questions", TaskClass::foreground,
                                    collect(lane, mine));
      if (!mine.collecting) {
        co_return Error(Code::kClosed, "the client was stopped");
      }
    } else if (mine.queue.size() >= kBatchMax) {
      mine.news.wake_all();
    }
    const bool answered = co_await waiting->done.wait(deadline);
    if (!answered) {
      co_return Error(Code::kUnavailable, "no master answered in time");
    }
    co_return std::move(*waiting->answer);
  }

 private:
  struct Waiting {
    Question question{};
    Instant deadline;
    Event done;
    std::optional<Result<Answer>> answer;
  };
  using Waitings = std::vector<std::shared_ptr<Waiting>>;
  struct Lane {
    std::deque<std::shared_ptr<Waiting>> queue;
    size_t in_flight = 0;
    bool collecting = false;
    WaitList news;
  };

  Task<void> collect(u64 lane, Lane& mine) {
    while (!mine.queue.empty()) {
      const Instant until = reactor_.now() + kGather;
      while (mine.in_flight > 0 && mine.queue.size() < kBatchMax && reactor_.now() < until) {
        co_await mine.news.wait(until);
      }
      Waitings batch;
      while (!mine.queue.empty() && batch.size() < kBatchMax) {
        batch.push_back(std::move(mine.queue.front()));
        mine.queue.pop_front();
      }
      ++mine.in_flight;
      if (!gate_.spawn(reactor_, "ask masters", TaskClass::foreground,
                       send_batch(lane, mine, batch))) {
        --mine.in_flight;
        for (const auto& each : batch) {
          each->answer.emplace(Error(Code::kClosed, "the client was stopped"));
          each->done.set();
        }
      }
    }
    mine.collecting = false;
  }

  Task<void> send_batch(u64 lane, Lane& mine, Waitings batch) {
    std::vector<Question> questions;
    Instant deadline{};
    for (const auto& each : batch) {
      questions.push_back(std::move(each->question));
      deadline = std::max(deadline, each->deadline);
    }
    auto answers = co_await send_(self_, lane, std::move(questions), deadline);
    CHECK(answers.size() == batch.size());
    for (size_t i = 0; i < batch.size(); ++i) {
      batch[i]->answer.emplace(std::move(answers[i]));
      batch[i]->done.set();
    }
    --mine.in_flight;
    mine.news.wake_all();
  }

  Reactor& reactor_;
  Gate& gate_;
  const Send send_;
  void* const self_;
  std::map<u64, std::unique_ptr<Lane>> lanes_;
};

}  // namespace pangu::client
