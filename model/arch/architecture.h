// What every model is to the rest of the program: a list of blocks.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "model/layer.h"
#include "model/layers/build.h"
#include "model/pipeline/partition.h"

namespace trireme {

/// One link of the chain that makes a model; a pipeline stage is a run of blocks.
struct Block {
  std::string name;
  BlockCost cost;
  /// Shape of what travels to the next stage, of one sample, without the batch axis; told the shape of the sample's
  /// first field. Not asked of the last block, which returns f64 [metrics, 2].
  std::function<Shape(const Shape& sample)> output;
  std::function<std::unique_ptr<Layer>(const Build&)> make;
};

/// A parameter that several blocks use (tied embeddings). Where they are on different stages each has a copy, made
/// equal by equal initial values and kept equal by adding up the copies' gradients.
struct SharedParameter {
  std::string name;
  std::vector<int> blocks;
};

/// What a model is measured by: its last block adds a sum and a count of each, and the mean is what people read. The
/// first is the loss, in nats.
struct Metric {
  std::string name;  ///< "loss", "accuracy"
  std::string unit;  ///< "nats a token"; empty: a share of one
};

struct Architecture {
  std::vector<Block> blocks;
  std::vector<SharedParameter> shared;
  std::vector<Metric> metrics;
  double targets_per_sample = 1;  ///< that the loss is over; where it varies, what is expected
  bool draws = false;             ///< random numbers: no step computes what another did (dropout)
};

}  // namespace trireme
