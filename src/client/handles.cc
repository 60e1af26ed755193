#include "client/append_pipeline.h"
#include "client/reader_core.h"
#include "pangu/reader.h"
#include "pangu/writer.h"

namespace pangu::client {

Writer::Writer(std::shared_ptr<ClientCore> core, std::shared_ptr<AppendPipeline> pipeline)
    : core_(std::move(core)), pipeline_(std::move(pipeline)) {}

Writer::~Writer() {
  if (!core_->reactor.abandoned()) {
    pipeline_->fail(Error(Code::kClosed, "the writer was dropped"));
  }
}

Task<Result<u64>> Writer::append(Bytes bytes, AppendOptions options) {
  return pipeline_->append(bytes, std::nullopt, options.record);
}
Task<Result<u64>> Writer::append(u64 expected_offset, Bytes bytes, AppendOptions options) {
  return pipeline_->append(bytes, expected_offset, options.record);
}
Task<Status> Writer::enqueue(Slice bytes, AppendOptions options) {
  return pipeline_->enqueue(std::move(bytes), options.record);
}
Task<Status> Writer::flush() {
  return pipeline_->drain();
}
void Writer::announce() {
  core_->committed.flush();
}
u64 Writer::length() const {
  return pipeline_->length();
}
u64 Writer::end() const {
  return pipeline_->end();
}
Epoch Writer::epoch() const {
  return pipeline_->epoch();
}
FileId Writer::file() const {
  return pipeline_->file();
}
Task<Status> Writer::close() {
  return pipeline_->close();
}
Task<Result<u64>> Writer::seal() {
  return pipeline_->seal();
}

Reader::Reader(std::shared_ptr<ReaderCore> core) : core_(std::move(core)) {}
Reader::~Reader() = default;
Task<Result<u64>> Reader::read(u64 offset, MutableBytes into) {
  return core_->read(offset, into);
}
Task<Result<u64>> Reader::length() {
  return core_->length();
}
u64 Reader::known_length() const {
  return core_->known_length();
}
Task<Result<u64>> Reader::read_wait(u64 offset, Instant deadline) {
  return core_->read_wait(offset, deadline);
}

}  // namespace pangu::client
