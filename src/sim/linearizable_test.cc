#include "sim/linearizable.h"

#include <algorithm>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/prng.h"
#include "wire/partition.h"

namespace pangu::sim {
namespace {

using Kind = NamespaceOp::Kind;
using Verdict = LinearizableVerdict;

NamespaceOp op(Kind kind, std::string path, bool flag = false, std::string to = "") {
  return {.kind = kind, .path = std::move(path), .to = std::move(to), .flag = flag};
}
NamespaceOp create(std::string path) {
  return op(Kind::create, std::move(path), true);
}
NamespaceOp create_or_find(std::string path) {
  return op(Kind::create, std::move(path), false);
}
NamespaceOp mkdir(std::string path) {
  return op(Kind::make_directory, std::move(path));
}
NamespaceOp rename(std::string from, std::string to) {
  return op(Kind::rename, std::move(from), false, std::move(to));
}
NamespaceOp remove(std::string path) {
  return op(Kind::remove, std::move(path));
}
NamespaceOp remove_all(std::string path) {
  return op(Kind::remove, std::move(path), true);
}
NamespaceOp list(std::string path) {
  return op(Kind::list, std::move(path));
}
NamespaceOp stat(std::string path) {
  return op(Kind::stat, std::move(path));
}

NamespaceAnswer error(Code code) {
  return {.code = code, .items = {}, .files = 0, .directories = 0};
}
NamespaceAnswer items(std::vector<NamespaceItem> all) {
  return {.code = Code::kOk, .items = std::move(all), .files = 0, .directories = 0};
}
NamespaceAnswer file(std::string name, u64 id) {
  return items({{std::move(name), false, id}});
}
NamespaceAnswer directory(std::string name, u64 id) {
  return items({{std::move(name), true, id}});
}
NamespaceAnswer done() {
  return items({});
}
NamespaceAnswer gone(u64 files, u64 directories) {
  return {.code = Code::kOk, .items = {}, .files = files, .directories = directories};
}

// A call from one moment to another; without an answer nobody knows what became of it.
struct Line {
  int from = 0;
  int to = 0;
  NamespaceOp op;
  std::optional<NamespaceAnswer> answer;
};

History history_of(const std::vector<Line>& lines) {
  struct Moment {
    int at = 0;
    bool answer = false;  // of calls and answers at one time, the calls come first: they overlap
    size_t line = 0;
    auto operator<=>(const Moment&) const = default;
  };
  std::vector<Moment> moments;
  for (size_t i = 0; i < lines.size(); ++i) {
    moments.push_back({lines[i].from, false, i});
    moments.push_back({lines[i].to, true, i});
  }
  std::sort(moments.begin(), moments.end());
  History history;
  std::map<size_t, size_t> numbers;
  for (const Moment& moment : moments) {
    const Line& line = lines[moment.line];
    if (!moment.answer) {
      numbers[moment.line] =
          history.call(static_cast<u32>(moment.line), line.op, Instant{} + seconds(moment.at));
    } else if (line.answer) {
      history.answered(numbers[moment.line], *line.answer, Instant{} + seconds(moment.at));
    } else {
      history.unknown(numbers[moment.line], Instant{} + seconds(moment.at));
    }
  }
  return history;
}

Verdict verdict(const std::vector<Line>& lines) {
  return check_linearizable(history_of(lines)).verdict;
}

TEST(Linearizable, OneAfterTheOther) {
  EXPECT_EQ(verdict({{0, 1, mkdir("a"), directory("a", 5)},
                     {2, 3, create("a/f"), file("f", 6)},
                     {4, 5, rename("a", "b"), done()},
                     {6, 7, stat("b/f"), file("f", 6)},
                     {8, 9, stat("a/f"), error(Code::kNotFound)},
                     {10, 11, rename("b", "b/c"), error(Code::kInvalidArgument)},
                     {12, 13, remove("b"), error(Code::kNotEmpty)},
                     {14, 15, remove_all("b"), done()},
                     {16, 17, list(""), done()}}),
            Verdict::yes);
}

TEST(Linearizable, ConcurrentCallsMayTakePlaceInAnyOrder) {
  for (const bool seen : {true, false}) {
    EXPECT_EQ(verdict({{0, 10, create("f"), file("f", 6)},
                       {1, 9, stat("f"), seen ? file("f", 6) : error(Code::kNotFound)}}),
              Verdict::yes);
  }
  EXPECT_EQ(verdict({{0, 10, create("f"), file("f", 6)},
                     {0, 10, remove("f"), gone(1, 0)},
                     {0, 10, create("f"), file("f", 7)},
                     {11, 12, stat("f"), file("f", 6)}}),
            Verdict::yes);
  EXPECT_EQ(verdict({{0, 10, create_or_find("f"), file("f", 6)},
                     {0, 10, create_or_find("f"), file("f", 6)}}),
            Verdict::yes);
}

TEST(Linearizable, ALostUpdate) {
  EXPECT_EQ(verdict({{0, 1, create("f"), file("f", 6)}, {2, 3, list(""), done()}}), Verdict::no);
  EXPECT_EQ(verdict({{0, 1, create("f"), file("f", 6)}, {2, 3, create("f"), file("f", 7)}}),
            Verdict::no);
}

TEST(Linearizable, AStaleReadAfterAnAcknowledgedRename) {
  const std::vector<Line> lines = {{0, 1, mkdir("a"), directory("a", 5)},
                                   {2, 3, create("a/f"), file("f", 6)},
                                   {4, 5, rename("a", "b"), done()},
                                   {6, 7, stat("a/f"), file("f", 6)}};
  const LinearizableResult result = check_linearizable(history_of(lines));
  EXPECT_EQ(result.verdict, Verdict::no);
  EXPECT_NE(result.report.find("[6.000000 .. 7.000000] client 3: stat 'a/f' -> OK f#6"),
            std::string::npos)
      << result.report;
  EXPECT_NE(result.report.find("rename 'a' to 'b'"), std::string::npos) << result.report;
  EXPECT_NE(result.report.find("NOT_FOUND"), std::string::npos) << result.report;
}

TEST(Linearizable, TwoReadersMustAgree) {
  EXPECT_EQ(verdict({{0, 10, create("f"), file("f", 6)},
                     {1, 2, stat("f"), file("f", 6)},
                     {3, 4, stat("f"), error(Code::kNotFound)}}),
            Verdict::no)
      << "seen, and then not any more";
  EXPECT_EQ(verdict({{0, 1, mkdir("a"), directory("a", 5)},
                     {2, 3, mkdir("b"), directory("b", 7)},
                     {4, 20, create("a/x"), file("x", 8)},
                     {4, 20, create("b/y"), file("y", 9)},
                     {5, 6, stat("a/x"), file("x", 8)},
                     {7, 8, stat("b/y"), error(Code::kNotFound)},
                     {9, 10, stat("b/y"), file("y", 9)},
                     {11, 12, stat("a/x"), file("x", 8)}}),
            Verdict::yes);
}

TEST(Linearizable, APathThatNeverWas) {
  // a/b moves to c/b while a moves to d: at no time is there d/b and c/b, nor a/b after that.
  EXPECT_EQ(verdict({{0, 1, mkdir("a"), directory("a", 5)},
                     {2, 3, mkdir("c"), directory("c", 6)},
                     {4, 5, create("a/b"), file("b", 7)},
                     {6, 7, rename("a/b", "c/b"), done()},
                     {8, 10, rename("a", "d"), done()},
                     {9, 11, stat("d/b"), file("b", 7)}}),
            Verdict::no);
}

TEST(Linearizable, TwiceDone) {
  EXPECT_EQ(verdict({{0, 1, create("f"), file("f", 6)},
                     {2, 3, remove("f"), gone(1, 0)},
                     {2, 3, remove("f"), gone(1, 0)}}),
            Verdict::no);
  EXPECT_EQ(verdict({{0, 1, create("f"), file("f", 6)},
                     {2, 3, rename("f", "g"), done()},
                     {4, 5, create("f"), file("f", 7)},
                     {6, 7, remove("g"), gone(1, 0)},
                     {8, 9, stat("g"), file("g", 7)}}),
            Verdict::no)
      << "the rename again";
}

TEST(Linearizable, RemovedFilesStayRemoved) {
  EXPECT_EQ(verdict({{0, 1, create("f"), file("f", 6)},
                     {2, 3, remove("f"), gone(1, 0)},
                     {4, 5, create("g"), file("g", 6)}}),
            Verdict::no);
  EXPECT_EQ(verdict({{0, 1, mkdir("d"), directory("d", 6)},
                     {2, 3, remove("d"), gone(0, 1)},
                     {4, 5, mkdir("d"), directory("d", 6)}}),
            Verdict::yes)
      << "directories may have the id of an earlier one";
  EXPECT_EQ(verdict({{0, 1, mkdir("d"), directory("d", 6)},
                     {2, 3, rename("d", "e"), done()},
                     {4, 5, mkdir("d"), directory("d", 6)}}),
            Verdict::no)
      << "but not of one that is there";
  EXPECT_EQ(verdict({{0, 1, mkdir("d"), directory("d", 6)},
                     {2, 3, create("d/f"), file("f", 7)},
                     {4, 5, remove_all("d"), done()},
                     {6, 7, mkdir("d"), directory("d", 6)},
                     {8, 9, stat("d/f"), file("f", 7)}}),
            Verdict::no)
      << "what was in it does not come back";
}

TEST(Linearizable, NoCycle) {
  const std::vector<Line> before = {{0, 1, mkdir("a"), directory("a", 5)},
                                    {2, 3, mkdir("b"), directory("b", 6)}};
  std::vector<Line> both = before;
  both.push_back({4, 9, rename("a", "b/x"), done()});
  both.push_back({4, 9, rename("b", "a/x"), done()});
  EXPECT_EQ(verdict(both), Verdict::no);
  std::vector<Line> one = before;
  one.push_back({4, 9, rename("a", "b/x"), done()});
  one.push_back({4, 9, rename("b", "a/x"), error(Code::kNotFound)});
  EXPECT_EQ(verdict(one), Verdict::yes);
  one.push_back({10, 11, list("b"), directory("x", 5)});
  EXPECT_EQ(verdict(one), Verdict::yes);
  one.push_back({12, 13, list(""), items({{"a", true, 5}, {"b", true, 6}})});
  EXPECT_EQ(verdict(one), Verdict::no);
}

TEST(Linearizable, UnknownOutcomes) {
  const Line lost = {0, 1, create("f"), std::nullopt};
  EXPECT_EQ(verdict({lost, {2, 3, list(""), done()}, {9, 10, list(""), file("f", 6)}}),
            Verdict::yes)
      << "late";
  EXPECT_EQ(verdict({lost, {2, 3, list(""), file("f", 6)}, {4, 5, list(""), done()}}), Verdict::no)
      << "not back again";
  EXPECT_EQ(verdict({lost, {2, 3, stat("f"), file("f", 6)}, {4, 5, stat("f"), file("f", 7)}}),
            Verdict::no)
      << "one id";
  EXPECT_EQ(verdict({{5, 6, create("f"), std::nullopt}, {2, 3, list(""), file("f", 6)}}),
            Verdict::no)
      << "not before it was called";
  EXPECT_EQ(verdict({lost,
                     {0, 1, rename("f", "g"), std::nullopt},
                     {2, 3, stat("g"), file("g", 6)},
                     {4, 5, stat("f"), error(Code::kNotFound)}}),
            Verdict::yes);
  EXPECT_EQ(verdict({{0, 1, mkdir("d"), directory("d", 5)},
                     {2, 3, remove("d"), std::nullopt},
                     {4, 5, create("d/f"), file("f", 6)},
                     {6, 7, stat("d"), error(Code::kNotFound)}}),
            Verdict::no)
      << "a directory that is not empty cannot be removed";
}

TEST(Linearizable, GivesUpInsteadOfGuessing) {
  std::vector<Line> lines;
  for (int i = 0; i < 40; ++i) {
    lines.push_back({0, 1, create(fmt::format("f{}", i)), std::nullopt});
  }
  lines.push_back({2, 3, list(""), file("g", 3)});
  const LinearizableResult result =
      check_linearizable(history_of(lines), {.initial = {}, .steps_max = 10'000});
  EXPECT_EQ(result.verdict, Verdict::gave_up);
  EXPECT_FALSE(result.report.empty());
}

// ---- random histories ----

// A namespace that does one call after the other, with ids as the masters give them.
class Sequential {
 public:
  NamespaceAnswer apply(const NamespaceOp& call) {
    const NamespaceAnswer expected = tree_.look(call);
    NamespaceAnswer told = expected;
    if (expected.code != Code::kOk) {
      return told;
    }
    const bool made = tree_.changes(call);
    tree_.change(call);
    if (made && !told.items.empty()) {
      told.items[0].id = told.items[0].directory ? directory_id(call.path) : ++files_;
    }
    EXPECT_TRUE(tree_.learn(call, told, expected));
    return told;
  }
  const NamespaceTree& tree() const { return tree_; }

 private:
  u64 directory_id(const std::string& path) const {
    const size_t slash = path.rfind('/');
    const u64 parent = slash == path.npos ? 1 : tree_.nodes().at(path.substr(0, slash)).id;
    for (u64 version = 0;; ++version) {
      const u64 id = wire::directory_id(1, parent, path.substr(slash + 1), version);
      const bool taken = std::any_of(tree_.nodes().begin(), tree_.nodes().end(),
                                     [&](const auto& each) { return each.second.id == id; });
      if (!taken) {
        return id;
      }
    }
  }
  NamespaceTree tree_;
  u64 files_ = 100;
};

struct Draw {
  size_t calls = 0;
  size_t clients = 0;
  size_t names = 3;
  size_t depth = 3;
  double unknown = 0;
};

class Generator {
 public:
  Generator(u64 seed, Draw draw) : prng_(seed), draw_(draw), clients_(draw.clients) {}

  History generate() {
    size_t begun = 0;
    while (begun < draw_.calls || busy_ > 0) {
      ++now_;
      let_lost_calls_happen();
      Client& client = clients_[prng_.below(clients_.size())];
      if (!client.call) {
        begun += begun < draw_.calls ? begin(client) : 0;
      } else {
        go_on(client);
      }
    }
    return std::move(history_);
  }
  const Sequential& state() const { return state_; }

 private:
  struct Client {
    std::optional<size_t> call;
    std::optional<NamespaceAnswer> answer;
  };

  Instant now() const { return Instant{} + microseconds(now_); }
  std::string draw_path() {
    std::string out(1, static_cast<char>('a' + prng_.below(draw_.names)));
    for (size_t depth = 1; depth < draw_.depth && prng_.chance(0.5); ++depth) {
      out += fmt::format("/{}", static_cast<char>('a' + prng_.below(draw_.names)));
    }
    return out;
  }
  NamespaceOp draw_op() {
    static constexpr Kind kKinds[] = {Kind::create, Kind::create,         Kind::make_directory,
                                      Kind::list,   Kind::make_directory, Kind::rename,
                                      Kind::rename, Kind::remove,         Kind::stat};
    NamespaceOp out = op(kKinds[prng_.below(std::size(kKinds))], draw_path());
    out.flag = (out.kind == Kind::create || out.kind == Kind::remove) && prng_.chance(0.5);
    out.to = out.kind == Kind::rename ? draw_path() : "";
    out.path = out.kind == Kind::list && prng_.chance(0.5) ? "" : out.path;
    return out;
  }
  size_t begin(Client& client) {
    client.call = history_.call(static_cast<u32>(&client - clients_.data()), draw_op(), now());
    ++busy_;
    return 1;
  }
  void go_on(Client& client) {
    if (prng_.chance(draw_.unknown)) {
      if (!client.answer) {
        lost_.push_back(*client.call);
      }
      history_.unknown(*client.call, now());
    } else if (!client.answer) {
      client.answer = state_.apply(history_.calls()[*client.call].op);
      return;
    } else {
      history_.answered(*client.call, *client.answer, now());
    }
    client = {};
    --busy_;
  }
  void let_lost_calls_happen() {
    if (!lost_.empty() && prng_.chance(0.02)) {
      const size_t at = prng_.below(lost_.size());
      state_.apply(history_.calls()[lost_[at]].op);
      lost_.erase(lost_.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }

  Prng prng_;
  const Draw draw_;
  std::vector<Client> clients_;
  Sequential state_;
  History history_;
  std::vector<size_t> lost_;
  size_t busy_ = 0;
  i64 now_ = 0;
};

TEST(Linearizable, AcceptsWhatASequentialNamespaceAnswers) {
  for (u64 seed = 1; seed <= 40; ++seed) {
    const double unknown = seed % 2 == 0 ? 0.02 : 0;
    const History history =
        Generator(seed, {.calls = 200, .clients = 1 + seed % 8, .unknown = unknown}).generate();
    const LinearizableResult result = check_linearizable(history);
    EXPECT_EQ(result.verdict, Verdict::yes) << "seed " << seed << "\n" << result.report;
  }
}

TEST(Linearizable, LongHistoriesAreCheap) {
  const History history =
      Generator(1, {.calls = 2000, .clients = 8, .depth = 4, .unknown = 0.003}).generate();
  const LinearizableResult result = check_linearizable(history);
  EXPECT_EQ(result.verdict, Verdict::yes) << result.report;
  EXPECT_LT(result.steps, 2'000'000u);
}

// Every order of the calls that time allows, one after the other.
class EveryOrder {
 public:
  explicit EveryOrder(const History& history) : calls_(history.calls()), taken_(calls_.size()) {}
  bool explained() { return explained(NamespaceTree()); }

 private:
  bool explained(const NamespaceTree& tree) {
    const auto matters = [&](size_t i) { return !taken_[i] && !calls_[i].nothing; };
    bool complete = true;
    u64 first_answer = RecordedCall::kNever;
    for (size_t i = 0; i < calls_.size(); ++i) {
      if (matters(i)) {
        complete = complete && !calls_[i].answered();
        first_answer = std::min(first_answer, calls_[i].returned);
      }
    }
    if (complete) {
      return true;
    }
    for (size_t i = 0; i < calls_.size(); ++i) {
      if (!matters(i) || calls_[i].called > first_answer) {
        continue;
      }
      NamespaceTree next = tree;
      const NamespaceAnswer expected = next.look(calls_[i].op);
      if (expected.code == Code::kOk) {
        next.change(calls_[i].op);
      }
      if (calls_[i].answered() && !next.learn(calls_[i].op, calls_[i].answer, expected)) {
        continue;
      }
      taken_[i] = true;
      const bool good = explained(next);
      taken_[i] = false;
      if (good) {
        return true;
      }
    }
    return false;
  }
  const std::vector<RecordedCall>& calls_;
  std::vector<bool> taken_;
};

// The same calls at the same times, with some answer exchanged for another.
History with_a_lie(const History& history, Prng& prng) {
  const std::vector<RecordedCall>& calls = history.calls();
  const size_t liar = prng.below(calls.size());
  NamespaceAnswer lie = calls[liar].answer;
  const RecordedCall& other = calls[prng.below(calls.size())];
  switch (prng.below(4)) {
    case 0:
      lie = error(prng.chance(0.5) ? Code::kNotFound : Code::kAlreadyExists);
      break;
    case 1:
      if (!lie.items.empty() && !other.answer.items.empty()) {
        lie.items.front().id = other.answer.items.front().id;
      }
      break;
    case 2:
      if (other.op.kind == calls[liar].op.kind) {
        lie = other.answer;
      }
      break;
    default:
      if (calls[liar].op.kind == Kind::list && !lie.items.empty()) {
        lie.items.pop_back();
      }
      break;
  }
  std::map<u64, std::pair<size_t, bool>> moments;
  for (size_t i = 0; i < calls.size(); ++i) {
    moments[calls[i].called] = {i, false};
    if (calls[i].answered()) {
      moments[calls[i].returned] = {i, true};
    }
  }
  History out;
  std::map<size_t, size_t> numbers;
  for (const auto& [event, moment] : moments) {
    const auto& [call, answer] = moment;
    if (answer) {
      out.answered(numbers[call], call == liar ? lie : calls[call].answer, calls[call].returned_at);
    } else {
      numbers[call] = out.call(calls[call].client, calls[call].op, calls[call].called_at);
      if (!calls[call].answered()) {
        out.unknown(numbers[call], calls[call].returned_at);
      }
    }
  }
  return out;
}

TEST(Linearizable, AgreesWithTryingEveryOrder) {
  u64 rejected = 0;
  for (u64 seed = 1; seed <= 3000; ++seed) {
    Prng prng(seed);
    const Draw draw = {.calls = 4 + prng.below(5),
                       .clients = 2 + prng.below(4),
                       .names = 2,
                       .depth = 2,
                       .unknown = prng.chance(0.5) ? 0.15 : 0};
    const History truth = Generator(seed, draw).generate();
    const History history = prng.chance(0.2) ? truth : with_a_lie(truth, prng);
    const bool explained = EveryOrder(history).explained();
    rejected += explained ? 0 : 1;
    const LinearizableResult result = check_linearizable(history);
    EXPECT_EQ(result.verdict, explained ? Verdict::yes : Verdict::no) << "seed " << seed << "\n"
                                                                      << result.report;
  }
  EXPECT_GT(rejected, 300u);
}

// ---- lies that no order can explain ----

// A long history without unknown outcomes, to be told otherwise.
class Lies : public testing::TestWithParam<u64> {
 protected:
  Lies() : generator_(GetParam(), {.calls = 300, .clients = 6}), truth_(generator_.generate()) {
    EXPECT_EQ(check_linearizable(truth_).verdict, Verdict::yes);
  }
  History said(NamespaceOp op, NamespaceAnswer answer) const {
    History out = truth_;
    const size_t call = out.call(99, std::move(op), seconds(9));
    out.answered(call, std::move(answer), seconds(9));
    return out;
  }
  static Instant seconds(i64 n) { return Instant{} + pangu::seconds(n); }
  NamespaceAnswer truth(const NamespaceOp& op) const { return generator_.state().tree().look(op); }
  const NamespaceTree& tree() const { return generator_.state().tree(); }

  Generator generator_;
  const History truth_;
};

Verdict verdict(const History& history) {
  return check_linearizable(history).verdict;
}

TEST_P(Lies, AnEntryIsMissingAtTheEnd) {
  NamespaceAnswer answer = truth(list(""));
  EXPECT_EQ(verdict(said(list(""), answer)), Verdict::yes);
  ASSERT_FALSE(answer.items.empty());
  answer.items.pop_back();
  EXPECT_EQ(verdict(said(list(""), answer)), Verdict::no);
}

TEST_P(Lies, AnEntryTooManyAtTheEnd) {
  NamespaceAnswer answer = truth(list(""));
  answer.items.push_back({"z", false, 3});
  EXPECT_EQ(verdict(said(list(""), answer)), Verdict::no);
}

TEST_P(Lies, AnotherId) {
  const std::string path = tree().nodes().begin()->first;
  NamespaceAnswer answer = truth(stat(path));
  EXPECT_EQ(verdict(said(stat(path), answer)), Verdict::yes);
  answer.items[0].id = 3;
  EXPECT_EQ(verdict(said(stat(path), answer)), Verdict::no);
}

TEST_P(Lies, ARemovedFileIsReadAgain) {
  ASSERT_FALSE(tree().gone().empty());
  const u64 id = *tree().gone().begin();
  for (const char* path : {"a", "b", "c", "a/a", "b/b"}) {
    EXPECT_EQ(verdict(said(stat(path), file(std::string(path).substr(strlen(path) - 1), id))),
              Verdict::no);
  }
}

TEST_P(Lies, CreatedTwice) {
  for (const RecordedCall& call : truth_.calls()) {
    if (call.op == create(call.op.path) && call.answer.code == Code::kOk) {
      EXPECT_EQ(verdict(said(call.op, call.answer)), Verdict::no);
      return;
    }
  }
  FAIL() << "nothing was created";
}

TEST_P(Lies, AChangeThatNobodySees) {
  EXPECT_EQ(verdict(said(rename("a/b", "z"), done())),
            truth(rename("a/b", "z")).code == Code::kOk ? Verdict::yes : Verdict::no);
  History late = said(mkdir("z"), directory("z", 4));
  const size_t call = late.call(98, list(""), seconds(10));
  late.answered(call, truth(list("")), seconds(10));
  EXPECT_EQ(verdict(late), Verdict::no);
}

TEST_P(Lies, AReadFromTheFuture) {
  History out;
  const auto found =
      std::find_if(truth_.calls().begin(), truth_.calls().end(), [](const RecordedCall& call) {
        return call.op.kind == Kind::create && call.answer.code == Code::kOk;
      });
  ASSERT_NE(found, truth_.calls().end());
  const size_t early = out.call(99, stat(found->op.path), seconds(0));
  out.answered(early, found->answer, seconds(0));
  std::map<u64, std::pair<const RecordedCall*, bool>> moments;
  for (const RecordedCall& call : truth_.calls()) {
    moments[call.called] = {&call, false};
    moments[call.returned] = {&call, true};
  }
  std::map<const RecordedCall*, size_t> numbers;
  for (const auto& [event, moment] : moments) {
    if (moment.second) {
      out.answered(numbers[moment.first], moment.first->answer, seconds(1));
    } else {
      numbers[moment.first] = out.call(moment.first->client, moment.first->op, seconds(1));
    }
  }
  EXPECT_EQ(verdict(out), Verdict::no);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Lies, testing::Range<u64>(1, 9));

}  // namespace
}  // namespace pangu::sim
