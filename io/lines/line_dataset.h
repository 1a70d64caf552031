// Data sets of text lines: HDF5 files made by `trireme pack ocr`. Format (version 1):
//
//   /                attributes: format = "trireme-lines", version = 1, height (pixels, of every line)
//   /pixels          uint8 [bytes], the lines' images one after the other, each [height, width], 0 is black
//   /ends            uint64 [lines + 1], offset of each image's first pixel, and the end: width = bytes / height
//   /labels          uint32 [characters], the lines' texts one after the other, as classes of the key set
//   /label_ends      uint64 [lines + 1], offset of each text's first label, and the end
//   /tokenizer       attributes: kind = "key-set", vocabulary (classes), end_of_text = 0 (the blank)
//   /tokenizer/model uint8 [bytes], the characters as UTF-8 in the order of their classes, from 1
//
// Pixels are stored as they are: a line of 32 x 300 takes 10 kB, and training spends no time on decoding. Data sets
// grow by chunks that are read by parts, as those of tokens (io/dataset.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/dataset.h"

namespace trireme {

inline constexpr std::string_view line_format = "trireme-lines";
inline constexpr std::int32_t line_format_version = 1;

/// Recognisers make one time step of so many columns of pixels.
inline constexpr int line_step = 4;

/// A picture of one line, grey, and what it says.
struct Line {
  int width = 0;
  std::vector<std::uint8_t> pixels;  ///< [height, width]
  std::vector<std::int32_t> labels;
};

/// One or several files read as one list of lines; only widths and lengths are kept in memory. One thread at a time.
class LineDataset {
 public:
  /// Opens and checks the files. Refuses what is missing, not HDF5, of another format or version, truncated, or of
  /// different heights or key sets, naming the file.
  explicit LineDataset(const std::vector<std::filesystem::path>& files);
  ~LineDataset();

  std::int64_t lines() const;
  int height() const;
  int width(std::int64_t line) const;
  int labels(std::int64_t line) const;  ///< characters of its text
  const TokenizerBlob& tokenizer() const;
  /// The file, or the first of several, for messages.
  std::string name() const;
  /// Refuses a label beyond the key set, naming file and line.
  void read(std::int64_t line, Line& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Writes one file in bounded memory; it appears under its name, complete, only when `commit` returns.
class LineDatasetWriter {
 public:
  LineDatasetWriter(const std::filesystem::path& file, int height, const TokenizerBlob& key_set);
  ~LineDatasetWriter();
  void append(const Line& line);
  std::int64_t lines() const;
  std::int64_t characters() const;
  void commit();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
