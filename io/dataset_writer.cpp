#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "io/dataset.h"
#include "io/hdf5.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// A data set of one axis that grows. What never fills a chunk is stored contiguously.
template <typename T>
class Column {
 public:
  explicit Column(std::string path) : path_(std::move(path)) {}

  void push(const hdf5::Handle& file, T value) {
    pending_.push_back(value);
    if (pending_.size() == chunk) write(file, true);
  }

  void finish(const hdf5::Handle& file) {
    if (!created_ || !pending_.empty()) write(file, false);
    dataset_ = {};
  }

  std::int64_t size() const { return written_ + static_cast<std::int64_t>(pending_.size()); }

 private:
  static constexpr std::size_t chunk = (std::size_t{2} << 20) / sizeof(T);  // twice HDF5's chunk cache

  void write(const hdf5::Handle& file, bool growing) {
    const auto count = static_cast<std::int64_t>(pending_.size());
    if (created_) {
      hdf5::resize(dataset_, {written_ + count});
    } else {
      dataset_ = hdf5::create_dataset<T>(file, path_, {count}, growing ? static_cast<std::int64_t>(chunk) : 0);
      created_ = true;
    }
    hdf5::write(dataset_, {written_}, {count}, pending_.data());
    written_ += count;
    pending_.clear();
  }

  std::string path_;
  hdf5::Handle dataset_;
  bool created_ = false;
  std::vector<T> pending_;
  std::int64_t written_ = 0;
};

void write_to_disk(const std::filesystem::path& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool done = descriptor >= 0 && ::fsync(descriptor) == 0;
  const int reason = errno;
  if (descriptor >= 0) ::close(descriptor);
  if (!done) fail("{}: cannot be written to disk: {}", path.string(), std::strerror(reason));
}

std::filesystem::path partial(std::filesystem::path file) { return file += ".partial"; }

}  // namespace

struct TokenDatasetWriter::State {
  std::filesystem::path path;
  hdf5::Handle file;
  int vocabulary = 0, end_of_text = 0;
  std::optional<Column<std::uint16_t>> narrow;  // one of the two holds the tokens
  std::optional<Column<std::uint32_t>> wide;
  Column<std::uint64_t> offsets{"documents"};
  Extras extras;
  Column<std::uint8_t> units{"units"};
  Column<std::int32_t> labels{"labels"};
  bool in_document = false;
  bool committed = false;

  std::int64_t tokens() const { return narrow ? narrow->size() : wide->size(); }
};

TokenDatasetWriter::TokenDatasetWriter(const std::filesystem::path& file, const TokenizerBlob& tokenizer,
                                       const Extras& extras)
    : state_(std::make_unique<State>()) {
  if (tokenizer.vocabulary < 1 || tokenizer.end_of_text < 0 || tokenizer.end_of_text >= tokenizer.vocabulary) {
    fail("a data set of {} tokens with end of text {}", tokenizer.vocabulary, tokenizer.end_of_text);
  }
  state_->path = file;
  state_->extras = extras;
  state_->vocabulary = tokenizer.vocabulary;
  state_->end_of_text = tokenizer.end_of_text;
  if (tokenizer.vocabulary <= 65536) {
    state_->narrow.emplace("tokens");
  } else {
    state_->wide.emplace("tokens");
  }
  state_->file = hdf5::create_file(partial(file));
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

TokenDatasetWriter::~TokenDatasetWriter() {
  if (state_->committed) return;
  state_->file = {};
  std::error_code ignored;
  std::filesystem::remove(partial(state_->path), ignored);
}

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
  state_->file.close();
  write_to_disk(partial(state_->path));
  std::filesystem::rename(partial(state_->path), state_->path);
  state_->committed = true;
  write_to_disk(state_->path.has_parent_path() ? state_->path.parent_path() : ".");
}

}  // namespace trireme
