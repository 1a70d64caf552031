// The largest element of each row.
#include <cmath>

#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"
#include "kernels/cross_entropy_shape.h"

namespace trireme {
namespace {

template <typename T>
std::int64_t first_largest(const T* x, std::int64_t n) {
  float maximum = -std::numeric_limits<float>::infinity();
  int nans = 0;
#pragma omp simd reduction(max : maximum) reduction(+ : nans)
  for (std::int64_t i = 0; i < n; ++i) {
    const float value = load(x[i]);
    maximum = value > maximum ? value : maximum;
    nans += value != value ? 1 : 0;
  }
  const auto is_it = [&](T element) {
    const float value = load(element);
    return nans > 0 ? std::isnan(value) : value == maximum;
  };
  return std::find_if(x, x + n, is_it) - x;
}

}  // namespace

void CpuBackend::arg_max(const ArgMaxArgs& args) {
  const CrossEntropySizes sizes = sizes_of(args);
  ArgMaxArgs a = args;
  std::int32_t* places = a.places.data<std::int32_t>();
  float* probabilities = data_or_null<float>(a.probabilities);
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* all = args.x.data<T>();
    for_rows(state_->threads, sizes.rows, sizes.columns, [&](std::int64_t row) {
      const T* x = all + row * sizes.columns;
      const std::int64_t place = first_largest(x, sizes.columns);
      places[row] = static_cast<std::int32_t>(place);
      if (probabilities == nullptr) return;
      const RowStatistics statistics = row_statistics(x, sizes.columns);
      probabilities[row] = std::exp(load(x[place]) - statistics.maximum) / statistics.sum;
    });
  });
}

}  // namespace trireme
