#include <fmt/core.h>

#include "base/log.h"
#include "base/reached.h"
#include "master/group/group.h"

// The group's part in snapshots: giving one to a copy that lacks too much of the log, and taking one.
namespace pangu::master {

Task<Result<raft::SnapshotImage>> Group::make_snapshot() {
  REACHED("master: snapshot given");
  auto given = co_await snapshots_.give(applied_, kv_->blocking_view());
  co_return given;
}

Task<Result<std::string>> Group::read_piece(raft::Index index, u32 piece, u64 offset, u32 length) {
  auto bytes = co_await snapshots_.read(index, piece, offset, length);
  co_return bytes;
}

void Group::release_snapshot(raft::Index index) {
  snapshots_.release(index);
}

class Group::Install final : public raft::SnapshotSink {
 public:
  Install(Group& group, raft::SnapshotImage image, std::string folder)
      : group_(group), image_(std::move(image)), folder_(std::move(folder)) {}

  std::vector<u64> have() const override {
    std::vector<u64> out;
    for (const raft::SnapshotPiece& piece : image_.pieces) {
      out.push_back(group_.snapshots_.taken(folder_, piece));
    }
    return out;
  }

  Task<Status> write(u32 piece, u64 offset, std::string bytes) override {
    CHECK(piece < image_.pieces.size());
    auto taken =
        co_await group_.snapshots_.take(folder_, image_.pieces[piece], offset, std::move(bytes));
    co_return taken;
  }

  Task<Status> commit() override {
    REACHED("master: snapshot installed");
    group_.installing_ = true;  // no flush beside it
    while (group_.flushing_) {
      co_await group_.flushed_list_.wait();
    }
    auto replaced = co_await replace();
    if (replaced.ok()) {
      replaced = co_await group_.adopt_state();
    }
    group_.installing_ = false;
    if (!replaced.ok()) {
      if (replaced.code() == Code::kCorrupt) {
        group_.snapshots_.drop_taken(folder_);
      }
      co_return replaced;
    }
    if (group_.applied_ != image_.index) {
      co_return Error(Code::kCorrupt,
                      fmt::format("a snapshot of index {} holds the state of index {}",
                                  image_.index, group_.applied_));
    }
    LOG_INFO("took over a snapshot of the metadata at command {}, {} pieces", image_.index,
             image_.pieces.size());
    group_.snapshots_.drop_taken(folder_);
    co_return ok_status();
  }

 private:
  Task<Status> replace() {
    auto replacement = group_.kv_->begin_replacement();
    env::FileSystem& files = group_.reactor_.env().files();
    for (const raft::SnapshotPiece& piece : image_.pieces) {
      const SnapshotPiece expected{.name = piece.name, .bytes = piece.size, .crc32c = piece.crc32c};
      const std::string path = folder_ + "/" + piece.name;
      auto work = [&files, &path, &expected, &replacement]() -> Status {
        TRY(bytes, files.read_file(path));
        return load_snapshot_piece(expected, bytes, *replacement);
      };
      const Status loaded = co_await run_in_background(work);
      CO_TRY_VOID(loaded);
    }
    auto committed = co_await replacement->commit();
    co_return committed;
  }

  Group& group_;
  const raft::SnapshotImage image_;
  const std::string folder_;
};

Task<Result<std::unique_ptr<raft::SnapshotSink>>> Group::begin_install(raft::SnapshotImage image) {
  CO_TRY(folder, snapshots_.begin_taking(image));
  co_return std::make_unique<Install>(*this, std::move(image), std::move(folder));
}

}  // namespace pangu::master
