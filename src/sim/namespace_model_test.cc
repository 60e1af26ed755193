#include "sim/namespace_model.h"

#include <gtest/gtest.h>

namespace pangu::sim {
namespace {

using Kind = NamespaceOp::Kind;

NamespaceAnswer entry(std::string name, bool directory, u64 id) {
  return {.items = {{std::move(name), directory, id}}};
}
NamespaceAnswer error(Code code) {
  return {.code = code};
}
NamespaceOp op(Kind kind, std::string path, bool flag = false, std::string to = "") {
  return {.kind = kind, .path = std::move(path), .to = std::move(to), .flag = flag};
}

TEST(NamespaceModel, FollowsTheRules) {
  NamespaceModel model;
  EXPECT_TRUE(model.answered(op(Kind::create, "a/f"), error(Code::kNotFound)).ok());
  EXPECT_TRUE(model.answered(op(Kind::make_directory, "a"), entry("a", true, 5)).ok());
  EXPECT_TRUE(model.answered(op(Kind::create, "a/f", true), entry("f", false, 6)).ok());
  EXPECT_TRUE(model.answered(op(Kind::create, "a/f"), entry("f", false, 6)).ok());
  EXPECT_TRUE(model.answered(op(Kind::create, "a/f", true), error(Code::kAlreadyExists)).ok());
  EXPECT_TRUE(model.answered(op(Kind::create, "a/f/x"), error(Code::kNotDirectory)).ok());
  EXPECT_TRUE(
      model.answered(op(Kind::rename, "a", false, "a/b"), error(Code::kInvalidArgument)).ok());
  EXPECT_TRUE(model.answered(op(Kind::rename, "a", false, "b"), {}).ok());
  EXPECT_TRUE(model.answered(op(Kind::stat, "b/f"), entry("f", false, 6)).ok());
  EXPECT_TRUE(model.answered(op(Kind::list, ""), entry("b", true, 5)).ok());
  EXPECT_TRUE(model.answered(op(Kind::remove, "b"), error(Code::kNotEmpty)).ok());
  EXPECT_TRUE(model.answered(op(Kind::remove, "b", true), {.files = 1, .directories = 1}).ok());
  EXPECT_TRUE(model.answered(op(Kind::list, ""), {}).ok());
  EXPECT_EQ(model.worlds(), 1u);
}

TEST(NamespaceModel, NoticesWrongAnswers) {
  NamespaceModel model;
  EXPECT_TRUE(model.answered(op(Kind::create, "f", true), entry("f", false, 6)).ok());
  EXPECT_FALSE(
      NamespaceModel(model).answered(op(Kind::create, "f", true), entry("f", false, 7)).ok())
      << "twice";
  EXPECT_FALSE(NamespaceModel(model).answered(op(Kind::stat, "f"), entry("f", false, 7)).ok())
      << "another id";
  EXPECT_FALSE(NamespaceModel(model).answered(op(Kind::list, ""), {}).ok()) << "lost";
  EXPECT_FALSE(NamespaceModel(model).answered(op(Kind::create, "g"), entry("g", false, 6)).ok())
      << "an id of somebody else";
}

TEST(NamespaceModel, AnUnknownOutcomeMayHappenUntilTheNextSuccess) {
  NamespaceModel model;
  const NamespaceOp create = op(Kind::create, "f", true);
  model.unknown(create);
  EXPECT_TRUE(model.answered(op(Kind::list, ""), {}).ok()) << "not yet";
  EXPECT_TRUE(model.answered(op(Kind::stat, "f"), entry("f", false, 3)).ok()) << "but now";
  EXPECT_FALSE(model.answered(op(Kind::list, ""), {}).ok()) << "and it stays";

  NamespaceModel other;
  other.unknown(create);
  EXPECT_TRUE(other.answered(op(Kind::make_directory, "d"), entry("d", true, 4)).ok());
  EXPECT_TRUE(other.answered(op(Kind::stat, "f"), error(Code::kNotFound)).ok());
  EXPECT_FALSE(other.answered(op(Kind::stat, "f"), entry("f", false, 3)).ok())
      << "a request from before a success came late and was accepted";
}

TEST(NamespaceModel, UnknownOutcomesHappenInOrder) {
  NamespaceModel model;
  model.unknown(op(Kind::create, "f"));
  model.unknown(op(Kind::rename, "f", false, "g"));
  NamespaceModel both = model;
  EXPECT_TRUE(both.answered(op(Kind::list, ""), entry("g", false, 3)).ok());
  EXPECT_FALSE(both.answered(op(Kind::list, ""), entry("f", false, 3)).ok());
  NamespaceModel first = model;
  EXPECT_TRUE(first.answered(op(Kind::list, ""), entry("f", false, 3)).ok());
  EXPECT_TRUE(first.answered(op(Kind::list, ""), entry("g", false, 3)).ok());
}

}  // namespace
}  // namespace pangu::sim
