#include "comm/mpi/checked.h"

#include <array>

#include "kernels/error.h"

namespace trireme {

void fail_mpi(int code, const char* expression, const std::string& group, std::source_location where) {
  std::array<char, MPI_MAX_ERROR_STRING> words{};
  int length = 0;
  MPI_Error_string(code, words.data(), &length);
  throw Error(fmt::format("{} in group {}: {}", expression, group, words.data()), ExitStatus::failed, where);
}

}  // namespace trireme
