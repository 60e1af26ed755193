#include "client/path_resolver.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/reached.h"
#include "runtime/await.h"
#include "wire/path.h"

namespace pangu::client {

namespace {

constexpr Duration kPauseFirst = milliseconds(1);
constexpr Duration kPauseMax = milliseconds(20);

std::string joined(const std::vector<std::string>& names, size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) {
    out += '/';
    out += names[i];
  }
  return out.empty() ? "/" : out;
}

bool is_directory(const pb::Entry& entry) {
  return entry.type() == pb::ENTRY_DIRECTORY;
}

pb::Place place_of(const std::vector<u64>& chain, std::string name, u64 seen) {
  pb::Place out;
  out.set_directory(chain.back());
  out.set_name(std::move(name));
  out.mutable_chain()->Add(chain.begin(), chain.end());
  out.set_seen(seen);
  return out;
}

Error not_found(const std::string& path) {
  return Error(Code::kNotFound, fmt::format("'{}' does not exist", path));
}

}  // namespace

std::string parent_path(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}
std::string last_name(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

struct PathResolver::Round {
  struct Answer {
    pb::LookupAnswer answer;
    u64 tree_epoch = 0;
  };
  size_t first = 0;
  std::vector<std::string> names;   // from the first that is asked for on
  std::vector<u64> chain;           // known, then guessed
  size_t known = 0;                 // of `chain`
  std::vector<std::optional<Result<Answer>>> answers;
  WaitList news;

  u64 directory(size_t i) const { return chain[known - 1 + i]; }
  // Whether what has come in so far says how it ends: everything up to the first answer that is
  // not what was guessed.
  bool decided() const {
    for (size_t i = 0; i < answers.size(); ++i) {
      if (!answers[i]) {
        return false;
      }
      const Result<Answer>& one = *answers[i];
      const bool as_guessed = one.ok() && one->answer.result() == pb::LOOKUP_FOUND &&
                              i + 1 < answers.size() && is_directory(one->answer.entry()) &&
                              one->answer.entry().id() == directory(i + 1);
      if (!as_guessed) {
        return true;
      }
    }
    return true;
  }
};

bool PathResolver::Walk::ended() const {
  return missing || entries.size() == names.size() ||
         (!entries.empty() && !is_directory(entries.back()));
}

PathResolver::PathResolver(Reactor& reactor, Gate& gate, MetaClient& meta,
                           ClientCounters& counters, size_t ways_cached)
    : reactor_(reactor),
      gate_(gate),
      meta_(meta),
      counters_(counters),
      lookups_(reactor, gate, meta, counters),
      ways_(ways_cached) {}

void PathResolver::note_stale(const std::string& path) {
  ++counters_.ways_stale;
  if (path == "/") {
    root_is_doubtful_ = true;  // the root never moves, but an epoch can be too old to be checked
  } else {
    ways_.forget(path);
  }
}

void PathResolver::learn(const std::string& path, Way way) {
  if (path != "/") {
    ways_.put(path, std::move(way));
  }
}

// Where each name would have to be looked for, if every directory has the id that it almost always
// has, or had when it was seen last.
std::vector<u64> PathResolver::guess(const Walk& walk) {
  std::vector<u64> out = walk.chain;
  std::string path = joined(walk.names, walk.entries.size());
  if (path == "/") {
    path.clear();
  }
  for (size_t i = walk.entries.size(); i + 1 < walk.names.size(); ++i) {
    path += '/';
    path += walk.names[i];
    const Way* seen = ways_.find(path);
    const bool fits = seen != nullptr && seen->chain.size() == out.size() + 1 &&
                      std::equal(out.begin(), out.end(), seen->chain.begin());
    out.push_back(fits ? seen->directory() : meta_.map().guess_child(out.back(), walk.names[i]));
  }
  return out;
}

Task<void> PathResolver::ask_group(std::shared_ptr<Round> round, u64 group,
                                   std::vector<size_t> members, std::vector<pb::Place> places,
                                   Instant deadline) {
  auto reply = co_await lookups_.ask(group, Lookups::Kind::guess, std::move(places), deadline);
  for (size_t i = 0; i < members.size(); ++i) {
    if (reply.ok()) {
      round->answers[members[i]].emplace(
          Round::Answer{.answer = reply->answers[i], .tree_epoch = reply->tree_epoch});
    } else {
      round->answers[members[i]].emplace(reply.error());
    }
  }
  round->news.wake_all();
}

// Every group once, all at the same time; returns when enough has come in.
Task<Status> PathResolver::send_round(std::shared_ptr<Round> round, Instant deadline) {
  ++counters_.lookup_rounds;
  std::map<u64, std::vector<size_t>> by_group;
  for (size_t i = 0; i < round->answers.size(); ++i) {
    auto group = co_await meta_.group_of_directory(round->directory(i), deadline);
    if (!group.ok()) {
      round->answers[i].emplace(std::move(group).error());
      continue;
    }
    by_group[*group].push_back(i);
  }
  for (const auto& [group, members] : by_group) {
    std::vector<pb::Place> places;
    for (const size_t i : members) {
      const std::vector<u64> chain(
          round->chain.begin(), round->chain.begin() + static_cast<std::ptrdiff_t>(round->known + i));
      places.push_back(place_of(chain, round->names[i], 0));
    }
    if (!gate_.spawn(reactor_, "look up", TaskClass::foreground,
                     ask_group(round, group, members, std::move(places), deadline))) {
      co_return Error(Code::kClosed, "the client was stopped");
    }
  }
  while (!round->decided()) {
    co_await round->news.wait();  // each of them has an answer, or an error, by the deadline
  }
  co_return ok_status();
}

// Adds to `walk` what the round found, up to the first answer that is not what was guessed. `torn`:
// a directory is not there that another answer has named, so the two are of different moments.
Status PathResolver::take(const Round& round, Walk& walk, bool& torn) {
  for (size_t i = 0; i < round.answers.size(); ++i) {
    const Result<Round::Answer>& one = *round.answers[i];
    if (!one.ok()) {
      return one.error();
    }
    walk.moved_max = std::max(walk.moved_max, one->answer.moved());
    walk.epoch_min = std::min(walk.epoch_min, one->tree_epoch);
    note_epoch(one->tree_epoch);
    switch (one->answer.result()) {
      case pb::LOOKUP_FOUND:
        break;
      case pb::LOOKUP_NO_ENTRY:
        walk.missing = true;
        return ok_status();
      case pb::LOOKUP_NO_DIRECTORY:
        torn = true;
        return ok_status();
      default:
        return Error(Code::kBadFrame, "the master's answer to a lookup is none");
    }
    const pb::Entry& entry = walk.entries.emplace_back(one->answer.entry());
    if (!is_directory(entry)) {
      return ok_status();
    }
    walk.chain.push_back(entry.id());
    if (i + 1 < round.answers.size() && entry.id() != round.directory(i + 1)) {
      REACHED("client: a directory does not have the id that was guessed");
      return ok_status();
    }
  }
  return ok_status();
}

// From the root to the end, or as far as the answers fit together.
Task<Result<PathResolver::Walk>> PathResolver::walk_once(std::vector<std::string> names,
                                                         Instant deadline) {
  Walk walk{.names = std::move(names), .chain = {wire::kRootDirectory}};
  while (!walk.ended()) {
    auto round = std::make_shared<Round>();
    const size_t first = walk.entries.size();
    round->names.assign(walk.names.begin() + static_cast<std::ptrdiff_t>(first), walk.names.end());
    round->known = walk.chain.size();
    round->chain = guess(walk);
    round->answers.resize(round->names.size());
    CO_TRY_VOID(co_await send_round(round, deadline));
    bool torn = false;
    CO_TRY_VOID(take(*round, walk, torn));
    if (torn) {
      REACHED("client: a directory went or came while its path was looked up");
      co_return Error(Code::kBusy);
    }
  }
  if (!walk.fits()) {
    REACHED("client: answers to a lookup were of different tree epochs");
    co_return Error(Code::kBusy);
  }
  co_return walk;
}

Task<Result<PathResolver::Walk>> PathResolver::walk(std::string path, Instant deadline) {
  CO_TRY(parts, wire::parse_path(path));
  const std::vector<std::string> names(parts.begin(), parts.end());
  CO_TRY_VOID(co_await meta_.ensure_map(deadline));
  Duration pause = kPauseFirst;
  for (;;) {
    auto walked = co_await walk_once(names, deadline);
    if (walked.ok()) {
      remember(*walked);
    }
    if (walked.code() != Code::kBusy) {
      co_return walked;
    }
    if (reactor_.now() + pause >= deadline) {
      co_return Error(Code::kUnavailable,
                      fmt::format("'{}' cannot be looked up: the directories above it keep "
                                  "changing",
                                  path));
    }
    co_await sleep_for(pause);
    pause = std::min(pause * 2, kPauseMax);
  }
}

void PathResolver::remember(const Walk& walk) {
  std::string path;
  for (size_t i = 0; i < walk.entries.size() && is_directory(walk.entries[i]); ++i) {
    path += '/';
    path += walk.names[i];
    Way way{.seen = walk.epoch_min};
    way.chain.assign(walk.chain.begin(), walk.chain.begin() + static_cast<std::ptrdiff_t>(i + 2));
    ways_.put(path, std::move(way));
  }
}

// The chain of the root's way is always right. What may be wrong is the epoch, if it is too old for
// anybody to remember.
Way PathResolver::root_way() const {
  return {.chain = {wire::kRootDirectory}, .seen = epoch_heard_};
}

Task<Result<Way>> PathResolver::renewed_root_way(Instant deadline) {
  REACHED("client: the tree epoch was too old for the root directory");
  CO_TRY(group, co_await meta_.group_of_directory(wire::kRootDirectory, deadline));
  std::vector<pb::Place> places = {place_of({wire::kRootDirectory}, "", 0)};
  auto reply = co_await lookups_.ask(group, Lookups::Kind::guess, std::move(places), deadline);
  if (!reply.ok()) {
    co_return std::move(reply).error();
  }
  note_epoch(reply->tree_epoch);
  root_is_doubtful_ = false;
  co_return root_way();
}

std::optional<Way> PathResolver::remembered(const std::string& path) {
  if (path == "/") {
    return root_is_doubtful_ ? std::nullopt : std::optional(root_way());
  }
  const Way* known = ways_.find(path);
  return known == nullptr ? std::nullopt : std::optional(*known);
}

Task<Result<Way>> PathResolver::directory(std::string path, Instant deadline) {
  if (auto known = remembered(path)) {
    ++counters_.ways_hit;
    co_return std::move(*known);
  }
  if (path == "/") {
    co_return co_await renewed_root_way(deadline);
  }
  ++counters_.ways_missed;
  auto walked = co_await walk(path, deadline);
  if (!walked.ok()) {
    co_return std::move(walked).error();
  }
  const size_t found = walked->entries.size();
  if (found > 0 && !is_directory(walked->entries.back())) {
    co_return Error(Code::kNotDirectory,
                    fmt::format("'{}' is a file", joined(walked->names, found)));
  }
  if (walked->missing) {
    co_return not_found(joined(walked->names, found + 1));
  }
  co_return Way{.chain = std::move(walked->chain), .seen = walked->epoch_min};
}

Task<Result<std::vector<pb::Entry>>> PathResolver::explore(std::string path, Instant deadline) {
  ++counters_.ways_missed;
  auto walked = co_await walk(path, deadline);
  if (!walked.ok()) {
    co_return std::move(walked).error();
  }
  co_return std::move(walked->entries);
}

// Where the way to its directory is remembered, one question will do; none if it was not right.
Task<Result<std::optional<Found>>> PathResolver::lookup_by_way(std::string path, Way way,
                                                               Instant deadline) {
  const std::string parent = parent_path(path);
  CO_TRY(group, co_await meta_.group_of_directory(way.directory(), deadline));
  std::vector<pb::Place> places = {place_of(way.chain, last_name(path), way.seen)};
  auto reply = co_await lookups_.ask(group, Lookups::Kind::by_way, std::move(places), deadline);
  if (!reply.ok() && reply.code() != Code::kStale) {
    co_return std::move(reply).error();
  }
  if (!reply.ok() || reply->answers.front().result() == pb::LOOKUP_NO_DIRECTORY) {
    note_stale(parent);
    co_return std::nullopt;
  }
  const pb::LookupAnswer& answer = reply->answers.front();
  note_epoch(reply->tree_epoch);
  ways_.renew(parent, way, reply->tree_epoch);
  if (answer.result() != pb::LOOKUP_FOUND) {
    co_return not_found(path);
  }
  way.seen = std::max(way.seen, reply->tree_epoch);
  if (is_directory(answer.entry())) {
    Way to_it = way;
    to_it.chain.push_back(answer.entry().id());
    ways_.put(path, std::move(to_it));
  }
  co_return Found{.parent = std::move(way), .entry = answer.entry()};
}

Task<Result<Found>> PathResolver::lookup(std::string path, Instant deadline) {
  CO_TRY(parts, wire::parse_path(path));
  if (parts.empty()) {
    Found root;
    root.entry.set_name("/");
    root.entry.set_type(pb::ENTRY_DIRECTORY);
    root.entry.set_id(wire::kRootDirectory);
    co_return root;
  }
  if (auto way = remembered(parent_path(path))) {
    ++counters_.ways_hit;
    auto found = co_await lookup_by_way(path, std::move(*way), deadline);
    if (!found.ok()) {
      co_return std::move(found).error();
    }
    if (*found) {
      co_return std::move(**found);
    }
  }
  ++counters_.ways_missed;
  auto walked = co_await walk(path, deadline);
  if (!walked.ok()) {
    co_return std::move(walked).error();
  }
  root_is_doubtful_ = false;
  const size_t found = walked->entries.size();
  if (walked->missing) {
    co_return not_found(joined(walked->names, found + 1));
  }
  if (found < walked->names.size()) {
    co_return Error(Code::kNotDirectory,
                    fmt::format("'{}' is a file", joined(walked->names, found)));
  }
  Found out{.parent = {.chain = {}, .seen = walked->epoch_min}, .entry = walked->entries.back()};
  out.parent.chain.assign(walked->chain.begin(),
                          walked->chain.begin() + static_cast<std::ptrdiff_t>(found));
  co_return out;
}

}  // namespace pangu::client
