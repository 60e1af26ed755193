#include "master/state/outbox.h"

#include <algorithm>

#include <fmt/core.h>

#include "base/reached.h"
#include "master/state/dead_directories.h"
#include "master/state/limits.h"
#include "master/state/locks.h"
#include "master/state/namespace.h"
#include "master/state/partition_map.h"
#include "master/state/reclaim.h"
#include "master/state/transaction.h"

namespace pangu::master {
namespace {

Status apply_message(Txn& txn, const record::Message& message) {
  if (message.remove_file() != 0) {
    remove_file(txn, {message.remove_file()});
    return ok_status();
  }
  const u64 directory = message.bury_directory();
  if (directory_locked(txn, directory)) {
    // It is about to be made: the transaction is committed, only its end has not come here.
    REACHED("master: a directory to be buried is locked");
    return Error(Code::kBusy, fmt::format("directory {:#018x} is locked", directory));
  }
  if (directory_exists(txn, directory)) {
    bury_directory(txn, directory);
  }
  return ok_status();
}

Status check_messages(const record::Meta& meta, const record::Deliver& request) {
  if (request.from() == 0 || request.from() == own_group(meta)) {
    return Error(Code::kInvalidArgument, "messages come from another group");
  }
  const bool streams = meta.kind() == pb::GROUP_STREAM;
  u64 last = 0;
  for (const record::Message& message : request.messages()) {
    const bool file = message.remove_file() != 0 && message.bury_directory() == 0;
    const bool directory = message.bury_directory() > keys::kRootDirectory && !file;
    if (message.number() <= last || !(streams ? file : directory)) {
      return Error(Code::kInvalidArgument,
                   fmt::format("message {} of group {} is not for this group, or out of order",
                               message.number(), request.from()));
    }
    last = message.number();
  }
  return ok_status();
}

u64 group_in(const std::string& message_key) {
  return keys::decode_u64(std::string_view(message_key).substr(1, 8));
}
u64 number_in(const std::string& message_key) {
  return keys::decode_u64(std::string_view(message_key).substr(9));
}

}  // namespace

void queue_message(Txn& txn, u64 to, record::Message message) {
  record::Meta& meta = txn.meta();
  message.set_number(meta.next_message());
  meta.set_next_message(meta.next_message() + 1);
  meta.set_messages(meta.messages() + 1);
  txn.put(keys::message(to, message.number()), message);
}

Status deliver(Txn& txn, const record::Deliver& request) {
  TRY_VOID(check_messages(txn.meta(), request));
  const std::string key = keys::received(request.from());
  const u64 before = keys::decode_u64(txn.get(key).value_or(""));
  u64 done = before;
  for (const record::Message& message : request.messages()) {
    if (message.number() <= done) {
      REACHED("master: a message came again");
      continue;
    }
    TRY_VOID(apply_message(txn, message));
    done = message.number();
  }
  if (done != before) {
    txn.put(key, keys::encode_u64(done));
  }
  return ok_status();
}

Status delivered(Txn& txn, const record::Delivered& request) {
  const KvPage page = txn.scan(keys::messages_to(request.to()),
                               keys::message(request.to(), request.until()), kMessagesMax);
  for (const KvEntry& row : page.entries) {
    txn.erase(row.key);
  }
  txn.meta().set_messages(txn.meta().messages() - page.entries.size());
  return ok_status();
}

std::vector<OutboxPage> outbox(Txn& txn, size_t limit_per_group) {
  const size_t limit = std::clamp<size_t>(limit_per_group, 1, kMessagesMax);
  const u64 from = own_group(txn.meta());
  std::vector<OutboxPage> pages;
  std::string next = keys::messages();
  for (;;) {
    const KvPage first = txn.scan(next, prefix_end(keys::messages()), 1);
    if (first.entries.empty()) {
      return pages;
    }
    OutboxPage& page = pages.emplace_back();
    page.to = group_in(first.entries.front().key);
    page.messages.set_from(from);
    const std::string prefix = keys::messages_to(page.to);
    for (const KvEntry& row : txn.scan_prefix(prefix, limit).entries) {
      txn.get(row.key, *page.messages.add_messages());
      page.until = number_in(row.key) + 1;
    }
    next = prefix_end(prefix);
  }
}

}  // namespace pangu::master
