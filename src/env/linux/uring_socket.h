#pragma once
#include "env/linux/sockets.h"
#include "env/linux/uring_env.h"

namespace pangu::env {

class UringSocket final : public Socket {
 public:
  UringSocket(UringEnv& env, Fd fd, const Address& peer);
  ~UringSocket() override;
  // Connects; on success `into` gets the socket.
  static void connect(UringEnv& env, Operation& op, Fd fd, const Address& to,
                      std::unique_ptr<Socket>& into);

  void receive(Operation& op, std::span<const iovec> pieces) override;
  void receive_some(Operation& op, MutableBytes into) override;
  i64 receive_now(std::span<const iovec> pieces) override;
  void send(Operation& op, std::span<const iovec> pieces) override;
  void shutdown() override;
  Address peer() const override { return peer_; }

 private:
  // One of the two ways that bytes flow; at most one operation each.
  struct Direction {
    PieceCursor cursor;
    msghdr header{};
    Operation* running = nullptr;
    void begin(Operation& op, std::span<const iovec> pieces);
  };
  static void on_connected(Operation& op, i32 result);
  static void on_received(Operation& op, i32 result);
  static void on_received_some(Operation& op, i32 result);
  static void on_sent(Operation& op, i32 result);
  void submit_receive(Operation& op);
  void submit_send(Operation& op);
  void end(Direction& direction, i64 result);

  UringEnv& env_;
  Fd fd_;
  Address peer_;
  bool shut_down_ = false;
  Direction in_;
  Direction out_;
};

class UringListener final : public Listener {
 public:
  UringListener(UringEnv& env, Fd fd, const Address& address)
      : env_(env), fd_(std::move(fd)), address_(address) {}
  ~UringListener() override { CHECK(running_ == nullptr); }
  void accept(Operation& op, std::unique_ptr<Socket>& into) override;
  void shutdown() override;
  Address address() const override { return address_; }

 private:
  static void on_accepted(Operation& op, i32 result);
  void submit(Operation& op);
  UringEnv& env_;
  Fd fd_;
  Address address_;
  SocketAddress from_;
  Operation* running_ = nullptr;
  bool shut_down_ = false;
};

}  // namespace pangu::env
