#pragma once
#include "base/result.h"
#include "master/state/apply_context.h"
#include "master/state/record.pb.h"
#include "master/state/txn.h"
#include "wire/control.pb.h"

// Streams: epochs, chunks and how their lengths are decided (docs/design/0003-protocol.md). The
// functions that take an ApplyContext change the stream; an error means that whatever they did to
// the Txn must be rolled back.
//
// Invariants of a record::Stream, beside what state/record.proto says
// 1. OPEN: every chunk of the tail has the stream's epoch as its owner.
// 2. A chunk is OPEN from its allocation until it is settled, exactly once; then it is in table C
//    (or, behind an OPEN one, still in the tail) or, if dropped, nowhere.
// 3. Bases of settled chunks are the running sums of the lengths before them, as far as those are
//    settled: checked at each change.
//
// A stream is made by its first open; before, only open_for_append and get_stream know the file.
//
// Errors of all of them: NotFound (the file was removed, or never opened), InvalidArgument (also for
// a file of another group), WrongEpoch (the stream is not open at the caller's epoch: the caller must
// stop), ReadOnly (the file is sealed), Conflict (the decision contradicts what is settled: nothing
// was changed).
namespace pangu::master {

// A file that was never opened: STREAM_NEW, and nothing else.
Result<pb::GetStreamReply> get_stream(Txn& txn, const pb::GetStreamRequest& request);
// InvalidArgument: more than kStreamsPerRequest. Of single files Busy: the reply is full.
Result<pb::GetStreamsReply> get_streams(Txn& txn, const pb::GetStreamsRequest& request);

// The stream, or as its first open would make it, with `options`. For who looks for places.
Result<record::Stream> stream_to_open(Txn& txn, FileId file, const pb::FileOptions& options);

// NoPlacement: a new chunk is needed and the offer has none.
Result<pb::OpenForAppendReply> open_for_append(Txn& txn, const ApplyContext& context,
                                               const pb::OpenForAppendRequest& request);
// NoPlacement likewise. Busy: too many chunks of the stream are not settled.
Result<pb::AllocateChunksReply> allocate_chunks(Txn& txn, const ApplyContext& context,
                                                const pb::AllocateChunksRequest& request);
Result<pb::ReleaseChunkReply> release_chunk(Txn& txn, const ApplyContext& context,
                                            const pb::ReleaseChunkRequest& request);
Result<pb::ReportChunkReply> report_chunk(Txn& txn, const ApplyContext& context,
                                          const pb::ReportChunkRequest& request);
// `fresh` of the reply may be empty although chunks were asked for, when the offer has none: the
// decision stands, and allocate_chunks says why.
Result<pb::PublishReply> publish(Txn& txn, const ApplyContext& context,
                                 const pb::PublishRequest& request);
Result<pb::SealFileReply> seal_file(Txn& txn, const ApplyContext& context,
                                    const pb::SealFileRequest& request);

}  // namespace pangu::master
