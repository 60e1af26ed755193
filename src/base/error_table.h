#pragma once
// Every error code of the project, one table. Numbers are part of the wire format: never renumber;
// a removed code leaves a comment behind. A code exists only if some caller reacts to it
// specifically; everything else is text in the Error's context.
//
// X(name, number, retry class, what a person reads)
//   never           repeating the call cannot help
//   same            the same request may be sent again to the same place
//   other_replica   ask another replica or server
//   refresh_route   the caller's metadata is old: fetch it again, once, then repeat
//   unknown_outcome the operation may or may not have happened
// clang-format off
#define PANGU_ERROR_TABLE(X)                                                                       \
  X(kOk,               0, never,           "ok")                                                   \
  /* 1-99: every module */                                                                         \
  X(kInvalidArgument,  1, never,           "invalid argument")                                     \
  X(kNotFound,         2, never,           "not found")                                            \
  X(kAlreadyExists,    3, never,           "already exists")                                       \
  X(kTimeout,          4, same,            "deadline passed")                                      \
  X(kCancelled,        5, never,           "cancelled")                                            \
  X(kIoError,          6, other_replica,   "input/output error")                                   \
  X(kNoSpace,          7, other_replica,   "no space left")                                        \
  X(kCorrupt,          8, other_replica,   "data is damaged")                                      \
  X(kBusy,             9, same,            "busy, try again later")                                \
  X(kInternal,        10, never,           "internal error")                                       \
  X(kUnsupported,     11, never,           "not supported")                                        \
  X(kPermission,      12, never,           "permission denied")                                    \
  X(kClosed,          13, never,           "closed")                                               \
  X(kTooLarge,        14, never,           "too large")                                            \
  X(kUnknownOutcome,  15, unknown_outcome, "outcome unknown: it may or may not have happened")     \
  X(kUnavailable,     16, same,            "not enough servers reachable")                         \
  X(kInUse,           17, never,           "in use by another process")                            \
  X(kReadOnly,        18, never,           "read-only")                                            \
  /* 100-199: env, rpc */                                                                          \
  X(kConnectionLost, 100, unknown_outcome, "connection lost")                                      \
  X(kConnectFailed,  101, other_replica,   "cannot connect")                                       \
  X(kBadFrame,       102, never,           "malformed frame")                                      \
  X(kWrongCluster,   103, never,           "belongs to another cluster")                           \
  X(kWrongVersion,   104, never,           "no common protocol version")                           \
  X(kAuthFailed,     105, never,           "authentication failed")                                \
  X(kUnknownMethod,  106, never,           "unknown method")                                       \
  /* 200-299: chunk store and chunkserver (shared/PROTOCOL.md rule 6 names them) */                \
  X(kDuplicate,      200, never,           "already stored")                                       \
  X(kConflict,       201, never,           "different bytes are stored at this offset")            \
  X(kGap,            202, never,           "append does not start at the end of the chunk")        \
  X(kSealed,         203, never,           "chunk is sealed")                                      \
  X(kFenced,         204, never,           "fenced by a newer epoch")                              \
  X(kNotHere,        205, refresh_route,   "chunk is not on this device")                          \
  X(kStale,          206, refresh_route,   "caller's metadata is old")                             \
  X(kShort,          207, other_replica,   "replica is shorter than the decided length")           \
  X(kNotOurs,        208, never,           "device carries no pangu format")                       \
  X(kDeviceFailed,   209, other_replica,   "device failed and was taken out")                      \
  X(kNotCommitted,   210, same,            "offset is not known to be committed here")             \
  /* 300-399: master */                                                                            \
  X(kNotLeader,      300, refresh_route,   "not the leader")                                       \
  X(kNotDirectory,   301, never,           "not a directory")                                      \
  X(kIsDirectory,    302, never,           "is a directory")                                       \
  X(kNotEmpty,       303, never,           "directory is not empty")                               \
  X(kRecovering,     304, same,            "file is being recovered by another opener")            \
  X(kWrongEpoch,     305, never,           "writer epoch has moved on")                            \
  X(kNoPlacement,    306, same,            "no placement satisfies the policy")                    \
  /* 400-499: client */                                                                            \
  X(kOffsetMismatch, 400, never,           "file does not end at the expected offset")             \
  X(kUndecidable,    401, same,            "too few replicas answer to decide the file's length")
// clang-format on
