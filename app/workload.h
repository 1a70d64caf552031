// What the program trains: for each architecture its data and its model. The rest of the program sees no difference.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/configuration.h"
#include "app/predictor.h"
#include "comm/layout.h"
#include "io/dataset.h"
#include "io/image.h"
#include "io/source.h"
#include "model/arch/architecture.h"

namespace trireme {

struct Batch;
class Inference;

/// A packed data set of any kind.
class DataSet {
 public:
  virtual ~DataSet() = default;
  /// What the model's inputs and outputs mean; goes into checkpoints.
  virtual const TokenizerBlob& tokenizer() const = 0;
  /// How much there is, and of what: 12345 "tokens".
  virtual std::int64_t size() const = 0;
  virtual std::string unit() const = 0;
  /// Its samples as a model of this configuration takes them. The data set is the source's alone while that lives.
  virtual std::shared_ptr<Source> source(const Configuration& configuration, const SourceOptions& options) = 0;
};

/// A sample, and what a model makes of it, for people.
struct Example {
  std::string text;  ///< UTF-8, a few lines
  std::optional<Image> picture;
};

class Workload {
 public:
  virtual ~Workload() = default;
  virtual std::string arch() const = 0;
  /// Opens and checks files that `trireme pack` made; refuses those of another kind.
  virtual std::shared_ptr<DataSet> open(const std::vector<std::filesystem::path>& files) const = 0;
  /// Takes what the model must know of the data (the size of its vocabulary); refuses a configuration that contradicts.
  virtual void take(Configuration& configuration, const TokenizerBlob& tokenizer) const = 0;
  /// Whether the configuration tells that without data.
  virtual bool is_complete(const Configuration& configuration) const = 0;
  /// `take` has been called. Refuses sizes that do not fit together, naming the key.
  virtual Architecture architecture(const Configuration& configuration, int tensor_ranks, DType type) const = 0;
  /// Fills in what the tensor axis divides.
  virtual void limit(const Configuration& configuration, LayoutLimits& limits) const = 0;
  /// Whether a model's logits are those of the token that follows: what `sample` asks for.
  virtual bool writes_text() const { return false; }
  /// What the model makes of a sample (a batch of one) of data that it is not trained on; nothing where that is not to
  /// be looked at. Collective as Inference::logits; depends on the sample and the parameters alone.
  virtual std::optional<Example> example(Inference& model, const Batch& sample) const;
  /// What `predict` asks a model of this configuration, of which `take` was told; none where it gives no labels.
  virtual std::unique_ptr<Predictor> predictor(const Configuration&, const TokenizerBlob&) const { return nullptr; }
  /// Of a sample; 0 where samples have none.
  virtual int tokens_per_sample(const Configuration& configuration) const = 0;
};

/// Names for model.arch.
std::vector<std::string> architectures();
/// The workload of model.arch.
const Workload& workload_of(const Configuration& configuration);

/// Opens the files that `key` names. Refuses where there are none.
std::shared_ptr<DataSet> open_data(const Configuration& configuration, const std::vector<std::filesystem::path>& files,
                                   const char* key);
/// What layouts of a model with this many blocks must fit on a job of `world` ranks.
LayoutLimits limits_of(const Configuration& configuration, std::size_t blocks, int world);

}  // namespace trireme
