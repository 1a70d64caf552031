#include "io/dataset.h"

#include <algorithm>
#include <utility>

#include "io/hdf5.h"
#include "io/packed_file.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
namespace {

struct TokenFile {
  std::filesystem::path path;
  hdf5::Handle file, tokens, offsets, units, labels;
  std::int64_t first = 0;  ///< of its tokens, in the whole set
  std::int64_t count = 0;
  std::int64_t first_document = 0;  ///< in the whole set
  std::int64_t documents = 0;
  LabelledBy labelled = LabelledBy::nothing;
  TokenizerBlob tokenizer;
};

TokenizerBlob read_tokenizer(const TokenFile& file) {
  const hdf5::Handle group = hdf5::open_object(file.file, "tokenizer");
  TokenizerBlob blob;
  blob.kind = hdf5::read_string(group, "kind");
  blob.vocabulary = hdf5::read_number<std::int32_t>(group, "vocabulary");
  blob.end_of_text = hdf5::read_number<std::int32_t>(group, "end_of_text");
  if (blob.vocabulary < 1 || blob.end_of_text < 0 || blob.end_of_text >= blob.vocabulary) {
    refuse("{}: tokenizer of {} tokens with end of text {}", file.path.string(), blob.vocabulary, blob.end_of_text);
  }
  blob.model = hdf5::read_bytes(file.file, "tokenizer/model");
  return blob;
}

void check_documents(TokenFile& file) {
  hdf5::Handle documents = hdf5::open_object(file.file, "documents");
  const Shape offsets = hdf5::stored_shape_of(documents);
  if (offsets.rank() != 1 || offsets[0] < 1 || !hdf5::has_type(documents, H5T_INTEGER, 8)) {
    refuse("{}: /documents should be uint64 [documents + 1]", file.path.string());
  }
  file.documents = offsets[0] - 1;
  std::uint64_t end = 0;
  hdf5::read(documents, {file.documents}, {1}, &end);
  if (end != static_cast<std::uint64_t>(file.count)) {
    refuse("{}: truncated or damaged: it holds {} tokens, but its documents end at {}", file.path.string(), file.count,
           end);
  }
  file.offsets = std::move(documents);
}

/// What version 2 may have beside the tokens.
void check_extras(TokenFile& file) {
  const std::string path = file.path.string();
  if (hdf5::exists(file.file, "units")) {
    file.units = hdf5::open_object(file.file, "units");
    if (const Shape shape = hdf5::stored_shape_of(file.units);
        shape.rank() != 1 || shape[0] != file.count || !hdf5::has_type(file.units, H5T_INTEGER, 1))
      refuse("{}: /units should be uint8 [{}]", path, file.count);
  }
  if (!hdf5::exists(file.file, "labels")) return;
  file.labels = hdf5::open_object(file.file, "labels");
  const std::string of = hdf5::read_string(file.labels, "of");
  if (of != "documents" && of != "tokens") refuse("{}: /labels of '{}', expected documents or tokens", path, of);
  file.labelled = of == "tokens" ? LabelledBy::tokens : LabelledBy::documents;
  const std::int64_t expected = of == "tokens" ? file.count : file.documents;
  if (const Shape shape = hdf5::stored_shape_of(file.labels);
      shape.rank() != 1 || shape[0] != expected || !hdf5::has_type(file.labels, H5T_INTEGER, 4))
    refuse("{}: /labels should be int32 [{}]", path, expected);
}

TokenFile open_token_file(const std::filesystem::path& path) {
  TokenFile file;
  file.path = path;
  file.file = hdf5::open_file(path);
  try {
    expect_format(file.file, path, {token_format, "tokens", "text", 1, token_format_version});
    file.tokenizer = read_tokenizer(file);
    file.tokens = hdf5::open_object(file.file, "tokens");
    const Shape tokens = hdf5::stored_shape_of(file.tokens);
    if (tokens.rank() != 1 ||
        !(hdf5::has_type(file.tokens, H5T_INTEGER, 2) || hdf5::has_type(file.tokens, H5T_INTEGER, 4))) {
      refuse("{}: /tokens should be uint16 or uint32 [tokens]", path.string());
    }
    file.count = tokens[0];
    check_documents(file);
    check_extras(file);
  } catch (const Error& error) {
    if (error.status() == ExitStatus::invalid_input) throw;
    refuse("{}: damaged: {}", path.string(), error.what());
  }
  return file;
}

bool same_tokenizer(const TokenizerBlob& a, const TokenizerBlob& b) {
  return a.kind == b.kind && a.vocabulary == b.vocabulary && a.end_of_text == b.end_of_text && a.model == b.model;
}

}  // namespace

struct TokenDataset::State {
  std::vector<TokenFile> files;
  std::int64_t tokens = 0, documents = 0;
  bool units = true;

