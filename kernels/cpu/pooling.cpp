// Maximum and average over windows. All channels of a cell lie side by side, so vectors run over channels. The backward
// pass gathers what the windows over a cell hand down to it: no two threads write the same cell.
#include <array>

#include "kernels/convolution_shape.h"
#include "kernels/cpu/state.h"
#include "kernels/cpu/vector.h"

namespace trireme {
namespace {

constexpr std::int64_t channels_a_block = 64;

struct Range {
  std::int64_t begin, end;
};

/// How windows lie along one axis.
struct Axis {
  std::int64_t in, out, window, stride, pad;

  std::int64_t first_cell(std::int64_t at) const { return at * stride - pad; }  ///< may be outside the image
  Range cells_of(std::int64_t at) const {
    return {std::max<std::int64_t>(0, first_cell(at)), std::min(in, first_cell(at) + window)};
  }
  Range windows_over(std::int64_t cell) const {
    const std::int64_t reach = cell + pad;
    return {reach < window ? 0 : (reach - window) / stride + 1, std::min(out, reach / stride + 1)};
  }
};

struct Geometry {
  Axis rows, columns;
  std::int64_t batch, channels;

  std::int64_t cell(std::int64_t image, std::int64_t row, std::int64_t column) const {
    return ((image * rows.in + row) * columns.in + column) * channels;
  }
  std::int64_t window(std::int64_t image, std::int64_t row, std::int64_t column) const {
    return ((image * rows.out + row) * columns.out + column) * channels;
  }
};

Geometry geometry_of(const PoolingArgs& args, const PoolingSizes& s) {
  return {.rows = {s.height, s.out_height, args.height, args.stride_height, args.pad_height},
          .columns = {s.width, s.out_width, args.width, args.stride_width, args.pad_width},
          .batch = s.batch,
          .channels = s.channels};
}

/// Some channels of one cell (or window) of one image.
struct Place {
  std::int64_t image, row, column, channel, channels;
};

/// body(place) for all images of such an extent.
template <typename Body>
void for_places(int threads, const Geometry& g, std::int64_t height, std::int64_t width, const Body& body) {
  for_rows(threads, g.batch * height * width, g.channels, [&](std::int64_t cell) {
    for (std::int64_t channel = 0; channel < g.channels; channel += channels_a_block)
      body(Place{cell / (height * width), cell / width % height, cell % width, channel,
                 std::min(channels_a_block, g.channels - channel)});
  });
}

/// body(element, row, column) for the cells of a window, in row-major order; element is where the place's channels are.
template <typename Body>
void for_cells_of(const Geometry& g, const Place& window, const Body& body) {
  const Range rows = g.rows.cells_of(window.row);
  const Range columns = g.columns.cells_of(window.column);
  for (std::int64_t r = rows.begin; r < rows.end; ++r)
    for (std::int64_t c = columns.begin; c < columns.end; ++c) body(g.cell(window.image, r, c) + window.channel, r, c);
}

/// body(element, row, column) for the windows over a cell.
template <typename Body>
void for_windows_over(const Geometry& g, const Place& cell, const Body& body) {
  const Range rows = g.rows.windows_over(cell.row);
  const Range columns = g.columns.windows_over(cell.column);
  for (std::int64_t r = rows.begin; r < rows.end; ++r)
    for (std::int64_t c = columns.begin; c < columns.end; ++c) body(g.window(cell.image, r, c) + cell.channel, r, c);
}

std::int64_t cells_in(const Geometry& g, std::int64_t row, std::int64_t column) {
  const Range rows = g.rows.cells_of(row);
  const Range columns = g.columns.cells_of(column);
  return (rows.end - rows.begin) * (columns.end - columns.begin);
}

/// out [batch, height, width, channels] = what gather(place, values) leaves in values, which begin as `start`.
template <typename T, typename Gather>
void fill(int threads, const Geometry& g, std::int64_t height, std::int64_t width, float start, T* out,
          const Gather& gather) {
  for_places(threads, g, height, width, [&](const Place& place) {
    std::array<float, channels_a_block> values;
    values.fill(start);
    gather(place, values.data());
    T* to = out + ((place.image * height + place.row) * width + place.column) * g.channels + place.channel;
    for (std::int64_t i = 0; i < place.channels; ++i) store(to[i], values[static_cast<std::size_t>(i)]);
  });
}

constexpr float lowest = -std::numeric_limits<float>::infinity();

// In the loops below loads stand outside choices, as vectors load all or nothing.

/// Whether a value takes the place of the greatest before it: NaN always does, an equal value never.
bool replaces(float value, float greatest) { return value > greatest || value != value; }

template <typename T>
void maximum(int threads, const Geometry& g, const T* x, T* y) {
  fill(threads, g, g.rows.out, g.columns.out, lowest, y, [=, &g](const Place& place, float* greatest) {
    for_cells_of(g, place, [=, n = place.channels](std::int64_t at, std::int64_t, std::int64_t) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        const float value = load(x[at + i]);
        greatest[i] = replaces(value, greatest[i]) ? value : greatest[i];
      }
    });
  });
}

