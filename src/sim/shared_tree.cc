#include "sim/shared_tree.h"

#include <algorithm>
#include <fmt/format.h>

#include "base/reached.h"
#include "runtime/await.h"
#include "sim/linearizable.h"

namespace pangu::sim {

namespace {

using Kind = NamespaceOp::Kind;

constexpr std::string_view kNames[] = {"a", "b", "c"};
constexpr size_t kDepthMax = 4;
// With more entries than this, more are removed than made.
constexpr size_t kEntriesSoft = 24;
constexpr Duration kAgain = milliseconds(100);

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}
std::string joined(const std::string& directory, std::string_view name) {
  return directory.empty() ? std::string(name) : fmt::format("{}/{}", directory, name);
}
size_t depth_of(const std::string& path) {
  return path.empty() ? 0 : 1 + static_cast<size_t>(std::count(path.begin(), path.end(), '/'));
}
std::string_view draw_name(Prng& prng) {
  return kNames[prng.below(std::size(kNames))];
}

enum class Meaning : u8 { answer, nothing, unknown, wrong };

Meaning meaning_of(Code code) {
  switch (code) {
    case Code::kOk:
    case Code::kInvalidArgument:
    case Code::kNotFound:
    case Code::kAlreadyExists:
    case Code::kNotDirectory:
    case Code::kIsDirectory:
    case Code::kNotEmpty:
      return Meaning::answer;
    case Code::kUnavailable:
    case Code::kNoSpace:
      return Meaning::nothing;
    case Code::kUnknownOutcome:
    case Code::kTimeout:
    case Code::kConnectionLost:
    case Code::kCancelled:
    case Code::kClosed:
      return Meaning::unknown;
    default:
      return Meaning::wrong;
  }
}

NamespaceItem item_of(const client::Entry& entry) {
  return {
      .name = entry.name, .directory = entry.type == client::EntryType::directory, .id = entry.id};
}

template <class T>
Result<NamespaceAnswer> answer_of(const Result<T>& result) {
  if (!result.ok()) {
    return Error(result.error());
  }
  NamespaceAnswer out;
  if constexpr (std::is_same_v<T, client::Entry>) {
    out.items.push_back(item_of(*result));
  } else if constexpr (std::is_same_v<T, client::FileInfo>) {
    out.items.push_back(item_of(result->entry));
  } else if constexpr (std::is_same_v<T, client::ListPage>) {
    for (const client::Entry& entry : result->entries) {
      out.items.push_back(item_of(entry));
    }
  } else if constexpr (std::is_same_v<T, client::Removed>) {
    // Nobody counts what is in a tree.
    out.files = *result == client::Removed::file ? 1 : 0;
    out.directories = *result == client::Removed::empty_directory ? 1 : 0;
  }
  return out;
}

}  // namespace

std::string SharedTree::draw_path(Prng& prng) const {
  std::string out(draw_name(prng));
  while (depth_of(out) < kDepthMax && prng.chance(0.5)) {
    out = joined(out, draw_name(prng));
  }
  return out;
}

std::string SharedTree::draw_known(Prng& prng) const {
  const auto& nodes = likely_.nodes();
  if (nodes.empty() || prng.chance(0.15)) {
    return draw_path(prng);
  }
  auto it = nodes.begin();
  std::advance(it, prng.below(nodes.size()));
  return it->first;
}

std::string SharedTree::draw_directory(Prng& prng) const {
  std::vector<std::string> all = {""};
  for (const auto& [path, node] : likely_.nodes()) {
    if (node.directory && depth_of(path) < kDepthMax) {
      all.push_back(path);
    }
  }
  return all[prng.below(all.size())];
}

std::string SharedTree::draw_new(Prng& prng) const {
  return prng.chance(0.2) ? draw_path(prng) : joined(draw_directory(prng), draw_name(prng));
}

NamespaceOp SharedTree::draw_rename(Prng& prng) const {
  NamespaceOp op{
      .kind = Kind::rename, .path = draw_known(prng), .to = draw_new(prng), .flag = false};
  const std::string target = parent_of(last_rename_.to);
  if (!target.empty() && prng.chance(0.25)) {
    // Somebody moves X into Y; now Y into X.
    op.path = target;
    op.to = joined(last_rename_.path, draw_name(prng));
  }
  return op;
}

