#include "io/pack_labels.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>

#include "io/checkpoint/checkpoint.h"
#include "io/text_reader.h"
#include "io/wordpiece_tokenizer.h"
#include "kernels/error.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t longest_line = std::size_t{1} << 20;

std::vector<std::string_view> split(std::string_view text, std::string_view separators) {
  std::vector<std::string_view> parts;
  while (true) {
    const auto end = text.find_first_of(separators);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

/// Calls visit(line without its end, where) for all lines.
template <typename Visit>
void for_lines(const PackLabelsOptions& options, const fs::path& file, const Visit& visit) {
  TextReader reader(file, options.encoding, longest_line);
  std::size_t number = 0;
  for (std::string_view line = reader.next_line(); !line.empty(); line = reader.next_line()) {
    ++number;
    if (line.ends_with('\n')) line.remove_suffix(1);
    visit(line, fmt::format("{}:{}", file.string(), number));
  }
}

struct Labelled {
  std::string_view label, text;
  std::string_view other;  ///< or empty
};

/// LABEL<TAB>TEXT[<TAB>OTHER], with nothing missing.
Labelled text_of(std::string_view line, const std::string& where) {
  const auto fields = split(line, "\t");
  if (fields.size() < 2 || fields.size() > 3 || fields[0].empty())
    refuse("{}: found '{}', expected LABEL<TAB>TEXT or LABEL<TAB>TEXT<TAB>TEXT: the label is missing", where,
           line.substr(0, 60));
  if (fields[1].empty() || fields.back().empty()) refuse("{}: the text is missing", where);
  return {fields[0], fields[1], fields.size() == 3 ? fields[2] : std::string_view{}};
}

/// TOKEN<TAB>LABEL.
Labelled token_of(std::string_view line, const std::string& where) {
  const auto end = line.find_last_of(" \t");
  if (end == std::string_view::npos || end == 0 || end + 1 == line.size())
    refuse("{}: found '{}', expected TOKEN<TAB>LABEL: the label is missing", where, line.substr(0, 60));
  return {line.substr(end + 1), line.substr(0, end), {}};
}

class LabelPacker {
 public:
  explicit LabelPacker(const PackLabelsOptions& options)
      : options_(options), of_tokens_(options.of == "tokens"), before_(read_tokenizer(options.tokenizer_from)) {
    if (before_.kind != WordpieceTokenizer::kind)
      refuse("tokenizer-from: {} has a {} tokenizer, expected a wordpiece one", options.tokenizer_from.string(),
             before_.kind);
    set_.kind = of_tokens_ ? LabelSet::Kind::tokens : LabelSet::Kind::sequence;
    set_.names = names();
    for (std::size_t i = 0; i < set_.names.size(); ++i) number_[set_.names[i]] = static_cast<std::int32_t>(i);
    if (number_.size() != set_.names.size()) refuse("labels: found '{}', expected each name once", options.labels);
    tokenizer_ = WordpieceTokenizer(before_.model).with_labels(set_);
  }

  PackLabelsResult pack() {
    TokenDatasetWriter writer(options_.output, tokenizer_->blob(),
                              {.labelled = of_tokens_ ? LabelledBy::tokens : LabelledBy::documents});
    for (const std::string& name : set_.names) result_.labels.emplace_back(name, 0);
    for (const fs::path& file : options_.inputs) of_tokens_ ? pack_tokens(file, writer) : pack_texts(file, writer);
    if (writer.documents() == 0) refuse("{}: there are no texts in the input", options_.inputs.front().string());
    result_.texts = writer.documents();
    result_.tokens = writer.tokens();
    writer.commit();
    return result_;
  }

 private:
  std::vector<std::string> names() const {
    if (!options_.labels.empty()) {
      const auto given = split(options_.labels, ",");
      if (std::ranges::any_of(given, &std::string_view::empty))
        refuse("labels: found '{}', expected names with commas between them", options_.labels);
      return {given.begin(), given.end()};
    }
    if (const LabelSet known = labels_of(before_); known.kind == set_.kind) return known.names;
    std::set<std::string> found;
    for (const fs::path& file : options_.inputs)
      for_lines(options_, file, [&](std::string_view line, const std::string& where) {
        if (of_tokens_ && line.empty()) return;
        found.emplace((of_tokens_ ? token_of(line, where) : text_of(line, where)).label);
      });
    if (found.empty()) refuse("{}: there are no labels in the input", options_.inputs.front().string());
    return {found.begin(), found.end()};
  }

  std::int32_t number_of(std::string_view label, const std::string& where) {
    const auto found = number_.find(label);
    if (found == number_.end())
      refuse("{}: found the label '{}', expected one of: {}", where, label, fmt::join(set_.names, ", "));
    ++result_.labels[static_cast<std::size_t>(found->second)].second;
    return found->second;
  }

  std::vector<std::int32_t> encode(std::string_view text, const std::string& where) const {
    std::vector<std::int32_t> tokens = tokenizer_->encode(text);
    if (tokens.empty()) refuse("{}: the text is only white space", where);
    return tokens;
  }

  void count(std::size_t tokens) { result_.longest = std::max(result_.longest, static_cast<std::int64_t>(tokens)); }

  void pack_texts(const fs::path& file, TokenDatasetWriter& writer) {
    for_lines(options_, file, [&](std::string_view line, const std::string& where) {
      const auto [label, text, other] = text_of(line, where);
      std::vector<std::int32_t> tokens = encode(text, where);
      if (!other.empty()) {
        const std::vector<std::int32_t> second = encode(other, where);
        tokens.push_back(WordpieceTokenizer::separate);
        tokens.insert(tokens.end(), second.begin(), second.end());
      }
      count(tokens.size());
      writer.append(tokens);
      writer.end_document(number_of(label, where));
    });
  }

  void pack_tokens(const fs::path& file, TokenDatasetWriter& writer) {
    std::size_t in_text = 0;
    const auto end_text = [&] {
      count(in_text);
      if (in_text > 0) writer.end_document();
      in_text = 0;
    };
    for_lines(options_, file, [&](std::string_view line, const std::string& where) {
      if (line.empty()) return end_text();
      const auto [label, token, none] = token_of(line, where);
      const std::vector<std::int32_t> tokens = encode(token, where);
      std::vector<std::int32_t> labels(tokens.size(), -1);
      labels.front() = number_of(label, where);
      writer.append(tokens, {}, labels);
      in_text += tokens.size();
    });
    end_text();
  }

  const PackLabelsOptions& options_;
  bool of_tokens_;
  TokenizerBlob before_;
  LabelSet set_;
  std::map<std::string, std::int32_t, std::less<>> number_;
  std::unique_ptr<WordpieceTokenizer> tokenizer_;
  PackLabelsResult result_;
};

}  // namespace

TokenizerBlob read_tokenizer(const fs::path& from) {
  if (from.empty()) refuse("tokenizer-from: found nothing, expected a data set or a checkpoint");
  if (!fs::exists(from)) refuse("tokenizer-from: {}: no such file or folder", from.string());
  if (!fs::is_directory(from)) return TokenDataset({from}).tokenizer();
  const CheckpointReader reader(newest_checkpoint(from, "tokenizer-from"));
  const CheckpointInfo& info = reader.info();
  return {info.tokenizer_kind, info.tokenizer_vocabulary, info.tokenizer_end_of_text, info.tokenizer_model};
}

PackLabelsResult pack_labels(const PackLabelsOptions& options) {
  if (options.inputs.empty()) refuse("input: none given, expected files with labels");
  if (options.output.empty()) refuse("output: none given, expected the data set to write");
  if (options.of != "texts" && options.of != "tokens") refuse("of: found '{}', expected texts or tokens", options.of);
  for (const fs::path& file : options.inputs)
    if (!fs::exists(file)) refuse("{}: no such file", file.string());
  return LabelPacker(options).pack();
}

}  // namespace trireme
