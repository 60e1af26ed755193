#include <string>
#include <vector>

#include "app/command.h"

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + (argc > 0 ? argc : 1));
  return pangu::app::run_command_line(words);
}
