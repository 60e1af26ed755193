// Commands of the master's log as somebody could have sent them: each is answered, none does harm.
// Input: {method u8, size u16, request bytes}*, applied one after the other to a small cluster.
#include "master/state/memory_kv.h"
#include "master/state/state_machine.h"
#include "wire/control.pb.h"
#include "wire/proto.h"

namespace {

using namespace pangu;
using namespace pangu::master;

class Cluster {
 public:
  Cluster() {
    CHECK(kv_.apply(StateMachine::genesis({.high = 1, .low = 1}), MayWait::yes).ok());
    for (u32 server = 1; server <= 3; ++server) {
      pb::RegisterServerRequest request;
      wire::set(*request.mutable_identity(), Uuid{.high = 2, .low = server});
      wire::set(*request.add_devices()->mutable_device(), Uuid{.high = 3, .low = server});
      apply(static_cast<u32>(wire::Method::register_server), request.SerializeAsString());
      record::Replica& replica = *layout_.add_replicas();
      replica.set_server(server);
      replica.set_device_high(3);
      replica.set_device_low(server);
    }
    layout_.set_copies_max(3);
    layout_.set_copies_min(2);
    pb::CreateFileRequest create;
    wire::set(*create.mutable_id()->mutable_client(), Uuid{.high = 4, .low = 4});
    create.mutable_id()->set_sequence(1);
    create.set_path("/f");
    apply(static_cast<u32>(wire::Method::create_file), create.SerializeAsString());
  }
  void apply(u32 method, std::string request) {
    record::Command command;
    command.set_method(method);
    command.set_request(std::move(request));
    for (int i = 0; i < 4; ++i) {
      *command.mutable_offer()->add_layouts() = layout_;
    }
    const auto prepared = machine_.prepare(++index_, command, kv_);
    CHECK(prepared.ok());
    CHECK(kv_.apply(prepared->batch, MayWait::yes).ok());
  }

 private:
  MemoryKv kv_;
  StateMachine machine_;
  record::Layout layout_;
  u64 index_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const pangu::u8* data, size_t size) {
  Cluster cluster;
  Bytes rest{reinterpret_cast<const std::byte*>(data), size};
  while (rest.size() >= 3) {
    const u32 code = static_cast<u8>(rest[0]);
    const u32 method = code < 200 ? code : 1000 + (code - 200);
    const size_t length = std::min<size_t>(load_le<u16>(rest.data() + 1), rest.size() - 3);
    cluster.apply(method, std::string(as_text(rest.subspan(3, length))));
    rest = rest.subspan(3 + length);
  }
  return 0;
}
