// Frame headers and data-plane bodies as they come from a socket.
#include "wire/data_plane.h"
#include "wire/frame.h"

namespace {
template <class T>
void try_struct(pangu::Bytes body) {
  const auto parsed = pangu::wire::read_struct<T>(body);
  (void)parsed.ok();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const pangu::u8* data, size_t size) {
  using namespace pangu;
  using namespace pangu::wire;
  const Bytes bytes{reinterpret_cast<const std::byte*>(data), size};
  const auto header = decode_header(bytes);
  const Bytes body = size > kHeaderBytes ? bytes.subspan(kHeaderBytes) : Bytes{};
  if (header.ok()) {
    (void)check_body(*header, body).ok();
  }
  try_struct<AppendRequest>(body);
  try_struct<ReadRequest>(body);
  try_struct<FenceRequest>(body);
  try_struct<CommittedRequest>(body);
  const auto append = read_struct<AppendRequest>(body);
  if (append.ok()) {
    (void)read_records<HistoryEntry>(body, sizeof(AppendRequest), append->history_count).ok();
  }
  return 0;
}
