// Long short-term memory (Hochreiter and Schmidhuber 1997): a product of cuBLASLt for all inputs, then for every time
// step one for each direction and a kernel for the cells of both. Not cuDNN's RNN: this runs in both working types on
// any GPU, deterministically, on weights as they are, and can be tested without one; recorded, its many small launches
// cost no time of the host.
#include "kernels/cuda/device.h"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/state.h"
#include "kernels/lstm.h"

namespace trireme {
namespace cuda {
namespace {

constexpr int threads = 256;

/// to [b, a, n] = from [a, b, n].
template <typename From, typename To>
__global__ void __launch_bounds__(threads)
    swap_axes(std::int64_t a, std::int64_t b, std::int64_t n, const From* from, To* to) {
  for (std::int64_t i = global_thread(); i < a * b * n; i += global_threads()) {
    const std::int64_t row = i / n;
    to[i] = from_f32<To>(to_f32(from[(row % a * b + row / a) * n + i % n]));
  }
}

// Relative to the result tanh is not close near 0, but within 2^-22 of it; so are both where they are used.
__device__ __forceinline__ float sigmoid(float x) { return __fdividef(1.0F, 1.0F + __expf(-x)); }
__device__ __forceinline__ float tanh_of(float x) { return 2.0F * sigmoid(2.0F * x) - 1.0F; }

/// Sizes, and where the cells of one step lie.
struct Step {
  std::int64_t batch, time, hidden, directions;
  std::int64_t step;  ///< counts in the order of each direction

