#pragma once
#include "env/linux/epoll_env.h"
#include "env/linux/sockets.h"

namespace pangu::env {

class EpollSocket final : public Socket, public EpollSource {
 public:
  EpollSocket(EpollEnv& env, Fd fd, const Address& peer);
  ~EpollSocket() override;
  static void connect(EpollEnv& env, Operation& op, Fd fd, const Address& to,
                      std::unique_ptr<Socket>& into);

  void receive(Operation& op, std::span<const iovec> pieces) override;
  void receive_some(Operation& op, MutableBytes into) override;
  i64 receive_now(std::span<const iovec> pieces) override;
  void send(Operation& op, std::span<const iovec> pieces) override;
  void shutdown() override;
  Address peer() const override { return peer_; }

 private:
  // One of the two ways that bytes flow. `ready` is false from EAGAIN to the next event.
  struct Direction {
    PieceCursor cursor;
    Operation* running = nullptr;
    bool ready = true;
    bool some = false;  // ends with the first bytes
  };
  void on_ready(u32 events) override;
  void begin(Direction& direction, Operation& op, std::span<const iovec> pieces);
  void end(Direction& direction, i64 result);
  void try_receive();
  void try_send();
  void finish_connecting();

  EpollEnv& env_;
  Fd fd_;
  Address peer_;
  bool shut_down_ = false;
  Operation* connecting_ = nullptr;
  std::unique_ptr<Socket>* connecting_into_ = nullptr;
  Direction in_;
  Direction out_;
};

class EpollListener final : public Listener, public EpollSource {
 public:
  EpollListener(EpollEnv& env, Fd fd, const Address& address);
  ~EpollListener() override { CHECK(running_ == nullptr); }
  void accept(Operation& op, std::unique_ptr<Socket>& into) override;
  void shutdown() override;
  Address address() const override { return address_; }

 private:
  void on_ready(u32 events) override;
  void try_accept();
  void end(i64 result);
  EpollEnv& env_;
  Fd fd_;
  Address address_;
  Operation* running_ = nullptr;
  std::unique_ptr<Socket>* into_ = nullptr;
  bool shut_down_ = false;
};

}  // namespace pangu::env
