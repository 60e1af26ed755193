#include "chunk/server/copier.h"

#include <fmt/format.h>

#include "base/log.h"
#include "base/reached.h"
#include "runtime/await.h"

namespace pangu::chunk {

namespace {
constexpr Duration kTidyEvery = seconds(30);
}  // namespace

Copier::Copier(Reactor& reactor, const std::map<Uuid, ChunkStore*>& devices, const Terms& terms)
    : reactor_(reactor), devices_(devices), terms_(terms), links_(reactor) {}

void Copier::start(const rpc::Identity& identity) {
  links_.start(identity);
  gate_.spawn(reactor_, "tidy copies", TaskClass::background, tidy());
}

Task<void> Copier::stop() {
  stop_.stopping = true;
  stop_.wake.wake_all();
  co_await links_.stop();
  co_await gate_.close();
}

Task<Result<pb::CopyChunkReply>> Copier::copy(CopyOrder order) {
  const Place place(order.device, order.chunk);
  std::shared_ptr<Job> job;
  if (const auto found = jobs_.find(place); found != jobs_.end()) {
    if (!same_copy(found->second->order, order)) {
      co_return Error(Code::kBusy, "another copy of this chunk is being made here");
    }
    REACHED("chunkserver: a copy was asked for that is being made");
    job = found->second;
    job->order.term = std::max(job->order.term, order.term);
    job->order.deadline = std::max(job->order.deadline, order.deadline);
  } else if (stop_.stopping) {
    co_return Error(Code::kCancelled, "the server is stopping");
  } else if (jobs_.size() >= kAskedMax) {
    co_return Error(Code::kBusy, fmt::format("{} copies are asked for already", jobs_.size()));
  } else {
    job = std::make_shared<Job>(order);
    jobs_[place] = job;
    gate_.spawn(reactor_, "copy chunk", TaskClass::background, run(job));
  }
  const bool ended = co_await job->ended.wait(order.deadline);
  if (!ended) {
    co_return Error(Code::kTimeout, "the copy is still being made");
  }
  CO_TRY_VOID(job->status);
  pb::CopyChunkReply reply;
  reply.set_bytes(job->bytes);
  co_return reply;
}

Task<void> Copier::run(std::shared_ptr<Job> job) {
  const bool turn = co_await running_.take(1, job->order.deadline);
  if (turn) {
    job->status = co_await make(job);
    running_.give(1);
  } else {
    job->status = Error(Code::kTimeout, "other copies went first");
  }
  (job->status.ok() ? counters_.done : counters_.failed) += 1;
  jobs_.erase(Place(job->order.device, job->order.chunk));
  job->ended.set();
}

Task<Status> Copier::make(std::shared_ptr<Job> job) {
  const CopyOrder& order = job->order;
  const auto device = devices_.find(order.device);
  if (device == devices_.end()) {
    co_return Error(Code::kDeviceFailed,
                    fmt::format("this server has no device {}", to_string(order.device)));
  }
  if (stop_.stopping) {
    co_return Error(Code::kCancelled, "the server is stopping");
  }
  rpc::Channel& source = links_.take(order.source_address);
  ChunkCopy copy(reactor_, *device->second, source, order, terms_, stop_);
  const Status status = co_await copy.run();
  links_.give(order.source_address);
  job->bytes = copy.bytes();
  counters_.bytes += copy.bytes();
  counters_.resumed += copy.resumed() ? 1 : 0;
  if (!status.ok() && !stop_.stopping) {
    LOG_INFO("copying chunk {} to device {}: {}", to_string(order.chunk), to_string(order.device),
             status.error().message());
  }
  co_return status;
}

Task<void> Copier::tidy() {
  while (!stop_.stopping) {
    co_await stop_.wake.wait(reactor_.now() + kTidyEvery);
    if (!stop_.stopping) {
      co_await links_.tidy();
      co_await remove_abandoned();
    }
  }
}

Task<void> Copier::remove_abandoned() {
  const Instant now = reactor_.now();
  std::map<Place, Instant> unfinished;
  std::vector<Place> abandoned;
  for (const auto& [device, store] : devices_) {
    for (const ChunkId& chunk : store->unfinished_copies()) {
      const Place place(device, chunk);
      const auto before = unfinished_.find(place);
      const Instant since =
          before == unfinished_.end() || jobs_.contains(place) ? now : before->second;
      unfinished[place] = since;
      if (since + kUnfinishedKept <= now) {
        abandoned.push_back(place);
      }
    }
  }
  unfinished_ = std::move(unfinished);
  for (const Place& place : abandoned) {
    ChunkStore& store = *devices_.at(place.first);
    const auto info = store.stat(place.second);
    if (stop_.stopping || jobs_.contains(place) || !info.ok() || !info->copying) {
      continue;
    }
    REACHED("chunkserver: an unfinished copy was removed");
    const LengthOutcome removed = co_await store.remove(place.second);
    counters_.removed += removed.code == Code::kOk ? 1 : 0;
  }
}

}  // namespace pangu::chunk
