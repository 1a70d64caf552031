// What `trireme pack images` does: images with classes to data sets.
//
// An input is one of
// - a folder with a folder for each class, which names it; JPEG and PNG files below these, at any depth;
// - an IDX file of images (MNIST and its kin, .gz or not), whose labels are in the file named alike with "labels" for
//   "images" and "idx1" for "idx3" or "idx4" (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz). Classes are
//   named by their numbers.
// Files are kept as they are, IDX as raw pixels. The classes of the validation set are those of the training set.
//
// Every file is decoded once: what does not decode is left out and told, or refused.
//
// The validation set is what another input holds, or a share of the images, chosen by a hash of their bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

struct PackImagesOptions {
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path output;
  std::vector<std::filesystem::path> validation_inputs;
  std::filesystem::path validation_output;  ///< empty: no validation set
  double validation_share = 0.02;           ///< of the images, where there are no validation_inputs
  std::string colour = "auto";              ///< "grey", "rgb"; auto: rgb for files, and what IDX files hold
  std::string broken = "skip";              ///< images that do not decode; or "refuse"
  int threads = 0;                          ///< that decode; 0: one a core
};

struct PackImagesResult {
  std::vector<std::string> classes;
  int channels = 3;
  std::int64_t train = 0, validation = 0;  ///< images
  std::vector<std::string> skipped;        ///< "FILE: what is wrong"; the first hundred
  std::int64_t skipped_count = 0;
  double seconds = 0;
};

/// Told now and then: images packed so far.
using PackImagesProgress = std::function<void(std::int64_t images)>;

/// Refuses wrong options, missing inputs, an image in no class folder, a class without an image, and labels that are
/// missing, too many, or of no class. The data sets appear when they are complete.
PackImagesResult pack_images(const PackImagesOptions& options, const PackImagesProgress& progress = {});

}  // namespace trireme
