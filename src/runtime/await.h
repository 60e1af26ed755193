#pragma once
#include <cerrno>
#include <coroutine>

#include "env/env.h"
#include "runtime/reactor.h"

// Awaitables over Env operations and timers.
namespace pangu {

// Base of the awaiters that wait for one Env operation. Derive, implement start().
template <class Derived>
struct OperationAwaiter : env::Operation, Ready {
  i64 result = 0;

  bool await_ready() const noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> waiter) {
    handle = waiter;
    context = waiter.promise().context;
    done = [](env::Operation* op, i64 outcome) noexcept {
      auto* self = static_cast<Derived*>(op);
      self->result = outcome;
      self->context->reactor->schedule(*self);
    };
    static_cast<Derived*>(this)->start();
  }
  // >= 0: bytes; < 0: -errno.
  i64 await_resume() const noexcept { return result; }
};

struct ReadAwaiter : OperationAwaiter<ReadAwaiter> {
  env::File& file;
  u64 offset;
  MutableBytes into;
  ReadAwaiter(env::File& f, u64 at, MutableBytes to) : file(f), offset(at), into(to) {}
  void start() { file.read(*this, offset, into); }
};
// The memory must stay in place until the await returns.
inline ReadAwaiter async_read(env::File& file, u64 offset, MutableBytes into) {
  return {file, offset, into};
}

struct WriteAwaiter : OperationAwaiter<WriteAwaiter> {
  env::File& file;
  u64 offset;
  Bytes from;
  env::Durability durability;
  i32 slot;
  WriteAwaiter(env::File& f, u64 at, Bytes b, env::Durability d, i32 registered)
      : file(f), offset(at), from(b), durability(d), slot(registered) {}
  void start() { file.write(*this, offset, from, durability, slot); }
};
inline WriteAwaiter async_write(env::File& file, u64 offset, Bytes from, env::Durability durability,
                                i32 registered_slot = -1) {
  return {file, offset, from, durability, registered_slot};
}

struct FlushAwaiter : OperationAwaiter<FlushAwaiter> {
  env::File& file;
  explicit FlushAwaiter(env::File& f) : file(f) {}
  void start() { file.flush(*this); }
};
inline FlushAwaiter async_flush(env::File& file) {
  return FlushAwaiter(file);
}

struct ReceiveAwaiter : OperationAwaiter<ReceiveAwaiter> {
  env::Socket& socket;
  std::array<iovec, env::kPiecesMax> pieces;
  size_t count;
  ReceiveAwaiter(env::Socket& s, std::span<const iovec> into) : socket(s), count(into.size()) {
    CHECK(count <= env::kPiecesMax);
    std::copy(into.begin(), into.end(), pieces.begin());
  }
  void start() { socket.receive(*this, {pieces.data(), count}); }
};
inline ReceiveAwaiter async_receive(env::Socket& socket, std::span<const iovec> into) {
  return {socket, into};
}
inline ReceiveAwaiter async_receive(env::Socket& socket, MutableBytes into) {
  const iovec piece{into.data(), into.size()};
  return {socket, std::span<const iovec>(&piece, 1)};
}

struct ReceiveSomeAwaiter : OperationAwaiter<ReceiveSomeAwaiter> {
  env::Socket& socket;
  MutableBytes into;
  ReceiveSomeAwaiter(env::Socket& s, MutableBytes to) : socket(s), into(to) {}
  void start() { socket.receive_some(*this, into); }
};
inline ReceiveSomeAwaiter async_receive_some(env::Socket& socket, MutableBytes into) {
  return {socket, into};
}

struct SendAwaiter : OperationAwaiter<SendAwaiter> {
  env::Socket& socket;
  std::span<const iovec> pieces;
  SendAwaiter(env::Socket& s, std::span<const iovec> from) : socket(s), pieces(from) {}
  void start() { socket.send(*this, pieces); }
};
// Any number of pieces; the array they stand in and what they name stay in place until it returns.
inline SendAwaiter async_send(env::Socket& socket, std::span<const iovec> pieces) {
  return {socket, pieces};
}

