// A model out of a checkpoint, on one rank: what sample, recognize and predict run.
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "app/session.h"

namespace trireme {

/// What the configuration names. Refuses more ranks than one, and a directory without a checkpoint, for `command`.
struct StoredModel {
  StoredModel(const Configuration& given, World& world, std::string_view command);

  std::filesystem::path folder;
  CheckpointReader reader;
  TokenizerBlob tokenizer;
  Configuration configuration;  ///< with the stored model and its crop of images, for one sample at a time
};

/// What the last block makes of a sample without targets; `fields` have a batch axis of 1.
Tensor infer(Session& session, std::vector<Tensor> fields);

/// Rows [first, first + count) of logits [..., classes], in fp32.
std::vector<float> rows_of(Session& session, const Tensor& logits, std::int64_t first, std::int64_t count);

}  // namespace trireme
