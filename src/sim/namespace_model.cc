#include "sim/namespace_model.h"

#include <algorithm>
#include <fmt/format.h>

namespace pangu::sim {

namespace {

// More than this many possibilities mean that the model has gone astray, not the cluster.
constexpr size_t kWorldsMax = 4096;

using Kind = NamespaceOp::Kind;

std::string parent_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}
std::string name_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}
bool is_below(const std::string& path, const std::string& directory) {
  return path.size() > directory.size() && path.starts_with(directory) &&
         path[directory.size()] == '/';
}
bool is_change(Kind kind) {
  return kind != Kind::list && kind != Kind::stat;
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

}  // namespace

std::string to_string(const NamespaceOp& op) {
  return fmt::format("{} '{}'{}{}{}", kind_name(op.kind), op.path, op.to.empty() ? "" : " to ",
                     op.to, op.flag ? " (flag)" : "");
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

// kOk if every directory above `path` is there.
Code NamespaceModel::walk(const Tree& tree, const std::string& path) {
  for (size_t slash = path.find('/'); slash != std::string::npos;
       slash = path.find('/', slash + 1)) {
    const auto found = tree.find(path.substr(0, slash));
    if (found == tree.end()) {
      return Code::kNotFound;
    }
    if (!found->second.directory) {
      return Code::kNotDirectory;
    }
  }
  return Code::kOk;
}

Code NamespaceModel::apply_create(Tree& tree, const NamespaceOp& op) {
  if (const Code code = walk(tree, op.path); code != Code::kOk) {
    return code;
  }
  const auto found = tree.find(op.path);
  if (found == tree.end()) {
    tree.emplace(op.path, Node{});
    return Code::kOk;
  }
  if (found->second.directory) {
    return Code::kIsDirectory;
  }
  return op.flag ? Code::kAlreadyExists : Code::kOk;
}

Code NamespaceModel::apply_make_directory(Tree& tree, const NamespaceOp& op) {
  if (!op.flag) {
    if (const Code code = walk(tree, op.path); code != Code::kOk) {
      return code;
    }
    const bool made = tree.emplace(op.path, Node{.directory = true}).second;
    return made ? Code::kOk : Code::kAlreadyExists;
  }
  for (size_t end = op.path.find('/');; end = op.path.find('/', end + 1)) {
    const auto [place, made] = tree.emplace(op.path.substr(0, end), Node{.directory = true});
    const bool last = end == std::string::npos;
    if (!place->second.directory) {
      return last ? Code::kAlreadyExists : Code::kNotDirectory;
    }
    if (last) {
      return Code::kOk;
    }
  }
}

Code NamespaceModel::apply_rename(Tree& tree, const NamespaceOp& op) {
  if (const Code code = walk(tree, op.path); code != Code::kOk) {
    return code;
  }
  const auto from = tree.find(op.path);
  if (from == tree.end()) {
    return Code::kNotFound;
  }
  if (const Code code = walk(tree, op.to); code != Code::kOk) {
    return code;
  }
  if (from->second.directory && is_below(op.to, op.path)) {
    return Code::kInvalidArgument;
  }
  if (tree.contains(op.to)) {
    return Code::kAlreadyExists;
  }
  Tree moved;
  for (auto it = tree.begin(); it != tree.end();) {
    if (it->first == op.path || is_below(it->first, op.path)) {
      moved.emplace(op.to + it->first.substr(op.path.size()), it->second);
      it = tree.erase(it);
    } else {
      ++it;
    }
  }
  tree.merge(moved);
  return Code::kOk;
}

Code NamespaceModel::apply_remove(Tree& tree, const NamespaceOp& op, NamespaceAnswer& answer) {
  if (const Code code = walk(tree, op.path); code != Code::kOk) {
    return code;
  }
  const auto found = tree.find(op.path);
  if (found == tree.end()) {
    return Code::kNotFound;
  }
  const bool holds_entries = std::any_of(
      tree.begin(), tree.end(), [&](const auto& each) { return is_below(each.first, op.path); });
  if (holds_entries && !op.flag) {
    return Code::kNotEmpty;
  }
  for (auto it = tree.begin(); it != tree.end();) {
    if (it->first == op.path || is_below(it->first, op.path)) {
      ++(it->second.directory ? answer.directories : answer.files);
      it = tree.erase(it);
    } else {
      ++it;
    }
  }
  return Code::kOk;
}

Code NamespaceModel::look(const Tree& tree, const NamespaceOp& op, NamespaceAnswer& answer) {
  const auto found = tree.find(op.path);
  if (!op.path.empty()) {
    if (const Code code = walk(tree, op.path); code != Code::kOk) {
      return code;
    }
    if (found == tree.end()) {
      return Code::kNotFound;
    }
  }
  if (op.kind == Kind::stat) {
    answer.items.push_back({name_of(op.path), found->second.directory, found->second.id});
    return Code::kOk;
  }
  if (!op.path.empty() && !found->second.directory) {
    return Code::kNotDirectory;
  }
  for (const auto& [path, node] : tree) {
    if (!path.empty() && parent_of(path) == op.path) {
      answer.items.push_back({name_of(path), node.directory, node.id});
    }
  }
  std::sort(answer.items.begin(), answer.items.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return Code::kOk;
}

Code NamespaceModel::apply(Tree& tree, const NamespaceOp& op, NamespaceAnswer& answer) {
  Code code = Code::kOk;
  switch (op.kind) {
    case Kind::create:
      code = apply_create(tree, op);
      break;
    case Kind::make_directory:
      code = apply_make_directory(tree, op);
      break;
    case Kind::rename:
      code = apply_rename(tree, op);
      break;
    case Kind::remove:
      code = apply_remove(tree, op, answer);
      break;
    case Kind::list:
    case Kind::stat:
      code = look(tree, op, answer);
      break;
  }
  if (code == Code::kOk && (op.kind == Kind::create || op.kind == Kind::make_directory)) {
    const Node& node = tree.at(op.path);
    answer.items.push_back({name_of(op.path), node.directory, node.id});
  }
  answer.code = code;
  return code;
}

bool NamespaceModel::learn(Tree& tree, const NamespaceOp& op, const NamespaceAnswer& told,
                           const NamespaceAnswer& expected) {
  if (told.code != expected.code || told.items.size() != expected.items.size() ||
      told.files != expected.files || told.directories != expected.directories) {
    return false;
  }
  for (size_t i = 0; i < told.items.size(); ++i) {
    const NamespaceItem& item = told.items[i];
    const NamespaceItem& known = expected.items[i];
    if (item.name != known.name || item.directory != known.directory ||
        (known.id != 0 && known.id != item.id)) {
      return false;
    }
    const std::string path = op.kind != Kind::list ? op.path
                             : op.path.empty()     ? item.name
                                                   : op.path + "/" + item.name;
    // Two places never have one id.
    for (const auto& [other, node] : tree) {
      if (node.id == item.id && item.id != 0 && other != path) {
        return false;
      }
    }
    tree.at(path).id = item.id;
  }
  return true;
}

void NamespaceModel::add(std::vector<World>& worlds, World world) {
  if (std::find(worlds.begin(), worlds.end(), world) == worlds.end()) {
    worlds.push_back(std::move(world));
    CHECK(worlds.size() <= kWorldsMax);
  }
}

void NamespaceModel::let_late_ones_happen() {
  for (size_t w = 0; w < worlds_.size(); ++w) {  // grows while it goes
    for (size_t i = 0; i < worlds_[w].late.size(); ++i) {
      World next = worlds_[w];
      NamespaceAnswer nobody_hears;
      apply(next.tree, next.late[i], nobody_hears);
      next.late.erase(next.late.begin(), next.late.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      add(worlds_, std::move(next));
    }
  }
}

Status NamespaceModel::answered(const NamespaceOp& op, const NamespaceAnswer& answer) {
  let_late_ones_happen();
  std::vector<World> left;
  std::string expected_texts;
  for (World& world : worlds_) {
    NamespaceAnswer expected;
    apply(world.tree, op, expected);
    expected_texts += fmt::format("{}{}", expected_texts.empty() ? "" : " | ", to_string(expected));
    if (!learn(world.tree, op, answer, expected)) {
      continue;
    }
    if (is_change(op.kind) && answer.code == Code::kOk) {
      world.late.clear();
    }
    add(left, std::move(world));
  }
  if (left.empty()) {
    return Error(Code::kInternal, fmt::format("{} was answered {}, possible was {}", to_string(op),
                                              to_string(answer), expected_texts));
  }
  worlds_ = std::move(left);
  return {};
}

void NamespaceModel::unknown(const NamespaceOp& op) {
  if (is_change(op.kind)) {
    for (World& world : worlds_) {
      world.late.push_back(op);
    }
  }
}

std::vector<std::string> NamespaceModel::paths() const {
  std::vector<std::string> out;
  for (const auto& [path, node] : worlds_.front().tree) {
    out.push_back(path);
  }
  return out;
}

}  // namespace pangu::sim
