#pragma once
#include <memory>
#include <string>

#include "base/bytes.h"

// SHA-256 of a stream of bytes, for people to compare. OpenSSL does the work.
namespace pangu::app {

class Sha256 {
 public:
  Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  ~Sha256();
  void add(Bytes bytes);
  // 64 hexadecimal digits. Call once, at the end.
  std::string digits();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace pangu::app
