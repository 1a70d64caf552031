// The seam between training code and arithmetic. Every operation runs on the device that owns the tensors; the CPU
// runs it at once, a GPU enqueues it. Shapes: rows are all axes but the last ([batch, time, hidden] has batch * time
// rows). Weights of linear layers are [outputs, inputs]. "f" stands for the working type, f32 or bf16; statistics,
// losses and gradients of weights are f32 whatever the working type. Every operation accumulates in f32 or better.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kernels/tensor.h"

namespace trireme {

enum class DeviceKind { cpu, cuda };
/// gelu is the tanh approximation of GPT-2; hard_swish(x) = x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019).
enum class Activation { none, gelu, silu, relu, hard_swish };
enum class NormKind { layer, rms };

/// out = activation(a' b' + bias), a' [m, k], b' [k, n], out [m, n]; operands may be stored transposed.
struct MatmulArgs {
  Tensor a, b, out;  ///< f, f, f or f32
  bool transpose_a = false;
  bool transpose_b = false;
  bool accumulate = false;  ///< out += product (then no bias or activation)
  Tensor bias;              ///< f [n] or empty
  Activation activation = Activation::none;
  Tensor pre_activation;  ///< f [m, n]: receives product + bias where the backward pass needs it; or empty
  Tensor gradient_at;     ///< f [m, n] pre-activation: out = product * activation'(gradient_at); or empty
  Tensor bias_gradient;   ///< f32 [m] or empty: += row sums of a', the bias's gradient where this is a weight's
};

/// y = norm(x + residual) * weight + bias over the last axis.
struct NormArgs {
  NormKind kind = NormKind::layer;
  float epsilon = 1e-5F;
  Tensor x;                  ///< f [rows, n]
  Tensor residual;           ///< f [rows, n] or empty
  Tensor sum;                ///< f [rows, n]: receives x + residual; empty without residual
  Tensor weight, bias;       ///< f [n]; bias may be empty
  Tensor y;                  ///< f [rows, n]
  Tensor mean;               ///< f32 [rows], written; empty for rms
  Tensor inverse_deviation;  ///< f32 [rows], written
};

/// dx = gradient of the norm's input (+ residual_gradient).
struct NormBackwardInputArgs {
  NormKind kind = NormKind::layer;
  Tensor x, dy, weight;            ///< x is what was normalised (the sum, where there was a residual)
  Tensor mean, inverse_deviation;  ///< as the forward pass wrote them
  Tensor residual_gradient;        ///< f [rows, n], added to dx; or empty
  Tensor dx;
};

struct NormBackwardWeightArgs {
  NormKind kind = NormKind::layer;
  Tensor x, dy, mean, inverse_deviation;
  Tensor dweight, dbias;  ///< f32 [n], added to; dbias may be empty
};

/// Scaled dot-product attention over one packed tensor: each row of qkv holds heads queries, then key_value_heads
/// keys, then key_value_heads values, head_size numbers each. Query head h reads key head h / (heads / kv heads).
/// Flash form (Dao et al. 2022): only the log-sum-exp of each row is kept, no time x time tensor.
struct AttentionArgs {
  int heads = 1, key_value_heads = 1, head_size = 1;
  bool causal = true;
  float scale = 1.0F;
  Tensor qkv;          ///< f [batch, time, (heads + 2 kv heads) * head_size]
  Tensor out;          ///< f [batch, time, heads * head_size]
  Tensor log_sum_exp;  ///< f32 [batch, heads, time]
  /// i32 [batch], at most time, or empty: queries, keys and values at positions >= lengths[b] take no part, their rows
  /// of out and their gradients are 0.
  Tensor lengths;
};

struct AttentionBackwardArgs {
  AttentionArgs forward;  ///< as given to, and filled by, the forward pass
  Tensor dout;            ///< f, like out
  Tensor dqkv;            ///< f, like qkv, set
};

/// Rotates queries and keys of a packed qkv in place (Su et al. 2021; halves paired as in LLaMA). Row t of a sequence
/// has position first_position + t. inverse rotates back, which is the gradient.
struct RotaryArgs {
  int heads = 1, key_value_heads = 1, head_size = 1;
  float base = 10000.0F;
  std::int64_t first_position = 0;
  bool inverse = false;
  Tensor qkv;
};

/// out[b, t] = table[token - first_token] + positions[t]; tokens outside this rank's rows contribute zero.
struct EmbeddingArgs {
  Tensor tokens;     ///< i32 [batch, time]
  Tensor table;      ///< f [local vocabulary, n]
  Tensor positions;  ///< f [at least time, n] or empty
  std::int64_t first_token = 0;
  Tensor out;  ///< f [batch, time, n]
};

struct EmbeddingBackwardArgs {
  Tensor tokens, dout;
  std::int64_t first_token = 0;
  Tensor dtable;      ///< f32, added to
  Tensor dpositions;  ///< f32, added to; or empty
};

/// Softmax cross-entropy over a vocabulary that may be split between ranks, in three steps with one all-gather of
/// the statistics between the first two. A target of -1 is ignored.
struct CrossEntropyStatisticsArgs {
  Tensor logits;   ///< f [rows, local vocabulary]
  Tensor targets;  ///< i32 [rows], global token numbers
  std::int64_t first_token = 0;
  /// f32 [3, rows]: maximum, sum of exp(logit - maximum), target's logit (0 if not here); or [4, rows] with the sum of
  /// the logits, which smoothing needs.
  Tensor statistics;
};

/// Label smoothing (Szegedy et al. 2016): a row's target is to 1 - amount the class it names, to amount all classes
/// alike.
struct LabelSmoothing {
  float amount = 0.0F;
  std::int64_t classes = 1;  ///< the whole vocabulary
};

struct CrossEntropyLossArgs {
  Tensor statistics;   ///< f32 [parts, 3 or 4, rows]: every rank's statistics
  Tensor targets;      ///< i32 [rows]
  Tensor log_sum_exp;  ///< f32 [rows], written
  Tensor losses;       ///< f32 [rows], written; 0 where the target is ignored
  LabelSmoothing smoothing = {};
};

struct CrossEntropyGradientArgs {
  Tensor logits;  ///< f [rows, local vocabulary]; becomes (softmax - target) * scale in place, 0 in ignored rows
  Tensor targets, log_sum_exp;
  std::int64_t first_token = 0;
  float scale = 1.0F;
  LabelSmoothing smoothing = {};
};

/// How many classes come before the target's in the order of falling logits, of equal ones the lower number first; NaN
/// before all numbers, and all before a NaN of the target. Every rank counts its own classes; the sum over the ranks of
/// the vocabulary is the target's place, 0 for the best.
struct TargetPlacesArgs {
  Tensor logits;   ///< f [rows, local vocabulary]
  Tensor targets;  ///< i32 [rows], global numbers
  std::int64_t first_token = 0;
  Tensor statistics;  ///< f32 [parts, 3 or 4, rows]: every rank's statistics, of the same logits
  Tensor places;      ///< i32 [rows], set; 0 in ignored rows
};

struct HitsArgs {
  Tensor places;   ///< i32 [rows], of all ranks
  Tensor targets;  ///< i32 [rows]; rows with negative targets do not count
  Tensor groups;   ///< i32 [rows]: which line of `hits` a row counts for, none where there is no such line; or empty: 0
  int top = 1;     ///< a hit has a place below this
  Tensor hits;     ///< f64 [groups, 2], added to: hits, rows
};

/// The largest element of each row: of equal ones the first, NaN before all numbers.
struct ArgMaxArgs {
  Tensor x;              ///< f [rows, n], n at least 1
  Tensor places;         ///< i32 [rows], set
  Tensor probabilities;  ///< f32 [rows], set: what softmax(x) has there; or empty
};

/// Connectionist temporal classification (Graves et al. 2006): the loss of a text is -log of the probability of all
/// ways to write its labels, in order, over the time steps, with blanks (class 0) anywhere and each label repeated at
/// will; a blank must stand between equal labels. A sample is left out, with loss and gradient 0, where
/// - its first label is -2: it fills up a batch;
/// - the labels do not fit the time (labels + neighbours that are equal > steps), or one of them is no class or the
///   blank. These are counted in `impossible`.
struct CtcLossArgs {
  Tensor logits;       ///< f [batch, time, classes]
  Tensor labels;       ///< i32 [batch, longest]: 1..classes-1, then -1 to the end; all -1: an empty text
  Tensor lengths;      ///< i32 [batch], time steps of each sample, at most time; or empty: all
  Tensor log_sum_exp;  ///< f32 [batch, time], written
  Tensor states;       ///< f64 [batch, time, 2 * longest + 1], written: what the gradient needs
  Tensor losses;       ///< f32 [batch], nats, written
  Tensor counted;      ///< f32 [batch], written: 1 where the sample has a loss
  Tensor impossible;   ///< f32 [batch], written: 1 where it cannot have one
};

struct CtcGradientArgs {
  Tensor logits;                                ///< becomes the gradient of the sum of losses * scale, in place
  Tensor labels, lengths, log_sum_exp, states;  ///< as given to, and filled by, the loss; the states are overwritten
  float scale = 1.0F;
};

/// One layer of long short-term memory (Hochreiter and Schmidhuber 1997), in one direction or both (Graves and
/// Schmidhuber 2005). With z = x weight' + h_before recurrent_weight' + bias, cut into four gates i, f, g, o:
///   c = sigmoid(f) c_before + sigmoid(i) tanh(g),  h = sigmoid(o) tanh(c);  h and c begin as 0.
/// Direction 0 goes from the first time step to the last, direction 1 back.
struct LstmArgs {
  Tensor x;                 ///< f [batch, time, inputs]
  Tensor weight;            ///< f [directions, 4 * hidden, inputs]
  Tensor recurrent_weight;  ///< f [directions, 4 * hidden, hidden]
  Tensor bias;              ///< f [directions, 4 * hidden]
  Tensor y;                 ///< f [batch, time, directions * hidden]: h of both directions side by side
  // Written, for the backward pass. Time comes first, so that a step's rows lie together.
  Tensor inputs;   ///< f [time, batch, inputs]: x
  Tensor gates;    ///< f [directions, time, batch, 4 * hidden], after their sigmoid or tanh
  Tensor cells;    ///< f32 [directions, time, batch, hidden]: c
  Tensor outputs;  ///< f [directions, time, batch, hidden]: h
};

struct LstmBackwardInputArgs {
  LstmArgs forward;  ///< as given to, and filled by, the forward pass; the gates become the gradients of z
  Tensor dy;         ///< f, like y
  Tensor dx;         ///< f, like x, set
};

struct LstmBackwardWeightArgs {
  LstmArgs forward;                          ///< as backward_input left it; x and y are not read
  Tensor dweight, drecurrent_weight, dbias;  ///< f32, added to
};

/// out = residual + x * keep / (1 - probability). Element i of x is element first_element + i of the whole run's
/// stream, so that the same numbers are dropped on every layout (see kernels/philox.h). The backward pass is the same
/// call on the gradient. out may be x.
struct DropoutArgs {
  Tensor x, residual, out;  ///< f; residual may be empty
  float probability = 0.0F;
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;
  std::uint64_t first_element = 0;
};

/// AdamW (Loshchilov and Hutter 2019) in one pass. The gradient is multiplied by gradient_scale and then by
/// min(1, clip_norm / norm) first.
struct AdamwArgs {
  Tensor value, gradient, first_moment, second_moment;  ///< f32, equal sizes
  Tensor working;                                       ///< bf16 copy of value to refresh, or empty
  Tensor gradient_norm_squared;                         ///< f64 [1], gradient_scale included; empty for no clipping
  double clip_norm = 0.0;                               ///< 0: no clipping
  double gradient_scale = 1.0;
  double learning_rate = 0.0, beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, weight_decay = 0.0;
  std::int64_t step = 1;  ///< counts from 1
  /// i32, a bit for each 16 elements, the lowest of word 0 first: whether weight decay applies to them, so that one
  /// call does all parameters. Empty: to all.
  Tensor decay_mask;
  /// The moments move and what would be taken from the value takes the place of the gradient: for LAMB.
  bool direction_only = false;
};

/// Stochastic gradient descent with momentum, over parts of arenas with step sizes of their own:
///   g = rate (gradient + weight_decay value), velocity = momentum velocity + g,
///   value -= learning_rate (nesterov ? g + momentum velocity : velocity)
/// (Sutskever et al. 2013; as PyTorch has it). The gradient is scaled and clipped first, as for AdamW. With the norms
/// of the segments' values and gradients, rate is trust_coefficient |value| / (|gradient| + weight_decay |value|) of
/// the segment (LARS: You et al. 2017), or 1 where a norm is 0; without, it is 1.
struct SgdArgs {
  Tensor value, gradient;        ///< f32, equal sizes
  Tensor velocity;               ///< f32, the same size; or empty, with momentum 0
  Tensor working;                ///< bf16 copy of value to refresh, or empty
  Tensor tiles;                  ///< what to go over: see kernels/segments.h. Elements in no tile stay
  Tensor gradient_norm_squared;  ///< f64 [1], gradient_scale included; empty for no clipping
  double clip_norm = 0.0;        ///< 0: no clipping
  double gradient_scale = 1.0;
  double learning_rate = 0.0, momentum = 0.0, weight_decay = 0.0;
  bool nesterov = false;
  Tensor decay_mask;                       ///< as of AdamW; the same for all of a tile
  Tensor value_squares, gradient_squares;  ///< f64 [segments], of the unscaled gradient; or empty
  double trust_coefficient = 1.0;
};

/// Sizes of a convolution. Images are [batch, height, width, channels], filters [outputs, rows, columns, channels /
/// groups]: channels are the last axis everywhere, as norms, biases and matrix units want them.
struct ConvolutionShape {
  int stride_height = 1, stride_width = 1;
  int pad_height = 0, pad_width = 0;  ///< zeros on both sides
  int dilation_height = 1, dilation_width = 1;
  int groups = 1;  ///< channels and outputs are cut into as many parts that do not see each other
};

/// y = x * filter + bias (cross-correlation, as everywhere in this field).
struct ConvolutionArgs {
  ConvolutionShape shape;
  Tensor x, filter;  ///< f
  Tensor bias;       ///< f [outputs] or empty
  Tensor y;          ///< f
};

struct ConvolutionBackwardDataArgs {
  ConvolutionShape shape;
  Tensor dy, filter;  ///< f
  Tensor dx;          ///< f, set
};

struct ConvolutionBackwardFilterArgs {
  ConvolutionShape shape;
  Tensor x, dy;    ///< f
  Tensor dfilter;  ///< f32, added to
};

/// Batch normalisation (Ioffe and Szegedy 2015) in two steps, so that the statistics may be summed over the ranks of a
/// group in between. x is [rows, channels]. First step: the sums of a batch.
struct BatchNormStatisticsArgs {
  Tensor x;       ///< f [rows, channels]
  Tensor shift;   ///< f32 [channels], near the mean of x (the running mean): keeps the sum of squares exact
  Tensor totals;  ///< f32 [2, channels], set: sums of (x - shift) and of (x - shift)^2
};

/// Between the steps: mean and 1 / sqrt(variance + epsilon) from the sums, which may be those of all ranks together.
/// Without sums, from the running statistics.
struct BatchNormMomentsArgs {
  Tensor totals;                          ///< f32 [2, channels]; or empty
  Tensor shift;                           ///< f32 [channels], as it was for the sums
  double count = 1;                       ///< rows that the totals are over
  Tensor running_mean, running_variance;  ///< f32 [channels]; empty where neither taken nor tracked
  float epsilon = 1e-5F;
  Tensor mean, inverse_deviation;  ///< f32 [channels], set
  /// f32 [channels], or empty: += track_factor * (mean - running mean), and the same of the variance, which is taken
  /// over count - 1 here.
  Tensor track_mean, track_variance;
  double track_factor = 0.0;
};

/// Second step: y = activation((x - mean) * inverse_deviation * weight + bias [+ residual]).
struct BatchNormArgs {
  Tensor x;                        ///< f [rows, channels]
  Tensor mean, inverse_deviation;  ///< f32 [channels]
  Tensor weight, bias;             ///< f [channels]
  Tensor residual;                 ///< f [rows, channels] or empty
  bool relu = false;
  Tensor y;  ///< f [rows, channels]
};

/// First step back: dbias and dweight of this batch, through the ReLU where there was one.
struct BatchNormBackwardStatisticsArgs {
  BatchNormArgs forward;  ///< as given to the forward pass; y tells where the ReLU let through
  Tensor dy;              ///< f [rows, channels]
  Tensor totals;          ///< f32 [2, channels], set: sums of dz and of dz * normalised x
};

/// Second step back. `totals` and `count` may be those of all ranks together.
struct BatchNormBackwardArgs {
  BatchNormArgs forward;
  Tensor dy;
  Tensor totals;             ///< f32 [2, channels]
  double count = 1;          ///< rows that the totals are over
  Tensor dx;                 ///< f [rows, channels], set
  Tensor residual_gradient;  ///< f [rows, channels], set where the forward pass had a residual; or empty
};

/// y = (x / 255 - mean) / deviation: pixels of 8 bits as models of images take them.
struct PixelsArgs {
  static constexpr int most_channels = 3;
  Tensor x;                                          ///< u8 [batch, height, width, channels]
  std::array<float, most_channels> mean, deviation;  ///< of each channel
  Tensor y;                                          ///< f, the same shape
};

enum class PoolingKind { maximum, average };  ///< average counts the cells inside the image only

struct PoolingArgs {
  PoolingKind kind = PoolingKind::maximum;
  int height = 2, width = 2;
  int stride_height = 2, stride_width = 2;
  int pad_height = 0, pad_width = 0;
  Tensor x;  ///< f [batch, height, width, channels]
  Tensor y;  ///< f [batch, out height, out width, channels]
};

struct PoolingBackwardArgs {
  PoolingArgs forward;
  Tensor dy;
  Tensor dx;  ///< f, set; of equal maxima the first in row-major order takes the gradient
};

/// Work that a device keeps, to be started again as a whole. Made by Backend::record.
class Recording {
 public:
  virtual ~Recording() = default;
  virtual void replay() = 0;
};

/// Times at which a device comes to places in its queue. Made by Backend::make_timeline.
class Timeline {
 public:
  virtual ~Timeline() = default;
  /// Notes under `number` when all that is enqueued so far is done; in a recording, at each replay.
  virtual void mark(std::size_t number) = 0;
  /// Seconds from one mark's last time to the other's. This thread must have waited for both.
  virtual double seconds(std::size_t from, std::size_t to) const = 0;
};

/// Arithmetic and memory of one device. Not thread-safe, except the pool.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual DeviceKind kind() const = 0;
  virtual std::string description() const = 0;  ///< one line for people: device, instruction set, threads
  virtual MemoryPool& pool() = 0;
  /// Host memory for what comes from and goes to the device; pinned where that makes transfers faster.
  virtual MemoryPool& host_pool() = 0;
  Tensor allocate(const Shape& shape, DType type) { return Tensor(pool(), shape, type); }
  /// Returns when everything enqueued so far is done. Calls the check of `on_wait` meanwhile.
  virtual void synchronize() = 0;
  /// `check` is called again and again while this thread waits for the device: it throws when waiting has become
  /// pointless (a peer died, a collective failed). Empty: none.
  virtual void on_wait(std::function<void()> check) = 0;
  /// The queue of the device (a cudaStream_t), for libraries that enqueue there; null on the CPU.
  virtual void* queue() = 0;
  /// The host memory may be used again at once. What is enqueued from now on sees the new elements.
  virtual void upload(const void* host, Tensor device) = 0;
  /// The same, beside what is enqueued already: that must not use the tensor's memory.
  virtual void upload_beside(const void* host, Tensor device) = 0;
  /// Returns when the elements are there.
  virtual void download(const Tensor& device, void* host) = 0;
  /// Runs `work` without executing what it enqueues, and keeps that instead: replay() enqueues all of it. Everything
  /// that the work uses must have run once before, keep its place and need no value from the host. What the work
  /// allocates and gives back, it shares with other recordings, as they run one after the other. Null where the device
  /// cannot: then `work` was not called.
  virtual std::unique_ptr<Recording> record(const std::function<void()>& work) = 0;
  /// Outlives what is recorded with its marks, and not the backend.
  virtual std::unique_ptr<Timeline> make_timeline() = 0;

