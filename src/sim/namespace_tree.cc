#include "sim/namespace_tree.h"

#include <algorithm>
#include <fmt/format.h>

namespace pangu::sim {

namespace {

using Kind = NamespaceOp::Kind;
using Nodes = NamespaceTree::Nodes;

std::string name_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}
std::string joined(const std::string& directory, const std::string& name) {
  return directory.empty() ? name : directory + "/" + name;
}

// The entry at `path` and all that lies in it. ('-' and '.' sort before '/', so there may be others
// between.)
template <class Visit>
void for_each_within(const Nodes& nodes, const std::string& path, Visit visit) {
  if (const auto self = nodes.find(path); self != nodes.end()) {
    visit(self);
  }
  for (auto it = nodes.lower_bound(path + "/"); it != nodes.end() && is_below(it->first, path);) {
    visit(it++);
  }
}

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::create:
      return "create";
    case Kind::make_directory:
      return "mkdir";
    case Kind::rename:
      return "rename";
    case Kind::remove:
      return "remove";
    case Kind::list:
      return "list";
    case Kind::stat:
      return "stat";
  }
  return "?";
}

std::string_view flag_name(Kind kind) {
  switch (kind) {
    case Kind::create:
      return " exclusively";
    case Kind::make_directory:
      return " with parents";
    case Kind::remove:
      return " recursively";
    default:
      return "";
  }
}

}  // namespace

std::string to_string(const NamespaceOp& op) {
  return fmt::format("{} '{}'{}{}", kind_name(op.kind), op.path,
                     op.to.empty() ? "" : fmt::format(" to '{}'", op.to),
                     op.flag ? flag_name(op.kind) : "");
}

std::string to_string(const NamespaceAnswer& answer) {
  std::string out(code_name(answer.code));
  for (const NamespaceItem& item : answer.items) {
    out += fmt::format(" {}{}#{:x}", item.name, item.directory ? "/" : "", item.id);
  }
  if (answer.files + answer.directories > 0) {
    out += fmt::format(" {} files, {} directories", answer.files, answer.directories);
  }
  return out;
}

std::string to_string(const NamespaceTree& tree) {
  std::string out;
  for (const auto& [path, node] : tree.nodes()) {
    out += fmt::format("{}{}{}#{:x}", out.empty() ? "" : "  ", path, node.directory ? "/" : "",
                       node.id);
  }
  return out.empty() ? "(empty)" : out;
}

bool is_below(std::string_view path, std::string_view directory) {
  return directory.empty() ? !path.empty()
                           : path.size() > directory.size() && path.starts_with(directory) &&
                                 path[directory.size()] == '/';
}

// kOk if every directory above `path` is there.
Code NamespaceTree::walk(const std::string& path) const {
  for (size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const auto found = nodes_.find(path.substr(0, slash));
    if (found == nodes_.end()) {
      return Code::kNotFound;
    }
    if (!found->second.directory) {
      return Code::kNotDirectory;
    }
  }
  return Code::kOk;
}

Code NamespaceTree::find(const std::string& path, const Node*& node) const {
  static constexpr Node kRoot{.directory = true};
  if (path.empty()) {
    node = &kRoot;
    return Code::kOk;
  }
  if (const Code code = walk(path); code != Code::kOk) {
    return code;
  }
  const auto found = nodes_.find(path);
  if (found == nodes_.end()) {
    return Code::kNotFound;
  }
  node = &found->second;
  return Code::kOk;
}

Code NamespaceTree::look_create(const NamespaceOp& op) const {
  if (const Code code = walk(op.path); code != Code::kOk) {
    return code;
  }
  const auto found = nodes_.find(op.path);
  if (found == nodes_.end()) {
    return Code::kOk;
  }
  if (found->second.directory) {
    return Code::kIsDirectory;
  }
  return op.flag ? Code::kAlreadyExists : Code::kOk;
}

Code NamespaceTree::look_make_directory(const NamespaceOp& op) const {
  if (!op.flag) {
    const Code code = walk(op.path);
    return code != Code::kOk ? code : nodes_.contains(op.path) ? Code::kAlreadyExists : Code::kOk;
  }
  if (walk(op.path) == Code::kNotDirectory) {
    return Code::kNotDirectory;
  }
  const auto found = nodes_.find(op.path);
  return found == nodes_.end() || found->second.directory ? Code::kOk : Code::kAlreadyExists;
}

Code NamespaceTree::look_rename(const NamespaceOp& op) const {
  const Node* from = nullptr;
  if (const Code code = find(op.path, from); code != Code::kOk) {
    return code;
  }
  if (const Code code = walk(op.to); code != Code::kOk) {
    return code;
  }
  if (from->directory && is_below(op.to, op.path)) {
    return Code::kInvalidArgument;
  }
  return nodes_.contains(op.to) ? Code::kAlreadyExists : Code::kOk;
}

Code NamespaceTree::look_remove(const NamespaceOp& op, NamespaceAnswer& answer) const {
  const Node* found = nullptr;
  if (const Code code = find(op.path, found); code != Code::kOk) {
    return code;
  }
  u64 files = 0;
  u64 directories = 0;
  for_each_within(nodes_, op.path, [&](Nodes::const_iterator it) {
    ++(it->second.directory ? directories : files);
  });
  if (files + directories > 1 && !op.flag) {
    return Code::kNotEmpty;
  }
  answer.files = files;
  answer.directories = directories;
  return Code::kOk;
}

