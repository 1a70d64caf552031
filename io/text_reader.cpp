#include "io/text_reader.h"

#include <algorithm>
#include <utility>

#include "io/utf8.h"
#include "kernels/error.h"

namespace trireme {
namespace {

constexpr std::size_t block = std::size_t{1} << 20;
constexpr std::size_t longest_character = 4;  // bytes
constexpr std::string_view byte_order_mark = "\uFEFF";

}  // namespace

TextReader::TextReader(const std::filesystem::path& file, std::string_view encoding, std::size_t longest_line)
    : path_(file),
      encoding_(encoding == "auto" ? detect_encoding(file) : encoding),
      longest_line_(std::max(longest_line, longest_character)),
      file_(file, std::ios::binary) {
  if (!file_) refuse("{}: cannot be read", file.string());
  if (encoding_ != "utf-8") decoder_ = std::make_unique<TextDecoder>(encoding_);
}

void TextReader::decode_utf8() {
  const std::size_t valid = valid_utf8_bytes(raw_);
  if (raw_.size() - valid >= longest_character || (ended_ && valid != raw_.size())) {
    refuse(
        "{}: byte {} is not UTF-8; for text in GBK or GB18030 give --encoding=gb18030, in Big5 "
        "--encoding=big5",
        path_.string(), offset_ + static_cast<std::int64_t>(valid));
  }
  text_.append(raw_, 0, valid);
  raw_.erase(0, valid);
  offset_ += static_cast<std::int64_t>(valid);
}

void TextReader::decode_other() {
  const std::int64_t wrong = decoder_->decode(raw_, ended_, text_);
  if (wrong != TextDecoder::all_valid) {
    const bool gb18030 = encoding_ == "gb18030";
    refuse("{}: byte {} is not {}; for text in UTF-8 give --encoding=utf-8", path_.string(), wrong,
           gb18030 ? "GB18030" : "Big5");
  }
  offset_ += static_cast<std::int64_t>(raw_.size());
  raw_.clear();
}

void TextReader::read_more() {
  text_.erase(0, std::exchange(position_, 0));
  const std::size_t kept = raw_.size();
  raw_.resize(kept + block);
  file_.read(raw_.data() + kept, static_cast<std::streamsize>(block));
  if (file_.bad()) fail("{}: reading failed", path_.string());
  raw_.resize(kept + static_cast<std::size_t>(file_.gcount()));
  ended_ = file_.eof();
  if (decoder_) {
    decode_other();
  } else {
    decode_utf8();
  }
  if (!std::exchange(started_, true) && text_.starts_with(byte_order_mark)) position_ = byte_order_mark.size();
}

std::string_view TextReader::next_line() {
  std::size_t end = text_.find('\n', position_);
  while (end == std::string::npos && !ended_ && text_.size() - position_ < longest_line_) {
    const std::size_t searched = text_.size() - position_;
    read_more();
    end = text_.find('\n', position_ + (position_ == 0 ? searched : 0));
  }
  const std::string_view rest = std::string_view(text_).substr(position_);
  std::size_t bytes = end == std::string::npos ? rest.size() : end + 1 - position_;
  if (bytes > longest_line_) bytes = valid_utf8_bytes(rest.substr(0, longest_line_));
  line_ = rest.substr(0, bytes);
  position_ += bytes;
  if (line_.ends_with("\r\n")) line_.erase(line_.size() - 2, 1);
  return line_;
}

}  // namespace trireme
