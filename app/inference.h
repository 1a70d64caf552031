// A model that is asked instead of trained, on any layout: what sample, recognize and pictures of a run are made from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "app/session.h"
#include "io/loader.h"

namespace trireme {

/// A field of one sample, on the host.
struct HostField {
  DType type = DType::f32;
  Shape shape;
  const void* values = nullptr;
};

/// The first `count` fields of a batch of one sample: those that the model takes, before the targets.
std::vector<HostField> first_fields(const Batch& sample, std::size_t count);

class Inference {
 public:
  /// The session is used for as long as this lives; its parameters may change between calls.
  explicit Inference(Session& session);
  const Configuration& configuration() const { return session_.configuration(); }
  Backend& backend() { return session_.backend(); }
  const TokenizerBlob& tokenizer() const { return session_.tokenizer(); }

  /// A forward pass over one sample without targets. `outcome` gets what the last block makes of it, on the ranks that
  /// have it. Collective over the tensor and pipeline axes.
  void run(std::span<const HostField> inputs, const std::function<void(const Tensor&)>& outcome);

  struct Rows {
    std::int64_t first = 0, count = 1;
  };
  /// Logits [rows, classes] that the model gives for one sample without targets: those of a token, a time step or the
  /// whole sample, as its last block has them. Collective as `run`, and the same on all those ranks.
  std::vector<float> logits(std::span<const HostField> inputs, std::int64_t classes, const Rows& rows);

 private:
  std::vector<float> gather(const Tensor& logits, std::int64_t classes, const Rows& rows);

  Session& session_;
  PipelineExecutor executor_;
};

/// The class with the greatest logit.
std::int32_t likeliest(std::span<const float> logits);

}  // namespace trireme
