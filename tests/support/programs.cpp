#include "tests/support/programs.h"

#include <cstdlib>

namespace trireme::test {
namespace {

std::string found(const char* variable, const char* built) {
  const char* bundled = std::getenv(variable);
  std::string word;
  for (const char letter : std::string(bundled ? bundled : built)) {
    if (letter == ' ') word += '\\';
    word += letter;
  }
  return word;
}

}  // namespace

std::string trireme_executable() { return found("TRIREME_EXECUTABLE", TRIREME_EXECUTABLE); }
std::string mpirun_script() { return found("TRIREME_MPIRUN", TRIREME_MPIRUN); }

std::string gate_library() { return found("TRIREME_GATE_LIBRARY", TRIREME_GATE_LIBRARY); }
std::string nvml_stub() { return found("TRIREME_NVML_STUB", TRIREME_NVML_STUB); }
std::string stall_library() { return found("TRIREME_STALL_LIBRARY", TRIREME_STALL_LIBRARY); }
std::string s3_server_script() { return found("TRIREME_S3_SERVER", TRIREME_S3_SERVER); }

}  // namespace trireme::test
