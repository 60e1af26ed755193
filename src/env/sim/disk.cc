#include "env/sim/disk.h"

#include <cerrno>

#include "base/reached.h"
#include "env/sim/file_system.h"
#include "env/sim/world.h"

namespace pangu::env::sim {

Disk::Disk(World& world, Node& node, std::string_view mount, const DiskOptions& options)
    : world_(world),
      node_(node),
      mount_(mount.empty() ? "" : normalised(mount)),
      options_(options),
      used_(std::make_shared<u64>(0)) {}

Disk::~Disk() = default;

std::shared_ptr<Inode> Disk::new_inode() {
  return std::make_shared<Inode>(world_.pages(), used_);
}

Disk::Request& Disk::new_request(SimEnv& env, const std::shared_ptr<Inode>& inode, Operation& op,
                                 DiskAction action) {
  if (free_ == nullptr) {
    requests_.push_back(std::make_unique<Request>());
    free_ = requests_.back().get();
  }
  Request& request = *std::exchange(free_, free_->next_free);
  request.op = &op;
  request.env = &env;
  request.inode = inode;
  request.action = action;
  request.mark = inode->store.mark();
  request.held = false;
  in_flight_.push_back(request);
  return request;
}

void Disk::release(Request& request) {
  request.unlink();
  request.inode.reset();
  --*request.handle_in_flight;
  ++request.generation;
  request.next_free = std::exchange(free_, &request);
}

Duration Disk::draw_latency(DiskAction action) {
  Prng& prng = world_.prng();
  const Duration base = action == DiskAction::read    ? options_.read_base
                        : action == DiskAction::write ? options_.write_base
                                                      : options_.flush_base;
  const Duration jitter = action == DiskAction::read    ? options_.read_jitter
                          : action == DiskAction::write ? options_.write_jitter
                                                        : options_.flush_jitter;
  const u64 reach = static_cast<u64>(jitter.ns) * (prng.below(32) == 0 ? 16 : 1) + 1;
  Duration latency = base + Duration{static_cast<i64>(prng.below(reach))};
  if (options_.slow_rate > 0 && prng.chance(options_.slow_rate)) {
    latency = latency +
              Duration{static_cast<i64>(prng.below(static_cast<u64>(options_.slow_max.ns) + 1))};
  }
  return latency * slow_factor_;
}

void Disk::start(Request& request) {
  const u64 bytes = request.action == DiskAction::read ? request.into.size() : request.from.size();
  const u64 rate = std::max<u64>(options_.bytes_per_second, 1);
  const Duration transfer{static_cast<i64>(bytes * 1'000'000'000 / rate)};
  bus_free_ = std::max(bus_free_, request.env->start_time()) + transfer;
  schedule(request, bus_free_ + draw_latency(request.action));
}

void Disk::schedule(Request& request, Instant when) {
  Event& event = world_.schedule(when, EventKind::disk, fire);
  event.object = &request;
  event.a = request.generation;
  event.b = reinterpret_cast<u64>(this);
  event.node = node_.index();
}

void Disk::fire(World&, Event& event) {
  Request& request = *static_cast<Request*>(event.object);
  Disk& disk = *reinterpret_cast<Disk*>(event.b);
  if (request.generation != event.a) {
    return;  // its process died
  }
  if (disk.stuck_) {
    request.held = true;
    return;
  }
  const i64 result = disk.perform(request);
  SimEnv& env = *request.env;
  Operation& op = *request.op;
  disk.release(request);
  env.complete(op, result);
}

void Disk::set_stuck(bool stuck) {
  stuck_ = stuck;
  for (Request* request = in_flight_.front(); !stuck && request != nullptr;
       request = in_flight_.next(*request)) {
    if (request->held) {
      request->held = false;
      schedule(*request, world_.now() + draw_latency(request->action));
    }
  }
}

bool Disk::draw_error(DiskAction action) {
  u32& forced = fail_next_[static_cast<size_t>(action)];
  const double rate = action == DiskAction::read    ? options_.read_error_rate
                      : action == DiskAction::write ? options_.write_error_rate
                                                    : options_.flush_error_rate;
  bool error = false;
  if (forced > 0) {
    --forced;
    error = true;
  } else if (rate > 0) {
    error = world_.prng().chance(rate);
  }
  counters_.errors += error ? 1 : 0;
  return error;
}

i64 Disk::perform(Request& request) {
  const bool dead = failed_ || request.inode->gone;
  switch (request.action) {
    case DiskAction::read: {
      if (dead || draw_error(request.action)) {
        return -EIO;
      }
      const u64 bytes = request.inode->store.read(request.offset, request.into);
      ++counters_.reads;
      counters_.bytes_read += bytes;
      return static_cast<i64>(bytes);
    }
    case DiskAction::write:
      return dead ? -EIO : perform_write(request);
    case DiskAction::flush:
      return dead ? -EIO : perform_flush(request);
  }
  return -EINVAL;
}

i64 Disk::perform_write(Request& request) {
  PageStore& store = request.inode->store;
  Prng& prng = world_.prng();
  if (draw_error(request.action)) {
    REACHED("sim disk: a write failed");
    write_torn(request);
    return -EIO;
  }
  if (!has_room(options_.capacity == 0 ? 0 : store.growth(request.offset, request.from.size()))) {
    REACHED("sim disk: full");
    return -ENOSPC;
  }
  u64 offset = request.offset;
  if (options_.misdirect_rate > 0 && prng.chance(options_.misdirect_rate)) {
    REACHED("sim disk: a write was misdirected");
    offset = prng.below(store.size() / kPage + 1) * kPage;
    ++counters_.errors;
  }
  const bool durable = request.durability == Durability::durable_write || !options_.volatile_cache;
  store.write(offset, request.from, durable);
  if (options_.bit_flip_rate > 0 && !request.from.empty() && prng.chance(options_.bit_flip_rate)) {
    REACHED("sim disk: a stored bit flipped");
    store.flip(offset + prng.below(request.from.size()), static_cast<u32>(prng.below(8)));
    ++counters_.errors;
  }
  ++counters_.writes;
  counters_.bytes_written += request.from.size();
  return static_cast<i64>(request.from.size());
}

i64 Disk::perform_flush(Request& request) {
  PageStore& store = request.inode->store;
  if (draw_error(request.action)) {
    REACHED("sim disk: a flush failed");
    store.doom(request.mark);
    return -EIO;
  }
  ++counters_.flushes;
  if (options_.lost_flush_rate > 0 && world_.prng().chance(options_.lost_flush_rate)) {
    REACHED("sim disk: a flush lied");
    ++counters_.errors;
    return 0;
  }
  store.harden(request.mark);
  return 0;
}

// Some sectors of it reach the medium, in a volatile way.
void Disk::write_torn(Request& request) {
  Prng& prng = world_.prng();
  const u64 end = request.offset + request.from.size();
  const u64 sector = options_.tear.sector;
  for (u64 at = request.offset; at < end;) {
    const u64 stop = std::min(end, round_down(at, sector) + sector);
    const Bytes part = request.from.subspan(at - request.offset, stop - at);
    if (prng.below(2) == 0 && has_room(request.inode->store.growth(at, part.size()))) {
      request.inode->store.write(at, part, false);
    }
    at = stop;
  }
}

// A write that was in flight when its process died.
void Disk::abandon_write(Request& request, Crash how) {
  ++counters_.in_flight_at_crash;
  const bool has_place = has_room(request.inode->store.growth(request.offset, request.from.size()));
  if (how == Crash::power) {  // power_loss() decides about it as about any other
    if (has_place) {
      request.inode->store.write(request.offset, request.from, false);
    }
    return;
  }
  const double fate = world_.prng().unit();
  if (fate < options_.tear.kept && has_place) {
    request.inode->store.write(request.offset, request.from, false);
  } else if (fate < 1.0 - options_.tear.lost) {
    REACHED("sim disk: a write was torn by the death of its process");
    write_torn(request);
  }
}

void Disk::process_died(const SimEnv& env, Crash how) {
  for (Request* request = in_flight_.front(); request != nullptr;) {
    Request* next = in_flight_.next(*request);
    if (request->env == &env) {
      if (request->action == DiskAction::write && !failed_ && !request->inode->gone) {
        abandon_write(*request, how);
      }
      release(*request);
    }
    request = next;
  }
  for (const auto& [path, inode] : files_) {
    inode->locked_by = nullptr;
    if (how == Crash::power && inode->store.has_volatile()) {
      REACHED("sim disk: a power loss hit volatile writes");
      inode->store.power_loss(world_.prng(), options_.tear);
    }
  }
}

void Disk::replace() {
  for (const auto& [path, inode] : files_) {
    inode->gone = true;
  }
  files_.clear();
  directories_.clear();
  used_ = std::make_shared<u64>(0);
  failed_ = false;
}

Status Disk::corrupt(std::string_view path, u64 offset, u32 bit) {
  const auto found = files_.find(normalised(path));
  if (found == files_.end()) {
    return Error(Code::kNotFound, std::string(path));
  }
  if (offset >= found->second->store.size()) {
    return Error(Code::kInvalidArgument, "the offset is behind the end of the file");
  }
  found->second->store.flip(offset, bit);
  return {};
}

}  // namespace pangu::env::sim
