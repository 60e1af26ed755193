#include "pangu/blocking.h"

#include "env/linux/linux_env.h"
#include "pangu/client.h"
#include "runtime/sync.h"

namespace pangu::client {

// What a client, its writers and its readers share; the last of them ends it.
struct BlockingState {
  std::unique_ptr<env::Env> env;
  std::unique_ptr<Reactor> reactor;
  std::unique_ptr<Client> client;

  template <class T>
  T run(Task<T> task) {
    return run_blocking(*reactor, std::move(task));
  }
  // Whatever is ready leaves; nothing is waited for.
  void poll() {
    for (int i = 0; i < 3; ++i) {
      reactor->run_once(reactor->now());
    }
  }
  ~BlockingState() {
    if (client != nullptr) {
      run(client->stop());
      client.reset();
    }
  }
};

struct BlockingWriter::Parts {
  std::shared_ptr<BlockingState> state;
  std::unique_ptr<Writer> writer;
};

BlockingWriter::BlockingWriter(std::shared_ptr<BlockingState> state)
    : parts_(std::make_unique<Parts>(Parts{.state = std::move(state)})) {}

BlockingWriter::~BlockingWriter() {
  const ReactorScope scope(parts_->state->reactor.get());
  parts_->writer.reset();
}

Result<u64> BlockingWriter::append(Bytes bytes, AppendOptions options) {
  auto done = parts_->state->run(parts_->writer->append(bytes, options));
  {
    const ReactorScope scope(parts_->state->reactor.get());
    parts_->writer->announce();
  }
  parts_->state->poll();
  return done;
}
Result<u64> BlockingWriter::append(std::string_view text, AppendOptions options) {
  return append(as_bytes_of(text), options);
}
Result<u64> BlockingWriter::append(u64 expected_offset, Bytes bytes, AppendOptions options) {
  auto done = parts_->state->run(parts_->writer->append(expected_offset, bytes, options));
  {
    const ReactorScope scope(parts_->state->reactor.get());
    parts_->writer->announce();
  }
  parts_->state->poll();
  return done;
}
Status BlockingWriter::enqueue(Bytes bytes, AppendOptions options) {
  return parts_->state->run(parts_->writer->enqueue(Slice::copy_of(bytes), options));
}
Status BlockingWriter::flush() {
  auto done = parts_->state->run(parts_->writer->flush());
  {
    const ReactorScope scope(parts_->state->reactor.get());
    parts_->writer->announce();
  }
  parts_->state->poll();
  return done;
}
u64 BlockingWriter::length() const {
  return parts_->writer->length();
}
u64 BlockingWriter::end() const {
  return parts_->writer->end();
}
Status BlockingWriter::close() {
  return parts_->state->run(parts_->writer->close());
}
Result<u64> BlockingWriter::seal() {
  return parts_->state->run(parts_->writer->seal());
}

struct BlockingReader::Parts {
  std::shared_ptr<BlockingState> state;
  std::unique_ptr<Reader> reader;
};

BlockingReader::BlockingReader(std::shared_ptr<BlockingState> state)
    : parts_(std::make_unique<Parts>(Parts{.state = std::move(state)})) {}
BlockingReader::~BlockingReader() = default;

Result<u64> BlockingReader::read(u64 offset, MutableBytes into) {
  return parts_->state->run(parts_->reader->read(offset, into));
}
Result<std::string> BlockingReader::read(u64 offset, u64 size) {
  std::string out(size, '\0');
  TRY(count, read(offset, {reinterpret_cast<std::byte*>(out.data()), out.size()}));
  out.resize(count);
  return out;
}
Result<u64> BlockingReader::length() {
  return parts_->state->run(parts_->reader->length());
}
u64 BlockingReader::known_length() const {
  return parts_->reader->known_length();
}
Result<u64> BlockingReader::read_wait(u64 offset, Duration patience) {
  const Instant deadline = parts_->state->reactor->now() + patience;
  return parts_->state->run(parts_->reader->read_wait(offset, deadline));
}

BlockingClient::BlockingClient(std::shared_ptr<BlockingState> state) : state_(std::move(state)) {}
BlockingClient::~BlockingClient() = default;

Result<std::unique_ptr<BlockingClient>> BlockingClient::connect(ClientOptions options) {
  for (std::string& master : options.masters) {
    TRY(address, env::resolve_address(master));
    master = env::to_string(address);
  }
  auto state = std::make_shared<BlockingState>();
  TRY(env, env::make_env());
  state->env = std::move(env);
  state->reactor = std::make_unique<Reactor>(*state->env, ReactorOptions{});
  TRY(client, state->run(Client::open(*state->reactor, std::move(options))));
  state->client = std::move(client);
  return std::unique_ptr<BlockingClient>(new BlockingClient(std::move(state)));
}

Result<Entry> BlockingClient::create(std::string path, CreateOptions options) {
  return state_->run(state_->client->create(std::move(path), options));
}
Result<std::unique_ptr<BlockingWriter>> BlockingClient::open_for_append(std::string path,
                                                                        OpenOptions options) {
  TRY(writer, state_->run(state_->client->open_for_append(std::move(path), options)));
  auto out = std::make_unique<BlockingWriter>(state_);
  out->parts_->writer = std::move(writer);
  return out;
}
Result<std::unique_ptr<BlockingReader>> BlockingClient::open_for_read(std::string path) {
  TRY(reader, state_->run(state_->client->open_for_read(std::move(path))));
  auto out = std::make_unique<BlockingReader>(state_);
  out->parts_->reader = std::move(reader);
  return out;
}
Result<FileInfo> BlockingClient::stat(std::string path) {
  return state_->run(state_->client->stat(std::move(path)));
}
Result<ListPage> BlockingClient::list(std::string path, std::string after, u32 limit) {
  return state_->run(state_->client->list(std::move(path), std::move(after), limit));
}
Result<Entry> BlockingClient::make_directory(std::string path, bool parents) {
  return state_->run(state_->client->make_directory(std::move(path), parents));
}
Status BlockingClient::rename(std::string from, std::string to) {
  return state_->run(state_->client->rename(std::move(from), std::move(to)));
}
Result<Removed> BlockingClient::remove(std::string path, bool recursive) {
  return state_->run(state_->client->remove(std::move(path), recursive));
}
Result<u64> BlockingClient::seal(std::string path) {
  return state_->run(state_->client->seal(std::move(path)));
}
Result<ClusterSummary> BlockingClient::cluster_info() {
  return state_->run(state_->client->cluster_info());
}
const ClientCounters& BlockingClient::counters() const {
  return state_->client->counters();
}
void BlockingClient::poll() {
  state_->poll();
}

}  // namespace pangu::client
