#pragma once
#include "base/types.h"

// The maxima of a group's state. Every copy of a group must use the same values: they decide what a
// command of the log does. Those of names and paths: wire/path.h.
namespace pangu::master {

inline constexpr int kLookupPlacesMax = 1000;
inline constexpr u32 kListDefault = 1000;
inline constexpr u32 kListMax = 10'000;
inline constexpr u32 kStreamListDefault = 64;
inline constexpr u32 kStreamListMax = 256;
// A reply stays well below wire::kBodyBytesMax.
inline constexpr size_t kReplyBytesSoft = 768 * kKiB;

inline constexpr u32 kCopiesDefault = 3;
inline constexpr u32 kCopiesMax = 7;
inline constexpr u64 kChunkBytesMin = kMiB;
inline constexpr u64 kChunkBytesDefault = 64 * kMiB;
inline constexpr u64 kChunkBytesMax = 2 * kGiB;
// Locations of a settled chunk while it is being moved: its copies and a few more.
inline constexpr int kReplicasMax = 16;
// Chunks of one stream that are not settled, or wait for one that is not.
inline constexpr int kTailMax = 64;
inline constexpr u32 kFreshMax = 4;  // chunks of one request

inline constexpr u64 kSessionsMax = 100'000;
// Answers kept for one client.
inline constexpr u64 kUnansweredMax = 4096;
// A session moves in the table by last use at most once in so many commands.
inline constexpr u64 kSessionUseStep = 1024;
inline constexpr size_t kForgottenPerCommand = 64;
// Answers beyond either have rows of their own.
inline constexpr int kKeptInSession = 16;
inline constexpr size_t kSessionBytes = 4096;

// Moves of directories that are remembered one by one: a way that is older is looked up again.
inline constexpr u64 kMovesKept = 10'000;
// Transactions that a group has prepared, or has committed and others not finished.
inline constexpr u64 kPreparedMax = 4096;
// Ended transactions that are remembered for each coordinator; one that is older than these and comes
// only now to be prepared is refused.
inline constexpr int kEndedKept = 256;
inline constexpr u64 kUnfinishedMax = 100'000;
inline constexpr int kStepsMax = 128;           // of one part; a path's directories and a few
inline constexpr int kParticipantsMax = 4096;
inline constexpr size_t kMessagesMax = 4096;    // delivered at once
inline constexpr int kMastersMax = 1000;

inline constexpr u32 kReclaimBudgetMax = 1000;  // records freed by one command
inline constexpr int kDevicesMax = 256;         // of one server
inline constexpr size_t kAddressBytesMax = 300;
inline constexpr size_t kRackBytesMax = 255;
inline constexpr int kConfirmMax = 4096;        // orders of one answer
inline constexpr int kMarksMax = 1000;          // replicas marked, or orphans erased, by one command
inline constexpr int kStreamsPerRequest = 256;  // asked about at once

}  // namespace pangu::master
