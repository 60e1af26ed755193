#pragma once
#include <string>
#include <string_view>

#include "base/ids.h"

// The keys of a group's state: a table letter, then big-endian numbers, so that bytewise order is
// the order of the numbers. Values are messages of state/record.proto.
//
//   M                        Meta
//  namespace groups
//   E parent name            Entry
//   D directory              Directory
//   G directory              DeadDirectory
//   Y directory              big-endian tree epoch of its last move
//   W tree-epoch             big-endian directory that was moved then
//  namespace groups and the root
//   K 'E' directory name     Lock
//   K 'D' directory          Lock
//   K 'M' directory          Lock: prepared to be moved, with all that is below it
//   J group term number      Part, prepared
//   f group                  Ended
//   T term number            Unfinished
//   B group number           Message
//  the root
//   V server                 Server
//   I identity               big-endian server
//   U device                 big-endian server
//  stream groups
//   S file                   Stream; absent: not opened yet, or removed
//   C file sequence          Chunk, settled
//   X file end-offset        big-endian sequence of the settled chunk that ends there
//   H file                   Stream of a removed file whose chunks are still to be freed
//   Z end-file               big-endian file: from that one on, those before `end` are removed
//   O server device chunk    Order
//   P server device chunk    keys::Standing: a settled chunk stands there
//   N copies file sequence   empty: a settled chunk that has only so many good copies
//  all
//   A                        Map
//   A subtree                big-endian indices of its partitions, as the map has them
//   F group                  big-endian number of the last message of that group that was done here
//   R client                 Session
//   L last-use               client whose session was used then
//   Q client sequence        Outcome, where it does not fit into the Session
namespace pangu::master::keys {

inline constexpr u64 kRootDirectory = 1;

std::string meta();
std::string entry(u64 parent, std::string_view name);
std::string entries_of(u64 parent);  // prefix
std::string directory(u64 id);
std::string stream(FileId file);
std::string chunk(FileId file, u32 sequence);
std::string chunks_of(FileId file);  // prefix
std::string chunk_end(FileId file, u64 end_offset);
std::string chunk_ends_of(FileId file);  // prefix
std::string server(ServerId server);
std::string servers();  // prefix
std::string identity(const Uuid& identity);
std::string device(const Uuid& device);
std::string order(const Location& location, const ChunkId& chunk);
std::string orders();                    // prefix
std::string orders_of(ServerId server);  // prefix
std::string placed(const Location& location, const ChunkId& chunk);
std::string placed_on(ServerId server);           // prefix
std::string placed_on(const Location& location);  // prefix
std::string short_chunk(u32 copies, FileId file, u32 sequence);
std::string short_chunks();  // prefix
std::string removed(FileId end);
std::string all_removed();  // prefix
std::string session(const Uuid& client);
std::string last_use(u64 used);
std::string last_uses();  // prefix
std::string outcome(const Uuid& client, u64 sequence);
std::string outcomes_of(const Uuid& client);  // prefix
std::string dead_directory(u64 id);
std::string dead_directories();  // prefix
std::string dead_file(FileId file);
std::string dead_files();  // prefix
std::string moved(u64 directory);           // table Y
std::string moved_at(u64 tree_epoch);       // table W
std::string moves();                        // prefix of table W
std::string entry_lock(u64 directory, std::string_view name);
std::string entry_locks_of(u64 directory);  // prefix
std::string directory_lock(u64 id);
std::string move_lock(u64 id);
std::string move_locks();  // prefix
std::string prepared(u64 group, u64 term, u64 number);
std::string all_prepared();  // prefix
std::string ended(u64 group);
std::string unfinished(u64 term, u64 number);
std::string all_unfinished();  // prefix
std::string message(u64 group, u64 number);
std::string messages_to(u64 group);  // prefix
std::string messages();              // prefix
std::string received(u64 group);
std::string partition_map();
std::string subtree(u32 number);

// The inverse of parts that are read back. `bytes` must have exactly the right size, else 0.
std::string encode_u32(u32 number);
std::string encode_u64(u64 number);
std::string encode_uuid(const Uuid& id);
u64 decode_u64(std::string_view bytes);
u32 decode_u32(std::string_view bytes);
Uuid decode_uuid(std::string_view bytes);
// Of tables O and P.
struct OrderKey {
  Location location;
  ChunkId chunk;
};
// Zeroes for anything that is not such a key.
OrderKey decode_order(std::string_view key);
struct ShortKey {
  u32 copies = 0;
  FileId file;
  u32 sequence = 0;
};
ShortKey decode_short_chunk(std::string_view key);

// The value of table P: what a full report of the device must say, without looking at the chunk.
struct Standing {
  u32 version = 0;  // of the chunk
  u32 length = 0;
  bool suspect = false;
};
std::string encode_standing(const Standing& standing);
Standing decode_standing(std::string_view bytes);

}  // namespace pangu::master::keys
