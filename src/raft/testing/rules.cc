#include "raft/core/rules.h"

namespace pangu::raft {

Rules& rules() {
  static Rules instance;
  return instance;
}

}  // namespace pangu::raft
