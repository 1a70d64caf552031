// Long short-term memory (Hochreiter and Schmidhuber 1997). Rows of a batch do not see each other, so a thread takes
// some of them through all time steps alone: recurrent weights stay in its cache, no thread waits for another, and the
// result depends on no number of threads. For both passes in f32 on one core, hidden sizes 48 to 256, oneDNN 2.6's lstm
// primitives take 1.0 to 1.2 times as long with AVX-512, 1.1 to 1.4 times with AVX2; nor do they split the backward
// pass into inputs and weights, or know bf16 below AVX-512.
#include "kernels/lstm.h"

#include "kernels/cpu/scratch.h"
#include "kernels/cpu/state.h"
#include "kernels/cpu/tile_product.h"
#include "kernels/cpu/vector.h"

namespace trireme {
namespace {

constexpr std::int64_t rows_an_item = 12;  // one or two register tiles

std::int64_t in_panels(std::int64_t columns) {
  return (columns + columns_a_panel - 1) / columns_a_panel * columns_a_panel;
}

/// A matrix [rows, columns] as panels of 16 columns, one after the other, zero where there is no column: every panel is
/// read from one place on.
template <typename At>
void pack_panels(std::int64_t rows, std::int64_t columns, const At& at, float* to) {
  for (std::int64_t first = 0; first < columns; first += columns_a_panel) {
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t i = 0; i < columns_a_panel; ++i) *to++ = first + i < columns ? at(row, first + i) : 0.0F;
    }
  }
}

/// out [m, columns in panels] = a [m, k] times a packed matrix of k rows.
void multiply_packed(std::int64_t m, std::int64_t k, std::int64_t columns, const float* a, const float* packed,
                     float* out) {
  const std::int64_t width = in_panels(columns);
  for (std::int64_t first = 0; first < width; first += columns_a_panel)
    multiply_tiles(m, columns_a_panel, k, {a, k, 1}, packed + first * k, columns_a_panel, out + first, width, false);
}

/// to [b, a, n] = from [a, b, n].
template <typename From, typename To>
void swap_axes(int threads, std::int64_t a, std::int64_t b, std::int64_t n, const From* from, To* to) {
  for_rows(threads, a * b, n, [=](std::int64_t row) {
    const From* in = from + (row % a * b + row / a) * n;
    To* out = to + row * n;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) store(out[i], load(in[i]));
  });
}

/// What is the same in both passes: sizes, and where a direction's rows of a time step lie.
struct StepRows {
  explicit StepRows(const LstmSizes& of) : sizes(of), blocks((of.batch + rows_an_item - 1) / rows_an_item) {}

  std::int64_t items() const { return sizes.directions * blocks; }
  /// Row of gates, cells and outputs.
  std::int64_t kept(std::int64_t direction, std::int64_t t, std::int64_t b) const {
    return (direction * sizes.time + t) * sizes.batch + b;
  }
  /// Element of y and dy.
  std::int64_t side_by_side(std::int64_t direction, std::int64_t t, std::int64_t b) const {
    return ((b * sizes.time + t) * sizes.directions + direction) * sizes.hidden;
  }

  LstmSizes sizes;
  std::int64_t blocks;  ///< of rows, in each direction
};

/// One row of a cell going forward. z is in place of, or converted to, the gates.
template <typename T>
void forward_cell(std::int64_t n, const float* z, const float* recurrent, const float* bias, const float* cell_before,
                  T* gates, float* cell, T* output, float* hidden) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const float input = sigmoid(z[i] + recurrent[i] + bias[i]);
    const float forget = sigmoid(z[n + i] + recurrent[n + i] + bias[n + i]);
    const float candidate = tanh_vector(z[2 * n + i] + recurrent[2 * n + i] + bias[2 * n + i]);
    const float out = sigmoid(z[3 * n + i] + recurrent[3 * n + i] + bias[3 * n + i]);
    store(gates[i], input);
    store(gates[n + i], forget);
    store(gates[2 * n + i], candidate);
    store(gates[3 * n + i], out);
    cell[i] = forget * cell_before[i] + input * candidate;
    store(output[i], out * tanh_vector(cell[i]));
    hidden[i] = load(output[i]);
  }
}

