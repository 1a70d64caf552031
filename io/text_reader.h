// Text files as people have them: any size, UTF-8, GB18030 or Big5, with or without a byte order mark, any line ends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

#include "io/text_encoding.h"

namespace trireme {

class TextReader {
 public:
  /// encoding: "utf-8", "gb18030" (which holds GBK and GB2312), "big5", or "auto", which looks at how the file begins.
  /// Refuses a file that cannot be read.
  TextReader(const std::filesystem::path& file, std::string_view encoding, std::size_t longest_line);

  /// The next line with its newline, as UTF-8, "\r\n" as "\n"; empty at the end. A line of more bytes than
  /// `longest_line` comes in parts. Refuses what is not of the encoding, naming file and offset. Stays valid until the
  /// next call.
  std::string_view next_line();
  std::int64_t bytes_read() const { return offset_; }

 private:
  void read_more();
  void decode_utf8();
  void decode_other();

  std::filesystem::path path_;
  std::string encoding_;
  std::size_t longest_line_;
  std::ifstream file_;
  std::unique_ptr<TextDecoder> decoder_;  ///< none for UTF-8
  std::string raw_;                       ///< read but not yet decoded
  std::int64_t offset_ = 0;               ///< of raw_'s first byte in the file
  bool started_ = false;
  bool ended_ = false;
  std::string text_;  ///< decoded
  std::size_t position_ = 0;
  std::string line_;
};

}  // namespace trireme
