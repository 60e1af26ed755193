#include "chunk/server/terms.h"

#include <charconv>
#include <fmt/format.h>

#include "base/key_values.h"
#include "base/reached.h"
#include "runtime/await.h"
#include "wire/partition.h"

namespace pangu::chunk {

namespace {

std::optional<u64> parse_number(std::string_view text) {
  u64 out = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(out)
                                                                  : std::nullopt;
}

bool is_stream_group(u64 group) {
  return group >= wire::kFirstStreamGroup &&
         group < wire::kFirstStreamGroup + wire::kPartitionsMax;
}

}  // namespace

Status Terms::open(const std::string& directory) {
  path_ = directory + "/terms.toml";
  if (!env_.files().exists(path_)) {
    return ok_status();
  }
  TRY(text, env_.files().read_file(path_));
  TRY(values, parse_key_values(path_, text));
  for (const auto& [key, value] : values) {
    const auto group = parse_number(key.starts_with("group_") ? key.substr(6) : "");
    const auto term = parse_number(value);
    if (!group || !term || !is_stream_group(*group)) {
      return Error(Code::kInvalidArgument,
                   fmt::format("{}: '{} = {}' is no term of a stream group", path_, key, value));
    }
    heard_[*group] = {.term = *term};
  }
  return ok_status();
}

Status Terms::check(u64 group, u64 term) const {
  const auto found = heard_.find(group);
  if (found != heard_.end() && term < found->second.term) {
    ++refused_;
    REACHED("chunkserver: a deposed leader was refused");
    return Error(Code::kStale, fmt::format("the leader of term {} of group {} is over: that of "
                                           "term {} has spoken",
                                           term, group, found->second.term));
  }
  return ok_status();
}

Task<Status> Terms::admit(u64 group, u64 term) {
  if (!is_stream_group(group)) {
    co_return Error(Code::kInvalidArgument, fmt::format("{} is no stream group", group));
  }
  CO_TRY_VOID(check(group, term));
  Heard& heard = heard_[group];
  if (term > heard.term) {
    heard = {.term = term, .change = ++changes_};
  }
  if (heard.change > saved_) {
    CO_TRY_VOID(co_await save(heard.change));
    co_return check(group, term);  // a later one may have come meanwhile
  }
  co_return ok_status();
}

// Until the change with that number is durable. One writes for all.
Task<Status> Terms::save(u64 change) {
  while (saved_ < change) {
    if (saving_) {
      co_await saved_more_.wait();
      continue;
    }
    saving_ = true;
    const u64 covered = changes_;
    KeyValues values;
    for (const auto& [group, heard] : heard_) {
      values[fmt::format("group_{}", group)] = std::to_string(heard.term);
    }
    std::string text =
        format_key_values("The last terms heard from leaders. Do not copy or edit.", values);
    env::FileSystem& files = env_.files();
    auto work = [&files, path = path_, text = std::move(text)] {
      return files.replace_file(path, text);
    };
    const Status written = co_await run_in_background(std::move(work));
    saving_ = false;
    if (written.ok()) {
      saved_ = std::max(saved_, covered);
    }
    saved_more_.wake_all();
    CO_TRY_VOID(written);
  }
  co_return ok_status();
}

}  // namespace pangu::chunk
