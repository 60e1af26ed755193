// What Raft hosts send each other, however damaged; what still parses goes to a member of a group.
#include "raft/core/core.h"
#include "raft/driver/codec.h"

namespace {

using namespace pangu;
using namespace pangu::raft;

// A log that is durable at once.
struct Member final : LogView {
  std::vector<Entry> log;  // from index 1 on
  std::unique_ptr<Core> core;

  Found read(IndexRange range, u64, Entries& out) const override {
    for (Index index = range.first; index <= range.last && index <= log.size(); ++index) {
      out.push_back(log[index - 1]);
    }
    return Found::here;
  }
  Member() {
    SnapshotMeta base;
    base.configuration.voters = {NodeId{1}, NodeId{2}, NodeId{3}};
    Options options;
    options.self = NodeId{1};
    options.seed = 1;
    core = std::move(*Core::start(options, {HardState{}, LogSummary(base), 0}, *this, Instant{1}));
  }
  void drive() {
    for (Ready ready = core->ready(); !ready.empty(); ready = core->ready()) {
      for (Entry& entry : ready.entries) {
        CHECK(!ready.install && entry.index <= log.size() + 1);
        log.resize(entry.index - 1);
        log.push_back(std::move(entry));
      }
      if (ready.write != 0) {
        core->on_persisted(ready.write);
      }
      if (!ready.committed.empty()) {
        CHECK(ready.committed.last <= log.size());
        core->on_applied(ready.committed.last);
      }
      if (ready.snapshot_fetch) {
        core->on_snapshot_failed(ready.snapshot_fetch->meta);
      }
    }
  }
};

void try_batch(Bytes bytes) {
  auto batch = decode_batch(bytes);
  if (!batch.ok()) {
    return;
  }
  BatchWriter writer(batch->envelope, batch->hold);
  Member member;
  for (const GroupMessage& each : batch->messages) {
    CHECK(writer.add(each.group, each.message));
    Message message = each.message;
    message.to = NodeId{1};
    static_cast<void>(member.core->step(Instant{2}, std::move(message)));
    member.drive();
  }
  CHECK(writer.take() == as_text(bytes));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const pangu::u8* data, size_t size) {
  const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
  try_batch(bytes);
  if (const auto begin = decode_snapshot_begin(bytes); begin.ok()) {
    CHECK(encode(*begin) == as_text(bytes));
  }
  if (const auto read = decode_snapshot_read(bytes); read.ok()) {
    CHECK(encode(*read) == as_text(bytes));
  }
  if (const auto image = decode_image(bytes); image.ok()) {
    CHECK(check_image(*image).ok() && encode_image(*image) == as_text(bytes));
  }
  if (const auto meta = decode_meta(bytes); meta.ok()) {
    CHECK(encode_meta(*meta) == as_text(bytes));
  }
  return 0;
}
