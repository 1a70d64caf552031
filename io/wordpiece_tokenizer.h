// WordPiece vocabularies as BERT's for Chinese: every Han character is a token, words of other scripts are cut into the
// longest pieces that the vocabulary has (Devlin et al. 2019). Its model is UTF-8 text, a thing a line:
//
//   wordpiece 1
//   width fold|keep
//   script simplified|keep
//   pieces N
//   ... N lines: [PAD], [UNK], [CLS], [SEP], [MASK], and the pieces in the order of their tokens; a piece that goes on
//       within a word begins with ##
//   labels sequence|tokens M       only where a model is to give labels: what they are for
//   ... M lines: their names in the order of their numbers
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/chinese_text.h"
#include "io/tokenizer.h"

namespace trireme {

/// Labels that a model gives: one to a text, or one to each token.
struct LabelSet {
  enum class Kind { none, sequence, tokens };
  Kind kind = Kind::none;
  std::vector<std::string> names;
  bool operator==(const LabelSet&) const = default;
};

/// Begins pieces that go on with a word.
inline constexpr std::string_view wordpiece_continues = "##";

class WordpieceTokenizer final : public Tokenizer {
 public:
  static constexpr std::int32_t pad = 0, unknown = 1, classify = 2, separate = 3, mask = 4, specials = 5;
  static constexpr std::string_view kind = "wordpiece";

  /// A token with where it stands in the text.
  struct Piece {
    std::int32_t token = 0;
    std::size_t first = 0, bytes = 0;
    bool begins_word = true;
  };

  /// Refuses a damaged model.
  explicit WordpieceTokenizer(const std::string& model);
  /// Characters that occur, commonest first, in at most three quarters of the room, then the most useful pieces of
  /// words: pairs of pieces are joined as long as there is room, the commonest first (Sennrich et al. 2016).
  static std::unique_ptr<WordpieceTokenizer> train(int vocabulary, const std::vector<std::string_view>& documents,
                                                   const TextForm& form);

  /// White space and control characters parts words and is no token. The end of text is [SEP].
  std::vector<std::int32_t> encode(std::string_view text) const override;
  /// Words of scripts with spaces get one between them; other spaces are lost.
  std::string decode(std::span<const std::int32_t> tokens) const override;
  TokenizerBlob blob() const override;

  std::string normalize(std::string_view text) const { return normalizer_(text); }
  /// Of text that is normalised already.
  std::vector<Piece> pieces_of(std::string_view text) const;
  int vocabulary() const { return static_cast<int>(pieces_.size()); }
  const LabelSet& labels() const { return labels_; }
  /// The same tokens, for models that give these labels.
  std::unique_ptr<WordpieceTokenizer> with_labels(const LabelSet& labels) const;

 private:
  struct Model;
  static Model read_model(const std::string& text);
  explicit WordpieceTokenizer(Model model);
  /// Appends the pieces of one word, longest first; a character that no piece begins with is [UNK].
  void cut_word(std::string_view word, std::size_t first, std::vector<Piece>& pieces) const;

  TextNormalizer normalizer_;
  std::vector<std::string> pieces_;
  LabelSet labels_;
  struct Tokens;
  std::shared_ptr<const Tokens> tokens_;  ///< by piece
};

/// The labels that a model of this tokenizer gives.
LabelSet labels_of(const TokenizerBlob& blob);
/// Whether text becomes the same tokens: all the same, but for labels.
bool reads_alike(const TokenizerBlob& a, const TokenizerBlob& b);

}  // namespace trireme
