// Maximum and average over windows. A thread gathers a piece of the channels of one cell: forward from the cells of a
// window, backward from the windows over a cell, so that no two threads write the same place.
#include <cmath>

#include "kernels/convolution_shape.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/elements.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/rows.h"
#include "kernels/cuda/state.h"

namespace trireme {
namespace cuda {
namespace {

constexpr int threads = 256;

struct Range {
  int begin, end;
  __device__ int size() const { return end - begin; }
};

/// How windows lie along one axis.
struct Axis {
  int in, out, window, stride, pad;

  __device__ Range cells_of(int at) const {
    const int first = at * stride - pad;  // may be outside the image
    return {first < 0 ? 0 : first, first + window < in ? first + window : in};
  }
  __device__ Range windows_over(int cell) const {
    const int reach = cell + pad;
    return {reach < window ? 0 : (reach - window) / stride + 1, reach / stride + 1 < out ? reach / stride + 1 : out};
  }
};

struct Geometry {
  Axis rows, columns;
  std::int64_t batch, channels;

  __device__ std::int64_t cell(std::int64_t image, int row, int column) const {
    return ((image * rows.in + row) * columns.in + column) * channels;
  }
  __device__ std::int64_t window(std::int64_t image, int row, int column) const {
    return ((image * rows.out + row) * columns.out + column) * channels;
  }
};

Geometry geometry_of(const PoolingArgs& args, const PoolingSizes& s) {
  return {.rows = {static_cast<int>(s.height), static_cast<int>(s.out_height), args.height, args.stride_height,
                   args.pad_height},
          .columns = {static_cast<int>(s.width), static_cast<int>(s.out_width), args.width, args.stride_width,
                      args.pad_width},
          .batch = s.batch,
          .channels = s.channels};
}

/// Some channels of one cell (or window) of one image; element is where they begin.
struct Place {
  /// Number `index` among the pieces of `width` channels of images of height x width cells.
  __device__ Place(std::int64_t index, int width_of_piece, std::int64_t channels, int height, int width) {
    element = index * width_of_piece;
    const std::int64_t cell = quotient(element, channels);
    channel = element - cell * channels;
    const std::int64_t line = quotient(cell, width);
    column = static_cast<int>(cell - line * width);
    image = quotient(line, height);
    row = static_cast<int>(line - image * height);
  }
  std::int64_t element, image, channel;
  int row, column;
};

/// Whether a value takes the place of the greatest before it: NaN always does, an equal value never.
__device__ __forceinline__ bool replaces(float value, float greatest) { return value > greatest || value != value; }

constexpr float lowest = -INFINITY;

template <typename T, int width>
__device__ __forceinline__ void store_floats(T* to, const float (&values)[width]) {
  Piece<T, width> piece;
  for (int i = 0; i < width; ++i) piece.values[i] = from_f32<T>(values[i]);
  store_piece(to, piece);
}

template <PoolingKind kind, int width, typename T>
__global__ void __launch_bounds__(threads) gather_windows(Geometry g, std::int64_t pieces, const T* x, T* y) {
  if (global_thread() >= pieces) return;
  const Place place(global_thread(), width, g.channels, g.rows.out, g.columns.out);
  const Range rows = g.rows.cells_of(place.row);
  const Range columns = g.columns.cells_of(place.column);
  float result[width];
  for (float& value : result) value = kind == PoolingKind::maximum ? lowest : 0.0F;
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int column = columns.begin; column < columns.end; ++column) {
      const auto cell = load_piece<width>(x + g.cell(place.image, row, column) + place.channel);
      for (int i = 0; i < width; ++i) {
        const float value = to_f32(cell.values[i]);
        if constexpr (kind == PoolingKind::average)
          result[i] += value;
        else
          result[i] = replaces(value, result[i]) ? value : result[i];
      }
    }
  }
  if constexpr (kind == PoolingKind::average)
    for (float& value : result) value /= static_cast<float>(rows.size() * columns.size());
  store_floats(y + place.element, result);
}

template <int width, typename T>
__global__ void __launch_bounds__(threads)
    average_backward(Geometry g, std::int64_t pieces, const T* /*x*/, const T* dy, T* dx) {
  if (global_thread() >= pieces) return;
  const Place place(global_thread(), width, g.channels, g.rows.in, g.columns.in);
  const Range rows = g.rows.windows_over(place.row);
  const Range columns = g.columns.windows_over(place.column);
  float sums[width] = {};
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int column = columns.begin; column < columns.end; ++column) {
      const auto count = static_cast<float>(g.rows.cells_of(row).size() * g.columns.cells_of(column).size());
      const auto gradient = load_piece<width>(dy + g.window(place.image, row, column) + place.channel);
      for (int i = 0; i < width; ++i) sums[i] += to_f32(gradient.values[i]) / count;
    }
  }
  store_floats(dx + place.element, sums);
}

