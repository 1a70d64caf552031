// A model out of a checkpoint, on one rank: what sample, recognize and predict run.
#pragma once

#include <filesystem>
#include <string_view>

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

}  // namespace trireme
