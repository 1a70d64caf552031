// Layers: three calls, so that every pipeline schedule can be built on them.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "kernels/backend.h"

namespace trireme {

/// What a stage works on at a time, on all stages the same. Samples are consecutive in the run's order.
struct Microbatch {
  std::vector<Tensor>
      fields;  ///< [samples, ...] each, as the data's source orders them; the first block gets the first
  std::int64_t first_sample = 0;  ///< global number of the first sample in this run

  /// Empty where it was not given: without targets the last block returns what it would compare with them.
  const Tensor& field(std::size_t number) const;
};

/// What a layer may use during a call. Layers keep nothing between calls.
struct Context {
  Backend& backend;
  Communicator& tensor;  ///< ranks that share each matrix
  Communicator& data;    ///< ranks that work on other samples of the same step
  DType type;            ///< of activations: f32 or bf16
  bool training;         ///< dropout is on, and what backward needs is saved
  std::uint64_t seed;    ///< of the run, for dropout
  float loss_scale;      ///< of gradients: 1 / targets that a step is expected to have, over all ranks
  int microbatches;      ///< of the step, over all ranks
  const Microbatch& microbatch;
};

/// What one microbatch must remember between the calls of one layer. Owned by the pipeline stage, one for each
/// microbatch in flight. Keeps its capacity when cleared, so that a steady step allocates nothing.
class Saved {
 public:
  /// Tensor number `index`, made empty on first use.
  Tensor& operator[](std::size_t index);
  /// Memory of an inner layer.
  Saved& child(std::size_t index);
  /// Drops all tensors, here and in children.
  void clear();

 private:
  std::vector<Tensor> tensors_;
  std::deque<Saved> children_;
};

/// A differentiable function with parameters. Const during a step. For each microbatch the calls come in this order;
/// calls of different microbatches interleave freely.
class Layer {
 public:
  virtual ~Layer() = default;
  virtual Tensor forward(const Context& context, const Tensor& x, Saved& saved) const = 0;
  /// Gradient with respect to x (empty where x is data). Leaves in `saved` what backward_weight needs.
  virtual Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const = 0;
  /// Adds to the gradients of the layer's parameters.
  virtual void backward_weight(const Context& context, Saved& saved) const = 0;
};

}  // namespace trireme