/// mine[i] = the maximum of the window over [rows, columns] comes from this place.
template <int width, typename T>
__device__ __forceinline__ void find_winners(const Geometry& g, const Place& place, const Range& rows,
                                             const Range& columns, const T* x, bool (&mine)[width]) {
  float greatest[width];
  for (int i = 0; i < width; ++i) {
    greatest[i] = lowest;
    mine[i] = place.row == rows.begin && place.column == columns.begin;  // where all are -inf
  }
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int column = columns.begin; column < columns.end; ++column) {
      const auto cell = load_piece<width>(x + g.cell(place.image, row, column) + place.channel);
      const bool here = row == place.row && column == place.column;
      for (int i = 0; i < width; ++i) {
        const float value = to_f32(cell.values[i]);
        const bool wins = replaces(value, greatest[i]);
        greatest[i] = wins ? value : greatest[i];
        mine[i] = wins ? here : mine[i];
      }
    }
  }
}

template <int width, typename T>
__global__ void __launch_bounds__(threads)
    maximum_backward(Geometry g, std::int64_t pieces, const T* x, const T* dy, T* dx) {
  if (global_thread() >= pieces) return;
  const Place place(global_thread(), width, g.channels, g.rows.in, g.columns.in);
  const Range rows = g.rows.windows_over(place.row);
  const Range columns = g.columns.windows_over(place.column);
  float sums[width] = {};
  for (int row = rows.begin; row < rows.end; ++row) {
    for (int column = columns.begin; column < columns.end; ++column) {
      bool mine[width];
      find_winners(g, place, g.rows.cells_of(row), g.columns.cells_of(column), x, mine);
      const auto gradient = load_piece<width>(dy + g.window(place.image, row, column) + place.channel);
      for (int i = 0; i < width; ++i) sums[i] += mine[i] ? to_f32(gradient.values[i]) : 0.0F;
    }
  }
  store_floats(dx + place.element, sums);
}

dim3 grid_for(std::int64_t pieces) { return dim3(blocks_for(pieces, threads, std::int64_t{1} << 31)); }

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::pooling(const PoolingArgs& args) {
  const Geometry g = geometry_of(args, sizes_of(args));
  if (args.y.elements() == 0) return;
  for_type(args.x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* x = elements_of<T>(args.x);
    T* y = writable<T>(args.y);
    for_width<T>(g.channels, at_packs({x, y}), [&](auto width) {
      const std::int64_t pieces = args.y.elements() / width;
      const auto kernel = args.kind == PoolingKind::maximum ? gather_windows<PoolingKind::maximum, width, T>
                                                            : gather_windows<PoolingKind::average, width, T>;
      launch(kernel, grid_for(pieces), dim3(threads), state_->compute.get(), g, pieces, x, y);
    });
  });
}

void CudaBackend::pooling_backward(const PoolingBackwardArgs& args) {
  const Geometry g = geometry_of(args.forward, sizes_of(args));
  if (args.dx.elements() == 0) return;
  for_type(args.dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const T* x = elements_of<T>(args.forward.x);
    const T* dy = elements_of<T>(args.dy);
    T* dx = writable<T>(args.dx);
    for_width<T>(g.channels, at_packs({x, dy, dx}), [&](auto width) {
      const std::int64_t pieces = args.dx.elements() / width;
      const auto kernel =
          args.forward.kind == PoolingKind::maximum ? maximum_backward<width, T> : average_backward<width, T>;
      launch(kernel, grid_for(pieces), dim3(threads), state_->compute.get(), g, pieces, x, dy, dx);
    });
  });
}

}  // namespace trireme
