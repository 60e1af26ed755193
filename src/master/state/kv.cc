#include "master/state/kv.h"

#include "base/hash.h"

namespace pangu::master {

Result<u64> content_hash(const KvReader& kv) {
  constexpr size_t kPage = 1000;
  std::string from;
  u64 hash = 0;
  for (;;) {
    TRY(page, kv.scan(from, kKeysEnd, kPage));
    for (const KvEntry& entry : page.entries) {
      hash = hash_combine(hash, hash64(entry.key));
      hash = hash_combine(hash, hash64(entry.value));
    }
    if (!page.more) {
      return hash;
    }
    from = page.entries.back().key + '\0';
  }
}

std::string prefix_end(std::string_view prefix) {
  std::string end(prefix);
  while (!end.empty() && end.back() == '\xff') {
    end.pop_back();
  }
  CHECK(!end.empty());
  end.back() = static_cast<char>(static_cast<u8>(end.back()) + 1);
  return end;
}

}  // namespace pangu::master
