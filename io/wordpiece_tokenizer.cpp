#include "io/wordpiece_tokenizer.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "io/utf8.h"
#include "io/wordpiece_training.h"
#include "kernels/error.h"

namespace trireme {
namespace {

constexpr std::array<std::string_view, WordpieceTokenizer::specials> special_names = {"[PAD]", "[UNK]", "[CLS]",
                                                                                      "[SEP]", "[MASK]"};
constexpr std::size_t longest_word = 200;  ///< bytes; what is longer is cut there

/// Reads a model's lines.
class ModelReader {
 public:
  explicit ModelReader(const std::string& model) : lines_(model) {}

  /// The rest of a line that begins with `key`; empty where the model is at its end.
  std::string value(std::string_view key) {
    std::string line;
    if (!std::getline(lines_, line)) return {};
    if (!line.starts_with(key)) damaged();
    return line.substr(key.size());
  }
  std::vector<std::string> list(std::string_view count) {
    std::size_t number = 0;
    const auto read = std::from_chars(count.data(), count.data() + count.size(), number);
    if (read.ec != std::errc{} || read.ptr != count.data() + count.size()) damaged();
    std::vector<std::string> entries;
    for (std::string line; entries.size() < number;) {
      if (!std::getline(lines_, line) || line.empty() || valid_utf8_bytes(line) != line.size()) damaged();
      entries.push_back(line);
    }
    return entries;
  }
  [[noreturn]] static void damaged() { refuse("wordpiece tokenizer: damaged model"); }

 private:
  std::istringstream lines_;
};

}  // namespace

struct WordpieceTokenizer::Model {
  TextForm form;
  std::vector<std::string> pieces;
  LabelSet labels;
};

WordpieceTokenizer::Model WordpieceTokenizer::read_model(const std::string& text) {
  ModelReader reader(text);
  Model model;
  if (reader.value("wordpiece ") != "1") ModelReader::damaged();
  const std::string width = reader.value("width ");
  const std::string script = reader.value("script ");
  if ((width != "fold" && width != "keep") || (script != "simplified" && script != "keep")) ModelReader::damaged();
  model.form = {.fold_width = width == "fold", .simplify = script == "simplified"};
  model.pieces = reader.list(reader.value("pieces "));
  if (model.pieces.size() < special_names.size() ||
      !std::equal(special_names.begin(), special_names.end(), model.pieces.begin()))
    ModelReader::damaged();
  const std::string labels = reader.value("labels ");
  if (labels.empty()) return model;
  const auto space = std::min(labels.find(' '), labels.size());
  const std::string of = labels.substr(0, space);
  if (of != "sequence" && of != "tokens") ModelReader::damaged();
  model.labels.kind = of == "sequence" ? LabelSet::Kind::sequence : LabelSet::Kind::tokens;
  model.labels.names = reader.list(std::string_view(labels).substr(std::min(space + 1, labels.size())));
  if (model.labels.names.empty()) ModelReader::damaged();
  return model;
}

struct WordpieceTokenizer::Tokens {
  // The words' beginnings, and what goes on within them without its mark.
  std::unordered_map<std::string_view, std::int32_t> first, next;
};

WordpieceTokenizer::WordpieceTokenizer(Model model)
    : normalizer_(model.form), pieces_(std::move(model.pieces)), labels_(std::move(model.labels)) {
  auto tokens = std::make_shared<Tokens>();
  for (std::size_t i = specials; i < pieces_.size(); ++i) {
    const std::string_view piece = pieces_[i];
    const bool goes_on = piece.size() > wordpiece_continues.size() && piece.starts_with(wordpiece_continues);
    const bool is_new =
        goes_on ? tokens->next.emplace(piece.substr(wordpiece_continues.size()), static_cast<std::int32_t>(i)).second
                : tokens->first.emplace(piece, static_cast<std::int32_t>(i)).second;
    if (!is_new) refuse("wordpiece tokenizer: damaged model: it has '{}' twice", piece);
  }
  tokens_ = std::move(tokens);
}

WordpieceTokenizer::WordpieceTokenizer(const std::string& model) : WordpieceTokenizer(read_model(model)) {}

std::unique_ptr<WordpieceTokenizer> WordpieceTokenizer::train(int vocabulary,
                                                              const std::vector<std::string_view>& documents,
                                                              const TextForm& form) {
  const TextNormalizer normalizer(form);
  WordpieceTrainer trainer;
  for (const std::string_view document : documents) trainer.add(normalizer(document));
  std::vector<std::string> pieces(special_names.begin(), special_names.end());
  for (std::string& piece : trainer.pieces(vocabulary - specials)) pieces.push_back(std::move(piece));
  return std::unique_ptr<WordpieceTokenizer>(new WordpieceTokenizer(Model{form, std::move(pieces), {}}));
}

std::unique_ptr<WordpieceTokenizer> WordpieceTokenizer::with_labels(const LabelSet& labels) const {
  return std::unique_ptr<WordpieceTokenizer>(new WordpieceTokenizer(Model{normalizer_.form(), pieces_, labels}));
}

TokenizerBlob WordpieceTokenizer::blob() const {
  const TextForm& form = normalizer_.form();
  std::string model = fmt::format("wordpiece 1\nwidth {}\nscript {}\npieces {}\n", form.fold_width ? "fold" : "keep",
                                  form.simplify ? "simplified" : "keep", pieces_.size());
  for (const std::string& piece : pieces_) model += piece + "\n";
  if (labels_.kind != LabelSet::Kind::none) {
    model += fmt::format("labels {} {}\n", labels_.kind == LabelSet::Kind::sequence ? "sequence" : "tokens",
                         labels_.names.size());
    for (const std::string& name : labels_.names) model += name + "\n";
  }
  return {std::string(kind), vocabulary(), separate, std::move(model)};
}

void WordpieceTokenizer::cut_word(std::string_view word, std::size_t first, std::vector<Piece>& pieces) const {
  bool begins = true;
  while (!word.empty()) {
    const auto& known = begins ? tokens_->first : tokens_->next;
    std::size_t bytes = std::min(word.size(), longest_word);
    std::int32_t token = unknown;
    for (; bytes > 0; --bytes) {
      const auto found = known.find(word.substr(0, bytes));
      if (found == known.end()) continue;
      token = found->second;
      break;
    }
    if (bytes == 0) bytes = first_code_point(word).bytes;
    pieces.push_back({token, first, bytes, begins});
    first += bytes;
    word.remove_prefix(bytes);
    begins = false;
  }
}

std::vector<WordpieceTokenizer::Piece> WordpieceTokenizer::pieces_of(std::string_view text) const {
  std::vector<Piece> pieces;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = word_bytes(text.substr(at));
    if (!is_space(first_code_point(text.substr(at)).value)) cut_word(text.substr(at, bytes), at, pieces);
    at += bytes;
  }
  return pieces;
}

