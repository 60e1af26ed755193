#include "client/committed_sender.h"

#include "client/client_core.h"

namespace pangu::client {

CommittedSender::Alarm::Alarm(CommittedSender* o)
    : Timer([](Timer* timer) noexcept { static_cast<Alarm*>(timer)->owner->flush(); }), owner(o) {}

CommittedSender::CommittedSender(ClientCore& core, Duration delay) : core_(core), delay_(delay) {}

void CommittedSender::note(const ChunkPlace& chunk, u64 committed) {
  Noted& noted = noted_[chunk.id];
  noted.epoch = chunk.owner;
  noted.committed = committed;
  if (noted.locations.empty()) {
    for (const Replica& replica : chunk.replicas) {
      noted.locations.push_back(replica.location);
    }
  }
  if (!alarm_.armed()) {
    alarm_.arm(core_.reactor, core_.now() + delay_);
  }
}

void CommittedSender::forget(const ChunkId& chunk) {
  noted_.erase(chunk);
}

void CommittedSender::flush() {
  alarm_.cancel();
  std::map<ServerId, std::vector<wire::CommittedEntry>> messages;
  for (const auto& [chunk, noted] : noted_) {
    for (const Location& location : noted.locations) {
      messages[location.server].push_back({.chunk = wire::to_wire(chunk),
                                           .device = location.device,
                                           .epoch = noted.epoch.number,
                                           .reserved = 0,
                                           .committed = noted.committed});
    }
  }
  noted_.clear();
  for (auto& [server, entries] : messages) {
    while (!entries.empty()) {
      const size_t count = std::min<size_t>(entries.size(), wire::kCommittedMax);
      std::vector<wire::CommittedEntry> part(entries.end() - static_cast<std::ptrdiff_t>(count),
                                             entries.end());
      entries.resize(entries.size() - count);
      core_.gate.spawn(core_.reactor, "committed", TaskClass::foreground,
                       send(server, std::move(part)));
    }
  }
}

// Losing it is harmless: readers learn the length a little later.
Task<void> CommittedSender::send(ServerId server, std::vector<wire::CommittedEntry> entries) {
  const wire::CommittedRequest head{.count = static_cast<u32>(entries.size()), .reserved = 0};
  std::string body(sizeof(head) + entries.size() * sizeof(wire::CommittedEntry), '\0');
  store_le(body.data(), head);
  std::memcpy(body.data() + sizeof(head), entries.data(),
              entries.size() * sizeof(wire::CommittedEntry));
  ++core_.counters.committed_messages;
  const rpc::CallOptions options{.deadline = core_.now() + core_.options.append_timeout};
  auto response =
      co_await core_.call_server(server, wire::Method::committed,
                                 as_bytes_of(std::string_view(body)), rpc::Payload{}, options);
  (void)response;
}

}  // namespace pangu::client
