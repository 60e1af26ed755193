#include "client/namespace_ops.h"

#include <fmt/format.h>

#include "base/reached.h"
#include "runtime/await.h"
#include "wire/path.h"

namespace pangu::client {

namespace {

constexpr Duration kPauseFirst = milliseconds(1);
constexpr Duration kPauseMax = milliseconds(50);

bool is_directory(const pb::Entry& entry) {
  return entry.type() == pb::ENTRY_DIRECTORY;
}

void write_place(pb::Place& out, const Way& way, std::string name) {
  out.set_directory(way.directory());
  out.set_name(std::move(name));
  out.mutable_chain()->Assign(way.chain.begin(), way.chain.end());
  out.set_seen(way.seen);
}

// An error that is no answer to the change itself: what an earlier attempt did counts more.
Error outcome(const Change& change, Error error) {
  if (!change.unknown() || error.code() == Code::kUnknownOutcome) {
    return error;
  }
  REACHED("client: a change may have happened, and its path is not what it was");
  return Error(Code::kUnknownOutcome,
               "an attempt may have been carried out, and the next one was not possible: " +
                   error.message());
}

// Masters know ids; people know paths.
Error by_path(Error error, const std::string& path) {
  switch (error.code()) {
    case Code::kAlreadyExists:
      return Error(Code::kAlreadyExists, fmt::format("'{}' exists", path));
    case Code::kIsDirectory:
      return Error(Code::kIsDirectory, fmt::format("'{}' is a directory", path));
    case Code::kNotEmpty:
      return Error(Code::kNotEmpty, fmt::format("'{}' holds entries", path));
    case Code::kNotFound:
    case Code::kNotDirectory:
      return error;  // of a part of the path, which it names
    default:
      return std::move(error).within(path);
  }
}

Error keeps_changing(const std::string& path) {
  return Error(Code::kUnavailable,
               fmt::format("'{}': the directories above it keep changing", path));
}

// The way in the request is not right any more, or its directory is gone.
bool is_old_way(Code code) {
  return code == Code::kStale || code == Code::kNotFound;
}

}  // namespace

Task<bool> NamespaceOps::again(Retry& retry, u64 group, std::vector<u64> refused,
                               Instant deadline) {
  if (++retry.count == 1) {
    retry.pause = kPauseFirst;
    retry.refused = std::move(refused);
    co_return reactor_.now() < deadline;
  }
  if (retry.refused == refused) {
    // The way is right, it seems. So whoever was asked has nothing to do with that group.
    REACHED("client: the same way was refused twice");
    co_await meta_.doubt(group, deadline);
  }
  retry.refused = std::move(refused);
  if (reactor_.now() + retry.pause >= deadline) {
    co_return false;
  }
  co_await sleep_for(retry.pause);
  retry.pause = std::min(retry.pause * 2, kPauseMax);
  co_return true;
}

template <class Reply, class Request>
Task<Result<Reply>> NamespaceOps::change_in_directory(wire::Method method, std::string path,
                                                      Request request, Instant deadline) {
  const std::string parent = parent_path(path);
  Change change(meta_);
  Retry retry;
  for (;;) {
    auto way = co_await resolver_.directory(parent, deadline);
    if (!way.ok()) {
      co_return outcome(change, std::move(way).error());
    }
    auto group = co_await meta_.group_of_directory(way->directory(), deadline);
    if (!group.ok()) {
      co_return outcome(change, std::move(group).error());
    }
    write_place(*request.mutable_place(), *way, last_name(path));
    const Target target{.group = *group, .stale = Target::Stale::way};
    auto reply = co_await meta_.change<Reply>(change, target, method, request, deadline);
    if (!is_old_way(reply.code())) {
      co_return reply;
    }
    if (reply.code() == Code::kNotFound) {
      change.renew();
    }
    resolver_.note_stale(parent);
    const bool go_on = co_await again(retry, *group, std::move(way->chain), deadline);
    if (!go_on) {
      co_return outcome(change, keeps_changing(path));
    }
  }
}

Task<Result<pb::Entry>> NamespaceOps::create_file(std::string path, pb::FileOptions options,
                                                  bool exclusive, Instant deadline) {
  CO_TRY(parts, wire::parse_path(path));
  if (parts.empty()) {
    co_return Error(Code::kIsDirectory, "'/' is the root directory");
  }
  pb::CreateFileRequest request;
  *request.mutable_options() = options;
  request.set_exclusive(exclusive);
  auto reply = co_await change_in_directory<pb::CreateFileReply>(wire::Method::create_file, path,
                                                                 std::move(request), deadline);
  if (!reply.ok()) {
    co_return by_path(std::move(reply).error(), path);
  }
  co_return reply->entry();
}

Task<Result<pb::Entry>> NamespaceOps::lookup(std::string path, Instant deadline) {
  auto found = co_await resolver_.lookup(path, deadline);
  if (!found.ok()) {
    co_return std::move(found).error();
  }
  co_return std::move(found->entry);
}

Task<Result<pb::ListReply>> NamespaceOps::list(std::string path, std::string after, u32 limit,
                                               Instant deadline) {
  CO_TRY_VOID(wire::parse_path(path));
  pb::ListRequest request;
  request.set_after(after);
  request.set_limit(limit);
  Retry retry;
  for (;;) {
    CO_TRY(way, co_await resolver_.directory(path, deadline));
    CO_TRY(group, co_await meta_.group_of_directory(way.directory(), deadline));
    write_place(*request.mutable_place(), way, {});
    const Target target{.group = group, .stale = Target::Stale::way};
    auto reply =
        co_await meta_.ask<pb::ListReply>(target, wire::Method::list, request, deadline);
    if (reply.ok()) {
      co_return reply;
    }
    if (!is_old_way(reply.code())) {
      co_return by_path(std::move(reply).error(), path);
    }
    resolver_.note_stale(path);
    const bool go_on = co_await again(retry, group, std::move(way.chain), deadline);
    if (!go_on) {
      co_return keeps_changing(path);
    }
  }
}

Task<Result<pb::Entry>> NamespaceOps::make_one(std::string path, Instant deadline) {
  auto reply = co_await change_in_directory<pb::MakeDirectoryReply>(
      wire::Method::make_directory, path, pb::MakeDirectoryRequest(), deadline);
  if (!reply.ok()) {
    co_return by_path(std::move(reply).error(), path);
  }
  co_return reply->entry();
}

Task<Result<pb::Entry>> NamespaceOps::make_directory(std::string path, bool parents,
                                                     Instant deadline) {
  CO_TRY(parts, wire::parse_path(path));
  if (parts.empty() && !parents) {
    co_return Error(Code::kAlreadyExists, "'/' exists");
  }
  if (parts.empty()) {
    co_return co_await lookup(path, deadline);
  }
  if (parents) {
    co_return co_await make_all(path, deadline);
  }
  co_return co_await make_one(path, deadline);
}

// Goes down as far as there is something, then makes the rest. Begins again if somebody changes the
// same path meanwhile.
Task<Result<pb::Entry>> NamespaceOps::make_all(std::string path, Instant deadline) {
  CO_TRY(parts, wire::parse_path(path));
  Retry retry;
  for (;;) {
    CO_TRY(entries, co_await resolver_.explore(path, deadline));
    size_t depth = entries.size();
    std::string at;
    for (size_t i = 0; i < depth; ++i) {
      at += "/" + std::string(parts[i]);
      if (!is_directory(entries[i])) {
        const bool last = i + 1 == parts.size();
        co_return Error(last ? Code::kAlreadyExists : Code::kNotDirectory,
                        fmt::format("'{}' is a file", at));
      }
    }
    if (depth == parts.size()) {
      co_return std::move(entries.back());
    }
    Result<pb::Entry> made = Error(Code::kNotFound);
    for (; depth < parts.size(); ++depth) {
      at += "/" + std::string(parts[depth]);
      made = co_await make_one(at, deadline);
      const bool somebody_did = made.code() == Code::kAlreadyExists && depth + 1 < parts.size();
      if (!made.ok() && !somebody_did) {
        break;
      }
    }
    const bool begin_again =
        made.code() == Code::kAlreadyExists || made.code() == Code::kNotFound;
    if (!begin_again) {
      co_return made;
    }
    const bool go_on = co_await again(retry, wire::kRootGroup, {retry.count}, deadline);
    if (!go_on) {
      co_return keeps_changing(path);
    }
  }
}

Task<Status> NamespaceOps::rename(std::string from, std::string to, Instant deadline) {
  CO_TRY(from_parts, wire::parse_path(from));
  CO_TRY(to_parts, wire::parse_path(to));
  if (from_parts.empty() || to_parts.empty()) {
    co_return Error(Code::kInvalidArgument, "the root directory cannot be renamed or replaced");
  }
  Change change(meta_);
  Retry retry;
  for (;;) {
    auto found = co_await resolver_.lookup(from, deadline);
    if (!found.ok()) {
      co_return outcome(change, std::move(found).error());
    }
    auto target_way = co_await resolver_.directory(parent_path(to), deadline);
    if (!target_way.ok()) {
      co_return outcome(change, std::move(target_way).error());
    }
    if (from == to) {
      co_return outcome(change, Error(Code::kAlreadyExists, fmt::format("'{}' exists", to)));
    }
    const bool moves = is_directory(found->entry);
    auto group = co_await meta_.group_of_directory(found->parent.directory(), deadline);
    if (!group.ok()) {
      co_return outcome(change, std::move(group).error());
    }
    const Target target{.group = moves ? wire::kRootGroup : *group, .stale = Target::Stale::way};
    pb::RenameRequest request;
    write_place(*request.mutable_from(), found->parent, last_name(from));
    write_place(*request.mutable_to(), *target_way, last_name(to));
    request.set_moves(found->entry.id());
    auto reply = co_await meta_.change<pb::RenameReply>(change, target, wire::Method::rename,
                                                        std::move(request), deadline);
    if (moves) {
      resolver_.forget(from);
      resolver_.forget(to);
    }
    if (reply.ok()) {
      co_return ok_status();
    }
    if (!is_old_way(reply.code())) {
      co_return by_path(std::move(reply).error(), to);
    }
    if (reply.code() == Code::kNotFound) {
      change.renew();
    }
    resolver_.note_stale(parent_path(from));
    resolver_.note_stale(parent_path(to));
    std::vector<u64> refused = found->parent.chain;
    refused.insert(refused.end(), target_way->chain.begin(), target_way->chain.end());
    const bool go_on = co_await again(retry, target.group, std::move(refused), deadline);
    if (!go_on) {
      co_return outcome(change, keeps_changing(from));
    }
  }
}

Task<Result<Removed>> NamespaceOps::remove(std::string path, bool recursive, Instant deadline) {
  CO_TRY(parts, wire::parse_path(path));
  if (parts.empty()) {
    co_return Error(Code::kInvalidArgument, "the root directory cannot be removed");
  }
  Change change(meta_);
  Retry retry;
  bool holds_entries = false;
  for (;;) {
    auto found = co_await resolver_.lookup(path, deadline);
    if (!found.ok()) {
      co_return outcome(change, std::move(found).error());
    }
    auto group = co_await meta_.group_of_directory(found->parent.directory(), deadline);
    if (!group.ok()) {
      co_return outcome(change, std::move(group).error());
    }
    const bool directory = is_directory(found->entry);
    const bool tree = directory && holds_entries;
    const Target target{.group = tree ? wire::kRootGroup : *group, .stale = Target::Stale::way};
    pb::RemoveRequest request;
    write_place(*request.mutable_place(), found->parent, last_name(path));
    request.set_removes(found->entry.id());
    request.set_tree(tree);
    auto reply = co_await meta_.change<pb::RemoveReply>(change, target, wire::Method::remove,
                                                        std::move(request), deadline);
    if (directory) {
      resolver_.forget(path);
    }
    if (reply.ok()) {
      co_return tree ? Removed::tree : directory ? Removed::empty_directory : Removed::file;
    }
    if (reply.code() == Code::kNotEmpty && recursive && !tree) {
      change.renew();
      holds_entries = true;
      continue;
    }
    if (!is_old_way(reply.code())) {
      co_return by_path(std::move(reply).error(), path);
    }
    if (reply.code() == Code::kNotFound) {
      change.renew();
    }
    resolver_.note_stale(parent_path(path));
    const bool go_on =
        co_await again(retry, target.group, std::move(found->parent.chain), deadline);
    if (!go_on) {
      co_return outcome(change, keeps_changing(path));
    }
  }
}

}  // namespace pangu::client
