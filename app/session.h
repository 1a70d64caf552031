// A model on a layout: the groups of ranks, this rank's pipeline stage and parameters, and their way to and from
// checkpoints. What train, eval and sample have in common.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/configuration.h"
#include "comm/device_groups.h"
#include "comm/layout.h"
#include "comm/mpi/world.h"
#include "comm/process_grid.h"
#include "io/checkpoint/checkpoint.h"
#include "io/dataset.h"
#include "model/arch/architecture.h"
#include "model/parameter.h"
#include "model/pipeline/executor.h"

namespace trireme {

class Session {
 public:
  enum class Purpose { training, inference };

  /// Collective. Refuses a layout that does not fit model or world. `configuration.model.vocabulary` is taken from the
  /// tokenizer.
  Session(const Configuration& configuration, World& world, TokenizerBlob tokenizer, Purpose purpose);

  const Configuration& configuration() const { return configuration_; }
  const TokenizerBlob& tokenizer() const { return tokenizer_; }
  World& world() { return world_; }
  Backend& backend() { return *backend_; }
  const Layout& layout() const { return layout_; }
  Communicator& data() { return *data_; }
  Communicator& tensor() { return *tensor_; }
  Communicator& pipeline() { return *pipeline_; }
  StageGroups stage_groups() { return {*pipeline_, *tensor_, *data_}; }
  /// True where the work of a step needs the host for nothing but enqueuing it.
  bool can_record() const;
  ParameterStore& store() { return store_; }
  const Stage& stage() const { return stage_; }
  const Architecture& architecture() const { return architecture_; }
  /// First element in the arenas of each block of this stage.
  const std::vector<std::int64_t>& block_first() const { return block_first_; }
  DType type() const { return configuration_.train.precision; }
  /// Parameters of the whole model, each counted once. Collective.
  std::int64_t parameter_count();

  /// For a rank that fails while others may wait for it: gives up what is under way between GPUs.
  void abandon() noexcept { groups_->abort(); }

  /// Adds up the gradients of parameters that live on several stages.
  void reduce_shared_gradients();

  CheckpointInfo checkpoint_info(std::int64_t step, std::int64_t samples) const;
  /// Takes the memory that snapshots need, once; returns its bytes on this rank.
  std::int64_t reserve_snapshot();
  /// Copies into it what this rank writes of parameters and optimizer state. Valid until the next snapshot.
  std::vector<CheckpointItem> snapshot();
  /// The same without a copy, of a CPU backend: valid until the next step changes it.
  std::vector<CheckpointItem> items_in_place();
  /// What `initialize` found: parameters that the checkpoint does not have, and those that the model does not have.
  struct Initialized {
    std::int64_t taken = 0;
    std::vector<std::string> fresh, left_over;
  };
  /// Takes the parameters that a checkpoint, perhaps of another model, has under the same names; the others keep their
  /// initial values. The same on all ranks. Refuses one whose tokenizer reads text differently, a parameter of another
  /// shape, and a checkpoint that has none of them.
  Initialized initialize(CheckpointReader& reader);
  /// Reads this rank's part of parameters and, for training, optimizer state, whatever layout wrote them.
  void load(CheckpointReader& reader);

 private:
  /// A box of a parameter, or of a moment of it, as checkpoints name it.
  struct Held {
    std::string path;
    ShardSpec shard;  ///< replica 0 is the rank that writes it
    Tensor values;
  };
  struct SharedCopy {
    Parameter* parameter;
    std::unique_ptr<Communicator> holders;
  };

  void make_groups();
  void make_stage();
  void make_shared_copies(const std::vector<int>& boundaries);
  void list_held();
  void read(CheckpointReader& reader, Held& held);

  Configuration configuration_;
  World& world_;
  TokenizerBlob tokenizer_;
  Purpose purpose_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<DeviceGroups> groups_;
  Architecture architecture_;
  Layout layout_;
  std::unique_ptr<ProcessGrid> grid_;
  std::unique_ptr<Communicator> data_, tensor_, pipeline_;
  ParameterStore store_;
  Stage stage_;
  std::vector<std::int64_t> block_first_;
  std::vector<SharedCopy> shared_;
  std::vector<Held> held_;
  Tensor snapshot_;  ///< f32, host memory: what this rank writes, one after the other
};

/// What a run computes with: this rank's GPU, or the CPU.
std::unique_ptr<Backend> make_backend(const TrainOptions& options, const World& world);

/// What to do with damaged checkpoints that are newer than the one taken.
enum class Damaged { leave, set_aside };

/// The checkpoint that checkpoint.resume asks for, read and found whole; an empty path where it is "auto" and there is
/// none, or "never". Collective: all ranks get the same answer. "auto" takes the newest that is whole; rank 0 names
/// those that are not, to `tell` too. Refuses a step that is not there or is damaged, and a directory with nothing but
/// damage.
std::filesystem::path find_checkpoint(const CheckpointOptions& options, World& world, Damaged then = Damaged::leave,
                                      const std::function<void(std::int64_t step, const std::string&)>& tell = {});

/// What eval and sample run: `configuration` with the model that the checkpoint holds. Refuses a checkpoint whose
/// configuration is not of its tensors, before memory is taken for any.
Configuration with_model_of(const Configuration& configuration, const CheckpointReader& reader);
TokenizerBlob tokenizer_of(const CheckpointInfo& info);

}  // namespace trireme