std::vector<std::int32_t> WordpieceTokenizer::encode(std::string_view text) const {
  const std::size_t valid = valid_utf8_bytes(text);
  if (valid != text.size()) refuse("text to encode: byte {} is not UTF-8", valid);
  std::vector<std::int32_t> tokens;
  for (const Piece& piece : pieces_of(normalize(text))) tokens.push_back(piece.token);
  return tokens;
}

std::string WordpieceTokenizer::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  bool after_word = false;
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= vocabulary()) fail("token {} of a vocabulary of {}", token, vocabulary());
    if (token == pad || token == classify || token == separate) continue;
    const std::string_view piece =
        token == unknown ? std::string_view("\uFFFD") : pieces_[static_cast<std::size_t>(token)];
    const bool goes_on = tokens_->next.contains(piece.substr(std::min(piece.size(), wordpiece_continues.size()))) &&
                         piece.starts_with(wordpiece_continues);
    const bool is_word = token >= specials && (goes_on || is_word_character(first_code_point(piece).value));
    if (is_word && after_word && !goes_on) text += ' ';
    text += goes_on ? piece.substr(wordpiece_continues.size()) : piece;
    after_word = is_word;
  }
  return text;
}

LabelSet labels_of(const TokenizerBlob& blob) {
  return blob.kind == WordpieceTokenizer::kind ? WordpieceTokenizer(blob.model).labels() : LabelSet{};
}

bool reads_alike(const TokenizerBlob& a, const TokenizerBlob& b) {
  if (a.kind != b.kind || a.kind != WordpieceTokenizer::kind) return a.kind == b.kind && a.model == b.model;
  const auto without_labels = [](const TokenizerBlob& blob) {
    return WordpieceTokenizer(blob.model).with_labels({})->blob().model;
  };
  return without_labels(a) == without_labels(b);
}

}  // namespace trireme
