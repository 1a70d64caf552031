#include "comm/checks.h"

#include "kernels/error.h"

namespace trireme {

void check_parts(const Communicator& group, const char* operation, const Tensor& part, const Tensor& whole) {
  if (part.dtype() != whole.dtype() || part.elements() * group.size() != whole.elements())
    fail("{} in group {}: {} {} is not {} times {} {}", operation, group.name(), name_of(whole.dtype()),
         whole.shape().to_string(), group.size(), name_of(part.dtype()), part.shape().to_string());
}

void check_halves(const Communicator& group, const Tensor& input, const Tensor& output) {
  if (input.dtype() != output.dtype() || input.elements() != output.elements() || input.elements() % group.size() != 0)
    fail("all_to_all in group {}: {} {} and {} {} are not {} equal parts each", group.name(), name_of(input.dtype()),
         input.shape().to_string(), name_of(output.dtype()), output.shape().to_string(), group.size());
}

void check_rank(const Communicator& group, const char* operation, int rank) {
  if (rank < 0 || rank >= group.size())
    fail("{} in group {}: there is no rank {} among {}", operation, group.name(), rank, group.size());
}

}  // namespace trireme
