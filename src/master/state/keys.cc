#include "master/state/keys.h"

namespace pangu::master::keys {
namespace {

template <class Int>
void append(std::string& out, Int number) {
  for (size_t i = sizeof(Int); i-- > 0;) {
    out.push_back(static_cast<char>(number >> (8 * i)));
  }
}
void append(std::string& out, char letter) {
  out.push_back(letter);
}
void append(std::string& out, const Uuid& id) {
  append(out, id.high);
  append(out, id.low);
}
void append(std::string& out, const ChunkId& chunk) {
  append(out, chunk.file.number);
  append(out, chunk.sequence);
  append(out, chunk.shard);
}

template <class... Parts>
std::string key(char table, const Parts&... parts) {
  std::string out(1, table);
  (append(out, parts), ...);
  return out;
}

template <class Int>
Int decode(std::string_view bytes) {
  Int number = 0;
  if (bytes.size() == sizeof(Int)) {
    for (const char byte : bytes) {
      number = static_cast<Int>(u64{number} << 8 | static_cast<u8>(byte));
    }
  }
  return number;
}

}  // namespace

std::string meta() { return "M"; }
std::string entry(u64 parent, std::string_view name) { return key('E', parent).append(name); }
std::string entries_of(u64 parent) { return key('E', parent); }
std::string directory(u64 id) { return key('D', id); }
std::string stream(FileId file) { return key('S', file.number); }
std::string chunk(FileId file, u32 sequence) { return key('C', file.number, sequence); }
std::string chunks_of(FileId file) { return key('C', file.number); }
std::string chunk_end(FileId file, u64 end_offset) { return key('X', file.number, end_offset); }
std::string chunk_ends_of(FileId file) { return key('X', file.number); }
std::string server(ServerId server) { return key('V', server.number); }
std::string servers() { return "V"; }
std::string identity(const Uuid& identity) { return key('I', identity); }
std::string device(const Uuid& device) { return key('U', device); }
std::string order(const Location& location, const ChunkId& chunk) {
  return key('O', location.server.number, location.device, chunk);
}
std::string orders() { return "O"; }
std::string orders_of(ServerId server) { return key('O', server.number); }
std::string placed(const Location& location, const ChunkId& chunk) {
  return key('P', location.server.number, location.device, chunk);
}
std::string placed_on(ServerId server) { return key('P', server.number); }
std::string placed_on(const Location& location) {
  return key('P', location.server.number, location.device);
}
std::string short_chunk(u32 copies, FileId file, u32 sequence) {
  return key('N', copies, file.number, sequence);
}
std::string short_chunks() { return "N"; }
std::string removed(FileId end) { return key('Z', end.number); }
std::string all_removed() { return "Z"; }
std::string session(const Uuid& client) { return key('R', client); }
std::string last_use(u64 used) { return key('L', used); }
std::string last_uses() { return "L"; }
std::string outcome(const Uuid& client, u64 sequence) { return key('Q', client, sequence); }
std::string outcomes_of(const Uuid& client) { return key('Q', client); }
std::string dead_directory(u64 id) { return key('G', id); }
std::string dead_directories() { return "G"; }
std::string dead_file(FileId file) { return key('H', file.number); }
std::string dead_files() { return "H"; }
std::string moved(u64 directory) { return key('Y', directory); }
std::string moved_at(u64 tree_epoch) { return key('W', tree_epoch); }
std::string moves() { return "W"; }
std::string entry_lock(u64 directory, std::string_view name) {
  return key('K', 'E', directory).append(name);
}
std::string entry_locks_of(u64 directory) { return key('K', 'E', directory); }
std::string directory_lock(u64 id) { return key('K', 'D', id); }
std::string move_lock(u64 id) { return key('K', 'M', id); }
std::string move_locks() { return "KM"; }
std::string prepared(u64 group, u64 term, u64 number) { return key('J', group, term, number); }
std::string all_prepared() { return "J"; }
std::string ended(u64 group) { return key('f', group); }
std::string unfinished(u64 term, u64 number) { return key('T', term, number); }
std::string all_unfinished() { return "T"; }
std::string message(u64 group, u64 number) { return key('B', group, number); }
std::string messages_to(u64 group) { return key('B', group); }
std::string messages() { return "B"; }
std::string received(u64 group) { return key('F', group); }
std::string partition_map() { return "A"; }
std::string subtree(u32 number) { return key('A', number); }

std::string encode_u32(u32 number) {
  std::string out;
  append(out, number);
  return out;
}
std::string encode_u64(u64 number) {
  std::string out;
  append(out, number);
  return out;
}
std::string encode_uuid(const Uuid& id) {
  std::string out;
  append(out, id);
  return out;
}
u64 decode_u64(std::string_view bytes) { return decode<u64>(bytes); }
u32 decode_u32(std::string_view bytes) { return decode<u32>(bytes); }
Uuid decode_uuid(std::string_view bytes) {
  if (bytes.size() != 16) {
    return {};
  }
  return {.high = decode<u64>(bytes.substr(0, 8)), .low = decode<u64>(bytes.substr(8))};
}

OrderKey decode_order(std::string_view key) {
  constexpr size_t kSize = 1 + 4 + 16 + 8 + 4 + 2;
  if (key.size() != kSize || (key[0] != 'O' && key[0] != 'P')) {
    return {};
  }
  return {.location = {.server = {decode<u32>(key.substr(1, 4))},
                       .device = decode_uuid(key.substr(5, 16))},
          .chunk = {.file = {decode<u64>(key.substr(21, 8))},
                    .sequence = decode<u32>(key.substr(29, 4)),
                    .shard = decode<u16>(key.substr(33, 2))}};
}

ShortKey decode_short_chunk(std::string_view key) {
  if (key.size() != 1 + 4 + 8 + 4 || key[0] != 'N') {
    return {};
  }
  return {.copies = decode<u32>(key.substr(1, 4)),
          .file = {decode<u64>(key.substr(5, 8))},
          .sequence = decode<u32>(key.substr(13, 4))};
}

std::string encode_standing(const Standing& standing) {
  std::string out;
  append(out, standing.version);
  append(out, standing.length);
  out.push_back(standing.suspect ? 1 : 0);
  return out;
}

Standing decode_standing(std::string_view bytes) {
  if (bytes.size() != 9) {
    return {};
  }
  return {.version = decode<u32>(bytes.substr(0, 4)),
          .length = decode<u32>(bytes.substr(4, 4)),
          .suspect = bytes[8] != 0};
}

}  // namespace pangu::master::keys