/// One row going back: gates become gradients before their sigmoid or tanh, dcell what the step before gets.
template <typename T>
void backward_cell(std::int64_t n, const T* dy, const float* dhidden, const float* cell, const float* cell_before,
                   float* dcell, T* gates, float* dz) {
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) {
    const float input = load(gates[i]);
    const float forget = load(gates[n + i]);
    const float candidate = load(gates[2 * n + i]);
    const float out = load(gates[3 * n + i]);
    const float squashed = tanh_vector(cell[i]);
    const float doutput = load(dy[i]) + dhidden[i];
    const float through = dcell[i] + doutput * out * (1.0F - squashed * squashed);
    store(gates[i], through * candidate * input * (1.0F - input));
    store(gates[n + i], through * cell_before[i] * forget * (1.0F - forget));
    store(gates[2 * n + i], through * input * (1.0F - candidate * candidate));
    store(gates[3 * n + i], doutput * squashed * out * (1.0F - out));
    dcell[i] = through * forget;
    dz[i] = load(gates[i]);
    dz[n + i] = load(gates[n + i]);
    dz[2 * n + i] = load(gates[2 * n + i]);
    dz[3 * n + i] = load(gates[3 * n + i]);
  }
}

template <typename T>
struct ForwardSteps : StepRows {
  ForwardSteps(const LstmArgs& args, const LstmSizes& of, const Tensor& products, const float* all_panels)
      : StepRows(of),
        z(products.data<float>()),
        panels(all_panels),
        bias(args.bias.data<T>()),
        y(Tensor(args.y).data<T>()),
        gates(Tensor(args.gates).data<T>()),
        outputs(Tensor(args.outputs).data<T>()),
        cells(Tensor(args.cells).data<float>()) {}

  std::int64_t scratch_floats() const {
    return Scratch::rounded(rows_an_item * in_panels(sizes.gates())) + Scratch::rounded(rows_an_item * sizes.hidden) +
           Scratch::rounded(sizes.hidden) + Scratch::rounded(sizes.gates());
  }

  void run(std::int64_t item, float* memory) const {
    Scratch scratch(memory);
    const std::int64_t n = sizes.hidden;
    const std::int64_t width = in_panels(sizes.gates());
    const std::int64_t direction = item / blocks;
    const std::int64_t first = item % blocks * rows_an_item;
    const std::int64_t rows = std::min(rows_an_item, sizes.batch - first);
    float* recurrent = scratch.take(rows_an_item * width);
    float* hidden = scratch.take(rows_an_item * n);
    float* zeros = scratch.take(n);
    float* own_bias = scratch.take(4 * n);
    std::fill_n(recurrent, rows_an_item * width, 0.0F);
    std::fill_n(zeros, n, 0.0F);
    for (std::int64_t i = 0; i < 4 * n; ++i) own_bias[i] = load(bias[direction * 4 * n + i]);
    for (std::int64_t step = 0; step < sizes.time; ++step) {
      const std::int64_t t = LstmSizes::time_of(direction, step, sizes.time);
      if (step > 0) multiply_packed(rows, n, sizes.gates(), hidden, panels + direction * width * n, recurrent);
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t at = kept(direction, t, first + row);
        const std::int64_t before =
            step == 0 ? 0 : kept(direction, LstmSizes::time_of(direction, step - 1, sizes.time), first + row);
        T* out = outputs + at * n;
        forward_cell(n, z + at * 4 * n, recurrent + row * width, own_bias, step == 0 ? zeros : cells + before * n,
                     gates + at * 4 * n, cells + at * n, out, hidden + row * n);
        std::copy_n(out, n, y + side_by_side(direction, t, first + row));
      }
    }
  }

  const float *z, *panels;
  const T* bias;
  T *y, *gates, *outputs;
  float* cells;
};

template <typename T>
struct BackwardSteps : StepRows {
  BackwardSteps(const LstmBackwardInputArgs& args, const LstmSizes& of, const float* all_panels)
      : StepRows(of),
        panels(all_panels),
        dy(args.dy.data<T>()),
        gates(Tensor(args.forward.gates).data<T>()),
        cells(args.forward.cells.data<float>()) {}

