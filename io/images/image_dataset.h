// Data sets of images with classes: HDF5 files made by `trireme pack images`. Format (version 1):
//
//   /                attributes: format = "trireme-images", version = 1, height, width: of raw images; 0: files
//   /images          uint8 [bytes], the images one after the other: JPEG or PNG files as they were found, or raw
//   pixels,
//                    row by row, channels last
//   /ends            uint64 [images + 1], offset of each image's first byte, and the end
//   /labels          uint32 [images], class of each image
//   /tokenizer       attributes: kind ("classes of grey images", "classes of colour images": 1 or 3 channels, which is
//                    what models see; a file may have others), vocabulary: number of classes, end_of_text: 0
//   /tokenizer/model uint8 [bytes], names of the classes, one a line
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/column.h"
#include "io/dataset.h"
#include "io/image.h"

namespace trireme {

inline constexpr std::string_view image_format = "trireme-images";
inline constexpr std::int32_t image_format_version = 1;

/// What a blob of a data set of images says.
TokenizerBlob classes_blob(const std::vector<std::string>& names, int channels);
/// 1 or 3. Refuses a blob of another kind, naming `owner`.
int channels_of(const TokenizerBlob& classes, const std::string& owner);
std::vector<std::string> class_names_of(const TokenizerBlob& classes);

/// One or several files read as one list of images. Labels and offsets are held in memory, 12 bytes an image. `read` is
/// safe from several threads.
class ImageDataset {
 public:
  /// Opens and checks the files. Refuses what is missing, not HDF5, of another format or version, truncated, or of
  /// different classes, naming the file.
  explicit ImageDataset(const std::vector<std::filesystem::path>& files);
  ~ImageDataset();

  std::int64_t images() const;
  const TokenizerBlob& classes() const;
  int channels() const;
  std::int32_t label(std::int64_t image) const;
  /// "FILE: image 12", for messages.
  std::string name(std::int64_t image) const;
  /// Bytes as they are stored.
  void read(std::int64_t image, std::vector<std::byte>& bytes) const;
  /// Height and width of the pixels that `read` gives; 0 x 0: it gives a JPEG or PNG file.
  ImageHeader raw_size(std::int64_t image) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Writes one data set file in bounded memory; it appears when `commit` returns.
class ImageDatasetWriter {
 public:
  /// height and width: of raw images; 0: encoded ones.
  ImageDatasetWriter(const std::filesystem::path& file, const TokenizerBlob& classes, int height, int width);
  void append(std::span<const std::byte> image, std::int32_t label);
  std::int64_t images() const { return labels_.size(); }
  void commit();

 private:
  PartialFile file_;
  int classes_;
  Column<std::uint8_t> images_{"images"};
  Column<std::uint64_t> ends_{"ends"};
  Column<std::uint32_t> labels_{"labels"};
};

}  // namespace trireme
