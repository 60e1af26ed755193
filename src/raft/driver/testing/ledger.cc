#include "raft/driver/testing/ledger.h"

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/hash.h"
#include "runtime/await.h"

namespace pangu::raft::testing {

// ---- the oracle ----

std::string Oracle::new_command(u64 size) {
  std::string out = fmt::format("{:016}", next_id_++);
  if (out.size() < size) {
    out.resize(size, 'x');
  }
  return out;
}

u64 Oracle::id_of(std::string_view command) {
  u64 id = 0;
  for (const char digit : command.substr(0, 16)) {
    id = id * 10 + static_cast<u64>(digit - '0');
  }
  return id;
}

void Oracle::fail(const std::string& what) {
  if (failure_.empty()) {
    failure_ = what;
  }
}

void Oracle::appended(u64 id, Index floor, Index index) {
  ++appends_;
  if (index <= floor) {
    fail(fmt::format("command {} stands at {}, although {} was known before it began", id, index,
                     floor));
  }
  const auto place = place_.find(id);
  if (place == place_.end() || place->second != index) {
    fail(fmt::format("command {} was acknowledged at {}, but is not applied there", id, index));
  }
  promised_[id] = index;
  floor_ = std::max(floor_, index);
}

void Oracle::refused(u64 id) {
  refused_.insert(id);
  if (place_.contains(id)) {
    fail(fmt::format("command {} was refused for good, but it is applied at {}", id,
                     place_.at(id)));
  }
}

void Oracle::read(Index floor, Index index) {
  ++reads_;
  if (index < floor) {
    fail(fmt::format("a read saw {}, although {} was known before it began", index, floor));
  }
  floor_ = std::max(floor_, index);
}

void Oracle::applied(u64 node, Index index, std::string_view command) {
  const u64 id = id_of(command);
  const auto [chosen, first] = chosen_.emplace(index, command);
  if (!first) {
    if (chosen->second != command) {
      fail(fmt::format("member {} applied command {} at {}, others command {}", node, id, index,
                       id_of(chosen->second)));
    }
    return;
  }
  if (!place_.emplace(id, index).second) {
    fail(fmt::format("command {} stands at {} and at {}", id, place_.at(id), index));
  }
  if (refused_.contains(id)) {
    fail(fmt::format("command {} was refused for good, but member {} applied it at {}", id, node,
                     index));
  }
}

void Oracle::check_end(Index applied) {
  for (const auto& [id, index] : promised_) {
    if (index > applied) {
      fail(fmt::format("command {}, acknowledged at {}, is gone: the list ends at {}", id, index,
                       applied));
    }
  }
}

// ---- the state machine ----

Ledger::Ledger(Reactor& reactor, u64 node, LedgerDisk& disk, Oracle& oracle)
    : node_(node),
      disk_(disk),
      oracle_(oracle),
      prng_(reactor.env().random()),
      state_(disk.flushed) {
  disk_.snapshots.clear();  // nobody pulls them any more
}

Task<Status> Ledger::apply(Index index, Payload command) {
  if (busy_) {
    oracle_.fail(fmt::format("member {}: two calls at once", node_));
  }
  if (index <= state_.index) {
    oracle_.fail(fmt::format("member {}: entry {} again, after {}", node_, index, state_.index));
  }
  if (disk_.broken) {
    co_return Error(Code::kIoError, "the ledger is broken");
  }
  busy_ = true;
  if (disk_.apply_max > Duration{} && prng_.chance(0.05)) {
    co_await sleep_for(
        nanoseconds(static_cast<i64>(prng_.below(static_cast<u64>(disk_.apply_max.ns)))));
  }
  oracle_.applied(node_, index, command.text());
  state_.index = index;
  state_.chain = hash_combine(state_.chain, hash_combine(index, hash64(command.text())));
  ++state_.commands;
  busy_ = false;
  co_return ok_status();
}

std::vector<std::string> Ledger::pieces_of(const LedgerState& state) const {
  std::string filling;
  Prng prng(state.chain);
  while (filling.size() < disk_.snapshot_bytes) {
    const u64 word = prng.next();
    filling.append(reinterpret_cast<const char*>(&word), sizeof word);
  }
  std::string head(24, '\0');
  store_le(head.data(), state.index);
  store_le(head.data() + 8, state.chain);
  store_le(head.data() + 16, state.commands);
  return {head, "", filling};
}

Task<Result<SnapshotImage>> Ledger::make_snapshot() {
  if (busy_) {
    oracle_.fail(fmt::format("member {}: a snapshot beside a command", node_));
  }
  SnapshotImage image;
  image.index = state_.index;
  u64 number = 0;
  for (const std::string& piece : pieces_of(state_)) {
    image.pieces.push_back({fmt::format("piece-{}", number++), piece.size(),
                            crc32c(as_bytes_of(std::string_view(piece)))});
  }
  disk_.snapshots[image.index] = state_;
  co_return image;
}

Task<Result<std::string>> Ledger::read_piece(Index index, u32 piece, u64 offset, u32 length) {
  const auto found = disk_.snapshots.find(index);
  if (found == disk_.snapshots.end()) {
    oracle_.fail(fmt::format("member {}: snapshot {} is read after its release", node_, index));
    co_return Error(Code::kNotFound);
  }
  co_return pieces_of(found->second)[piece].substr(offset, length);
}

class Ledger::Sink final : public SnapshotSink {
 public:
  Sink(Ledger& ledger, SnapshotImage image) : ledger_(ledger), image_(std::move(image)) {}
  std::vector<u64> have() const override {
    std::vector<u64> out;
    for (const std::string& piece : ledger_.disk_.staged_bytes) {
      out.push_back(piece.size());
    }
    return out;
  }
  Task<Status> write(u32 piece, u64 offset, std::string bytes) override {
    std::string& into = ledger_.disk_.staged_bytes[piece];
    if (into.size() != offset) {
      ledger_.oracle_.fail(fmt::format("member {}: a snapshot's bytes out of order",
                                       ledger_.node_));
    }
    into += bytes;
    co_return ok_status();
  }
  Task<Status> commit() override {
    co_await sleep_for(microseconds(50));
    co_return ledger_.commit(image_);
  }

