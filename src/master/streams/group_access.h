#pragma once
#include "master/group/group.h"
#include "master/streams/stream_group.h"

namespace pangu::master {

// A Group, as the stream loops see it.
class GroupAccess final : public StreamGroup {
 public:
  // Must outlive it.
  explicit GroupAccess(Group& group) : group_(group) {}
  u64 id() const override { return group_.id().value(); }
  u64 leading_term() const override;
  bool closing() const override { return group_.closing(); }
  WaitList& news() override { return group_.news(); }
  Task<Status> look(std::function<void(Txn&)> look) override;
  Task<Status> execute(InternalMethod method, std::string request, Instant deadline) override;
  std::vector<pb::ServerInfo> servers() override;

 private:
  Group& group_;
};

}  // namespace pangu::master
