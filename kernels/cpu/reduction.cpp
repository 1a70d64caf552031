// Sums over whole tensors, in double, block after block: the order depends on the number of elements alone.
#include <algorithm>
#include <array>

#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"

namespace trireme {
namespace {

template <typename Term>
double sum_of_block(const float* x, std::int64_t n, Term term) {
  double sum = 0.0;
#pragma omp simd reduction(+ : sum)
  for (std::int64_t i = 0; i < n; ++i) sum += term(static_cast<double>(x[i]));
  return sum;
}

/// Sum of term(x[i]).
template <typename Term>
double sum_of(int threads, const Tensor& x, Term term) {
  constexpr std::int64_t most_blocks = 1024;
  const std::int64_t count = x.elements();
  const std::int64_t block = std::max<std::int64_t>(4096, (count + most_blocks - 1) / most_blocks);
  const float* values = x.data<float>();
  std::array<double, most_blocks> sums{};
  for_blocks(threads, count, block, [&](std::int64_t begin, std::int64_t end) {
    sums[static_cast<std::size_t>(begin / block)] = sum_of_block(values + begin, end - begin, term);
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace

void CpuBackend::add_sum(const Tensor& x, double factor, Tensor out) {
  *out.data<double>() += factor * sum_of(state_->threads, x, [](double value) { return value; });
}

void CpuBackend::add_sum_of_squares(const Tensor& x, Tensor out) {
  *out.data<double>() += sum_of(state_->threads, x, [](double value) { return value * value; });
}

void CpuBackend::add_count(const Tensor& targets, Tensor out) {
  const auto values = targets.values<std::int32_t>();
  *out.data<double>() += static_cast<double>(std::ranges::count_if(values, [](auto target) { return target >= 0; }));
}

}  // namespace trireme
