#include "raft/testing/script.h"

#include <charconv>
#include <fmt/format.h>

namespace pangu::raft::testing {
namespace {

std::vector<std::string> split(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : line + " ") {
    if (c == '#') {
      break;
    }
    if (c != ' ' && c != '\t') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, ""));
    }
  }
  if (!word.empty()) {
    words.push_back(word);
  }
  return words;
}

u64 number(const std::string& word) {
  u64 value = 0;
  std::from_chars(word.data(), word.data() + word.size(), value);
  return value;
}

NodeId node_id(const std::string& word) {
  return NodeId{number(word)};
}

template <class List, class Text>
std::string join(const List& list, Text text) {
  std::string out;
  for (const auto& item : list) {
    out += (out.empty() ? "" : " ") + text(item);
  }
  return out;
}

}  // namespace

bool Script::Way::covers(NodeId a, NodeId b) const {
  return (from == kNobody || from == a) && (to == kNobody || to == b);
}

Script::Script()
    : group_(
          Options(), 1, [this](const Message& m) { under_way_.push_back(m); },
          [this](const std::string& line) { say(line); }),
      checker_(group_) {
  group_.observer = &checker_;
}

std::string Script::run(const std::string& name, const std::string& text) {
  size_t begin = 0;
  for (int line_number = 1; begin < text.size(); ++line_number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    std::string wrong = run_line(line);
    if (wrong.empty() && !group_.failure().empty()) {
      wrong = group_.failure();
    }
    if (!wrong.empty()) {
      return fmt::format("{}:{}: {}\n  {}\nwhat happened:\n{}", name, line_number, line, wrong,
                         trace_);
    }
  }
  return "";
}

std::string Script::run_line(const std::string& line) {
  const Words words = split(line);
  if (words.empty()) {
    return "";
  }
  trace_ += line + "\n";
  refused_.clear();
  if (words[0] == "expect") {
    return expect(words);
  }
  if (words[0] == "refuse") {
    return refuse(words);
  }
  std::string wrong = run_words(words);
  return !wrong.empty() || refused_.empty() ? wrong : "refused: " + refused_;
}

std::string Script::refuse(const Words& words) {
  if (words.size() < 3 || words[1].back() != ':') {
    return "refuse CODE: COMMAND";
  }
  std::string wrong = run_words(Words(words.begin() + 2, words.end()));
  const std::string code = words[1].substr(0, words[1].size() - 1);
  if (wrong.empty() && refused_ != code) {
    wrong = fmt::format("expected {}, got {}", code, refused_.empty() ? "success" : refused_);
  }
  return wrong;
}

std::string Script::run_words(const Words& words) {
  for (const auto handler :
       {&Script::setup, &Script::drive_core, &Script::move_messages, &Script::move_world}) {
    std::string wrong = (this->*handler)(words);
    if (wrong != "?") {
      settle();
      return wrong;
    }
  }
  return "no such command";
}

std::string Script::note(const Status& status) {
  refused_ = status.ok() ? "" : std::string(code_name(status.code()));
  return "";
}

std::string Script::setup(const Words& words) {
  if (words[0] == "cluster" && words.size() >= 2) {
    for (size_t i = 2; i < words.size(); ++i) {
      const size_t equals = words[i].find('=');
      const std::string key = words[i].substr(0, equals);
      const u64 value = number(words[i].substr(equals + 1));
      if (key == "quiesce") {
        group_.options.quiesce_after = milliseconds(static_cast<i64>(value));
      } else if (key == "append") {
        group_.options.append_bytes_max = value;
      } else if (key == "window") {
        group_.options.inflight_bytes_max = value;
      } else {
        return "unknown option " + key;
      }
    }
    Configuration members;
    for (u64 id = 1; id <= number(words[1]); ++id) {
      members.voters.push_back(NodeId{id});
    }
    for (const NodeId id : members.voters) {
      group_.add(id, members);
    }
    return "";
  }
  if (words[0] == "spare") {
    for (size_t i = 1; i < words.size(); ++i) {
      group_.add(node_id(words[i]), {});
    }
    return "";
  }
  return "?";
}

