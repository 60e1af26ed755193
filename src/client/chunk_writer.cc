#include "client/chunk_writer.h"

#include <algorithm>
#include <fmt/format.h>

#include "client/append_pipeline.h"
#include "wire/unit.h"

namespace pangu::client {

ChunkWriter::ChunkWriter(ClientCore& core, AppendPipeline& pipeline, ChunkPlace place, u64 base,
                         const std::vector<ChunkUse>& history)
    : core_(core), pipeline_(&pipeline), place_(std::move(place)), base_(base) {
  CHECK(history.size() <= wire::kHistoryMax);
  history_count_ = static_cast<u16>(history.size());
  for (const ChunkUse& use : history) {
    const wire::HistoryEntry entry{.sequence = use.sequence, .zero = 0, .base = use.base};
    history_records_ += as_text(as_bytes_of(entry));
  }
  for (size_t i = 0; i < place_.replicas.size(); ++i) {
    links_.emplace_back(*this, i);
  }
}

ChunkWriter::~ChunkWriter() = default;

bool ChunkWriter::settled_down() const {
  return std::all_of(links_.begin(), links_.end(), [this](const ReplicaLink& link) {
    return link.failing() || link.durable() == cut_length_;
  });
}

u32 ChunkWriter::failing_links() const {
  return static_cast<u32>(std::count_if(links_.begin(), links_.end(),
                                        [](const ReplicaLink& link) { return link.failing(); }));
}

std::vector<ServerId> ChunkWriter::lagging_servers() const {
  std::vector<ServerId> out;
  for (const ReplicaLink& link : links_) {
    // What was sent may still arrive; what was not will never.
    if (link.failing() || link.next_ < acked_length_) {
      out.push_back(place_.replicas[link.index_].location.server);
    }
  }
  return out;
}

std::string ChunkWriter::describe() const {
  std::string out = "chunk " + to_string(place_.id);
  for (const ReplicaLink& link : links_) {
    out += fmt::format("{} server {} has {} of {}{}", link.index_ == 0 ? ":" : ";",
                       to_string(place_.replicas[link.index_].location.server), link.durable(),
                       cut_length_,
                       link.lost()      ? ", lost"
                       : link.failing() ? ", failed"
                                        : "");
  }
  return out;
}

void ChunkWriter::append_run(std::span<const Bytes> pieces, u32 length) {
  CHECK(pipeline_ != nullptr && length > 0 && length <= room());
  Run run{.offset = cut_length_,
          .length = length,
          .unit_index = units_cut_,
          .unit_count = wire::units_for(length)};
  run.units = core_.links->allocate(size_t{run.unit_count} * wire::kUnitBytes);
  const wire::RunStart start{.chunk = place_.id,
                             .epoch = place_.owner,
                             .unit_index = run.unit_index,
                             .offset = run.offset,
                             .committed = acked_length_};
  wire::cut_run(start, pieces, run.units.mutable_bytes());
  cut_length_ += length;
  units_cut_ += run.unit_count;
  retained_bytes_ += length;
  ClientCounters& counters = core_.counters;
  ++counters.runs;
  counters.run_bytes += length;
  counters.payload_copies += length;
  counters.unit_bytes += run.units.size();
  runs_.push_back(std::move(run));
  const auto self = shared_from_this();
  for (ReplicaLink& link : links_) {
    link.pump();  // may find that it is lost, and the pipeline may leave this chunk
  }
}

wire::AppendRequest ChunkWriter::request_of(const Run& run, size_t replica) const {
  const bool creates = run.offset == 0;
  return {.chunk = wire::to_wire(place_.id),
          .device = place_.replicas[replica].location.device,
          .epoch = place_.owner.number,
          .owner_epoch = place_.owner.number,
          .base = base_,
          .committed = base_ + acked_length_,
          .offset = run.offset,
          .data_len = run.length,
          .unit_index = run.unit_index,
          .unit_count = run.unit_count,
          .chunk_limit = place_.limit,
          .flags = static_cast<u16>(creates ? wire::kAppendCreates : 0),
          .copies_max = place_.copies_max,
          .copies_min = place_.copies_min,
          .history_count = creates ? history_count_ : u16{0},
          .reserved0 = 0,
          .reserved1 = {}};
}

std::string ChunkWriter::with_history(const wire::AppendRequest& request) const {
  return std::string(as_text(as_bytes_of(request))) + history_records_;
}

const Run* ChunkWriter::run_at(u32 offset) const {
  const auto after = std::upper_bound(runs_.begin(), runs_.end(), offset,
                                      [](u32 at, const Run& run) { return at < run.offset; });
  if (after == runs_.begin()) {
    return nullptr;
  }
  const Run& run = *std::prev(after);
  return offset < run.end() ? &run : nullptr;
}

void ChunkWriter::on_durable() {
  if (pipeline_ == nullptr) {
    return;
  }
  std::array<u32, kCopiesMax> lengths{};
  for (const ReplicaLink& link : links_) {
    lengths[link.index_] = link.durable();
  }
  std::sort(lengths.begin(), lengths.end(), std::greater<>());
  acked_length_ = std::max(acked_length_, lengths[place_.copies_min - 1u]);
  while (runs_acked_ < runs_.size() && runs_[runs_acked_].end() <= acked_length_) {
    ++runs_acked_;
  }
  drop_complete_runs();
  pipeline_->on_progress();
}

void ChunkWriter::drop_complete_runs() {
  u32 everywhere = acked_length_;
  for (const ReplicaLink& link : links_) {
    if (!link.lost()) {
      everywhere = std::min(everywhere, link.durable());
    }
  }
  while (runs_acked_ > 0 && runs_.front().end() <= everywhere) {
    retained_bytes_ -= runs_.front().length;
    runs_.pop_front();
    --runs_acked_;
  }
}

void ChunkWriter::give_up_failing_links() {
  for (ReplicaLink& link : links_) {
    if (link.failing()) {
      link.give_up();
    }
  }
  drop_complete_runs();
}

void ChunkWriter::on_trouble(ReplicaLink& link, const Error& error) {
  const ServerId server = place_.replicas[link.index_].location.server;
  core_.servers.note_failure(server, core_.now());
  drop_complete_runs();
  if (pipeline_ != nullptr) {
    pipeline_->on_trouble(error);
  }
}

void ChunkWriter::on_fenced(u32 fence) {
  if (pipeline_ != nullptr) {
    pipeline_->on_fenced(fence);
  }
}

void ChunkWriter::leave() {
  pipeline_ = nullptr;
  for (ReplicaLink& link : links_) {
    link.stop();
  }
  runs_.clear();
  runs_acked_ = 0;
  retained_bytes_ = 0;
}

}  // namespace pangu::client
