#include "sim/history.h"

namespace pangu::sim {

size_t History::call(u32 client, NamespaceOp op, Instant now) {
  RecordedCall recorded;
  recorded.client = client;
  recorded.op = std::move(op);
  recorded.called = ++events_;
  recorded.called_at = now;
  recorded.returned_at = Instant::never();
  calls_.push_back(std::move(recorded));
  return calls_.size() - 1;
}

void History::answered(size_t call, NamespaceAnswer answer, Instant now) {
  RecordedCall& recorded = calls_.at(call);
  CHECK(!recorded.answered() && !recorded.nothing);
  recorded.answer = std::move(answer);
  recorded.returned = ++events_;
  recorded.returned_at = now;
}

void History::unknown(size_t call, Instant now) {
  RecordedCall& recorded = calls_.at(call);
  recorded.returned_at = now;
  recorded.nothing = !is_change(recorded.op.kind);
}

void History::nothing(size_t call) {
  calls_.at(call).nothing = true;
}

}  // namespace pangu::sim