NamespaceOp SharedTree::draw(Prng& prng) {
  static constexpr Kind kKinds[] = {Kind::create,
                                    Kind::create,
                                    Kind::create,
                                    Kind::make_directory,
                                    Kind::make_directory,
                                    Kind::make_directory,
                                    Kind::make_directory,
                                    Kind::rename,
                                    Kind::rename,
                                    Kind::rename,
                                    Kind::rename,
                                    Kind::remove,
                                    Kind::remove,
                                    Kind::list,
                                    Kind::list,
                                    Kind::stat,
                                    Kind::stat};
  NamespaceOp op{
      .kind = kKinds[prng.below(std::size(kKinds))], .path = {}, .to = {}, .flag = false};
  const bool makes = op.kind == Kind::create || op.kind == Kind::make_directory;
  if (makes && likely_.nodes().size() > kEntriesSoft) {
    op.kind = Kind::remove;
  }
  switch (op.kind) {
    case Kind::create:
      op.path = draw_new(prng);
      op.flag = prng.chance(0.6);
      break;
    case Kind::make_directory:
      op.path = draw_new(prng);
      break;
    case Kind::rename:
      op = draw_rename(prng);
      break;
    case Kind::remove:
      op.path = draw_known(prng);
      op.flag = prng.chance(0.3);
      break;
    case Kind::list:
      op.path = prng.chance(0.3) ? "" : draw_directory(prng);
      break;
    case Kind::stat:
      op.path = draw_known(prng);
      break;
  }
  if (!last_.path.empty() && prng.chance(0.25)) {
    // Where somebody works right now: there, below it, or what holds it.
    op.path = prng.chance(0.3) && depth_of(last_.path) < kDepthMax
                  ? joined(last_.path, draw_name(prng))
                  : last_.path;
    if (prng.chance(0.2) && depth_of(op.path) > 1) {
      op.path = parent_of(op.path);
    }
  }
  last_ = op;
  if (op.kind == Kind::rename) {
    last_rename_ = op;
  }
  return op;
}

Task<Result<NamespaceAnswer>> SharedTree::call(client::Client& client, NamespaceOp op) const {
  const std::string path = full(op.path);
  switch (op.kind) {
    case Kind::create: {
      const client::CreateOptions options{.file = {}, .exclusive = op.flag};
      const auto made = co_await client.create(path, options);
      co_return answer_of(made);
    }
    case Kind::make_directory: {
      const auto made = co_await client.make_directory(path);
      co_return answer_of(made);
    }
    case Kind::rename: {
      const auto done = co_await client.rename(path, full(op.to));
      co_return done.ok() ? Result<NamespaceAnswer>(NamespaceAnswer())
                          : Result<NamespaceAnswer>(done.error());
    }
    case Kind::remove: {
      const auto removed = co_await client.remove(path, op.flag);
      co_return answer_of(removed);
    }
    case Kind::list: {
      const auto page = co_await client.list(path);
      if (page.ok() && page->more) {
        co_return Error(Code::kInternal, "a page of so few names should be the last");
      }
      co_return answer_of(page);
    }
    case Kind::stat: {
      const auto info = co_await client.stat(path);
      co_return answer_of(info);
    }
  }
  co_return Error(Code::kInternal);
}

Status SharedTree::record(size_t number, Result<NamespaceAnswer> answer, Instant now) {
  const NamespaceOp& op = history_.calls()[number].op;
  switch (meaning_of(answer.code())) {
    case Meaning::answer: {
      NamespaceAnswer told;
      if (answer.ok()) {
        told = std::move(*answer);
        if (likely_.look(op).code == Code::kOk) {
          likely_.change(op);
        }
      } else {
        told.code = answer.code();
      }
      history_.answered(number, std::move(told), now);
      break;
    }
    case Meaning::nothing:
      history_.nothing(number);
      break;
    case Meaning::unknown:
      REACHED("sim: an outcome on the shared tree is unknown");
      unknown_ += is_change(op.kind) ? 1 : 0;
      history_.unknown(number, now);
      break;
    case Meaning::wrong:
      return Error(Code::kInternal,
                   fmt::format("{} below {}: {}", to_string(op), root_, answer.error().message()));
  }
  return answer.ok() ? ok_status() : Status(std::move(answer).error());
}

Task<Status> SharedTree::perform(client::Client& client, Reactor& reactor, u32 number,
                                 NamespaceOp op) {
  const size_t call_number = history_.call(number, op, reactor.now());
  auto answer = co_await call(client, std::move(op));
  co_return record(call_number, std::move(answer), reactor.now());
}

Task<Status> SharedTree::read_all(client::Client& client, Reactor& reactor, Duration patience) {
  const u32 number = new_client();
  const Instant deadline = reactor.now() + patience;
  std::vector<std::string> directories = {""};
  for (size_t i = 0; i < directories.size();) {
    const NamespaceOp op{.kind = Kind::list, .path = directories[i], .to = {}, .flag = false};
    const size_t listing = history_.calls().size();
    const Status listed = co_await perform(client, reactor, number, op);
    const Meaning meaning = meaning_of(listed.code());
    if (meaning == Meaning::wrong || (meaning != Meaning::answer && reactor.now() >= deadline)) {
      co_return Error(listed.code(), fmt::format("list '{}' at the end: {}", full(op.path),
                                                 listed.error().message()));
    }
    if (meaning != Meaning::answer) {
      co_await sleep_for(kAgain);
      continue;
    }
    // An error is an answer as well: a call of unknown outcome may have moved the directory.
    for (const NamespaceItem& item : history_.calls()[listing].answer.items) {
      if (item.directory) {
        directories.push_back(joined(op.path, item.name));
      }
    }
    ++i;
  }
  co_return ok_status();
}

Status SharedTree::check() const {
  const LinearizableResult result = check_linearizable(history_);
  if (result.verdict == LinearizableVerdict::yes) {
    return {};
  }
  return Error(Code::kInternal, fmt::format("{}: {}", root_, result.report));
}

}  // namespace pangu::sim
