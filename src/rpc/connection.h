#pragma once
#include <vector>

#include "base/intrusive_list.h"
#include "rpc/frame_reader.h"
#include "rpc/handshake_codec.h"
#include "rpc/out_batch.h"
#include "rpc/server.h"

// The insides of the server: what all connections share, and one connection with its reader and its
// writer.
namespace pangu::rpc {

// Kept alive by every connection (shared_ptr: connections outlive the Server object when their
// reactor is abandoned, in any order of destruction).
struct ServerCore {
  ServerCore(Reactor& r, Service& s, BufferPool& p, const ServerOptions& o);

  Reactor& reactor;
  Service& service;
  BufferPool& pool;
  ServerOptions options;
  ServerCounters counters;
  SmallPool small;
  Gate gate;
  bool stopping = false;
  bool stopped = false;
  std::unique_ptr<env::Listener> listener;
  // Payload bytes that may still be received. Control has its own reserve.
  Semaphore room;
  Semaphore control_room;
  // How long requests of a class have lately waited: for their turn once they were complete, and
  // for a place for their payload (both smoothed).
  std::array<Duration, kTaskClasses> turn_delay{};
  std::array<Duration, kTaskClasses> room_delay{};
  u64 data_connections = 0;
  Instant next_log;
  IntrusiveList<Connection> connections;
  // Where payloads go that nobody wants; never read.
  std::vector<std::byte> scratch;

  // What a connection may have in flight from now on: its fair share, overcommitted twofold.
  u64 credit() const;
  Semaphore& room_of(TaskClass task_class) {
    return task_class == TaskClass::control ? control_room : room;
  }
  // Says why a connection ended, at most once a second.
  void note_end(const env::Address& peer, const Error& error);
};

// A request between its header and its reply.
struct ActiveRequest : ListNode {
  u64 id = 0;
  bool started = false;
  bool cancelled = false;
  u32 room_taken = 0;
  Instant complete;  // everything of it has arrived
  Request request;
  // Pooled like coroutine frames, and so without an owner that could be gone first.
  static void* operator new(size_t size) { return frame_allocate(size); }
  static void operator delete(void* memory, size_t size) { frame_free(memory, size); }
};

class Connection : public ListNode, public std::enable_shared_from_this<Connection> {
 public:
  // What each of its tasks holds: the connection, and a place in the gate (given back first).
  struct Lease {
    std::shared_ptr<Connection> connection;
    Gate::Holder holder;
    explicit Lease(std::shared_ptr<Connection> c)
        : connection(std::move(c)), holder(connection->core_->gate) {}
    Lease(Lease&&) = default;
    Lease& operator=(Lease&&) = delete;
  };

  Connection(std::shared_ptr<ServerCore> core, std::unique_ptr<env::Socket> socket);

  // The connection's life, from handshake to end.
  static Task<void> serve(Lease lease);
  // Ends it soon: nothing more is read or sent.
  void close();

 private:
  static Task<void> write_replies(Lease lease);
  static Task<void> run_request(Lease lease, std::unique_ptr<ActiveRequest> active);

  Task<Status> shake_hands();
  Task<Status> send_now(HandshakeFrame frame);
  Task<Status> read_requests();
  Task<Status> take_request(Frame frame);
  // True: the payload is in its place. False: the request was refused, answered and skipped.
  Task<Result<bool>> take_payload(ActiveRequest& active, const wire::FrameHeader& header);
  Task<Status> refuse(ActiveRequest& active, u32 payload_len, const Error& error);
  Task<Status> wait_for_room(ActiveRequest& active, u32 size, Instant give_up);
  Task<Result<Placement>> wait_for_place(const wire::FrameHeader& header, Bytes body,
                                         Instant give_up);
  Status check_deadline(const ActiveRequest& active, u32 payload_len);
  void give_room_back(ActiveRequest& active);
  void cancel(u64 id);
  void answer(const ActiveRequest& active, Reply reply);
  void finish(ActiveRequest& active);
  // Counts requests whose reply has not left yet.
  void hold(size_t requests);
  void release(size_t requests);
  void fill_batch();
  Error closed_error() const { return Error(Code::kConnectionLost, "closed here"); }

  std::shared_ptr<ServerCore> core_;
  std::unique_ptr<env::Socket> socket_;
  env::Address peer_;
  ConnectionKind kind_ = ConnectionKind::control;
  StallTimer read_stall_;
  StallTimer write_stall_;
  FrameReader reader_;
  bool closed_ = false;
  bool counted_as_data_ = false;

  IntrusiveList<ActiveRequest> active_;
  u64 payload_in_use_ = 0;
  u64 granted_ = 0;   // the largest credit that was ever announced
  u32 held_ = 0;      // requests whose reply has not left yet
  WaitList changed_;  // held_ or payload_in_use_ shrank, or closed

  std::vector<OutFrame> replies_;
  OutBatch batch_;
  WaitList writer_wake_;
  bool writer_running_ = false;
  WaitList writer_ended_;
};

}  // namespace pangu::rpc
