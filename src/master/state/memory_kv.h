#pragma once
#include "env/env.h"
#include "master/state/kv.h"

// A Kv in memory, for simulation and small embedded clusters: flush() writes everything to one file,
// so it suits states of some megabytes. A crash loses what came after the last flush.
namespace pangu::master {

class MemoryKv final : public Kv {
 public:
  // Reads the image at `path` if there is one. `files` must outlive the store. kCorrupt: the image
  // is damaged.
  static Result<std::unique_ptr<Kv>> open(env::FileSystem& files, std::string path);
  // Without an image: flush() does nothing. For tests of the state machine.
  MemoryKv() = default;

  Result<std::optional<std::string>> get(std::string_view key) const override;
  Result<KvPage> scan(std::string_view from, std::string_view to, size_t limit) const override;
  Status apply(const KvBatch& batch, MayWait may_wait) override;
  Task<Status> flush() override;
  std::unique_ptr<KvReplacement> begin_replacement() override;
  std::unique_ptr<KvReader> blocking_view() const override;
  Task<void> close() override;

 private:
  class Replacement;
  Status load(std::string_view image);

  using Entries = std::map<std::string, std::string, std::less<>>;
  Status write_image(const Entries& entries);

  Entries entries_;
  env::FileSystem* files_ = nullptr;
  std::string path_;
  bool dirty_ = false;
};

}  // namespace pangu::master
