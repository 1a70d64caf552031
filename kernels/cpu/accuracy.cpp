// Counting how often the target's class is among the best.
#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"
#include "kernels/cross_entropy_shape.h"

namespace trireme {
namespace {

/// Classes in x [first, last) that come before the target's; `equal`: also those with the same logit.
template <bool equal, typename T>
std::int32_t count_before(const T* x, std::int64_t first, std::int64_t last, float target_logit) {
  std::int32_t count = 0;
#pragma omp simd reduction(+ : count)
  for (std::int64_t i = first; i < last; ++i) {
    const float logit = load(x[i]);
    const bool after = equal ? logit < target_logit : logit <= target_logit;  // false for NaN
    count += after ? 0 : 1;
  }
  return count;
}

}  // namespace

void CpuBackend::target_places(const TargetPlacesArgs& args) {
  const CrossEntropySizes sizes = sizes_of(args);
  const std::int64_t n = sizes.columns;
  const float* statistics = args.statistics.data<float>();
  const std::int32_t* targets = args.targets.data<std::int32_t>();
  Tensor out = args.places;
  std::int32_t* places = out.data<std::int32_t>();
  for_type(args.logits.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* logits = args.logits.data<T>();
    for_rows(state_->threads, sizes.rows, n, [&](std::int64_t row) {
      places[row] = 0;
      if (targets[row] < 0) return;
      float target_logit = 0.0F;  // all parts but one have 0
      for (std::int64_t part = 0; part < sizes.parts; ++part)
        target_logit += statistics[(part * sizes.kinds + 2) * sizes.rows + row];
      const T* x = logits + row * n;
      const std::int64_t target = targets[row] - args.first_token;
      places[row] = count_before<true>(x, 0, std::clamp<std::int64_t>(target, 0, n), target_logit) +
                    count_before<false>(x, std::clamp<std::int64_t>(target + 1, 0, n), n, target_logit);
    });
  });
}

void CpuBackend::add_hits(const HitsArgs& args) {
  const std::int64_t groups = groups_of(args);
  const std::int32_t* places = args.places.data<std::int32_t>();
  const std::int32_t* targets = args.targets.data<std::int32_t>();
  const std::int32_t* group_of = data_or_null<std::int32_t>(args.groups);
  Tensor out = args.hits;
  double* hits = out.data<double>();
  for (std::int64_t row = 0; row < args.places.elements(); ++row) {
    const std::int64_t group = group_of != nullptr ? group_of[row] : 0;
    if (targets[row] < 0 || group < 0 || group >= groups) continue;
    hits[2 * group] += places[row] < args.top ? 1.0 : 0.0;
    hits[2 * group + 1] += 1.0;
  }
}

}  // namespace trireme
