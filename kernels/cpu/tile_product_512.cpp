// Compiled for AVX-512, whatever the rest is compiled for; so it includes nothing that others might be linked with.
#include "kernels/cpu/tile_product_512.h"

#include "kernels/cpu/tile_panels.h"

namespace trireme {
namespace {

using Lanes = float __attribute__((vector_size(64), aligned(4), may_alias));  // sixteen floats, at any address

}  // namespace

void multiply_tiles_512(std::int64_t m, std::int64_t n, std::int64_t k, const StridedMatrix& a, const float* b,
                        std::int64_t b_row, float* c, std::int64_t c_row, bool accumulate) {
  // As many accumulators as hide the time that one sum takes.
  multiply_in_panels<Lanes, 12, 8, 4, 2, 1>(m, n, k, a, b, b_row, c, c_row, accumulate);
}

}  // namespace trireme
