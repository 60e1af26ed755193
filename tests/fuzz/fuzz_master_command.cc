// Commands of the master's log as somebody could have sent them: each is answered, none does harm.
// Input: {group u8, method u8, size u16, request bytes}*, applied one after the other to a group of
// each kind.
#include "master/state/memory_kv.h"
#include "master/state/state_machine.h"
#include "wire/control.pb.h"
#include "wire/proto.h"

namespace {

using namespace pangu;
using namespace pangu::master;

class Group {
 public:
  explicit Group(pb::GroupKind kind) {
    const Genesis genesis{.cluster = {.high = 1, .low = 1}, .kind = kind};
    CHECK(kv_.apply(StateMachine::genesis(genesis), MayWait::yes).ok());
    for (u32 server = 1; server <= 3; ++server) {
      record::Replica& replica = *layout_.add_replicas();
      replica.set_server(server);
      replica.set_device_high(3);
      replica.set_device_low(server);
    }
    layout_.set_copies_max(3);
    layout_.set_copies_min(2);
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

// Something to begin with: a server, a file, a stream.
void begin(Group& root, Group& names, Group& streams) {
  pb::RegisterServerRequest server;
  wire::set(*server.mutable_identity(), Uuid{.high = 2, .low = 1});
  wire::set(*server.add_devices()->mutable_device(), Uuid{.high = 3, .low = 1});
  root.apply(static_cast<u32>(wire::Method::register_server), server.SerializeAsString());
  pb::CreateFileRequest create;
  wire::set(*create.mutable_id()->mutable_client(), Uuid{.high = 4, .low = 4});
  create.mutable_id()->set_sequence(1);
  create.mutable_place()->set_directory(1);
  create.mutable_place()->add_chain(1);
  create.mutable_place()->set_name("f");
  names.apply(static_cast<u32>(wire::Method::create_file), create.SerializeAsString());
  pb::OpenForAppendRequest open;
  *open.mutable_id() = create.id();
  open.set_file(1);
  open.set_fresh_chunks(2);
  streams.apply(static_cast<u32>(wire::Method::open_for_append), open.SerializeAsString());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const pangu::u8* data, size_t size) {
  Group groups[] = {Group(pb::GROUP_ROOT), Group(pb::GROUP_NAMESPACE), Group(pb::GROUP_STREAM)};
  begin(groups[0], groups[1], groups[2]);
  Bytes rest{reinterpret_cast<const std::byte*>(data), size};
  while (rest.size() >= 4) {
    Group& group = groups[static_cast<u8>(rest[0]) % 3];
    const u32 code = static_cast<u8>(rest[1]);
    const u32 method = code < 200 ? code : 1000 + (code - 200);
    const size_t length = std::min<size_t>(load_le<u16>(rest.data() + 2), rest.size() - 4);
    group.apply(method, std::string(as_text(rest.subspan(4, length))));
    rest = rest.subspan(4 + length);
  }
  return 0;
}
