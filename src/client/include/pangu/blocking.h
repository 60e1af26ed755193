#pragma once
#include <memory>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "pangu/counters.h"
#include "pangu/options.h"

// The client SDK for plain threads: every call waits for its result, and the calling thread drives
// the client's own reactor meanwhile. Everything that pangu/client.h, pangu/writer.h and
// pangu/reader.h say of their calls holds here.
//
//   auto client = BlockingClient::connect({.masters = {"localhost:7100"}});
//   auto writer = (*client)->open_for_append("/log", {.create = true});
//   auto offset = (*writer)->append("hello");
//
// One thread at a time may use a client with its writers and readers: a client for each thread, or
// a lock around them. Between calls nothing moves: an idle writer's background work (reporting what
// it left behind) goes on with the next call, poll() or close(). What append() acknowledged,
// though, is announced to readers before it returns.
namespace pangu::client {

struct BlockingState;

class BlockingWriter {
 public:
  explicit BlockingWriter(std::shared_ptr<BlockingState> state);
  ~BlockingWriter();  // without close(), the next opener recovers the end of the file
  BlockingWriter(const BlockingWriter&) = delete;
  BlockingWriter& operator=(const BlockingWriter&) = delete;

  // Returns the offset when the bytes are durable.
  Result<u64> append(Bytes bytes, AppendOptions options = {});
  Result<u64> append(std::string_view text, AppendOptions options = {});
  Result<u64> append(u64 expected_offset, Bytes bytes, AppendOptions options = {});
  // Copies the bytes and returns as soon as there is room for them in the window; flush() tells
  // whether they became durable. For writing much at full speed from one thread.
  Status enqueue(Bytes bytes, AppendOptions options = {});
  Status flush();
  u64 length() const;
  u64 end() const;
  Status close();
  Result<u64> seal();

 private:
  friend class BlockingClient;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

class BlockingReader {
 public:
  explicit BlockingReader(std::shared_ptr<BlockingState> state);
  ~BlockingReader();
  BlockingReader(const BlockingReader&) = delete;
  BlockingReader& operator=(const BlockingReader&) = delete;

  Result<u64> read(u64 offset, MutableBytes into);
  Result<std::string> read(u64 offset, u64 size);
  Result<u64> length();
  u64 known_length() const;
  Result<u64> read_wait(u64 offset, Duration patience);

 private:
  friend class BlockingClient;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

class BlockingClient {
 public:
  // Masters may be given by name. The kernel's interface is io_uring, or epoll where that is
  // forbidden; PANGU_ENV forces one.
  static Result<std::unique_ptr<BlockingClient>> connect(ClientOptions options);
  // Writers and readers may be destroyed before or after.
  ~BlockingClient();
  BlockingClient(const BlockingClient&) = delete;
  BlockingClient& operator=(const BlockingClient&) = delete;

  Result<Entry> create(std::string path, CreateOptions options = {});
  Result<std::unique_ptr<BlockingWriter>> open_for_append(std::string path,
                                                          OpenOptions options = {});
  Result<std::unique_ptr<BlockingReader>> open_for_read(std::string path);
  Result<FileInfo> stat(std::string path);
  Result<ListPage> list(std::string path, std::string after = {}, u32 limit = 0);
  Result<Entry> make_directory(std::string path, bool parents = false);
  Status rename(std::string from, std::string to);
  Result<Removed> remove(std::string path, bool recursive = false);
  Result<u64> seal(std::string path);
  Result<ClusterSummary> cluster_info();
  const ClientCounters& counters() const;
  // Does what is due without waiting.
  void poll();

 private:
  explicit BlockingClient(std::shared_ptr<BlockingState> state);
  std::shared_ptr<BlockingState> state_;  // writers and readers have shares
};

}  // namespace pangu::client
