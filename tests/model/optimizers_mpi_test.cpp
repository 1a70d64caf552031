// Step sizes by layer do not depend on how many ranks share the layer.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "comm/self_communicator.h"
#include "kernels/philox.h"
#include "model/layers/build.h"
#include "model/layers/embedding.h"
#include "model/optim/optimizer.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

/// Parameters of every kind on one rank of a tensor axis, with gradients that depend on global positions alone.
class Shard {
 public:
  /// tied_replica: of a tied table, whose copy on a stage that does not write it has replica 1 on all ranks.
  Shard(Communicator& tensor, const UpdateRule& rule, int tied_replica) : tensor_(tensor) {
    const Build build{.store = store_, .tensor_rank = tensor.rank(), .tensor_ranks = tensor.size()};
    store_.declare({"table", vocabulary_shard(build, 11, 5), Initial::normal(0.5), true});
    store_.declare_joined({build.split("query", {8, 6}, 0, Initial::normal(1.0), true),
                           build.split("key", {4, 6}, 0, Initial::normal(0.2), true)});
    store_.declare(build.split("projection", {6, 8}, 1, Initial::normal(0.1), true));
    store_.declare(build.replicated("whole", {5, 7}, Initial::normal(0.3), true));
    ParameterDeclaration tied{"tied", vocabulary_shard(build, 12, 5), Initial::normal(0.5), true};
    tied.shard.replica = tied_replica;
    store_.declare(tied);
    store_.declare(build.replicated("norm", {9}, Initial::one(), false));
    store_.allocate(*backend_, DType::f32, 7, training_state_of(rule));
    optimizer_ = make_optimizer(*backend_, store_, tensor_, rule);
    norm_ = backend_->allocate({1}, DType::f64);
    backend_->zero(norm_);
  }
  void step(int number) {
    for_elements([&](const ParameterDeclaration& part, std::int64_t global, std::int64_t local) {
      const auto words =
          philox(static_cast<std::uint64_t>(number), stream_of(part.name), static_cast<std::uint64_t>(global));
      store_.gradients.data<float>()[local] = static_cast<float>(words[0]) * 0x1p-31F - 1.0F;
    });
    optimizer_->step(number, 0.05, norm_, 0.5);
  }
  /// body(part, position in the whole tensor, place in the arenas)
  template <typename Body>
  void for_elements(const Body& body) const {
    for (const Parameter& parameter : store_.parameters()) {
      std::int64_t local = parameter.first();
      for (const auto& part : parameter.parts()) {
        const Shape& box = part.shard.extent;
        for (std::int64_t row = 0; row < box.rows(); ++row)
          for (std::int64_t column = 0; column < box.columns(); ++column) {
            const std::int64_t global_row = row + (box.rank() == 2 ? part.shard.offset[0] : 0);
            const std::int64_t global_column = column + part.shard.offset[box.rank() == 2 ? 1 : 0];
            body(part, global_row * part.shard.global.columns() + global_column, local++);
          }
      }
    }
  }
  /// Values by name and position in the whole tensor.
  std::map<std::pair<std::string, std::int64_t>, float> values() const {
    std::map<std::pair<std::string, std::int64_t>, float> result;
    for_elements([&](const ParameterDeclaration& part, std::int64_t global, std::int64_t local) {
      result[{part.name, global}] = store_.values.data<float>()[local];
    });
    return result;
  }

 private:
  std::unique_ptr<Backend> backend_ = make_cpu_backend(1);
  Communicator& tensor_;
  ParameterStore store_;
  std::unique_ptr<Optimizer> optimizer_;
  Tensor norm_;
};

TEST(OptimizersOnRanks, TakeTheSameStepsOnAnyTensorAxis) {
  World& world = test_world();
  std::vector<int> everyone(static_cast<std::size_t>(world.size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  const auto tensor = world.group("tensor", everyone);
  const auto alone = make_self_communicator("alone");
  for (const auto kind : {OptimizerKind::sgd, OptimizerKind::lars, OptimizerKind::lamb}) {
    const UpdateRule rule{.kind = kind, .clip_norm = 0.0, .trust_coefficient = 0.02};
    Shard shared(*tensor, rule, 1);
    Shard whole(*alone, rule, 0);
    const auto before = whole.values();
    for (int step = 1; step <= 5; ++step) {
      shared.step(step);
      whole.step(step);
    }
    const auto wanted = whole.values();
    double moved = 0.0;
    for (const auto& [place, value] : shared.values()) {
      EXPECT_NEAR(value, wanted.at(place), 2e-6) << place.first << " " << place.second;
      moved += std::abs(wanted.at(place) - before.at(place));
    }
    EXPECT_GT(moved, 0.01);
  }
}

}  // namespace
}  // namespace trireme
