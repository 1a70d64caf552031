#include <optional>

#include "io/column.h"
#include "io/dataset.h"
#include "kernels/error.h"

namespace trireme {

struct TokenDatasetWriter::State {
  explicit State(const std::filesystem::path& path) : partial(path) {}

  PartialFile partial;
  const hdf5::Handle& file = partial.handle();
  int vocabulary = 0, end_of_text = 0;
  std::optional<Column<std::uint16_t>> narrow;  // one of the two holds the tokens
  std::optional<Column<std::uint32_t>> wide;
  Column<std::uint64_t> offsets{"documents"};
  Extras extras;
  Column<std::uint8_t> units{"units"};
  Column<std::int32_t> labels{"labels"};
  bool in_document = false;

  std::int64_t tokens() const { return narrow ? narrow->size() : wide->size(); }
};

TokenDatasetWriter::TokenDatasetWriter(const std::filesystem::path& file, const TokenizerBlob& tokenizer,
                                       const Extras& extras)
    : state_(std::make_unique<State>(file)) {
  if (tokenizer.vocabulary < 1 || tokenizer.end_of_text < 0 || tokenizer.end_of_text >= tokenizer.vocabulary) {
    fail("a data set of {} tokens with end of text {}", tokenizer.vocabulary, tokenizer.end_of_text);
  }
  state_->extras = extras;
  state_->vocabulary = tokenizer.vocabulary;
  state_->end_of_text = tokenizer.end_of_text;
  if (tokenizer.vocabulary <= 65536) {
    state_->narrow.emplace("tokens");
  } else {
    state_->wide.emplace("tokens");
  }
  hdf5::write_string(state_->file, "format", token_format);
  const bool plain = !extras.units && extras.labelled == LabelledBy::nothing;
  hdf5::write_number<std::int32_t>(state_->file, "version", plain ? 1 : token_format_version);
  const hdf5::Handle group = hdf5::create_group(state_->file, "tokenizer");
  hdf5::write_string(group, "kind", tokenizer.kind);
  hdf5::write_number<std::int32_t>(group, "vocabulary", tokenizer.vocabulary);
  hdf5::write_number<std::int32_t>(group, "end_of_text", tokenizer.end_of_text);
  hdf5::write_bytes(state_->file, "tokenizer/model", tokenizer.model);
  state_->offsets.push(state_->file, 0);
}

TokenDatasetWriter::~TokenDatasetWriter() = default;
std::int64_t TokenDatasetWriter::tokens() const { return state_->tokens(); }
std::int64_t TokenDatasetWriter::documents() const { return state_->offsets.size() - 1; }

void TokenDatasetWriter::append(std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) {
    if (token < 0 || token >= state_->vocabulary) fail("token {} of a vocabulary of {}", token, state_->vocabulary);
    if (state_->narrow) {
      state_->narrow->push(state_->file, static_cast<std::uint16_t>(token));
    } else {
      state_->wide->push(state_->file, static_cast<std::uint32_t>(token));
    }
  }
  state_->in_document = true;
}

void TokenDatasetWriter::append(std::span<const std::int32_t> tokens, std::span<const std::uint8_t> units,
                                std::span<const std::int32_t> labels) {
  const bool labels_tokens = state_->extras.labelled == LabelledBy::tokens;
  if ((state_->extras.units && units.size() != tokens.size()) || (labels_tokens && labels.size() != tokens.size()))
    fail("{} tokens with {} units and {} labels", tokens.size(), units.size(), labels.size());
  append(tokens);
  if (state_->extras.units)
    for (const std::uint8_t unit : units) state_->units.push(state_->file, unit);
  if (labels_tokens)
    for (const std::int32_t label : labels) state_->labels.push(state_->file, label);
}

void TokenDatasetWriter::end_document(std::int32_t label) {
  constexpr std::uint8_t unit = TokenUnit::begins;
  constexpr std::int32_t no_label = -1;
  append({&state_->end_of_text, 1}, {&unit, 1}, {&no_label, 1});
  if (state_->extras.labelled == LabelledBy::documents) state_->labels.push(state_->file, label);
  state_->offsets.push(state_->file, static_cast<std::uint64_t>(tokens()));
  state_->in_document = false;
}

void TokenDatasetWriter::commit() {
  if (state_->in_document) end_document();
  if (state_->narrow) {
    state_->narrow->finish(state_->file);
  } else {
    state_->wide->finish(state_->file);
  }
  state_->offsets.finish(state_->file);
  if (state_->extras.units) state_->units.finish(state_->file);
  if (state_->extras.labelled != LabelledBy::nothing) {
    state_->labels.finish(state_->file);
    hdf5::write_string(hdf5::open_object(state_->file, "labels"), "of",
                       state_->extras.labelled == LabelledBy::tokens ? "tokens" : "documents");
  }
  state_->partial.commit();
}

}  // namespace trireme
