// What layers need while they are built.
#pragma once

#include <string>

#include "model/parameter.h"

namespace trireme {

/// Where layers declare their parameters, and which part of each matrix is this rank's.
struct Build {
  ParameterStore& store;
  int tensor_rank = 0;
  int tensor_ranks = 1;
  bool first_stage = true;  ///< this rank is on the first stage of the pipeline

  /// The whole tensor on every rank of the tensor axis.
  ParameterDeclaration replicated(const std::string& name, const Shape& shape, Initial initial, bool decay) const {
    ShardSpec shard = shard_of(shape, -1, 0, 1);
    shard.replica = tensor_rank;
    return {name, shard, initial, decay};
  }
  /// Split along `axis` between the ranks of the tensor axis.
  ParameterDeclaration split(const std::string& name, const Shape& shape, int axis, Initial initial, bool decay) const {
    return {name, shard_of(shape, axis, tensor_rank, tensor_ranks), initial, decay};
  }
};

}  // namespace trireme
