#pragma once
#include <string>

#include "master/cluster/cluster_map.h"
#include "wire/control.pb.h"

// Tests say paths, requests say places: looked up part by part, by whatever calls the master.
namespace pangu::master::test {

// `ask(pb::LookupRequest) -> Result<pb::LookupReply>`; the place of the last part, and what stands
// there in `found`, if something does. NotFound: a directory on the way is not there.
template <class Ask>
Result<pb::Place> place_of(const ClusterMap& map, const std::string& path, Ask ask,
                           pb::Entry* found = nullptr) {
  pb::Place place;
  place.set_directory(wire::kRootDirectory);
  place.add_chain(wire::kRootDirectory);
  u64 seen = ~u64{0};
  for (size_t at = 1; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    place.set_name(path.substr(at, end - at));
    at = end + 1;
    pb::LookupRequest request;
    *request.add_places() = place;
    request.set_guess(true);
    request.set_group(map.group_of_directory(place.directory()));
    TRY(reply, ask(request));
    seen = std::min<u64>(seen, reply.tree_epoch());
    const pb::LookupAnswer& answer = reply.answers(0);
    place.set_seen(seen);
    if (at > path.size()) {
      if (answer.result() == pb::LOOKUP_FOUND && found != nullptr) {
        *found = answer.entry();
      }
      break;
    }
    if (answer.result() != pb::LOOKUP_FOUND) {
      return Error(Code::kNotFound, path);
    }
    place.set_directory(answer.entry().id());
    place.add_chain(answer.entry().id());
  }
  return place;
}

// Where a request goes that does not say so.
template <class Request>
void set_group(Request& request, const ClusterMap& map) {
  if (request.group() != 0) {
    return;
  }
  if constexpr (requires { request.place(); }) {
    request.set_group(map.group_of_directory(request.place().directory()));
  } else if constexpr (requires { request.from(); }) {
    request.set_group(map.group_of_directory(request.from().directory()));
  } else if constexpr (requires { request.file(); }) {
    request.set_group(wire::stream_group_of(FileId{request.file()}));
  }
}

}  // namespace pangu::master::test
