#pragma once

#include "kernels/cpu/tile_product.h"

namespace trireme {

/// As multiply_tiles, to the bit, for processors with AVX-512.
void multiply_tiles_512(std::int64_t m, std::int64_t n, std::int64_t k, const StridedMatrix& a, const float* b,
                        std::int64_t b_row, float* c, std::int64_t c_row, bool accumulate);

}  // namespace trireme
