// A model on a layout: the groups of ranks, this rank's pipeline stage and parameters, and their way to and from
// checkpoints. What train, eval and sample have in common.
#pragma once

#include <filesystem>
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

  /// Collective. Writes parameters and optimizer state; returns the checkpoint's folder.
  std::filesystem::path save(std::int64_t step, std::int64_t samples);
  /// Reads this rank's part of parameters and, for training, optimizer state, whatever layout wrote them.
  void load(CheckpointReader& reader);

 private:
  /// What checkpoints hold: one value for each parameter's element.
  struct Arena {
    std::string kind;
    Tensor tensor;
    Tensor host;  ///< the same in host memory: the tensor itself on the CPU, else a copy, made for the first checkpoint
  };
  struct SharedCopy {
    Parameter* parameter;
    std::unique_ptr<Communicator> holders;
  };

  void make_groups();
  void make_stage();
  void make_shared_copies(const std::vector<int>& boundaries);
  std::vector<CheckpointItem> checkpoint_items();

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
  MemoryPool host_memory_{make_host_memory()};
  std::vector<Arena> arenas_;
};

/// The checkpoint that checkpoint.resume asks for, or an empty path where it is "auto" and there is none, or "never".
/// Collective: all ranks get the same answer. Refuses a step that is not there.
std::filesystem::path find_checkpoint(const CheckpointOptions& options, World& world);

/// What eval and sample run: `configuration` with the model that the checkpoint holds.
Configuration with_model_of(const Configuration& configuration, const CheckpointInfo& info);
TokenizerBlob tokenizer_of(const CheckpointInfo& info);

}  // namespace trireme
