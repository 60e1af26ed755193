#include "sim/namespace_model.h"

#include <algorithm>
#include <fmt/format.h>

namespace pangu::sim {

namespace {

// More than this many possibilities mean that the model has gone astray, not the cluster.
constexpr size_t kWorldsMax = 4096;

// What the call answers; the tree is as after it.
NamespaceAnswer apply(NamespaceTree& tree, const NamespaceOp& op) {
  NamespaceAnswer answer = tree.look(op);
  if (answer.code == Code::kOk) {
    tree.change(op);
  }
  return answer;
}

}  // namespace

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
      apply(next.tree, next.late[i]);
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
    const NamespaceAnswer expected = apply(world.tree, op);
    expected_texts += fmt::format("{}{}", expected_texts.empty() ? "" : " | ", to_string(expected));
    if (!world.tree.learn(op, answer, expected)) {
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
  if (!is_change(op.kind)) {
    return;
  }
  std::vector<NamespaceOp> parts;
  if (op.kind == NamespaceOp::Kind::make_directory && op.flag) {
    // Parents are made one after the other: some of them may be all that there is.
    for (size_t end = op.path.find('/'); end != op.path.npos; end = op.path.find('/', end + 1)) {
      NamespaceOp part = op;
      part.path = op.path.substr(0, end);
      parts.push_back(part);
    }
  }
  parts.push_back(op);
  for (World& world : worlds_) {
    world.late.insert(world.late.end(), parts.begin(), parts.end());
  }
}

std::vector<std::string> NamespaceModel::paths() const {
  std::vector<std::string> out;
  for (const auto& [path, node] : worlds_.front().tree.nodes()) {
    out.push_back(path);
  }
  return out;
}

}  // namespace pangu::sim
