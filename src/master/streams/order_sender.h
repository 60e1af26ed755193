#pragma once
#include <map>
#include <vector>

#include "master/streams/server_calls.h"
#include "master/streams/server_watch.h"
#include "master/streams/stream_group.h"
#include "runtime/reactor.h"

// Sends the orders of table O to their servers, and tells servers which chunks are dead when they
// ask. Belongs to one term of a group's leader.
//
// An order stays in the table until the server says that it is done: orders are sent again and again,
// and each must do no harm twice. Servers of one group are served side by side, each by one task that
// goes through its orders in turn, so that one that cannot be carried out holds up no other. A server
// that does not answer is left alone for a while, longer each time; one that is dead until it is heard
// again. With no orders and no questions nothing is sent.
namespace pangu::master {

struct OrderOptions {
  size_t batch = 256;                    // orders of one call
  size_t servers_at_once = 16;
  Duration call_timeout = seconds(10);
  Duration gather = milliseconds(20);    // orders given within it leave together
  Duration retry_min = milliseconds(500);
  Duration retry_max = seconds(60);
  Duration question_pause = seconds(1);  // after an answer, until the server is asked for the next
  size_t files_per_question = 256;
};

struct OrderCounters {
  u64 calls = 0;
  u64 failures = 0;
  u64 confirmed = 0;
  u64 questions = 0;
  u64 dropped = 0;  // orders to servers that were removed
};

class OrderSender {
 public:
  // All must outlive stop().
  OrderSender(Reactor& reactor, StreamGroup& group, ServerCalls& calls, const ServerWatch& watch,
              u64 term, const OrderOptions& options);
  void start();
  // There may be new orders, servers may have come back, or time has passed.
  void wake();
  // Gives the server an opportunity to ask.
  void greet(ServerId server);
  // True: a chunkserver has heard a later leader.
  bool deposed() const { return deposed_; }
  const OrderCounters& counters() const { return counters_; }
  Task<void> stop();

 private:
  struct Line {
    bool busy = false;
    std::string cursor;        // the last order that was sent
    u64 done_this_round = 0;
    u32 failures = 0;
    Instant not_before;
    std::optional<Instant> greet_at;
    std::vector<pb::DeadChunks> answers;
  };
  bool working() const;
  Task<void> run();
  // Starts what can be done for a server now.
  void serve(ServerId server, bool has_orders);
  Task<void> talk(ServerId server);
  // One call; false: enough for now.
  Task<bool> exchange(ServerId server, Line& line);
  Task<bool> confirm(ServerId server, Line& line, const pb::ChunkOrdersReply& reply);
  Task<void> answer(Line& line, const pb::ChunkOrdersReply& reply);
  Task<void> drop(ServerId server);
  void failed(Line& line);

  Reactor& reactor_;
  StreamGroup& group_;
  ServerCalls& calls_;
  const ServerWatch& watch_;
  u64 term_;
  OrderOptions options_;
  std::map<u32, Line> lines_;
  size_t busy_ = 0;
  bool deposed_ = false;
  bool stopping_ = false;
  Event wake_;
  Gate gate_;
  OrderCounters counters_;
};

}  // namespace pangu::master
