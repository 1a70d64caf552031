#include "io/lines/line_dataset.h"

#include <algorithm>

#include "io/hdf5.h"
#include "io/lines/key_set.h"
#include "io/packed_file.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
namespace {

struct LineFile {
  std::filesystem::path path;
  hdf5::Handle file, pixels, labels;
  int height = 0;
  TokenizerBlob tokenizer;
  std::vector<std::uint64_t> ends, label_ends;
  std::int64_t first = 0;  ///< of its lines, in the whole set
  std::int64_t lines() const { return static_cast<std::int64_t>(ends.size()) - 1; }
};

/// Opens a column of numbers of `bytes` bytes; returns its length.
std::int64_t open_column(LineFile& file, const std::string& name, std::size_t bytes, hdf5::Handle& column) {
  column = hdf5::open_object(file.file, name);
  const Shape shape = hdf5::stored_shape_of(column);
  if (shape.rank() != 1 || !hdf5::has_type(column, H5T_INTEGER, bytes))
    refuse("{}: /{} should be one axis of unsigned numbers of {} bytes", file.path.string(), name, bytes);
  return shape[0];
}

/// Offsets that go up from 0 to `total`, in steps of a multiple of `unit`, at most `longest`.
std::vector<std::uint64_t> read_ends(LineFile& file, const std::string& name, std::int64_t total, std::uint64_t unit,
                                     std::uint64_t longest) {
  hdf5::Handle column;
  const std::int64_t count = open_column(file, name, 8, column);
  std::vector<std::uint64_t> ends(static_cast<std::size_t>(count));
  hdf5::read(column, {0}, {count}, ends.data());
  bool good = !ends.empty() && ends.front() == 0 && ends.back() == static_cast<std::uint64_t>(total);
  for (std::size_t i = 1; good && i < ends.size(); ++i) {
    const std::uint64_t step = ends[i] - ends[i - 1];
    good = ends[i] >= ends[i - 1] && step % unit == 0 && step <= longest;
  }
  if (!good) refuse("{}: truncated or damaged: /{} does not fit what it divides", file.path.string(), name);
  return ends;
}

void read_line_contents(LineFile& file) {
  expect_format(file.file, file.path, {line_format, "text lines", "ocr", line_format_version, line_format_version});
  file.height = hdf5::read_number<std::int32_t>(file.file, "height");
  if (file.height < 1 || file.height > 4096)
    refuse("{}: damaged: lines of {} pixels height", file.path.string(), file.height);
  const hdf5::Handle group = hdf5::open_object(file.file, "tokenizer");
  file.tokenizer = {.kind = hdf5::read_string(group, "kind"),
                    .vocabulary = hdf5::read_number<std::int32_t>(group, "vocabulary"),
                    .end_of_text = hdf5::read_number<std::int32_t>(group, "end_of_text"),
                    .model = hdf5::read_bytes(file.file, "tokenizer/model")};
  const KeySet check(file.tokenizer);
  constexpr std::uint64_t longest = 65535;  // of a width and of a text
  const std::int64_t bytes = open_column(file, "pixels", 1, file.pixels);
  const auto height = static_cast<std::uint64_t>(file.height);
  file.ends = read_ends(file, "ends", bytes, height, longest * height);
  const std::int64_t labels = open_column(file, "labels", 4, file.labels);
  file.label_ends = read_ends(file, "label_ends", labels, 1, longest);
  if (file.ends.size() != file.label_ends.size() || file.lines() < 1)
    refuse("{}: damaged: {} images and {} texts, expected as many of both, and one at least", file.path.string(),
           file.lines(), file.label_ends.size() - 1);
}

LineFile open_line_file(const std::filesystem::path& path) {
  LineFile file{.path = path, .file = hdf5::open_file(path)};
  try {
    read_line_contents(file);
  } catch (const Error& error) {
    if (error.status() == ExitStatus::invalid_input) throw;
    refuse("{}: damaged: {}", path.string(), error.what());
  }
  return file;
}

}  // namespace

struct LineDataset::State {
  std::vector<LineFile> files;
  std::int64_t lines = 0;
};

LineDataset::LineDataset(const std::vector<std::filesystem::path>& files) : state_(std::make_unique<State>()) {
  if (files.empty()) refuse("a data set of no files");
  for (const auto& path : files) {
    const Activity activity("opening", path.native());
    LineFile file = open_line_file(path);
    if (!state_->files.empty()) {
      const LineFile& model = state_->files.front();
      if (file.tokenizer.model != model.tokenizer.model || file.height != model.height)
        refuse("{}: lines of {} pixels with {} classes, those of {} have {} and {}: pack them with one key set",
               path.string(), file.height, file.tokenizer.vocabulary, model.path.string(), model.height,
               model.tokenizer.vocabulary);
    }
    file.first = state_->lines;
    state_->lines += file.lines();
    state_->files.push_back(std::move(file));
  }
}

LineDataset::~LineDataset() = default;
std::int64_t LineDataset::lines() const { return state_->lines; }
int LineDataset::height() const { return state_->files.front().height; }
const TokenizerBlob& LineDataset::tokenizer() const { return state_->files.front().tokenizer; }

int LineDataset::width(std::int64_t line) const {
  const LineFile& file = file_of(state_->files, line);
  const auto at = static_cast<std::size_t>(line - file.first);
  return static_cast<int>((file.ends[at + 1] - file.ends[at]) / static_cast<std::uint64_t>(file.height));
}

int LineDataset::labels(std::int64_t line) const {
  const LineFile& file = file_of(state_->files, line);
  const auto at = static_cast<std::size_t>(line - file.first);
  return static_cast<int>(file.label_ends[at + 1] - file.label_ends[at]);
}

std::string LineDataset::name() const {
  const std::string first = state_->files.front().path.string();
  return state_->files.size() == 1 ? first : fmt::format("{} and {} more", first, state_->files.size() - 1);
}

void LineDataset::read(std::int64_t line, Line& out) {
  if (line < 0 || line >= state_->lines) fail("{}: line {} of {}", name(), line, state_->lines);
  const LineFile& file = file_of(state_->files, line);
  const Activity activity("reading line", file.path.native(), line - file.first);
  const auto at = static_cast<std::size_t>(line - file.first);
  out.width = width(line);
  out.pixels.resize(file.ends[at + 1] - file.ends[at]);
  hdf5::read(file.pixels, {static_cast<std::int64_t>(file.ends[at])}, {static_cast<std::int64_t>(out.pixels.size())},
             out.pixels.data());
  out.labels.resize(static_cast<std::size_t>(labels(line)));
  if (out.labels.empty()) return;
  hdf5::read(file.labels, {static_cast<std::int64_t>(file.label_ends[at])},
             {static_cast<std::int64_t>(out.labels.size())}, out.labels.data());
  for (const std::int32_t label : out.labels)
    if (label < 1 || label >= tokenizer().vocabulary)
      refuse("{}: damaged: label {} of line {} is no character of a key set of {} classes", file.path.string(), label,
             line - file.first, tokenizer().vocabulary);
}

}  // namespace trireme
