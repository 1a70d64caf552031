// Parameters: name, shape, this rank's slice, fp32 master value and gradient. All parameters of a rank lie one after
// the other in a few large arenas, so that the optimizer is one pass, a gradient bucket is a range, and fused matrices
// (query, key and value; gate and up) are neighbours.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "comm/shard_spec.h"
#include "kernels/backend.h"

namespace trireme {

/// How a parameter starts. Element i of the *global* tensor depends on (seed, name, i) alone, whatever the layout.
struct Initial {
  enum class Kind { zero, one, normal };
  Kind kind = Kind::zero;
  double deviation = 0.0;
  static Initial zero() { return {Kind::zero, 0.0}; }
  static Initial one() { return {Kind::one, 0.0}; }
  static Initial normal(double deviation) { return {Kind::normal, deviation}; }
};

/// How a parameter changes. tracked: not by the optimizer, but by what layers add to its "gradient" in a step: the
/// running statistics of batch normalisation.
enum class Update { trained, tracked };

struct ParameterDeclaration {
  std::string name;
  ShardSpec shard;
  Initial initial;
  bool decay = false;  ///< weight decay applies (matrices, not norms and biases)
  Update update = Update::trained;
};

/// One parameter, or several that were declared together and act as one matrix stacked along the first axis.
class Parameter {
 public:
  const std::string& name() const { return declarations_.front().name; }
  const std::vector<ParameterDeclaration>& parts() const { return declarations_; }
  Shape local_shape() const { return shape_; }
  bool trained() const { return declarations_.front().update == Update::trained; }
  std::int64_t first() const { return first_; }  ///< first element in the arenas, those of its kind of update
  std::int64_t elements() const { return shape_.elements(); }

  Tensor value;     ///< f32 master
  Tensor gradient;  ///< f32
  Tensor working;   ///< what layers compute with: bf16 copy, or `value` itself in fp32 and where it is tracked

 private:
  friend class ParameterStore;
  std::vector<ParameterDeclaration> declarations_;
  Shape shape_;
  std::int64_t first_ = 0;
};

/// What is kept beside the values, each with what comes before it.
enum class TrainingState { none, gradients, first_moments, second_moments };

/// All parameters of one rank. Layers declare while they are built; `allocate` then makes the arenas and fills them.
class ParameterStore {
 public:
  /// The pointer stays valid for the life of the store. Declaring a name twice on one rank (tied embeddings) returns
  /// the first declaration's parameter.
  Parameter* declare(ParameterDeclaration declaration);
  /// Parameters that lie next to each other and act as one [sum of rows, columns] (or [sum]) tensor.
  Parameter* declare_joined(std::vector<ParameterDeclaration> declarations);

  /// Makes and initialises the arenas; working copies are of `working_type` (f32: no copy).
  void allocate(Backend& backend, DType working_type, std::uint64_t seed,
                TrainingState state = TrainingState::second_moments);

  std::deque<Parameter>& parameters() { return parameters_; }
  const std::deque<Parameter>& parameters() const { return parameters_; }
  /// Elements of the arenas of trained parameters, padding between parameters included.
  std::int64_t elements() const { return elements_; }

  /// Whole arenas, f32 [elements]; working is empty in fp32, the others where no such state was asked for.
  Tensor values, gradients, first_moments, second_moments, working;
  /// Arenas of tracked parameters, f32; empty where there are none.
  Tensor tracked_values, tracked_gradients;
  /// Adds the tracked parameters' gradients to their values, and clears them: at the end of a step, when they are
  /// summed over the ranks.
  void update_tracked(Backend& backend);
  /// Copies values into working after values were loaded.
  void refresh_working(Backend& backend);

  /// A run of the arenas that the optimizer treats alike.
  struct Range {
    std::int64_t first = 0, count = 0;
    bool decay = false;
    bool counted = false;  ///< this rank's copy is the one that global sums count (replica 0)
  };
  /// The arenas of trained parameters cut into as few ranges as possible.
  std::vector<Range> ranges() const;

 private:
  std::deque<Parameter> parameters_;
  std::int64_t elements_ = 0;
  std::int64_t tracked_elements_ = 0;
};

}  // namespace trireme
