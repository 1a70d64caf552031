#include "kernels/error.h"

#include <atomic>

namespace trireme {
namespace {
std::atomic<int> process_rank{-1};
}

Error::Error(const std::string& message, ExitStatus status, std::source_location where)
    : std::runtime_error(message), status_(status), where_(where), rank_(process_rank) {}

void Error::set_process_rank(int rank) { process_rank = rank; }

}  // namespace trireme