  __device__ std::int64_t cells() const { return directions * batch * hidden; }
  __device__ std::int64_t time_of(std::int64_t direction, std::int64_t number) const {
    return direction == 0 ? number : time - 1 - number;
  }
};

/// One number of the hidden state.
struct Place {
  __device__ Place(const Step& s, std::int64_t number)
      : direction(number / s.hidden / s.batch), b(number / s.hidden % s.batch), i(number % s.hidden) {
    const std::int64_t t = s.time_of(direction, s.step);
    const std::int64_t row = (direction * s.time + t) * s.batch + b;
    cell = row * s.hidden + i;
    gate = row * 4 * s.hidden + i;
    output = (b * s.time + t) * s.directions * s.hidden + direction * s.hidden + i;
    const std::int64_t before = s.step == 0 ? 0 : s.time_of(direction, s.step - 1);
    cell_before = ((direction * s.time + before) * s.batch + b) * s.hidden + i;
  }
  std::int64_t direction, b, i;
  std::int64_t cell, cell_before, gate;  ///< in cells and outputs; in gates
  std::int64_t output;                   ///< in y and dy
};

template <typename T>
struct ForwardCells {
  const float* z;
  const T* bias;
  T *gates, *outputs, *y;
  float* cells;
};

template <typename T>
__global__ void __launch_bounds__(threads) run_cells(Step s, ForwardCells<T> at) {
  const std::int64_t n = s.hidden;
  for (std::int64_t number = global_thread(); number < s.cells(); number += global_threads()) {
    const Place place(s, number);
    const auto sum = [&](int gate) {
      return at.z[place.gate + gate * n] + to_f32(at.bias[(place.direction * 4 + gate) * n + place.i]);
    };
    const float input = sigmoid(sum(0));
    const float forget = sigmoid(sum(1));
    const float candidate = tanh_of(sum(2));
    const float out = sigmoid(sum(3));
    const float cell = (s.step == 0 ? 0.0F : forget * at.cells[place.cell_before]) + input * candidate;
    at.gates[place.gate] = from_f32<T>(input);
    at.gates[place.gate + n] = from_f32<T>(forget);
    at.gates[place.gate + 2 * n] = from_f32<T>(candidate);
    at.gates[place.gate + 3 * n] = from_f32<T>(out);
    at.cells[place.cell] = cell;
    at.outputs[place.cell] = at.y[place.output] = from_f32<T>(out * tanh_of(cell));
  }
}

template <typename T>
struct BackwardCells {
  const T* dy;
  const float* cells;
  T* gates;        ///< become gradients before their sigmoid or tanh
  float* dhidden;  ///< [directions, batch, hidden], from the step that ran before; unset at the first
  float* dcell;    ///< the same of the cells; becomes what the next step gets
};

template <typename T>
__global__ void __launch_bounds__(threads) run_cells_back(Step s, BackwardCells<T> at) {
  const std::int64_t n = s.hidden;
  const bool is_first = s.step == s.time - 1;
  for (std::int64_t number = global_thread(); number < s.cells(); number += global_threads()) {
    const Place place(s, number);
    const float input = to_f32(at.gates[place.gate]);
    const float forget = to_f32(at.gates[place.gate + n]);
    const float candidate = to_f32(at.gates[place.gate + 2 * n]);
    const float out = to_f32(at.gates[place.gate + 3 * n]);
    const float squashed = tanh_of(at.cells[place.cell]);
    const float before = s.step == 0 ? 0.0F : at.cells[place.cell_before];
    const float doutput = to_f32(at.dy[place.output]) + (is_first ? 0.0F : at.dhidden[number]);
    const float through = (is_first ? 0.0F : at.dcell[number]) + doutput * out * (1.0F - squashed * squashed);
    at.gates[place.gate] = from_f32<T>(through * candidate * input * (1.0F - input));
    at.gates[place.gate + n] = from_f32<T>(through * before * forget * (1.0F - forget));
    at.gates[place.gate + 2 * n] = from_f32<T>(through * input * (1.0F - candidate * candidate));
    at.gates[place.gate + 3 * n] = from_f32<T>(doutput * squashed * out * (1.0F - out));
    at.dcell[number] = through * forget;
  }
}

Step step_of(const LstmSizes& s, std::int64_t step) { return {s.batch, s.time, s.hidden, s.directions, step}; }

unsigned blocks_of(const LstmSizes& s) { return blocks_for(s.directions * s.batch * s.hidden, threads); }

template <typename From, typename To>
void swap_axes_of(const Tensor& from, const Tensor& to, cudaStream_t stream) {
  const Shape& shape = from.shape();
  launch(swap_axes<From, To>, blocks_for(from.elements(), threads), threads, stream, shape[0], shape[1], shape[2],
         elements_of<From>(from), writable<To>(to));
}

}  // namespace
}  // namespace cuda

using namespace cuda;

void CudaBackend::lstm(const LstmArgs& args) {
  const LstmSizes s = sizes_of(args);
  if (s.rows() == 0) return;
  const cudaStream_t stream = state_->compute.get();
  // In f32 the gates take the place of what goes into them.
  const Tensor z = args.gates.dtype() == DType::f32 ? args.gates : allocate(args.gates.shape(), DType::f32);
  for_type(args.x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    swap_axes_of<T, T>(args.x, args.inputs, stream);
    multiply_inputs(*this, args, z);
    const ForwardCells<T> cells = {elements_of<float>(z),     elements_of<T>(args.bias), writable<T>(args.gates),
                                   writable<T>(args.outputs), writable<T>(args.y),       writable<float>(args.cells)};
    for (std::int64_t step = 0; step < s.time; ++step) {
      for (std::int64_t d = 0; d < s.directions && step > 0; ++d) add_recurrent_product(*this, args, z, d, step);
      launch(run_cells<T>, blocks_of(s), threads, stream, step_of(s, step), cells);
    }
  });
}

void CudaBackend::lstm_backward_input(const LstmBackwardInputArgs& args) {
  const LstmSizes s = sizes_of(args);
  if (s.rows() == 0) return;
  const LstmArgs& forward = args.forward;
  const cudaStream_t stream = state_->compute.get();
  const Tensor dhidden = allocate({s.directions, s.batch, s.hidden}, DType::f32);
  const Tensor dcell = allocate({s.directions, s.batch, s.hidden}, DType::f32);
  const Tensor dinputs = allocate({s.time, s.batch, s.inputs}, DType::f32);
  for_type(args.dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const BackwardCells<T> cells = {elements_of<T>(args.dy), elements_of<float>(forward.cells),
                                    writable<T>(forward.gates), writable<float>(dhidden), writable<float>(dcell)};
    for (std::int64_t step = s.time - 1; step >= 0; --step) {
      launch(run_cells_back<T>, blocks_of(s), threads, stream, step_of(s, step), cells);
      for (std::int64_t d = 0; d < s.directions && step > 0; ++d)
        multiply_recurrent_gradient(*this, forward, d, step, direction_of(dhidden, d, s.batch));
    }
    multiply_gradients(*this, forward, dinputs);
    swap_axes_of<float, T>(dinputs, args.dx, stream);
  });
}

void CudaBackend::lstm_backward_weight(const LstmBackwardWeightArgs& args) { add_weight_gradients(*this, args); }

}  // namespace trireme
