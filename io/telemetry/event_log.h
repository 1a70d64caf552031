// Files that TensorBoard and VisualDL draw: what a run measures at a step, under a tag.
//
// TensorBoard reads TFRecords (length, its masked CRC-32C, data, its masked CRC-32C) of `Event` messages; VisualDL
// reads lengths and `Record` messages. Both are protocol buffers, of which we write the few fields that are needed.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/image.h"

namespace trireme {

/// How many values lie in each of equally wide ranges between the least and the greatest.
struct Histogram {
  std::vector<double> edges;   ///< one more than counts
  std::vector<double> counts;  ///< of finite values
  double count = 0, sum = 0, sum_of_squares = 0;
};
/// `bins` > 0. Values that are not finite are left out; where there are no others, the histogram is empty.
Histogram histogram_of(std::span<const float> values, int bins = 64);

/// Appends to a file of its own. One thread at a time.
class EventLog {
 public:
  virtual ~EventLog() = default;
  /// `time`: seconds since 1970.
  virtual void scalar(const std::string& tag, std::int64_t step, double time, double value) = 0;
  virtual void histogram(const std::string& tag, std::int64_t step, double time, const Histogram& histogram) = 0;
  /// UTF-8; drawn as it is, with its line ends.
  virtual void text(const std::string& tag, std::int64_t step, double time, const std::string& text) = 0;
  virtual void image(const std::string& tag, std::int64_t step, double time, const Image& image) = 0;
  /// Hands all of it to the system. Fails where the disk takes no more.
  virtual void flush() = 0;
};

/// A file in `folder`, which is made where there is none. Refuses a folder that cannot be written, naming `key`. What
/// an earlier life of the run has told of `first_step` and later steps is not drawn any more: TensorBoard is told so,
/// from VisualDL's file it is cut off.
std::unique_ptr<EventLog> make_tensorboard_log(const std::filesystem::path& folder, std::string_view key,
                                               std::int64_t first_step);
std::unique_ptr<EventLog> make_visualdl_log(const std::filesystem::path& folder, std::string_view key,
                                            std::int64_t first_step);

/// CRC-32C (Castagnoli) as TFRecords hold it: rotated, and a constant added.
std::uint32_t masked_crc32c(std::string_view data);

}  // namespace trireme
