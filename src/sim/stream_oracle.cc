#include "sim/stream_oracle.h"

#include <algorithm>
#include <fmt/format.h>

namespace pangu::sim {

Status StreamOracle::broken(std::string what) const {
  return Error(Code::kInternal, fmt::format("file 0x{:x}: {}", file_, what));
}

u64 StreamOracle::acknowledged_end() const {
  u64 end = 0;
  for (const Session& session : sessions_) {
    if (session.acknowledged > 0) {
      end = std::max(end, session.start + session.acknowledged);
    }
  }
  return end;
}

u64 StreamOracle::certain_end() const {
  const u64 start = sessions_.empty() ? 0 : sessions_.back().start;
  return std::max({acknowledged_end(), seen_end_, start});
}

u64 StreamOracle::possible_end() const {
  return sessions_.empty() ? 0 : sessions_.back().start + sessions_.back().size;
}

u64 StreamOracle::limit_of(size_t index) const {
  return index + 1 < sessions_.size() ? sessions_[index + 1].start : ~u64{0};
}

// A session that is opened late in the order (an older epoch whose open returned after a newer
// one's) has written nothing yet and never will anything that counts: its part is empty.
Result<u32> StreamOracle::session_opened(u32 epoch, u64 start) {
  for (const Session& session : sessions_) {
    if (session.epoch == epoch) {
      return broken(fmt::format("epoch {} was given out twice", epoch)).error();
    }
  }
  if (sessions_.empty() || epoch > sessions_.back().epoch) {
    if (start < certain_end()) {
      return broken(
                 fmt::format("epoch {} opened at {}, but {} bytes were acknowledged and {} seen, "
                             "and the epoch before began at {}",
                             epoch, start, acknowledged_end(), seen_end_,
                             sessions_.empty() ? 0 : sessions_.back().start))
          .error();
    }
    if (start > possible_end()) {
      return broken(
                 fmt::format("epoch {} opened at {}, but no more than {} bytes were ever written",
                             epoch, start, possible_end()))
          .error();
    }
    if (!sessions_.empty()) {
      TRY_VOID(check_whole(sessions_.size() - 1, start));
    }
  }
  // Handles of sessions are their epochs: places in the vector move when an older one comes late.
  const auto place = std::find_if(sessions_.begin(), sessions_.end(),
                                  [&](const Session& session) { return session.epoch > epoch; });
  if (place != sessions_.end() && place->start < start) {
    return broken(fmt::format("epoch {} opened at {}, but epoch {} at {}", epoch, start,
                              place->epoch, place->start))
        .error();
  }
  if (place != sessions_.begin() &&
      start < std::prev(place)->start + std::prev(place)->acknowledged) {
    return broken(fmt::format("epoch {} opened at {}, inside what epoch {} was acknowledged", epoch,
                              start, std::prev(place)->epoch))
        .error();
  }
  sessions_.insert(place, Session{.epoch = epoch, .start = start});
  return epoch;
}

StreamOracle::Session& StreamOracle::session_of(u32 epoch) {
  const auto found = std::find_if(sessions_.begin(), sessions_.end(),
                                  [&](const Session& each) { return each.epoch == epoch; });
  CHECK(found != sessions_.end());
  return *found;
}

u32 StreamOracle::issue(u32 session_epoch, u64 size, bool record) {
  Session& session = session_of(session_epoch);
  session.appends.push_back({.begin = session.size, .size = size, .record = record});
  session.size += size;
  return static_cast<u32>(session.appends.size() - 1);
}

void StreamOracle::fill(u32 session, u32 append, MutableBytes into) const {
  fill_content({.file = file_, .session = session, .append = append}, 0, into);
}

Status StreamOracle::acknowledged(u32 session_epoch, u32 append, u64 offset) {
  Session& session = session_of(session_epoch);
  Append& it = session.appends[append];
  for (u32 i = append; i > 0; --i) {
    const Fate before = session.appends[i - 1].fate;
    if (before == Fate::unknown) {
      return broken(fmt::format("epoch {}: append {} was acknowledged after append {} had failed",
                                session.epoch, append, i - 1));
    }
    if (before == Fate::acknowledged) {
      break;
    }
  }
  if (offset != session.start + it.begin) {
    return broken(fmt::format("epoch {}: append {} was acknowledged at {}, not at {}",
                              session.epoch, append, offset, session.start + it.begin));
  }
  const size_t index = static_cast<size_t>(&session - sessions_.data());
  if (offset + it.size > limit_of(index)) {
    return broken(fmt::format(
        "epoch {}: append {} was acknowledged at {} (+{}), but epoch {} "
        "begins at {}",
        session.epoch, append, offset, it.size, sessions_[index + 1].epoch, limit_of(index)));
  }
  it.fate = Fate::acknowledged;
  session.acknowledged = std::max(session.acknowledged, it.begin + it.size);
  ++appends_acknowledged_;
  bytes_acknowledged_ += it.size;
  return {};
}

void StreamOracle::refused(u32 session_epoch, u32 append) {
  Session& session = session_of(session_epoch);
  session.appends[append].fate = Fate::refused;
  const u64 size = session.appends[append].size;
  for (size_t i = append + 1; i < session.appends.size(); ++i) {
    session.appends[i].begin -= size;
  }
  session.size -= size;
}

Status StreamOracle::unknown(u32 session_epoch, u32 append) {
  Session& session = session_of(session_epoch);
  session.appends[append].fate = Fate::unknown;
  if (session.acknowledged > session.appends[append].begin) {
    return broken(fmt::format("epoch {}: append {} failed, but a later one was acknowledged",
                              session.epoch, append));
  }
  return {};
}

// The session whose part holds the byte at `offset`. REQUIRES: there is a session.
size_t StreamOracle::session_at(u64 offset) const {
  size_t index = sessions_.size() - 1;
  while (index > 0 && sessions_[index].start > offset) {
    --index;
  }
  return index;
}

size_t StreamOracle::append_at(const Session& session, u64 within) {
  const auto after = std::upper_bound(session.appends.begin(), session.appends.end(), within,
                                      [](u64 at, const Append& a) { return at < a.begin; });
  // Refused appends share their begin with the next one: the last of equals is the real one,
  // unless it is refused itself.
  size_t number = static_cast<size_t>(after - session.appends.begin()) - 1;
  while (session.appends[number].fate == Fate::refused) {
    --number;
  }
  return number;
}

Status StreamOracle::check_whole(size_t index, u64 length) const {
  const Session& session = sessions_[index];
  if (length <= session.start || length >= session.start + session.size) {
    return {};
  }
  const u64 within = length - session.start;
  const size_t number = append_at(session, within);
  const Append& append = session.appends[number];
  if (append.record && append.begin < within) {
    return broken(fmt::format("a length of {} ends inside append {} of epoch {}, which is a record",
                              length, number, session.epoch));
  }
  return {};
}

Status StreamOracle::check(u64 offset, Bytes bytes) const {
  while (!bytes.empty()) {
    if (sessions_.empty() || offset >= possible_end()) {
      return broken(fmt::format("{} bytes at {} that nobody wrote", bytes.size(), offset));
    }
    const size_t index = session_at(offset);
    const Session& session = sessions_[index];
    const u64 within = offset - session.start;
    if (within >= session.size) {
      return broken(fmt::format("a byte at {} that epoch {} (from {}) never wrote", offset,
                                session.epoch, session.start));
    }
    const size_t number = append_at(session, within);
    const Append& append = session.appends[number];
    const u64 skip = within - append.begin;
    const u64 part = std::min({bytes.size(), append.size - skip, limit_of(index) - offset});
    const ContentKey key{
        .file = file_, .session = session.epoch, .append = static_cast<u32>(number)};
    const u64 good = matching_content(key, skip, bytes.first(part));
    if (good < part) {
      return broken(fmt::format("the byte at {} is not byte {} of append {} of epoch {} (from {})",
                                offset + good, skip + good, number, session.epoch, session.start));
    }
    offset += part;
    bytes = bytes.subspan(part);
  }
  return {};
}

Status StreamOracle::read(u64 offset, Bytes bytes) {
  if (bytes.empty()) {
    return {};  // beyond the end
  }
  TRY_VOID(check(offset, bytes));
  seen_end_ = std::max(seen_end_, offset + bytes.size());
  bytes_read_ += bytes.size();
  return {};
}

Status StreamOracle::told_length(u32 reader, u64 length, u64 at_least) {
  if (reader >= lengths_told_.size()) {
    lengths_told_.resize(reader + 1);
  }
  u64& before = lengths_told_[reader];
  if (length < before || length < at_least) {
    return broken(fmt::format("reader {} was told the length {}, after {}; at least {} is true",
                              reader, length, before, at_least));
  }
  if (length > possible_end()) {
    return broken(fmt::format("reader {} was told the length {}, but only {} bytes were written",
                              reader, length, possible_end()));
  }
  if (length > 0) {
    TRY_VOID(check_whole(session_at(length - 1), length));
  }
  before = length;
  seen_end_ = std::max(seen_end_, length);
  return {};
}

Status StreamOracle::final_piece(u64 offset, Bytes bytes) {
  if (offset != final_end_) {
    return broken(fmt::format("the final read skips from {} to {}", final_end_, offset));
  }
  TRY_VOID(check(offset, bytes));
  final_end_ += bytes.size();
  return {};
}

Status StreamOracle::finish(u64 length) {
  if (final_end_ != length) {
    return broken(fmt::format("{} bytes could be read of {}", final_end_, length));
  }
  if (length < certain_end()) {
    return broken(
        fmt::format("{} bytes are left, but {} were acknowledged or seen", length, certain_end()));
  }
  for (size_t i = 0; i < sessions_.size(); ++i) {
    const Session& session = sessions_[i];
    const u64 end = std::min(limit_of(i), length);
    TRY_VOID(check_whole(i, end));
    if (end > session.start + session.size) {
      return broken(fmt::format("epoch {} wrote up to {}, but its part goes to {}", session.epoch,
                                session.start + session.size, end));
    }
  }
  return {};
}

}  // namespace pangu::sim
