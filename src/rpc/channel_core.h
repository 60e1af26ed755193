#pragma once
#include <coroutine>
#include <vector>

#include "base/intrusive_list.h"
#include "base/prng.h"
#include "rpc/channel.h"
#include "rpc/frame_reader.h"
#include "rpc/handshake_codec.h"
#include "rpc/out_batch.h"

// The insides of a channel: calls, their queues, and the link (one connection) that carries them.
namespace pangu::rpc {

struct Link;

// One call, in the frame of the coroutine that waits for it. It is in one of the queues (not sent),
// or in its link's list (sent), or done. Its destructor touches nobody: it also runs when a crash
// destroys the coroutine, in any order with the channel's own end.
struct Call : ListNode, Ready {
  explicit Call(ChannelCore& c) : core(c) {}
  ChannelCore& core;
  u64 id = 0;
  wire::Method method = wire::Method::none;
  CallOptions options;
  u32 body_len = 0;
  u32 payload_len = 0;
  OutFrame frame;        // until it is sent
  Link* link = nullptr;  // that it was sent on
  Instant sent_at;
  std::optional<Result<Response>> result;

  bool await_ready() const noexcept { return result.has_value(); }
  template <class P>
  void await_suspend(std::coroutine_handle<P> waiter) {
    handle = waiter;
    context = waiter.promise().context;
  }
  void await_resume() const noexcept {}

  struct Alarm : Timer {
    Call* call;
    explicit Alarm(Call* c);
  } alarm{this};
};

// One connection, from its first byte to its last.
struct Link {
  // Replies to appends carry no payload; to copy a little of an unexpected one costs less than a
  // receive.
  static constexpr u32 kReadAheadAfter = 4;
  Link(Reactor& reactor, SmallPool& pool, std::unique_ptr<env::Socket> s, Duration frame_timeout)
      : socket(std::move(s)),
        read_stall(reactor),
        write_stall(reactor),
        reader(*socket, pool, read_stall, frame_timeout, kReadAheadAfter) {
    read_stall.watch(*socket);
    write_stall.watch(*socket);
  }
  std::unique_ptr<env::Socket> socket;
  StallTimer read_stall;
  StallTimer write_stall;
  FrameReader reader;
  bool established = false;
  bool broken = false;
  bool answered = false;  // at least one reply came
  bool starved = false;   // the first call in a queue waits for credit
  u64 credit = 0;
  u64 payload_in_flight = 0;
  Hello server{};
  IntrusiveList<Call> sent;  // in the order they were sent
  std::vector<u64> cancels;  // ids to be cancelled at the server
  Slice proof;               // goes in front of everything
  OutBatch batch;
  WaitList sender_wake;
  bool sender_running = false;
  WaitList sender_ended;
  Instant heard_at;  // the last frame came
  // When the first call was sent that has timed out since then without hearing anything.
  Instant silent_since = Instant::never();
};

struct ChannelCore : std::enable_shared_from_this<ChannelCore> {
  ChannelCore(Reactor& r, BufferPool& p, const env::Address& a, const ChannelOptions& o);

  Reactor& reactor;
  BufferPool& pool;
  env::Address address;
  ChannelOptions options;
  ChannelCounters counters;
  SmallPool small;
  Gate gate;
  bool closed = false;
  bool stopped = false;
  Uuid cluster;
  ServerId server;
  Duration round_trip;

  // Calls that were not sent yet.
  std::array<IntrusiveList<Call>, kTaskClasses> queues;

  // Where the call with an id is: id = generation << 32 | place.
  struct Place {
    Call* call = nullptr;
    u32 generation = 0;
  };
  std::vector<Place> places;
  std::vector<u32> free_places;

  std::shared_ptr<Link> link;  // the current one, established or shaking hands
  bool connecting = false;     // a task is on its way to an established link
  u32 failures = 0;            // connection attempts that failed in a row
  Instant next_attempt;        // not before
  WaitList changed;            // closed, or a dial ended

  std::vector<std::byte> scratch;  // late payloads; never read

  // What each of its tasks holds: the channel, and a place in the gate (given back first).
  struct Lease {
    std::shared_ptr<ChannelCore> core;
    Gate::Holder holder;
    explicit Lease(std::shared_ptr<ChannelCore> c) : core(std::move(c)), holder(core->gate) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;
  };
  TaskClass own_class() const {
    return options.kind == ConnectionKind::data ? TaskClass::foreground : TaskClass::control;
  }

  // channel.cc: calls
  static Task<Result<Response>> run_call(ChannelCore& core, wire::Method method, u32 body_len,
                                         OutFrame frame, CallOptions options);
  Status admit(Call& call);
  Call* find(u64 id);
  void finish(Call& call, Result<Response> result);
  void time_out(Call& call);
  void fail_queued(const Error& error);
  bool has_queued() const;

  // link.cc: the connection
  void want_link();
  static Task<void> connect(Lease lease);
  Task<Result<std::unique_ptr<env::Socket>>> dial();
  Task<Status> shake_hands(std::shared_ptr<Link> carrier);
  void attempt_failed(const Error& error);
  void break_link(Link& broken, const Error& error);
  static Task<void> send_calls(Lease lease, std::shared_ptr<Link> carrier);
  Task<Status> read_replies(std::shared_ptr<Link> carrier);
  Task<Status> take_reply(std::shared_ptr<Link> carrier, Frame frame);
  void fill_batch(Link& link);
  bool fits_credit(const Link& link, const Call& call) const;
  void encode_request(Call& call, Instant now);
  void encode_cancel(Link& link, u64 id);
  void wake_sender();
};

}  // namespace pangu::rpc