 private:
  Ledger& ledger_;
  SnapshotImage image_;
};

Task<Result<std::unique_ptr<SnapshotSink>>> Ledger::begin_install(SnapshotImage image) {
  if (disk_.staged != image) {
    disk_.staged = image;
    disk_.staged_bytes.assign(image.pieces.size(), "");
  }
  co_return std::unique_ptr<SnapshotSink>(std::make_unique<Sink>(*this, std::move(image)));
}

Status Ledger::commit(const SnapshotImage& image) {
  if (disk_.full) {
    return Error(Code::kNoSpace, "the ledger's disk is full");
  }
  if (busy_ || disk_.staged != image) {
    oracle_.fail(fmt::format("member {}: a snapshot is installed beside something else", node_));
  }
  for (size_t i = 0; i < image.pieces.size(); ++i) {
    if (crc32c(as_bytes_of(std::string_view(disk_.staged_bytes[i]))) != image.pieces[i].crc32c) {
      disk_.staged = {};
      return Error(Code::kCorrupt, "a piece of the snapshot is damaged");
    }
  }
  const std::string& head = disk_.staged_bytes[0];
  state_.index = load_le<u64>(head.data());
  state_.chain = load_le<u64>(head.data() + 8);
  state_.commands = load_le<u64>(head.data() + 16);
  disk_.flushed = state_;
  disk_.staged = {};
  disk_.staged_bytes.clear();
  if (state_.index != image.index) {
    oracle_.fail(fmt::format("member {}: the snapshot is of {}, not {}", node_, state_.index,
                             image.index));
  }
  return ok_status();
}

}  // namespace pangu::raft::testing