template <typename T>
void average(int threads, const Geometry& g, const T* x, T* y) {
  fill(threads, g, g.rows.out, g.columns.out, 0.0F, y, [=, &g](const Place& place, float* sums) {
    for_cells_of(g, place, [=, n = place.channels](std::int64_t at, std::int64_t, std::int64_t) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) sums[i] += load(x[at + i]);
    });
    const auto count = static_cast<float>(cells_in(g, place.row, place.column));
    for (std::int64_t i = 0; i < place.channels; ++i) sums[i] /= count;
  });
}

/// winners [batch, out height, out width, channels]: the cell of its image that each window's maximum comes from.
template <typename T>
void find_winners(int threads, const Geometry& g, const T* x, std::int32_t* winners) {
  for_places(threads, g, g.rows.out, g.columns.out, [=, &g](const Place& place) {
    std::array<float, channels_a_block> values;
    values.fill(lowest);
    float* const greatest = values.data();
    std::int32_t* winner = winners + g.window(place.image, place.row, place.column) + place.channel;
    const std::int64_t first = g.rows.cells_of(place.row).begin * g.columns.in + g.columns.cells_of(place.column).begin;
    std::fill_n(winner, place.channels, static_cast<std::int32_t>(first));  // where all are -inf
    for_cells_of(g, place,
                 [=, n = place.channels, width = g.columns.in](std::int64_t at, std::int64_t r, std::int64_t c) {
                   const auto cell = static_cast<std::int32_t>(r * width + c);
#pragma omp simd
                   for (std::int64_t i = 0; i < n; ++i) {
                     const float value = load(x[at + i]);
                     const bool wins = replaces(value, greatest[i]);
                     greatest[i] = wins ? value : greatest[i];
                     winner[i] = wins ? cell : winner[i];
                   }
                 });
  });
}

template <typename T>
void maximum_backward(int threads, const Geometry& g, const T* dy, const std::int32_t* winners, T* dx) {
  fill(threads, g, g.rows.in, g.columns.in, 0.0F, dx, [=, &g](const Place& place, float* sums) {
    const auto cell = static_cast<std::int32_t>(place.row * g.columns.in + place.column);
    for_windows_over(g, place, [=, n = place.channels](std::int64_t at, std::int64_t, std::int64_t) {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) {
        const float gradient = load(dy[at + i]);
        sums[i] += winners[at + i] == cell ? gradient : 0.0F;
      }
    });
  });
}

template <typename T>
void average_backward(int threads, const Geometry& g, const T* dy, T* dx) {
  fill(threads, g, g.rows.in, g.columns.in, 0.0F, dx, [=, &g](const Place& place, float* sums) {
    for_windows_over(g, place, [=, &g, n = place.channels](std::int64_t at, std::int64_t r, std::int64_t c) {
      const auto count = static_cast<float>(cells_in(g, r, c));
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) sums[i] += load(dy[at + i]) / count;
    });
  });
}

}  // namespace

void CpuBackend::pooling(const PoolingArgs& args) {
  const Geometry g = geometry_of(args, sizes_of(args));
  Tensor y = args.y;
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const auto run = args.kind == PoolingKind::maximum ? maximum<T> : average<T>;
    run(state_->threads, g, args.x.data<T>(), y.data<T>());
  });
}

void CpuBackend::pooling_backward(const PoolingBackwardArgs& args) {
  const Geometry g = geometry_of(args.forward, sizes_of(args));
  Tensor dx = args.dx;
  for_type(args.dy.dtype(), [&](auto type) {
    using T = decltype(type);
    if (args.forward.kind == PoolingKind::average)
      return average_backward(state_->threads, g, args.dy.data<T>(), dx.data<T>());
    Tensor winners = allocate(args.dy.shape(), DType::i32);
    find_winners(state_->threads, g, args.forward.x.data<T>(), winners.data<std::int32_t>());
    maximum_backward(state_->threads, g, args.dy.data<T>(), winners.data<std::int32_t>(), dx.data<T>());
  });
}

}  // namespace trireme
