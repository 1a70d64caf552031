// The optimizers over the parameter arenas.
#pragma once

#include <cstdint>
#include <memory>

#include "comm/communicator.h"
#include "model/parameter.h"

namespace trireme {

/// sgd: with momentum, as PyTorch has it. lars (You et al. 2017) and lamb (You et al. 2019) give every parameter a step
/// size of its own, from the norm of its values and of what is to be taken from them; those without weight decay
/// (norms, biases) are left out of this.
enum class OptimizerKind { adamw, sgd, lars, lamb };

struct UpdateRule {
  OptimizerKind kind = OptimizerKind::adamw;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;  ///< adamw, lamb
  /// For parameters that declare it. adamw: decoupled; lamb: a part of the direction; sgd, lars: added to the gradient.
  double weight_decay = 0.1;
  double clip_norm = 1.0;            ///< global gradient norm; 0: no clipping
  double momentum = 0.9;             ///< sgd, lars
  bool nesterov = false;             ///< sgd, lars
  double trust_coefficient = 0.001;  ///< lars
};

/// What the rule keeps of every parameter.
TrainingState training_state_of(const UpdateRule& rule);

class Optimizer {
 public:
  Optimizer(Backend& backend, ParameterStore& store, const UpdateRule& rule);
  virtual ~Optimizer() = default;

  /// norm_squared f64 [1] += this rank's share of the squared gradient norm. The sum over the ranks of the tensor and
  /// pipeline axes counts every parameter once.
  void add_gradient_norm_squared(const Tensor& norm_squared) const;
  /// One step, counted from 1. Gradients are multiplied by gradient_scale first; norm_squared is global and of the
  /// scaled gradients. Clears the gradients. Parameters that are tracked move too.
  void step(std::int64_t step, double learning_rate, const Tensor& norm_squared, double gradient_scale = 1.0);

 protected:
  struct Step {
    std::int64_t number;
    double learning_rate;
    Tensor norm_squared;
    double gradient_scale;
  };
  virtual void update(const Step& step) = 0;
  AdamwArgs adamw_args(const Step& step) const;

  Backend& backend_;
  ParameterStore& store_;
  UpdateRule rule_;
  Tensor decay_mask_;  ///< of the whole arenas

 private:
  std::vector<ParameterStore::Range> ranges_;
};

class Adamw final : public Optimizer {
 public:
  using Optimizer::Optimizer;

 private:
  void update(const Step& step) override { backend_.adamw(adamw_args(step)); }
};

/// `store` is allocated with training_state_of(rule). Norms of parameters that are split over the ranks of `tensor` are
/// summed over them. All are used for as long as the optimizer lives.
std::unique_ptr<Optimizer> make_optimizer(Backend& backend, ParameterStore& store, Communicator& tensor,
                                          const UpdateRule& rule);

}  // namespace trireme
