#include "io/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <utility>

#include "io/utf8.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// SentencePiece's own sign for a space: text that holds it must go round the library to come back as itself.
constexpr std::string_view space_sign = "\u2581";

class SentencePieceTokenizer final : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(TokenizerBlob blob) : blob_(std::move(blob)) {
    const auto status = processor_.LoadFromSerializedProto(blob_.model);
    if (!status.ok()) refuse("{} tokenizer: damaged model: {}", blob_.kind, status.ToString());
    blob_.vocabulary = processor_.GetPieceSize();
    blob_.end_of_text = processor_.eos_id();
    newline_ = processor_.PieceToId("\n");
    for (std::size_t i = 0; i < space_sign.size(); ++i) {
      space_sign_bytes_[i] = processor_.PieceToId(fmt::format("<0x{:02X}>", static_cast<unsigned char>(space_sign[i])));
    }
    const bool has_bytes = std::all_of(space_sign_bytes_.begin(), space_sign_bytes_.end(),
                                       [this](int token) { return processor_.IsByte(token); });
    if (blob_.end_of_text < 0 || processor_.IsUnknown(newline_) || !has_bytes) {
      refuse("{} tokenizer: its model lacks an end of text, a newline or byte tokens", blob_.kind);
    }
  }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    const std::size_t valid = valid_utf8_bytes(text);
    if (valid != text.size()) refuse("text to encode: byte {} is not UTF-8", valid);
    std::vector<std::int32_t> tokens;
    while (!text.empty()) {
      // No piece crosses a newline, so lines one by one give the same tokens in little memory.
      const std::size_t end = std::min({text.find('\n'), text.find(space_sign), text.size()});
      encode_line(text.substr(0, end), tokens);
      text.remove_prefix(end);
      if (text.starts_with('\n')) {
        tokens.push_back(newline_);
        text.remove_prefix(1);
      } else if (text.starts_with(space_sign)) {
        tokens.insert(tokens.end(), space_sign_bytes_.begin(), space_sign_bytes_.end());
        text.remove_prefix(space_sign.size());
      }
    }
    return tokens;
  }

  std::string decode(std::span<const std::int32_t> tokens) const override {
    for (const std::int32_t token : tokens) {
      if (token < 0 || token >= blob_.vocabulary) fail("token {} of a vocabulary of {}", token, blob_.vocabulary);
    }
    std::string text;
    const auto status = processor_.Decode(std::vector<int>(tokens.begin(), tokens.end()), &text);
    if (!status.ok()) fail("SentencePiece cannot decode: {}", status.ToString());
    return text;
  }

  TokenizerBlob blob() const override { return blob_; }

 private:
  void encode_line(std::string_view line, std::vector<std::int32_t>& tokens) const {
    if (line.empty()) return;
    const auto status = processor_.Encode(line, &line_tokens_);
    if (!status.ok()) fail("SentencePiece cannot encode: {}", status.ToString());
    tokens.insert(tokens.end(), line_tokens_.begin(), line_tokens_.end());
  }

  TokenizerBlob blob_;
  sentencepiece::SentencePieceProcessor processor_;
  mutable std::vector<int> line_tokens_;
  int newline_ = 0;
  std::array<int, space_sign.size()> space_sign_bytes_{};
};

/// Hands the trainer the documents' lines. It throws away sentences that hold its reserved signs or are longer than it
/// was told, so lines end at those signs and at that length.
class LineIterator final : public sentencepiece::SentenceIterator {
 public:
  static constexpr std::size_t longest = 4000;  ///< bytes

  explicit LineIterator(const std::vector<std::string_view>& documents) : documents_(documents) { Next(); }
  bool done() const override { return done_; }
  const std::string& value() const override { return line_; }
  sentencepiece::util::Status status() const override { return {}; }

  void Next() override {
    line_.clear();
    while (line_.empty() && (!rest_.empty() || next_document_ < documents_.size())) {
      if (rest_.empty()) rest_ = documents_[next_document_++];
      std::size_t end = line_end();
      line_ = rest_.substr(0, end);
      if (end == 0) end = std::max<std::size_t>(first_code_point(rest_).bytes, 1);
      rest_.remove_prefix(end);
    }
    done_ = line_.empty();
  }

 private:
  std::size_t line_end() const {
    const std::string_view line = rest_.substr(0, longest);
    std::size_t end = line.find_first_of(std::string_view("\n\t\0", 3));
    for (const std::string_view reserved : {space_sign, std::string_view("\u2585")}) {
      end = std::min(end, line.find(reserved));
    }
    return end == std::string_view::npos ? valid_utf8_bytes(line) : end;
  }

  const std::vector<std::string_view>& documents_;
  std::size_t next_document_ = 0;
  std::string_view rest_;
  std::string line_;
  bool done_ = false;
};

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece(const TokenizerBlob& blob) {
  return std::make_unique<SentencePieceTokenizer>(blob);
}

std::unique_ptr<Tokenizer> train_sentencepiece(std::string_view kind, int vocabulary,
                                               const std::vector<std::string_view>& documents) {
  constexpr int least = 256 + 4;  // bytes, unknown, end of text, newline, and one piece
  if (vocabulary < least)
    refuse("vocabulary of a {} tokenizer: found {}, expected at least {}", kind, vocabulary, least);
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", std::string(kind)},
      {"vocab_size", std::to_string(vocabulary)},
      {"character_coverage", "0.9995"},
      {"byte_fallback", "true"},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"user_defined_symbols", "\n"},
      {"unk_id", "0"},
      {"eos_id", "1"},
      {"bos_id", "-1"},
      {"pad_id", "-1"},
      {"unk_surface", "\uFFFD"},
      {"max_sentence_length", std::to_string(LineIterator::longest)},
      {"num_threads", "8"},  // fixed: the unigram trainer's sums depend on it
      {"minloglevel", "2"},
  };
  LineIterator lines(documents);
  TokenizerBlob blob{.kind = std::string(kind), .model = {}};
  const auto status = sentencepiece::SentencePieceTrainer::Train(options, &lines, &blob.model);
  if (!status.ok()) refuse("vocabulary {} of a {} tokenizer: {}", vocabulary, kind, status.ToString());
  return load_sentencepiece(blob);
}

}  // namespace trireme
