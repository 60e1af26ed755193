#pragma once
#include <memory>

#include "base/buffer.h"
#include "pangu/options.h"
#include "runtime/task.h"

namespace pangu::client {

class AppendPipeline;
struct ClientCore;

// Appends to one file. It is the file's only writer until somebody else opens the file for append:
// then everything that was not acknowledged fails with kUnknownOutcome and this Writer is over.
//
// Many appends may be in flight at once; they get their offsets in the order in which they were
// begun and are acknowledged in that order. What was acknowledged is durable on copies_min servers
// and stays, unchanged. An append is not atomic: after a failure a beginning of it may be in the
// file (except a record, which is there or not).
//
// Errors of an append:
//   kUnknownOutcome  it may or may not be in the file, wholly or in part. Open the file again: its
//                    length then tells, and append(expected_offset, …) makes the retry exactly-once
//   kFenced          another writer took the file; this append was not sent
//   kOffsetMismatch  the file does not end at expected_offset; nothing was appended
//   kBusy            the client's window stayed full; nothing was appended
//   kClosed          after close(), seal(), Client::stop() or an earlier failure; nothing was
//                    appended
class Writer {
 public:
  Writer(std::shared_ptr<ClientCore> core, std::shared_ptr<AppendPipeline> pipeline);
  // Without close(), the next opener has to recover the end of the file.
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Returns the offset of the first byte when all of them are durable. `bytes` stay in place until
  // then; so does the Writer.
  Task<Result<u64>> append(Bytes bytes, AppendOptions options = {});
  // Only if the file ends exactly at `expected_offset` (appends in flight included).
  Task<Result<u64>> append(u64 expected_offset, Bytes bytes, AppendOptions options = {});
  // Takes the bytes over and returns as soon as there is room for them in the window; flush() tells
  // whether they became durable.
  Task<Status> enqueue(Slice bytes, AppendOptions options = {});
  // Waits until everything appended and enqueued before is durable. kUnknownOutcome, now and at
  // every later call: some of it may not be in the file.
  Task<Status> flush();

  // Tells the replicas what is committed now rather than in a moment, so that readers see it.
  void announce();

  // How much of the file is acknowledged.
  u64 length() const;
  // Where the next append will go.
  u64 end() const;
  Epoch epoch() const;
  FileId file() const;

  // Flushes, then settles the file with the master so that the next opener has nothing to recover.
  // An error leaves everything acknowledged safe; nothing can be appended afterwards in any case.
  Task<Status> close();
  // The same, and makes the file immutable. Returns its length.
  Task<Result<u64>> seal();

 private:
  std::shared_ptr<ClientCore> core_;
  std::shared_ptr<AppendPipeline> pipeline_;  // its background tasks have shares
};

}  // namespace pangu::client