  /// The number of the file that holds something of the whole set, where `first` says where each file's begin.
  std::size_t file_of(std::int64_t position, std::int64_t TokenFile::*first) const {
    const auto after = std::upper_bound(files.begin(), files.end(), position,
                                        [first](std::int64_t at, const TokenFile& file) { return at < file.*first; });
    return static_cast<std::size_t>(after - files.begin() - 1);
  }
  template <typename T>
  void read(std::int64_t position, std::span<T> out, hdf5::Handle TokenFile::*column, std::int64_t TokenFile::*begin,
            std::int64_t TokenFile::*count) const {
    for (std::size_t number = file_of(position, begin); !out.empty(); ++number) {
      const TokenFile& from = files.at(number);
      const std::int64_t offset = position - from.*begin;
      const auto part = out.first(static_cast<std::size_t>(
          std::min<std::int64_t>(from.*count - offset, static_cast<std::int64_t>(out.size()))));
      hdf5::read(from.*column, {offset}, {static_cast<std::int64_t>(part.size())}, part.data());
      position += static_cast<std::int64_t>(part.size());
      out = out.subspan(part.size());
    }
  }
};

TokenDataset::TokenDataset(const std::vector<std::filesystem::path>& files) : state_(std::make_unique<State>()) {
  if (files.empty()) refuse("a data set of no files");
  for (const auto& path : files) {
    const Activity activity("opening", path.native());
    TokenFile file = open_token_file(path);
    if (!state_->files.empty()) {
      const TokenFile& model = state_->files.front();
      if (!same_tokenizer(file.tokenizer, model.tokenizer)) {
        refuse("{}: its tokenizer ({}, vocabulary {}) is not that of {} ({}, vocabulary {}); pack them together",
               path.string(), file.tokenizer.kind, file.tokenizer.vocabulary, model.path.string(), model.tokenizer.kind,
               model.tokenizer.vocabulary);
      }
      file.tokenizer.model.clear();  // one copy will do
      if (file.labelled != model.labelled)
        refuse("{}: its labels are not of what those of {} are of; pack them alike", path.string(),
               model.path.string());
    }
    file.first = state_->tokens;
    file.first_document = state_->documents;
    state_->units = state_->units && file.units.get() >= 0;
    state_->tokens += file.count;
    state_->documents += file.documents;
    state_->files.push_back(std::move(file));
  }
}

TokenDataset::~TokenDataset() = default;
std::int64_t TokenDataset::tokens() const { return state_->tokens; }
std::int64_t TokenDataset::documents() const { return state_->documents; }
const TokenizerBlob& TokenDataset::tokenizer() const { return state_->files.front().tokenizer; }

std::string TokenDataset::name() const {
  const std::string first = state_->files.front().path.string();
  return state_->files.size() == 1 ? first : fmt::format("{} and {} more", first, state_->files.size() - 1);
}

void TokenDataset::read(std::int64_t first, std::span<std::int32_t> out) {
  if (first < 0 || first + static_cast<std::int64_t>(out.size()) > state_->tokens) {
    fail("{}: tokens [{}, {}) of {}", name(), first, first + static_cast<std::int64_t>(out.size()), state_->tokens);
  }
  const auto vocabulary = static_cast<std::uint32_t>(tokenizer().vocabulary);
  for (std::size_t file = state_->file_of(first, &TokenFile::first); !out.empty(); ++file) {
    const TokenFile& from = state_->files[file];
    const std::int64_t offset = first - from.first;
    const Activity activity("reading token", from.path.native(), offset);
    const std::int64_t count = std::min<std::int64_t>(from.count - offset, static_cast<std::int64_t>(out.size()));
    const auto part = out.first(static_cast<std::size_t>(count));
    hdf5::read(from.tokens, {offset}, {count}, part.data());
    for (std::size_t i = 0; i < part.size(); ++i) {
      if (static_cast<std::uint32_t>(part[i]) >= vocabulary) {
        refuse("{}: damaged: token {} at position {} is beyond the vocabulary of {}", from.path.string(), part[i],
               offset + static_cast<std::int64_t>(i), vocabulary);
      }
    }
    first += count;
    out = out.subspan(part.size());
  }
}

bool TokenDataset::has_units() const { return state_->units; }
LabelledBy TokenDataset::labelled_by() const { return state_->files.front().labelled; }

void TokenDataset::read_units(std::int64_t first, std::span<std::uint8_t> out) {
  if (!has_units()) fail("{}: has no units", name());
  state_->read(first, out, &TokenFile::units, &TokenFile::first, &TokenFile::count);
}

void TokenDataset::read_labels(std::int64_t first, std::span<std::int32_t> out) {
  if (labelled_by() == LabelledBy::tokens) {
    state_->read(first, out, &TokenFile::labels, &TokenFile::first, &TokenFile::count);
  } else {
    if (labelled_by() == LabelledBy::nothing) fail("{}: has no labels", name());
    state_->read(first, out, &TokenFile::labels, &TokenFile::first_document, &TokenFile::documents);
  }
}

TokenDataset::Extent TokenDataset::document(std::int64_t number) {
  const TokenFile& file = state_->files.at(state_->file_of(number, &TokenFile::first_document));
  std::uint64_t ends[2] = {};
  hdf5::read(file.offsets, {number - file.first_document}, {2}, ends);
  const auto first = static_cast<std::int64_t>(ends[0]);
  const auto end = static_cast<std::int64_t>(ends[1]);
  if (first < 0 || end <= first || end > file.count)
    refuse("{}: damaged: document {} has tokens {} to {} of {}", file.path.string(), number - file.first_document,
           first, end, file.count);
  return {file.first + first, end - first};
}

}  // namespace trireme
