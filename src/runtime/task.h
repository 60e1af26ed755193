#pragma once
#include <coroutine>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "runtime/frame_pool.h"

// Task<T>: a lazy, move-only coroutine on one reactor. It starts when it is awaited and belongs to
// whoever holds it; a Task that nobody awaits goes to a Gate or to Reactor::spawn. There is no
// detach. Rules that the compiler cannot check (CONTRIBUTING.md, "Coroutines"): parameters by value
// or by reference to an owner that outlives the Task; no capturing lambda coroutines; nothing that
// points into a container lives across co_await.
namespace pangu {

class Reactor;

// Strict priority from first to last, with a minimum share for each lower one (runtime/reactor.h).
enum class TaskClass : u8 { control, foreground, repair, background };
inline constexpr size_t kTaskClasses = 4;

// What a whole tree of awaited tasks shares: made by Reactor::spawn, inherited at co_await.
struct TaskContext {
  const char* name = "?";  // static storage: the watchdog prints it
  TaskClass task_class = TaskClass::foreground;
  Reactor* reactor = nullptr;
};

// Something that the reactor will resume. Lives in the awaiter, so queueing never allocates.
struct Ready {
  Ready* next = nullptr;
  std::coroutine_handle<> handle;
  TaskContext* context = nullptr;
};

// Base of every promise type of the project.
struct PromiseBase {
  TaskContext* context = nullptr;

  static void* operator new(size_t size) { return frame_allocate(size); }
  static void operator delete(void* frame, size_t size) { frame_free(frame, size); }
  [[noreturn]] void unhandled_exception() noexcept {
    check_failed("no exception leaves a coroutine", __FILE__, __LINE__);
  }
};

template <class T = void>
class [[nodiscard]] Task {
  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> self) const noexcept {
      return self.promise().continuation;
    }
    void await_resume() const noexcept {}
  };

  struct PromiseOfAny : PromiseBase {
    std::coroutine_handle<> continuation = std::noop_coroutine();
    std::suspend_always initial_suspend() const noexcept { return {}; }
    FinalAwaiter final_suspend() const noexcept { return {}; }
  };
  struct PromiseOfValue : PromiseOfAny {
    std::optional<T> value;
    Task get_return_object() {
      return Task(
          std::coroutine_handle<promise_type>::from_promise(static_cast<promise_type&>(*this)));
    }
    template <class U>
    void return_value(U&& result) {
      value.emplace(std::forward<U>(result));
    }
    T take() { return std::move(*value); }
  };

 public:
  struct promise_type : PromiseOfValue {};

  Task() = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() { destroy(); }

  bool valid() const { return handle_ != nullptr; }

  struct Awaiter {
    std::coroutine_handle<promise_type> child;
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> parent) const noexcept {
      child.promise().continuation = parent;
      child.promise().context = parent.promise().context;
      return child;
    }
    T await_resume() const { return child.promise().take(); }
  };
  Awaiter operator co_await() && {
    CHECK(handle_ != nullptr);
    return Awaiter{handle_};
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  void destroy() {
    if (handle_) {
      handle_.destroy();
    }
  }
  std::coroutine_handle<promise_type> handle_;
};

template <>
class [[nodiscard]] Task<void> {
  struct FinalAwaiter {
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> self) const noexcept {
      return self.promise().continuation;
    }
    void await_resume() const noexcept {}
  };

 public:
  struct promise_type : PromiseBase {
    std::coroutine_handle<> continuation = std::noop_coroutine();
    std::suspend_always initial_suspend() const noexcept { return {}; }
    FinalAwaiter final_suspend() const noexcept { return {}; }
    Task get_return_object() {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    void return_void() const noexcept {}
  };

  Task() = default;
  Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::exchange(other.handle_, nullptr);
    }
    return *this;
  }
  ~Task() { destroy(); }

  bool valid() const { return handle_ != nullptr; }

  struct Awaiter {
    std::coroutine_handle<promise_type> child;
    bool await_ready() const noexcept { return false; }
    template <class P>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<P> parent) const noexcept {
      child.promise().continuation = parent;
      child.promise().context = parent.promise().context;
      return child;
    }
    void await_resume() const noexcept {}
  };
  Awaiter operator co_await() && {
    CHECK(handle_ != nullptr);
    return Awaiter{handle_};
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  void destroy() {
    if (handle_) {
      handle_.destroy();
    }
  }
  std::coroutine_handle<promise_type> handle_;
};

}  // namespace pangu
