#pragma once
#include "base/result.h"
#include "master/state/apply_context.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// The chunk list of one stream: what state/stream.cc does to it, in terms of the rules.
namespace pangu::master {

class ChunkList {
 public:
  // `stream` is changed in place; the caller stores it. All three outlive the list.
  ChunkList(Txn& txn, FileId file, record::Stream& stream)
      : txn_(txn), file_(file), stream_(stream) {}

  int open_count() const;
  // The place of a chunk in the tail, or -1.
  int find(u32 sequence) const;

  // Appends `count` OPEN chunks of the stream's epoch from the offer and describes them; on an
  // error nothing has changed.
  Status add_fresh(const ApplyContext& context, u32 count,
                   google::protobuf::RepeatedPtrField<pb::ChunkInfo>& fresh);
  // Takes an OPEN chunk off the list; nothing of it was ever stored.
  void release(int place);
  // Decides the chunk at `place`; length 0 drops it. The caller ends with check_joins and advance.
  Status settle(int place, u64 base, u32 length);
  // Ok if a chunk that is no longer OPEN was decided just so (length 0: dropped).
  Status check_settled(u32 sequence, u64 base, u32 length);
  // A takeover's or a sealing writer's decision of every OPEN chunk, and then joins and advance.
  enum class MayMove : u8 { no, yes };
  Status settle_all(const google::protobuf::RepeatedPtrField<pb::Decision>& decisions,
                    MayMove may_move);

  // Conflict unless every settled chunk begins where the settled ones before it end.
  Status check_joins() const;
  // Moves the settled chunks at the front of the tail to their tables.
  void advance();

 private:
  Status decide(const pb::Decision& decision, MayMove may_move);
  Status replace_replicas(record::Chunk& chunk, const pb::Decision& decision, MayMove may_move);
  Status check_replicas(const record::Chunk& chunk, const pb::Decision& decision);
  void drop(int place);

  Txn& txn_;
  FileId file_;
  record::Stream& stream_;
};

void mark_suspects(record::Chunk& chunk, const google::protobuf::RepeatedField<u32>& servers);
void describe_chunk(pb::ChunkInfo& out, FileId file, const record::Chunk& chunk);
// Everything but the chunks.
void describe_head(pb::StreamInfo& out, FileId file, const record::Stream& stream);

}  // namespace pangu::master
