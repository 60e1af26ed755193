#pragma once
#include <array>
#include <cerrno>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <sys/uio.h>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/time.h"

// The doors to the world: clock, disk, network, randomness, background threads. One Env per
// reactor; env/linux talks to the kernel (io_uring, or epoll and a thread pool where io_uring is
// forbidden), env/sim to a simulated world driven from one seed. Nothing outside src/env and
// src/runtime calls the operating system for any of these.
//
// Operations are completion based. The caller owns the operation object and the memory it names;
// both must stay in place until `done` is called. `done` runs inside Env::poll or Env::wait, on the
// Env's own thread, exactly once; it must not block and should only queue work. An operation may be
// started from inside `done`.
//
// Results: >= 0 is the count of bytes (or 0 for operations without one); < 0 is -errno.
namespace pangu::env {

struct Operation {
  using Done = void (*)(Operation*, i64 result) noexcept;
  Done done = nullptr;
  // The Env's own room: what an implementation must remember while the operation runs.
  struct {
    void* pointers[4] = {};
    u64 words[4] = {};
    iovec iov[4] = {};
  } hidden;

  Operation() = default;
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
};

// Up to this many pieces in one operation.
inline constexpr size_t kPiecesMax = 4;

enum class Durability : u8 {
  volatile_write,  // may sit in a volatile cache until the next flush that starts after it
                   // completed
  durable_write,   // on stable media when `done` is called (RWF_DSYNC)
};

// An open file or block device. Positional, unbuffered if opened `direct`: then memory addresses,
// offsets and sizes must be multiples of alignment().
class File {
 public:
  virtual ~File() = default;  // REQUIRES: no operation in flight
  // Fewer bytes than asked for only at the end of the file.
  virtual void read(Operation& op, u64 offset, MutableBytes into) = 0;
  // All of it or an error.
  // `registered_slot`: BufferBlock::registered_slot of the memory, or -1.
  virtual void write(Operation& op, u64 offset, Bytes from, Durability durability,
                     i32 registered_slot) = 0;
  // Completed writes that began before this call are on stable media when it completes with 0.
  virtual void flush(Operation& op) = 0;
  virtual u64 size() const = 0;
  virtual u32 alignment() const = 0;
  // False only if the device says that it has no volatile write cache; unknown counts as volatile.
  // Of a regular file this tells of the device below.
  virtual bool volatile_cache() const = 0;
  // A block device has a fixed size and no metadata of its own that a write could change.
  virtual bool is_block_device() const { return false; }
  // Blocking; for start-up and background use. Extends or cuts a regular file.
  virtual Status resize(u64 bytes) = 0;
};

struct OpenOptions {
  bool create = false;     // make it if it is absent
  bool exclusive = false;  // with create: AlreadyExists if it is there
  bool read_only = false;
  bool direct = false;  // O_DIRECT where the file system has it
  bool lock = false;    // exclusive lock while open; InUse if another process holds it
};

// Names and whole small files. Blocking, for start-up and rare administration only.
class FileSystem {
 public:
  virtual ~FileSystem() = default;
  virtual Result<std::unique_ptr<File>> open(std::string_view path, const OpenOptions& options) = 0;
  virtual Status make_directories(std::string_view path) = 0;
  virtual Result<std::vector<std::string>> list(std::string_view directory) = 0;  // names, sorted
  virtual Status remove(std::string_view path) = 0;
  virtual bool exists(std::string_view path) = 0;
  virtual Result<std::string> read_file(std::string_view path) = 0;
  // Durable and all-or-nothing when it returns: temporary file, flush, rename, flush of the folder.
  virtual Status replace_file(std::string_view path, std::string_view contents) = 0;
};

// An IPv4 or IPv6 address and port. IPv4 is kept in its IPv6-mapped form.
struct Address {
  std::array<u8, 16> ip{};
  u16 port = 0;
  auto operator<=>(const Address&) const = default;
  bool is_loopback() const;
  bool is_v4() const;
};
std::string to_string(const Address& address);  // 127.0.0.1:7100, [::1]:7100
// Numbers only; names are resolved by env/linux. "7100" alone means loopback.
Result<Address> parse_address(std::string_view text);

// A connected byte stream. At most one receive and one send may be in flight at a time.
class Socket {
 public:
  virtual ~Socket() = default;  // closes; REQUIRES: no operation in flight
  // Completes when all pieces are full (result = their sum), or at the end of the stream or an
  // error: then a result smaller than the sum (0 = the peer closed) or -errno.
  virtual void receive(Operation& op, std::span<const iovec> pieces) = 0;
  // Completes as soon as any bytes arrived (result = how many).
  virtual void receive_some(Operation& op, MutableBytes into) = 0;
  // Takes what has arrived already, without an operation: how many bytes, as receive_some would;
  // -EAGAIN if nothing has, or if this implementation has no such short cut. REQUIRES: no receive in
  // flight.
  virtual i64 receive_now(std::span<const iovec> pieces) {
    (void)pieces;
    return -EAGAIN;
  }
  // Completes when every byte is handed to the kernel, or with -errno.
  virtual void send(Operation& op, std::span<const iovec> pieces) = 0;
  // Both directions end: operations in flight complete soon with an error, the peer sees the end.
  virtual void shutdown() = 0;
  virtual Address peer() const = 0;
};

class Listener {
 public:
  virtual ~Listener() = default;  // REQUIRES: no accept in flight
  // On success `into` holds the socket when `done` is called with 0.
  virtual void accept(Operation& op, std::unique_ptr<Socket>& into) = 0;
  // An accept in flight completes soon with -ECANCELED.
  virtual void shutdown() = 0;
  virtual Address address() const = 0;  // with the port really bound
};

// Work for another thread: `run` is called there once, then `done` here.
struct BackgroundOperation : Operation {
  void (*run)(BackgroundOperation*) = nullptr;
};

class Env {
 public:
  virtual ~Env() = default;