std::string Script::drive_core(const Words& words) {
  if (words.size() < 2 || !group_.nodes.contains(node_id(words[1])) ||
      group_.at(node_id(words[1])).core == nullptr) {
    return "?";
  }
  const NodeId id = node_id(words[1]);
  const auto with = [&](auto action) { return note(group_.act(id, action)); };
  const NodeId other = words.size() > 2 ? node_id(words[2]) : kNobody;
  if (words[0] == "change") {
    return change(words);
  }
  if (words[0] == "campaign") {
    return with([](Core& core) { return core.campaign(), ok_status(); });
  }
  if (words[0] == "wake") {
    return with([](Core& core) { return core.wake(), ok_status(); });
  }
  if (words[0] == "leave") {
    return with([](Core& core) { return Status(core.leave_joint().code()); });
  }
  if (words[0] == "propose") {
    std::vector<Payload> commands;
    for (size_t i = 2; i < words.size(); ++i) {
      commands.push_back(Payload::copy_of(words[i]));
    }
    return with([&](Core& core) { return Status(core.propose(std::move(commands)).code()); });
  }
  if (words.size() < 3) {
    return "?";
  }
  if (words[0] == "transfer") {
    return with([&](Core& core) { return core.transfer_leader(other); });
  }
  if (words[0] == "unreachable") {
    return with([&](Core& core) { return core.report_unreachable(other), ok_status(); });
  }
  if (words[0] == "read") {
    return note(group_.read(id, number(words[2])));
  }
  if (words[0] == "compact") {
    group_.compact(id, number(words[2]));
    return "";
  }
  return "?";
}

std::string Script::change(const Words& words) {
  ConfigurationChange wanted;
  for (size_t i = 2; i < words.size(); ++i) {
    const char sign = words[i][0];
    if (words[i] == "joint") {
      wanted.force_joint = true;
    } else if (words[i] == "stay") {
      wanted.manual_leave = true;
    } else if (sign == '+' || sign == '-' || sign == '~') {
      using Kind = MemberChange::Kind;
      const Kind kind = sign == '+'   ? Kind::add_voter
                        : sign == '-' ? Kind::remove
                                      : Kind::add_learner;
      wanted.changes.push_back({kind, node_id(words[i].substr(1))});
    } else {
      return "change N +4 -1 ~5 [joint] [stay]";
    }
  }
  return note(group_.act(node_id(words[1]), [&](Core& core) {
    return Status(core.change_configuration(wanted).code());
  }));
}

bool Script::parse_way(const std::string& word, Way& way) const {
  const size_t arrow = word.find("->");
  if (arrow == std::string::npos) {
    return false;
  }
  way = {node_id(word.substr(0, arrow)), node_id(word.substr(arrow + 2))};
  return true;
}

std::string Script::move_messages(const Words& words) {
  Way way;
  if (words[0] == "deliver" && words.size() == 1) {
    deliver_all();
    return "";
  }
  if (words[0] == "heal") {
    cuts_.clear();
    return "";
  }
  if (words[0] == "reverse") {
    std::reverse(under_way_.begin(), under_way_.end());
    return "";
  }
  if (words.size() != 2 || !parse_way(words[1], way)) {
    return "?";
  }
  if (words[0] == "deliver") {
    deliver_some(way);
  } else if (words[0] == "drop") {
    std::erase_if(under_way_, [&](const Message& m) { return way.covers(m.from, m.to); });
  } else if (words[0] == "duplicate") {
    const std::vector<Message> copy = under_way_;
    std::copy_if(copy.begin(), copy.end(), std::back_inserter(under_way_),
                 [&](const Message& m) { return way.covers(m.from, m.to); });
  } else if (words[0] == "cut") {
    cuts_.push_back(way);
  } else {
    return "?";
  }
  return "";
}

std::string Script::move_world(const Words& words) {
  if (words.size() < 2) {
    return "?";
  }
  const u64 ms = number(words.back());
  if (words[0] == "pass" || words[0] == "wait") {
    for (u64 passed = 0; passed < ms; passed += 5) {
      group_.now = group_.now + milliseconds(5);
      for (auto& [id, node] : group_.nodes) {
        const bool named = std::find(words.begin() + 1, words.end() - 1,
                                     std::to_string(id.value())) != words.end() - 1;
        if (node.core != nullptr && (words[0] == "pass" || named)) {
          group_.tick(id);
        }
      }
      settle();
      if (words[0] == "pass") {
        deliver_all();
      }
    }
    return "";
  }
  const NodeId id = node_id(words[1]);
  if (!group_.nodes.contains(id)) {
    return "no such node";
  }
  const u64 third = words.size() > 2 ? number(words[2]) : 0;
  if (words[0] == "disk") {
    words[2] == "slow" ? static_cast<void>(slow_.insert(id)) : static_cast<void>(slow_.erase(id));
  } else if (words[0] == "persist") {
    for (u64 i = 0; i < (words.size() > 2 ? third : 1000) && group_.persist_one(id); ++i) {
    }
  } else if (words[0] == "forgets") {
    group_.at(id).forgets_every = third;
  } else if (words[0] == "crash") {
    group_.crash(id, words.size() > 3 ? number(words[3]) : 0);
  } else if (words[0] == "restart") {
    group_.restart(id);
  } else {
    return "?";
  }
  return "";
}

