#include "io/sentencepiece_tokenizer.h"

#include <sentencepiece_processor.h>
#include <sentencepiece_trainer.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <numeric>
#include <string>
#include <unordered_map>
#include <utility>

#include "io/utf8.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// SentencePiece's own sign for a space.
constexpr std::string_view space_sign = "\u2581";

class SentencePieceTokenizer final : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(TokenizerBlob blob) : blob_(std::move(blob)) {
    const auto status = processor_.LoadFromSerializedProto(blob_.model);
    if (!status.ok()) refuse("{} tokenizer: damaged model: {}", blob_.kind, status.ToString());
    blob_.vocabulary = processor_.GetPieceSize();
    blob_.end_of_text = processor_.eos_id();
    const int newline = processor_.PieceToId("\n");
    if (blob_.end_of_text < 0 || processor_.IsUnknown(newline)) {
      refuse("{} tokenizer: its model lacks an end of text or a newline", blob_.kind);
    }
    detours_.push_back({"\n", {newline}});
    detours_.push_back({space_sign, bytes_of(space_sign)});
    if (processor_.IsUnknown(processor_.PieceToId(space_sign))) detours_.push_back({" ", bytes_of(" ")});
  }

  std::vector<std::int32_t> encode(std::string_view text) const override {
    const std::size_t valid = valid_utf8_bytes(text);
    if (valid != text.size()) refuse("text to encode: byte {} is not UTF-8", valid);
    std::vector<std::int32_t> tokens;
    while (!text.empty()) {
      auto [end, detour] = next_detour(text);
      encode_part(text.substr(0, end), tokens);
      if (detour != nullptr) {
        tokens.insert(tokens.end(), detour->tokens.begin(), detour->tokens.end());
        end += detour->text.size();
      }
      text.remove_prefix(end);
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
  /// Text that goes round the library. No piece crosses a newline, so lines one by one give the same tokens in little
  /// memory. The space sign itself would come back as a space; so it is spelt in bytes, as is the space where training
  /// met none.
  struct Detour {
    std::string_view text;
    std::vector<int> tokens;
  };

  std::pair<std::size_t, const Detour*> next_detour(std::string_view text) const {
    constexpr std::string_view first_bytes = "\n \xE2";
    for (std::size_t at = text.find_first_of(first_bytes); at != std::string_view::npos;
         at = text.find_first_of(first_bytes, at + 1)) {
      for (const Detour& detour : detours_) {
        if (text.substr(at).starts_with(detour.text)) return {at, &detour};
      }
    }
    return {text.size(), nullptr};
  }

  std::vector<int> bytes_of(std::string_view text) const {
    std::vector<int> tokens;
    for (const char byte : text) {
      tokens.push_back(processor_.PieceToId(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte))));
      if (!processor_.IsByte(tokens.back())) refuse("{} tokenizer: its model lacks byte tokens", blob_.kind);
    }
    return tokens;
  }

  void encode_part(std::string_view part, std::vector<std::int32_t>& tokens) const {
    if (part.empty()) return;
    const auto status = processor_.Encode(part, &part_tokens_);
    if (!status.ok()) fail("SentencePiece cannot encode: {}", status.ToString());
    tokens.insert(tokens.end(), part_tokens_.begin(), part_tokens_.end());
  }

  TokenizerBlob blob_;
  sentencepiece::SentencePieceProcessor processor_;
  std::vector<Detour> detours_;
  mutable std::vector<int> part_tokens_;
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

/// Share of the text that its `most` commonest characters make up, within 0.98 (the least that SentencePiece takes) to
/// 0.9995: all but the rarest get their own piece, fewer in a small vocabulary. The rest are spelt in bytes.
double character_coverage(const std::vector<std::string_view>& documents, int most) {
  std::unordered_map<char32_t, std::int64_t> counts;
  for (std::string_view rest : documents) {
    while (!rest.empty()) {
      const CodePoint point = first_code_point(rest);
      if (point.value != U'\n') ++counts[point.value];
      rest.remove_prefix(point.bytes);
    }
  }
  std::vector<std::int64_t> ranked;
  for (const auto& [character, count] : counts) ranked.push_back(count);
  std::sort(ranked.begin(), ranked.end(), std::greater<>());
  const auto end = ranked.begin() + std::min<std::ptrdiff_t>(most, std::ssize(ranked));
  const auto all = static_cast<double>(std::accumulate(ranked.begin(), ranked.end(), std::int64_t{0}));
  return std::clamp(static_cast<double>(std::accumulate(ranked.begin(), end, std::int64_t{0})) / all, 0.98, 0.9995);
}

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece(const TokenizerBlob& blob) {
  return std::make_unique<SentencePieceTokenizer>(blob);
}

std::unique_ptr<Tokenizer> train_sentencepiece(std::string_view kind, int vocabulary,
                                               const std::vector<std::string_view>& documents) {
  const int room = vocabulary - least_sentencepiece_vocabulary + 1;  // at most three quarters of it for characters
  const std::unordered_map<std::string, std::string> options = {
      {"model_type", std::string(kind)},
      {"vocab_size", std::to_string(vocabulary)},
      {"character_coverage", fmt::format("{}", character_coverage(documents, std::max(room * 3 / 4, 1)))},
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
