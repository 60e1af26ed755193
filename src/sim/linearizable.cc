#include "sim/linearizable.h"

#include <algorithm>
#include <fmt/format.h>

#include "sim/linearizable_search.h"

namespace pangu::sim {

namespace {

using Calls = std::vector<RecordedCall>;

struct Event {
  u64 number = 0;
  u32 call = 0;
  bool answer = false;
};

std::vector<Event> events_of(const Calls& calls) {
  std::vector<Event> out;
  for (u32 i = 0; i < calls.size(); ++i) {
    // A question without an answer proves nothing either.
    if (calls[i].nothing || (!calls[i].answered() && !is_change(calls[i].op.kind))) {
      continue;
    }
    out.push_back({.number = calls[i].called, .call = i, .answer = false});
    if (calls[i].answered()) {
      out.push_back({.number = calls[i].returned, .call = i, .answer = true});
    }
  }
  std::sort(out.begin(), out.end(),
            [](const Event& a, const Event& b) { return a.number < b.number; });
  return out;
}

// Nothing: everything up to `until` (not included) can be explained, or the search gave up.
std::optional<u32> first_unexplained(Search& search, const std::vector<Event>& events, u64 until,
                                     const std::set<u32>& left_out) {
  for (const Event& event : events) {
    if (event.number >= until) {
      break;
    }
    if (left_out.contains(event.call)) {
      continue;
    }
    if (!event.answer) {
      search.called(event.call);
      continue;
    }
    search.returned(event.call);
    if (search.gave_up()) {
      break;
    }
    if (search.configurations().empty()) {
      return event.call;
    }
  }
  return std::nullopt;
}

std::string time(Instant instant) {
  return instant == Instant::never() ? "never"
                                     : fmt::format("{:.6f}", static_cast<double>(instant.ns) / 1e9);
}

std::string line(const RecordedCall& call) {
  return fmt::format("  [{} .. {}] client {}: {} -> {}\n", time(call.called_at),
                     time(call.returned_at), call.client, to_string(call.op),
                     call.answered() ? to_string(call.answer) : "unknown");
}

bool on_one_way(const std::string& a, const std::string& b) {
  return a == b || is_below(a, b) || is_below(b, a);
}
bool touches(const NamespaceOp& op, const std::string& path) {
  return on_one_way(op.path, path) || (!op.to.empty() && on_one_way(op.to, path));
}
bool meet(const NamespaceOp& a, const NamespaceOp& b) {
  return touches(a, b.path) || (!b.to.empty() && touches(a, b.to));
}

class Reporter {
 public:
  Reporter(const Calls& calls, const LinearizableOptions& options, u32 failed)
      : calls_(calls), options_(options), events_(events_of(calls)), failed_(failed) {}

  std::string text() {
    leave_out_what_does_not_matter();
    Search search(calls_, options_.initial, options_.steps_max);
    first_unexplained(search, events_, it().called, left_out_);
    std::string out =
        fmt::format("not linearizable: no order of the calls explains\n{}", line(it()));
    out += fmt::format("before it was called there may have been ({} possibilities):\n{}",
                       search.configurations().size(), trees(search));
    out += "meanwhile (without what does not matter):\n" + meanwhile();
    out += "it might have been answered:\n" + possible();
    out += "the last changes before it on these ways:\n" + before();
    return out;
  }

 private:
  static constexpr size_t kTreesShown = 4;
  static constexpr size_t kBefore = 16;
  static constexpr size_t kAnswersShown = 8;

  const RecordedCall& it() const { return calls_[failed_]; }
  bool overlaps(const RecordedCall& call) const {
    return !call.nothing && call.called < it().returned && call.returned > it().called;
  }

  // What changed nothing may be left out of a history without making it wrong; so if it is still
  // wrong, its reader can do without.
  void leave_out_what_does_not_matter() {
    for (u32 i = 0; i < calls_.size(); ++i) {
      const RecordedCall& call = calls_[i];
      const bool changed_nothing =
          call.answered() && (!is_change(call.op.kind) || call.answer.code != Code::kOk);
      if (i == failed_ || !overlaps(call) || !changed_nothing) {
        continue;
      }
      left_out_.insert(i);
      Search search(calls_, options_.initial, options_.steps_max);
      if (first_unexplained(search, events_, it().returned + 1, left_out_) != failed_) {
        left_out_.erase(i);
      }
    }
  }

  std::string trees(const Search& search) const {
    std::set<std::string> texts;
    for (const Configuration& each : search.configurations()) {
      texts.insert(to_string(search.tree(each)));
    }
    std::string out;
    size_t shown = 0;
    for (const std::string& each : texts) {
      if (++shown > kTreesShown) {
        return out + "  ...\n";
      }
      out += "  " + each + "\n";
    }
    return out;
  }

  std::string meanwhile() const {
    std::vector<u32> chosen = {failed_};
    std::set<u32> known = {failed_};
    for (size_t i = 0; i < chosen.size(); ++i) {  // grows while it goes
      for (u32 other = 0; other < calls_.size(); ++other) {
        if (overlaps(calls_[other]) && !left_out_.contains(other) &&
            meet(calls_[chosen[i]].op, calls_[other].op) && known.insert(other).second) {
          chosen.push_back(other);
        }
      }
    }
    std::string out;
    for (const u32 each : known) {
      out += each == failed_ ? "" : line(calls_[each]);
    }
    return out.empty() ? "  (nothing)\n" : out;
  }

  std::string possible() const {
    Search search(calls_, options_.initial, options_.steps_max);
    first_unexplained(search, events_, it().returned, left_out_);
    std::string out;
    size_t shown = 0;
    for (const std::string& each : search.possible(failed_)) {
      if (++shown > kAnswersShown) {
        return out + "  ...\n";
      }
      out += "  " + each + "\n";
    }
    return out;
  }

  std::string before() const {
    std::vector<const RecordedCall*> found;
    for (const RecordedCall& call : calls_) {
      if (call.returned < it().called && is_change(call.op.kind) && call.answer.code == Code::kOk &&
          meet(call.op, it().op)) {
        found.push_back(&call);
      }
    }
    std::string out;
    for (size_t i = found.size() - std::min(found.size(), kBefore); i < found.size(); ++i) {
      out += line(*found[i]);
    }
    return out.empty() ? "  (none)\n" : out;
  }

  const Calls& calls_;
  const LinearizableOptions& options_;
  const std::vector<Event> events_;
  const u32 failed_;
  std::set<u32> left_out_;
};

}  // namespace

LinearizableResult check_linearizable(const History& history, const LinearizableOptions& options) {
  const Calls& calls = history.calls();
  Search search(calls, options.initial, options.steps_max);
  const auto failed = first_unexplained(search, events_of(calls), RecordedCall::kNever, {});
  LinearizableResult result{.verdict = LinearizableVerdict::yes,
                            .report = {},
                            .steps = search.steps(),
                            .configurations_max = search.configurations_max()};
  if (search.gave_up()) {
    result.verdict = LinearizableVerdict::gave_up;
    result.report = fmt::format(
        "no verdict on {} calls after {} steps, with {} configurations at once: fewer clients or "
        "fewer unknown outcomes would help",
        calls.size(), search.steps(), search.configurations_max());
  } else if (failed) {
    result.verdict = LinearizableVerdict::no;
    result.report = Reporter(calls, options, *failed).text();
  }
  return result;
}

}  // namespace pangu::sim
