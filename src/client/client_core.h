#pragma once
#include <memory>
#include <optional>

#include "client/chunk_place.h"
#include "client/committed_sender.h"
#include "client/links.h"
#include "client/meta_client.h"
#include "client/namespace_ops.h"
#include "client/path_resolver.h"
#include "client/server_directory.h"
#include "client/stream_questions.h"
#include "pangu/counters.h"
#include "pangu/options.h"
#include "runtime/sync.h"
#include "wire/data_plane.h"

// What all writers and readers of one client share. One reactor; outlives them all.
namespace pangu::client {

class AppendPipeline;
class Client;
class StreamCache;
class StreamView;

// A reply of the data plane, its struct read. An OK without its struct has become kBadFrame.
template <class T>
struct DataReply {
  Code code = Code::kOk;
  std::optional<T> body;
  Slice payload;
  std::string text;
  Error error() const { return Error(code, text); }
};

// A refusal comes with a struct or with words for people; a struct always has a zero byte
// somewhere.
inline bool is_words(std::string_view body) {
  return !body.empty() && body.find('\0') == std::string_view::npos;
}

struct ClientCore {
  ClientCore(Reactor& on, const ClientOptions& how, std::unique_ptr<Links> over,
             std::vector<env::Address> masters);
  ~ClientCore();

  Reactor& reactor;
  const ClientOptions options;
  std::unique_ptr<Links> links;
  ClientCounters counters;
  ServerDirectory servers;
  Gate gate;
  MetaClient meta;
  PathResolver resolver;
  NamespaceOps names;
  StreamQuestions stream_questions;
  CommittedSender committed;
  std::unique_ptr<StreamCache> streams;
  Semaphore window;
  bool stopping = false;

  Instant now() { return reactor.now(); }
  Instant op_deadline() { return now() + options.op_timeout; }

  // One call to a chunkserver. Its outcome goes into the directory: an error of transport counts
  // against the server.
  Task<Result<rpc::Response>> call_server(ServerId server, wire::Method method, Bytes body,
                                          rpc::Payload payload, rpc::CallOptions options);
  // The same for a struct without records behind it.
  template <class Reply, class Request>
  Task<Result<DataReply<Reply>>> call_data(ServerId server, wire::Method method, Request request,
                                           rpc::CallOptions call_options) {
    auto response =
        co_await call_server(server, method, as_bytes_of(request), rpc::Payload{}, call_options);
    co_return read_reply<Reply>(std::move(response));
  }
  template <class Reply>
  static Result<DataReply<Reply>> read_reply(Result<rpc::Response> response) {
    if (!response.ok()) {
      return std::move(response).error();
    }
    DataReply<Reply> out;
    out.code = response->code;
    auto body = wire::read_struct<Reply>(response->body.bytes());
    if (out.code != Code::kOk && is_words(response->text())) {
      out.text = std::string(response->text());
    } else if (body.ok()) {
      out.body = *body;
    } else if (out.code == Code::kOk) {
      return std::move(body).error();
    }
    out.payload = std::move(response->payload);
    return out;
  }

  // For programs that operate a cluster (src/app), and for what goes to one group whatever happens:
  // a question to the group's leader, a change by it (exactly once), and one call to one process.
  // Masters' groups are numbered by wire/partition.h. Errors: client/meta_client.h.
  template <class Reply, class Request>
  Task<Result<Reply>> ask_group(u64 group, wire::Method method, Request request,
                                Instant deadline) {
    return meta.ask<Reply>({.group = group}, method, std::move(request), deadline);
  }
  template <class Reply, class Request>
  Task<Result<Reply>> change_group(u64 group, wire::Method method, Request request,
                                   Instant deadline) {
    return meta.change<Reply>({.group = group}, method, std::move(request), deadline);
  }
  template <class Reply, class Request>
  Task<Result<Reply>> call_process(env::Address to, wire::Method method, Request request,
                                   Instant deadline) {
    return meta.call_process<Reply>(to, method, std::move(request), deadline);
  }
  // A change by the group that has the file's stream.
  template <class Reply, class Request>
  Task<Result<Reply>> change_stream(FileId file, wire::Method method, Request request,
                                    Instant deadline) {
    request.set_file(file.number);
    return change_group<Reply>(PartitionMap::group_of_file(file), method, std::move(request),
                               deadline);
  }

  // Asks the master for servers of these chunks that the directory does not know.
  Task<void> locate(std::vector<ChunkPlace> chunks);
  // Asks the master for all addresses again, in the background, at most once a second: a server
  // that cannot be reached may have moved.
  void refresh_servers_soon();

  void add_pipeline(const std::shared_ptr<AppendPipeline>& pipeline);
  // What this client's own writers know of the file.
  void tell_of_writers(StreamView& view);
  // Ends everything; afterwards only destruction is allowed.
  Task<void> stop();

 private:
  Task<Status> refresh_servers();
  Task<void> refresh_servers_quietly();
  Instant servers_refreshed_;
  bool refreshing_servers_ = false;
  WaitList servers_known_;
  std::vector<std::weak_ptr<AppendPipeline>> pipelines_;
};

// What a client is made of, for src/app's commands that operate a cluster. Lives as long as the
// client.
ClientCore& core_of(Client& client);

}  // namespace pangu::client
