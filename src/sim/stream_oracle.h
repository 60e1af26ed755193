#pragma once
#include <string>
#include <vector>

#include "base/result.h"
#include "sim/content.h"

// What one file must hold, as its users know it: it hears of every append, acknowledgement and read
// and says at once when the truth was broken. It lives outside the simulated world, where no fault
// reaches it.
//
// The truth it checks. A stream is what its sessions (a writer from open to its end) wrote, in the
// order of their epochs. The part of a session is a prefix of its appends in the order of issue,
// cut nowhere, doubled nowhere, changed nowhere, and not shorter than what was acknowledged to it.
// It starts where the open said, and ends where the next session that was opened starts. What a
// reader has seen is part of the stream for ever.
namespace pangu::sim {

class StreamOracle {
 public:
  explicit StreamOracle(u64 file) : file_(file) {}

  // A writer's open returned `start`, the length of the stream; the session is called by its epoch
  // from now on. Broken: a smaller start than what was acknowledged or seen; an epoch that is not
  // new.
  Result<u32> session_opened(u32 epoch, u64 start);

  // The session issues its next append; its bytes come from fill(). Of a record nobody may ever see
  // a part.
  u32 issue(u32 session, u64 size, bool record = false);
  void fill(u32 session, u32 append, MutableBytes into) const;
  // Broken: another offset than the order of issue gives, or one that a later session's start
  // denies.
  Status acknowledged(u32 session, u32 append, u64 offset);
  // The append failed in a way that says: it did not happen and never will.
  void refused(u32 session, u32 append);
  // The append failed in a way that says: it may have happened. Broken: a later one was
  // acknowledged.
  Status unknown(u32 session, u32 append);

  // A reader got these bytes. Broken: they are not the stream's.
  Status read(u64 offset, Bytes bytes);
  // A reader was told this length. Broken: less than the same reader was told before, or than it
  // must be because the caller knows of acknowledged bytes that this reader cannot miss
  // (`at_least`).
  Status told_length(u32 reader, u64 length, u64 at_least);

  // The whole stream, read at the end when nobody writes any more. Pieces in order, then finish().
  Status final_piece(u64 offset, Bytes bytes);
  Status finish(u64 length);

  u64 file() const { return file_; }
  // End of what was acknowledged or seen: the stream can never be shorter.
  u64 certain_end() const;
  u64 acknowledged_end() const;
  // The most that the stream can hold.
  u64 possible_end() const;
  u64 appends_acknowledged() const { return appends_acknowledged_; }
  u64 bytes_acknowledged() const { return bytes_acknowledged_; }
  u64 bytes_read() const { return bytes_read_; }

 private:
  enum class Fate : u8 { pending, acknowledged, refused, unknown };
  struct Append {
    u64 begin = 0;  // among the session's bytes, without the refused ones
    u64 size = 0;
    Fate fate = Fate::pending;
    bool record = false;
  };
  struct Session {
    u32 epoch = 0;
    u64 start = 0;
    std::vector<Append> appends;
    u64 size = 0;          // of all appends but the refused ones
    u64 acknowledged = 0;  // end of the last acknowledged one, from the session's start
  };
  Status broken(std::string what) const;
  Session& session_of(u32 epoch);
  // The offset at which the part of session `index` must end; ~0 if it is the last one.
  u64 limit_of(size_t index) const;
  size_t session_at(u64 offset) const;
  // The append that holds the byte at `within` of the session's bytes. REQUIRES: there is one.
  static size_t append_at(const Session& session, u64 within);
  // Broken: a length that ends inside a record of the session `index`.
  Status check_whole(size_t index, u64 length) const;
  Status check(u64 offset, Bytes bytes) const;

  u64 file_;
  std::vector<Session> sessions_;  // in the order of their epochs
  std::vector<u64> lengths_told_;  // by reader
  u64 seen_end_ = 0;
  u64 final_end_ = 0;
  u64 appends_acknowledged_ = 0;
  u64 bytes_acknowledged_ = 0;
  u64 bytes_read_ = 0;
};

}  // namespace pangu::sim
