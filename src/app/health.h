#pragma once
#include <string>
#include <vector>

#include "base/types.h"
#include "wire/control.pb.h"

// What is wrong with a cluster, by name and with what to do about it.
namespace pangu::app {

enum class Health : u8 {
  ok,
  degraded,  // everything can be read and written, with less to spare
  failed,    // new data cannot be stored with enough copies
};
std::string_view to_string(Health health);  // OK, DEGRADED, FAILED

struct HealthReport {
  Health health = Health::ok;
  std::vector<std::string> reasons;  // "server 3 (10.0.0.5:7200) is dead: ...; start it again ..."
};

// `copies_max`, `copies_min`: of the files that people are going to write.
HealthReport judge(const pb::ClusterInfoReply& info, u64 copies_max, u64 copies_min);

}  // namespace pangu::app