  std::int64_t scratch_floats() const {
    return Scratch::rounded(rows_an_item * in_panels(sizes.hidden)) + Scratch::rounded(rows_an_item * sizes.hidden) +
           Scratch::rounded(rows_an_item * sizes.gates()) + Scratch::rounded(sizes.hidden);
  }

  void run(std::int64_t item, float* memory) const {
    Scratch scratch(memory);
    const std::int64_t n = sizes.hidden;
    const std::int64_t width = in_panels(n);
    const std::int64_t direction = item / blocks;
    const std::int64_t first = item % blocks * rows_an_item;
    const std::int64_t rows = std::min(rows_an_item, sizes.batch - first);
    float* dhidden = scratch.take(rows_an_item * width);
    float* dcell = scratch.take(rows_an_item * n);
    float* dz = scratch.take(rows_an_item * 4 * n);
    float* zeros = scratch.take(n);
    std::fill_n(dhidden, rows_an_item * width, 0.0F);
    std::fill_n(dcell, rows_an_item * n, 0.0F);
    std::fill_n(zeros, n, 0.0F);
    for (std::int64_t step = sizes.time - 1; step >= 0; --step) {
      const std::int64_t t = LstmSizes::time_of(direction, step, sizes.time);
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::int64_t at = kept(direction, t, first + row);
        const std::int64_t before =
            step == 0 ? 0 : kept(direction, LstmSizes::time_of(direction, step - 1, sizes.time), first + row);
        backward_cell(n, dy + side_by_side(direction, t, first + row), dhidden + row * width, cells + at * n,
                      step == 0 ? zeros : cells + before * n, dcell + row * n, gates + at * 4 * n, dz + row * 4 * n);
      }
      if (step > 0) multiply_packed(rows, 4 * n, n, dz, panels + direction * width * 4 * n, dhidden);
    }
  }

  const float* panels;
  const T* dy;
  T* gates;
  const float* cells;
};

}  // namespace

void CpuBackend::lstm(const LstmArgs& args) {
  const LstmSizes s = sizes_of(args);
  if (s.rows() == 0) return;
  Tensor panels = allocate({s.directions, in_panels(s.gates()) * s.hidden}, DType::f32);
  // In f32 the gates take the place of what goes into them.
  const Tensor z = args.gates.dtype() == DType::f32 ? args.gates : allocate(args.gates.shape(), DType::f32);
  for_type(args.x.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* weight = args.recurrent_weight.data<T>();
    for (std::int64_t d = 0; d < s.directions; ++d)
      pack_panels(
          s.hidden, s.gates(),
          [&](std::int64_t row, std::int64_t column) {
            return load(weight[(d * s.gates() + column) * s.hidden + row]);
          },
          panels.data<float>() + d * in_panels(s.gates()) * s.hidden);
    swap_axes(state_->threads, s.batch, s.time, s.inputs, args.x.data<T>(), Tensor(args.inputs).data<T>());
    multiply_inputs(*this, args, z);
    run_all(ForwardSteps<T>(args, s, z, panels.data<float>()), state_->threads, pool());
  });
}

void CpuBackend::lstm_backward_input(const LstmBackwardInputArgs& args) {
  const LstmSizes s = sizes_of(args);
  if (s.rows() == 0) return;
  Tensor panels = allocate({s.directions, in_panels(s.hidden) * s.gates()}, DType::f32);
  Tensor dinputs = allocate({s.time, s.batch, s.inputs}, DType::f32);
  for_type(args.dy.dtype(), [&](auto type) {
    using T = decltype(type);
    const T* weight = args.forward.recurrent_weight.data<T>();
    for (std::int64_t d = 0; d < s.directions; ++d)
      pack_panels(
          s.gates(), s.hidden,
          [&](std::int64_t row, std::int64_t column) {
            return load(weight[(d * s.gates() + row) * s.hidden + column]);
          },
          panels.data<float>() + d * in_panels(s.hidden) * s.gates());
    run_all(BackwardSteps<T>(args, s, panels.data<float>()), state_->threads, pool());
    multiply_gradients(*this, args.forward, dinputs);
    swap_axes(state_->threads, s.time, s.batch, s.inputs, dinputs.data<float>(), Tensor(args.dx).data<T>());
  });
}

void CpuBackend::lstm_backward_weight(const LstmBackwardWeightArgs& args) { add_weight_gradients(*this, args); }

}  // namespace trireme