  virtual Instant now() = 0;        // monotonic; cheap
  virtual i64 wall_clock_us() = 0;  // microseconds since 1970: for people, never for decisions
  virtual u64 random() = 0;         // unpredictable in production, from the seed in simulation
  // How often the kernel took this thread off its core against its will, so far.
  virtual u64 preemptions() = 0;
  virtual FileSystem& files() = 0;

  // The address is bound when this returns; port 0 picks a free one.
  virtual Result<std::unique_ptr<Listener>> listen(const Address& address) = 0;
  // On success `into` holds the socket when `done` is called with 0. Fails within some ten seconds
  // if nobody answers.
  virtual void connect(Operation& op, const Address& to, std::unique_ptr<Socket>& into) = 0;
  virtual void run_in_background(BackgroundOperation& op) = 0;

  // Starts what was asked for and runs `done` of everything that has completed; never blocks.
  // Returns how many completed.
  virtual size_t poll() = 0;
  // Like poll, but if nothing has completed sleeps until something does, wake() is called, or
  // `deadline` is reached. Lost wake-ups are impossible: it looks once more after arming.
  virtual size_t wait(Instant deadline) = 0;
  // Ends a wait, also one that has not begun yet. The only member that any thread may call.
  virtual void wake() = 0;

  // Makes [base, base + size) usable as registered memory; returns its slot or -1 (not supported,
  // or beyond the memory-lock limit: everything works without).
  virtual i32 register_memory(std::byte* base, size_t size) = 0;
  // Before the memory is given back to the system. REQUIRES: no operation on it in flight.
  virtual void unregister_memory(i32 slot) { (void)slot; }
  virtual std::string_view name() const = 0;  // "io_uring", "epoll", "sim"
};

// Result of an operation as an Error of ours; `what` names the object for people.
Error error_from_errno(int error, std::string_view what);

}  // namespace pangu::env
