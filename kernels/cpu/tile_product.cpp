#include "kernels/cpu/tile_panels.h"
#include "kernels/cpu/tile_product_512.h"

namespace trireme {
namespace {

using Lanes = float __attribute__((vector_size(32), aligned(4), may_alias));  // eight floats, at any address

bool has_512_bits() {
#ifdef __x86_64__
  static const bool has = __builtin_cpu_supports("avx512f");
  return has;
#else
  return false;
#endif
}

}  // namespace

void multiply_tiles(std::int64_t m, std::int64_t n, std::int64_t k, const StridedMatrix& a, const float* b,
                    std::int64_t b_row, float* c, std::int64_t c_row, bool accumulate) {
  if (has_512_bits()) return multiply_tiles_512(m, n, k, a, b, b_row, c, c_row, accumulate);
  // Twelve accumulators of eight floats, two of b, one of a fill AVX2's sixteen registers.
  multiply_in_panels<Lanes, 6, 4, 2, 1>(m, n, k, a, b, b_row, c, c_row, accumulate);
}

}  // namespace trireme