struct AcceptAwaiter : OperationAwaiter<AcceptAwaiter> {
  env::Listener& listener;
  std::unique_ptr<env::Socket>& into;
  AcceptAwaiter(env::Listener& l, std::unique_ptr<env::Socket>& s) : listener(l), into(s) {}
  void start() { listener.accept(*this, into); }
};
inline AcceptAwaiter async_accept(env::Listener& listener, std::unique_ptr<env::Socket>& into) {
  return {listener, into};
}

struct ConnectAwaiter : OperationAwaiter<ConnectAwaiter> {
  env::Env& world;
  env::Address to;
  std::unique_ptr<env::Socket>& into;
  ConnectAwaiter(env::Env& e, const env::Address& a, std::unique_ptr<env::Socket>& s)
      : world(e), to(a), into(s) {}
  void start() { world.connect(*this, to, into); }
};
inline ConnectAwaiter async_connect(env::Env& world, const env::Address& to,
                                    std::unique_ptr<env::Socket>& into) {
  return {world, to, into};
}

// Runs fn() on a background thread and returns its value here. `fn` owns or outlives what it
// touches; nothing it touches may be used by the reactor meanwhile.
template <class F>
struct BackgroundAwaiter : env::BackgroundOperation, Ready {
  F fn;
  std::optional<std::invoke_result_t<F&>> value;
  explicit BackgroundAwaiter(F function) : fn(std::move(function)) {}
  bool await_ready() const noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> waiter) {
    handle = waiter;
    context = waiter.promise().context;
    run = [](env::BackgroundOperation* op) {
      auto* self = static_cast<BackgroundAwaiter*>(op);
      self->value.emplace(self->fn());
    };
    done = [](env::Operation* op, i64) noexcept {
      auto* self = static_cast<BackgroundAwaiter*>(op);
      self->context->reactor->schedule(*self);
    };
    context->reactor->env().run_in_background(*this);
  }
  std::invoke_result_t<F&> await_resume() { return std::move(*value); }
};
// `fn` must return a value (return Unit{} for none).
template <class F>
BackgroundAwaiter<F> run_in_background(F fn) {
  return BackgroundAwaiter<F>(std::move(fn));
}

struct SleepAwaiter : Ready {
  Instant when;
  struct Alarm : Timer {
    SleepAwaiter* owner;
    explicit Alarm(SleepAwaiter* o)
        : Timer([](Timer* timer) noexcept {
            SleepAwaiter* sleeper = static_cast<Alarm*>(timer)->owner;
            sleeper->context->reactor->schedule(*sleeper);
          }),
          owner(o) {}
  } alarm{this};
  explicit SleepAwaiter(Instant until) : when(until) {}
  bool await_ready() const noexcept { return false; }
  template <class P>
  void await_suspend(std::coroutine_handle<P> waiter) {
    handle = waiter;
    context = waiter.promise().context;
    alarm.arm(*context->reactor, when);
  }
  void await_resume() const noexcept {}
};
inline SleepAwaiter sleep_until(Instant when) {
  return SleepAwaiter(when);
}
inline SleepAwaiter sleep_for(Duration duration) {
  return SleepAwaiter(Reactor::current().now() + duration);
}

// Lets every other ready task go first.
struct YieldAwaiter : Ready {
  bool only_if_expired;
  explicit YieldAwaiter(bool if_expired) : only_if_expired(if_expired) {}
  bool await_ready() const noexcept {
    if (!only_if_expired) {
      return false;
    }
    Reactor& reactor = Reactor::current();
    return reactor.now() - reactor.slice_start() < reactor.slice_limit();
  }
  template <class P>
  void await_suspend(std::coroutine_handle<P> waiter) {
    handle = waiter;
    context = waiter.promise().context;
    context->reactor->schedule(*this);
  }
  void await_resume() const noexcept {}
};
inline YieldAwaiter yield_now() {
  return YieldAwaiter(false);
}
// For long loops: yields only when this resumption has used up its slice.
inline YieldAwaiter yield_if_expired() {
  return YieldAwaiter(true);
}

// The context (name, class, reactor) of the task that awaits it.
struct ThisContext {
  TaskContext* context = nullptr;
  bool await_ready() const noexcept { return false; }
  template <class P>
  bool await_suspend(std::coroutine_handle<P> waiter) noexcept {
    context = waiter.promise().context;
    return false;
  }
  TaskContext& await_resume() const noexcept { return *context; }
};
inline ThisContext this_context() {
  return {};
}

}  // namespace pangu
