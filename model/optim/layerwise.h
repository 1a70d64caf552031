// Gradient descent, and the optimizers whose step sizes differ from layer to layer.
#pragma once

#include "model/optim/optimizer.h"

namespace trireme {

/// Squared norms of this rank's parameters, as the whole tensors have them.
class LayerNorms {
 public:
  LayerNorms(Backend& backend, const ParameterStore& store, Communicator& tensor);

  /// Measures what the arenas hold now, and sets the arguments that make the step layer-wise. Parameters without decay
  /// have norm 0. Collective over the tensor axis.
  void measure(const Tensor& values, const Tensor& gradients, SgdArgs& args);

 private:
  Backend& backend_;
  Communicator& tensor_;
  Tensor tiles_;    ///< of what adapts and counts on this rank
  Tensor squares_;  ///< f64 [2, parameters]: of values, of gradients
};

/// Every part of a joined parameter is a segment of its own.
Tensor make_tiles(Backend& backend, const ParameterStore& store);

class Sgd : public Optimizer {
 public:
  Sgd(Backend& backend, ParameterStore& store, const UpdateRule& rule);

 protected:
  SgdArgs sgd_args(const Step& step) const;
  void update(const Step& step) override { backend_.sgd(sgd_args(step)); }

 private:
  Tensor tiles_;
};

class Lars final : public Sgd {
 public:
  Lars(Backend& backend, ParameterStore& store, Communicator& tensor, const UpdateRule& rule)
      : Sgd(backend, store, rule), norms_(backend, store, tensor) {}

 private:
  void update(const Step& step) override;
  LayerNorms norms_;
};

class Lamb final : public Optimizer {
 public:
  Lamb(Backend& backend, ParameterStore& store, Communicator& tensor, const UpdateRule& rule)
      : Optimizer(backend, store, rule), tiles_(make_tiles(backend, store)), norms_(backend, store, tensor) {}

 private:
  void update(const Step& step) override;
  Tensor tiles_;
  LayerNorms norms_;
};

}  // namespace trireme
