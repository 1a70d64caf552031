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
  Shape output;  ///< of one sample, without the batch axis; what travels to the next stage. Empty after the last block
  std::function<std::unique_ptr<Layer>(const Build&)> make;
};

/// A parameter that several blocks use (tied embeddings). Where they are on different stages each has a copy, made
/// equal by equal initial values and kept equal by adding up the copies' gradients.
struct SharedParameter {
  std::string name;
  std::vector<int> blocks;
};

struct Architecture {
  std::vector<Block> blocks;
  std::vector<SharedParameter> shared;
};

}  // namespace trireme
