// Runs a fuzz target over every file of a folder, and over 20,000 seeded random inputs and mutations
// of those files, without libFuzzer. Usage: fuzz_NAME CORPUS_FOLDER [INPUTS]
#include <dirent.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/prng.h"

extern "C" int LLVMFuzzerTestOneInput(const pangu::u8* data, size_t size);

namespace {

std::vector<pangu::u8> read_whole(const std::string& path) {
  std::vector<pangu::u8> out;
  if (FILE* file = std::fopen(path.c_str(), "rb")) {
    pangu::u8 block[4096];
    size_t got = 0;
    while ((got = std::fread(block, 1, sizeof block, file)) > 0) {
      out.insert(out.end(), block, block + got);
    }
    std::fclose(file);
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::vector<pangu::u8>> corpus;
  if (argc >= 2) {
    if (DIR* folder = opendir(argv[1])) {
      while (const dirent* entry = readdir(folder)) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") {
          corpus.push_back(read_whole(std::string(argv[1]) + "/" + name));
        }
      }
      closedir(folder);
    }
  }
  for (const auto& input : corpus) {
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  pangu::Prng prng(20261122);
  const int rounds = argc >= 3 ? std::atoi(argv[2]) : 20'000;
  for (int round = 0; round < rounds; ++round) {
    std::vector<pangu::u8> input;
    if (!corpus.empty() && prng.chance(0.7)) {
      input = corpus[prng.below(corpus.size())];
    } else {
      input.resize(prng.below(600));
      for (pangu::u8& byte : input) {
        byte = static_cast<pangu::u8>(prng.next());
      }
    }
    for (pangu::u64 i = prng.below(4); i > 0 && !input.empty(); --i) {
      input[prng.below(input.size())] ^= static_cast<pangu::u8>(1u << prng.below(8));
    }
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu corpus files and %d seeded inputs: no crash\n", corpus.size(), rounds);
  return 0;
}
