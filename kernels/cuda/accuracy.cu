// Counting how often the target's class is among the best.
#include "kernels/cross_entropy_shape.h"
#include "kernels/cuda/aligned_rows.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

template <int group, typename T>
__global__ void __launch_bounds__(256)
    count_better(const T* logits, const std::int32_t* targets, const float* statistics, CrossEntropySizes sizes,
                 std::int64_t first_token, std::int32_t* places) {
  const std::int64_t row = std::int64_t{blockIdx.x} * (256 / group) + static_cast<int>(threadIdx.x) / group;
  if (row >= sizes.rows) return;
  const T* x = logits + row * sizes.columns;
  const std::int64_t target = targets[row] - first_token;
  float target_logit = 0.0F;  // all parts but one have 0
  for (std::int64_t part = 0; part < sizes.parts; ++part)
    target_logit += statistics[(part * sizes.kinds + 2) * sizes.rows + row];
  int count = 0;
  const auto look_at = [&](T value, std::int64_t place) {
    const float logit = to_f32(value);
    const bool after = place < target ? logit < target_logit : logit <= target_logit;  // false for NaN
    if (!after && place != target) ++count;
  };
  const AlignedRow<T> cut(x, sizes.columns);
  for (std::int64_t edge = threadIdx.x % group; edge < cut.edges; edge += group)
    look_at(x[cut.place(edge)], cut.place(edge));
  for_batches<group>(cut.packs, [&](auto several, std::int64_t first) {
    const auto place = [&](int i) { return cut.head + (first + i * group) * Pack<T>::size; };
    Pack<T> packs[several];
    unrolled<several>([&](int i) { packs[i] = load_pack(x + place(i)); });
    unrolled<several>([&](int i) {
      for (int j = 0; j < Pack<T>::size; ++j) look_at(packs[i].values[j], place(i) + j);
    });
  });
  count = block_sum<group>(count);
  if (threadIdx.x % group == 0) places[row] = targets[row] < 0 ? 0 : count;
}

/// A block a group; the counts are whole numbers, so their order does not matter.
__global__ void __launch_bounds__(256)
    add_hits_of_groups(const std::int32_t* places, const std::int32_t* targets, const std::int32_t* groups,
                       std::int64_t rows, int top, double* hits) {
  const auto group = static_cast<std::int32_t>(blockIdx.x);
  int found = 0;
  int all = 0;
  for (std::int64_t row = threadIdx.x; row < rows; row += 256) {
    if (targets[row] < 0 || (groups != nullptr ? groups[row] : 0) != group) continue;
    found += places[row] < top ? 1 : 0;
    ++all;
  }
  found = block_sum<256>(found);
  all = block_sum<256>(all);
  if (threadIdx.x != 0) return;
  hits[2 * group] += found;
  hits[2 * group + 1] += all;
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::target_places(const TargetPlacesArgs& args) {
  const CrossEntropySizes sizes = sizes_of(args);
  if (sizes.rows == 0) return;
  Tensor places = args.places;
  for_type(args.logits.dtype(), [&](auto type) {
    using T = decltype(type);
    for_group(sizes.columns, [&](auto group) {
      launch(count_better<group, T>, blocks_for(sizes.rows, 256 / group, sizes.rows), 256, state_->compute.get(),
             elements_of<T>(args.logits), args.targets.data<std::int32_t>(), elements_of<float>(args.statistics), sizes,
             args.first_token, places.data<std::int32_t>());
    });
  });
}

void CudaBackend::add_hits(const HitsArgs& args) {
  const std::int64_t groups = groups_of(args);
  const std::int64_t rows = args.places.elements();
  if (rows == 0 || groups == 0) return;
  Tensor hits = args.hits;
  launch(add_hits_of_groups, static_cast<unsigned>(groups), 256, state_->compute.get(),
         args.places.data<std::int32_t>(), args.targets.data<std::int32_t>(),
         args.groups.empty() ? nullptr : args.groups.data<std::int32_t>(), rows, args.top, hits.data<double>());
}

}  // namespace trireme