// Everything that happens by itself: fast disks, state machines, snapshots.
void Script::settle() {
  bool busy = true;
  while (busy && group_.failure().empty()) {
    busy = false;
    for (auto& [id, node] : group_.nodes) {
      if (node.core == nullptr) {
        continue;
      }
      busy |= !slow_.contains(id) && group_.persist_one(id);
      busy |= group_.apply_one(id);
      busy |= group_.finish_fetch(id);
      const auto from = group_.nodes.find(node.core->leader());
      busy |= from != group_.nodes.end() && group_.finish_pull(id, &from->second);
    }
  }
}

void Script::deliver_all() {
  for (int i = 0; i < 100000 && !under_way_.empty() && group_.failure().empty(); ++i) {
    deliver_some({});
  }
}

// Only what is under way now: answers wait.
void Script::deliver_some(Way way) {
  std::vector<Message> now = std::exchange(under_way_, {});
  std::vector<Message> later;
  for (Message& message : now) {
    if (way.covers(message.from, message.to)) {
      deliver_one(std::move(message));
    } else {
      later.push_back(std::move(message));
    }
  }
  under_way_.insert(under_way_.begin(), later.begin(), later.end());
  settle();
}

void Script::deliver_one(Message message) {
  const auto node = group_.nodes.find(message.to);
  const bool lost = node == group_.nodes.end() || node->second.core == nullptr ||
                    std::any_of(cuts_.begin(), cuts_.end(), [&](const Way& cut) {
                      return cut.covers(message.from, message.to);
                    });
  say((lost ? "lost: " : "") + to_string(message));
  if (!lost && group_.failure().empty()) {
    group_.step(message.to, message);
    settle();
  }
}

std::string Script::actual_of_core(const std::string& what, const Node& node) const {
  const Core& core = *node.core;
  if (what == "role") {
    return to_string(core.role());
  }
  if (what == "term") {
    return std::to_string(core.term().value());
  }
  if (what == "vote") {
    return std::to_string(core.vote().value());
  }
  if (what == "leader") {
    return core.leader() == kNobody ? "nobody" : std::to_string(core.leader().value());
  }
  if (what == "commit") {
    return std::to_string(core.commit());
  }
  if (what == "asleep") {
    return core.quiesced() ? "yes" : "no";
  }
  if (what == "members") {
    return to_string(core.configuration());
  }
  return "?";
}

std::string Script::actual(const std::string& what, Node& node) const {
  if (what == "disk") {
    return std::to_string(node.disk.last());
  }
  if (node.core == nullptr) {
    return "crashed";
  }
  if (what == "applied") {
    return std::to_string(node.applied.id.index);
  }
  if (what == "commands") {
    return join(node.commands, [](const std::string& command) { return command; });
  }
  if (what == "base") {
    return to_string(node.memory.base.id);
  }
  if (what == "last") {
    return to_string(node.core->log().last());
  }
  if (what == "log") {
    return join(node.memory.log, [](const Stored& stored) { return to_string(stored.entry.id()); });
  }
  return actual_of_core(what, node);
}

std::string Script::expect(const Words& words) {
  const auto equals = std::find(words.begin(), words.end(), "=");
  if (words.size() < 3 || equals == words.end()) {
    return "expect WHAT N... = VALUE";
  }
  const Words values(equals + 1, words.end());
  const std::string wanted = join(values, [](const std::string& word) { return word; });
  std::string got;
  if (words[1] == "under-way") {
    got = std::to_string(under_way_.size());
    return got == wanted ? "" : "got: " + got;
  }
  if (words[1] == "read") {
    const Node& node = group_.at(node_id(words[2]));
    const auto read = node.reads.find(number(words[3]));
    got = read == node.reads.end() ? "none" : std::to_string(read->second);
    return got == wanted ? "" : "got: " + got;
  }
  for (auto word = words.begin() + 2; word != equals; ++word) {
    got = actual(words[1], group_.at(node_id(*word)));
    if (got != wanted) {
      return fmt::format("node {} got: {}", *word, got);
    }
  }
  return "";
}

}  // namespace pangu::raft::testing