Code NamespaceTree::look_list(const NamespaceOp& op, NamespaceAnswer& answer) const {
  const Node* found = nullptr;
  if (const Code code = find(op.path, found); code != Code::kOk) {
    return code;
  }
  if (!found->directory) {
    return Code::kNotDirectory;
  }
  const std::string prefix = op.path.empty() ? "" : op.path + "/";
  for (auto it = nodes_.lower_bound(prefix); it != nodes_.end() && it->first.starts_with(prefix);
       ++it) {
    if (it->first.find('/', prefix.size()) == std::string::npos) {
      answer.items.push_back(
          {it->first.substr(prefix.size()), it->second.directory, it->second.id});
    }
  }
  std::sort(answer.items.begin(), answer.items.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return Code::kOk;
}

NamespaceAnswer NamespaceTree::look(const NamespaceOp& op) const {
  NamespaceAnswer answer;
  switch (op.kind) {
    case Kind::create:
      answer.code = look_create(op);
      break;
    case Kind::make_directory:
      answer.code = look_make_directory(op);
      break;
    case Kind::rename:
      answer.code = look_rename(op);
      break;
    case Kind::remove:
      answer.code = look_remove(op, answer);
      break;
    case Kind::list:
      answer.code = look_list(op, answer);
      break;
    case Kind::stat: {
      const Node* found = nullptr;
      answer.code = find(op.path, found);
      if (answer.code == Code::kOk) {
        answer.items.push_back({name_of(op.path), found->directory, found->id});
      }
      break;
    }
  }
  const bool makes = op.kind == Kind::create || op.kind == Kind::make_directory;
  if (makes && answer.code == Code::kOk) {
    const auto there = nodes_.find(op.path);
    answer.items.push_back({name_of(op.path), op.kind == Kind::make_directory,
                            there == nodes_.end() ? 0 : there->second.id});
  }
  return answer;
}

bool NamespaceTree::changes(const NamespaceOp& op) const {
  switch (op.kind) {
    case Kind::create:
    case Kind::make_directory:
      return !nodes_.contains(op.path);
    case Kind::rename:
    case Kind::remove:
      return true;
    case Kind::list:
    case Kind::stat:
      return false;
  }
  return false;
}

void NamespaceTree::rename(const std::string& from, const std::string& to) {
  Nodes moved;
  std::vector<Nodes::const_iterator> old;
  for_each_within(nodes_, from, [&](Nodes::const_iterator it) {
    moved.emplace(to + it->first.substr(from.size()), it->second);
    old.push_back(it);
  });
  for (const auto it : old) {
    nodes_.erase(it);
  }
  nodes_.merge(moved);
}

void NamespaceTree::remove(const std::string& path) {
  std::vector<Nodes::const_iterator> old;
  for_each_within(nodes_, path, [&](Nodes::const_iterator it) { old.push_back(it); });
  for (const auto it : old) {
    if (!it->second.directory && it->second.id != 0) {
      gone_.insert(it->second.id);
    }
    nodes_.erase(it);
  }
}

void NamespaceTree::change(const NamespaceOp& op) {
  switch (op.kind) {
    case Kind::create:
      nodes_.emplace(op.path, Node{});
      return;
    case Kind::make_directory:
      for (size_t end = op.path.find('/'); end != std::string::npos;
           end = op.path.find('/', end + 1)) {
        nodes_.emplace(op.path.substr(0, end), Node{.directory = true});
      }
      nodes_.emplace(op.path, Node{.directory = true});
      return;
    case Kind::rename:
      rename(op.path, op.to);
      return;
    case Kind::remove:
      remove(op.path);
      return;
    case Kind::list:
    case Kind::stat:
      return;
  }
}

bool NamespaceTree::learn(const NamespaceOp& op, const NamespaceAnswer& told,
                          const NamespaceAnswer& expected) {
  if (told.code != expected.code || told.items.size() != expected.items.size()) {
    return false;
  }
  const bool counted = op.kind == Kind::remove && (!op.flag || told.files + told.directories > 0);
  if (counted && (told.files != expected.files || told.directories != expected.directories)) {
    return false;
  }
  for (size_t i = 0; i < told.items.size(); ++i) {
    const NamespaceItem& item = told.items[i];
    const NamespaceItem& known = expected.items[i];
    if (item.name != known.name || item.directory != known.directory ||
        (known.id != 0 && known.id != item.id)) {
      return false;
    }
    if (known.id != 0 || item.id == 0) {
      continue;
    }
    const std::string path = op.kind == Kind::list ? joined(op.path, item.name) : op.path;
    if (path.empty()) {
      continue;  // the root's own id is nobody's business
    }
    const bool taken = std::any_of(nodes_.begin(), nodes_.end(),
                                   [&](const auto& each) { return each.second.id == item.id; });
    if (taken || (!item.directory && gone_.contains(item.id))) {
      return false;
    }
    nodes_.at(path).id = item.id;
  }
  return true;
}

void NamespaceTree::forget_gone(const std::set<u64>& keep) {
  std::erase_if(gone_, [&](u64 id) { return !keep.contains(id); });
}

}  // namespace pangu::sim