  virtual void matmul(const MatmulArgs& args) = 0;
  /// out f32 [n] += sum over rows of x f [rows, n]: gradient of a bias.
  virtual void add_column_sums(const Tensor& x, Tensor out) = 0;
  virtual void norm(const NormArgs& args) = 0;
  virtual void norm_backward_input(const NormBackwardInputArgs& args) = 0;
  virtual void norm_backward_weight(const NormBackwardWeightArgs& args) = 0;
  virtual void activate(Activation activation, const Tensor& x, Tensor y) = 0;
  /// dx = dy * activation'(x); dx may be dy.
  virtual void activate_backward(Activation activation, const Tensor& x, const Tensor& dy, Tensor dx) = 0;
  /// SwiGLU (Shazeer 2020): x f [rows, 2n] holds gate and up; y [rows, n] = silu(gate) * up.
  virtual void swiglu(const Tensor& x, Tensor y) = 0;
  virtual void swiglu_backward(const Tensor& x, const Tensor& dy, Tensor dx) = 0;
  /// y = softmax(x) over the last axis; y may be x.
  virtual void softmax(const Tensor& x, Tensor y) = 0;
  virtual void attention(const AttentionArgs& args) = 0;
  virtual void attention_backward(const AttentionBackwardArgs& args) = 0;
  virtual void rotary(const RotaryArgs& args) = 0;
  virtual void embedding(const EmbeddingArgs& args) = 0;
  virtual void embedding_backward(const EmbeddingBackwardArgs& args) = 0;
  virtual void cross_entropy_statistics(const CrossEntropyStatisticsArgs& args) = 0;
  virtual void cross_entropy_loss(const CrossEntropyLossArgs& args) = 0;
  virtual void cross_entropy_gradient(const CrossEntropyGradientArgs& args) = 0;
  virtual void target_places(const TargetPlacesArgs& args) = 0;
  virtual void add_hits(const HitsArgs& args) = 0;
  virtual void arg_max(const ArgMaxArgs& args) = 0;
  virtual void ctc_loss(const CtcLossArgs& args) = 0;
  virtual void ctc_gradient(const CtcGradientArgs& args) = 0;
  virtual void lstm(const LstmArgs& args) = 0;
  virtual void lstm_backward_input(const LstmBackwardInputArgs& args) = 0;
  virtual void lstm_backward_weight(const LstmBackwardWeightArgs& args) = 0;
  virtual void dropout(const DropoutArgs& args) = 0;
  virtual void convolution(const ConvolutionArgs& args) = 0;
  virtual void convolution_backward_data(const ConvolutionBackwardDataArgs& args) = 0;
  virtual void convolution_backward_filter(const ConvolutionBackwardFilterArgs& args) = 0;
  virtual void batch_norm_statistics(const BatchNormStatisticsArgs& args) = 0;
  virtual void batch_norm_moments(const BatchNormMomentsArgs& args) = 0;
  virtual void batch_norm(const BatchNormArgs& args) = 0;
  virtual void batch_norm_backward_statistics(const BatchNormBackwardStatisticsArgs& args) = 0;
  virtual void batch_norm_backward(const BatchNormBackwardArgs& args) = 0;
  virtual void normalise_pixels(const PixelsArgs& args) = 0;
  virtual void pooling(const PoolingArgs& args) = 0;
  virtual void pooling_backward(const PoolingBackwardArgs& args) = 0;
  /// out = x + y, all of one type (f or f64); out may be x or y.
  virtual void add(const Tensor& x, const Tensor& y, Tensor out) = 0;
  /// out f64 [1] += factor * sum of x (f32), in an order that does not depend on the number of threads.
  virtual void add_sum(const Tensor& x, double factor, Tensor out) = 0;
  /// out f64 [1] += sum of squares of x (f32), in an order that does not depend on the number of threads.
  virtual void add_sum_of_squares(const Tensor& x, Tensor out) = 0;
  /// out f64 [1] += how many of targets (i32) are not negative.
  virtual void add_count(const Tensor& targets, Tensor out) = 0;
  /// out f64 [segments] += sums of squares of x (f32) over the tiles of each segment: see kernels/segments.h.
  virtual void add_segment_squares(const Tensor& x, const Tensor& tiles, Tensor out) = 0;
  virtual void adamw(const AdamwArgs& args) = 0;
  virtual void sgd(const SgdArgs& args) = 0;
  /// Converts between f32 and bf16, or copies equal types, whichever.
  virtual void cast(const Tensor& from, Tensor to) = 0;
  virtual void zero(Tensor out) = 0;
};

/// CPU backend. threads = 0 takes what OpenMP would (OMP_NUM_THREADS or the cores this process is bound to).
std::unique_ptr<Backend> make_cpu_backend(int threads = 0);
struct CudaOptions {
  bool deterministic = true;  ///< false: gradients of attention are summed in any order, in less time and memory
  bool tf32 = false;          ///< f32 products and convolutions may keep 10 bits of their operands' fractions
};
/// CUDA backend on the device with that number; refuses with what is missing when there is no toolkit or device.
std::unique_ptr<Backend> make_cuda_backend(int device, const CudaOptions& options = {});
/// Number of usable CUDA devices; 0 in a build without CUDA.
int cuda_device_count();

}  // namespace trireme
