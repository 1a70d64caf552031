#include "io/column.h"
#include "io/lines/line_dataset.h"
#include "kernels/error.h"

namespace trireme {

struct LineDatasetWriter::State {
  State(const std::filesystem::path& path, int pixels_high, int known_classes)
      : partial(path), height(pixels_high), classes(known_classes) {}

  PartialFile partial;
  int height, classes;
  Column<std::uint8_t> pixels{"pixels"};
  Column<std::uint64_t> ends{"ends"};
  Column<std::uint32_t> labels{"labels"};
  Column<std::uint64_t> label_ends{"label_ends"};
};

LineDatasetWriter::LineDatasetWriter(const std::filesystem::path& file, int height, const TokenizerBlob& key_set)
    : state_(std::make_unique<State>(file, height, key_set.vocabulary)) {
  const hdf5::Handle& root = state_->partial.handle();
  hdf5::write_string(root, "format", line_format);
  hdf5::write_number(root, "version", line_format_version);
  hdf5::write_number<std::int32_t>(root, "height", height);
  const hdf5::Handle group = hdf5::create_group(root, "tokenizer");
  hdf5::write_string(group, "kind", key_set.kind);
  hdf5::write_number<std::int32_t>(group, "vocabulary", key_set.vocabulary);
  hdf5::write_number<std::int32_t>(group, "end_of_text", key_set.end_of_text);
  hdf5::write_bytes(root, "tokenizer/model", key_set.model);
  state_->ends.push(root, 0);
  state_->label_ends.push(root, 0);
}

LineDatasetWriter::~LineDatasetWriter() = default;
std::int64_t LineDatasetWriter::lines() const { return state_->ends.size() - 1; }
std::int64_t LineDatasetWriter::characters() const { return state_->labels.size(); }

void LineDatasetWriter::append(const Line& line) {
  if (line.width < 1 || line.pixels.size() != static_cast<std::size_t>(line.width) * state_->height)
    fail("a line of {} pixels, {} wide and {} high", line.pixels.size(), line.width, state_->height);
  const hdf5::Handle& root = state_->partial.handle();
  state_->pixels.push(root, line.pixels);
  state_->ends.push(root, static_cast<std::uint64_t>(state_->pixels.size()));
  for (const std::int32_t label : line.labels) {
    if (label < 1 || label >= state_->classes) fail("label {} of {} classes", label, state_->classes);
    state_->labels.push(root, static_cast<std::uint32_t>(label));
  }
  state_->label_ends.push(root, static_cast<std::uint64_t>(state_->labels.size()));
}

void LineDatasetWriter::commit() {
  const hdf5::Handle& root = state_->partial.handle();
  state_->pixels.finish(root);
  state_->ends.finish(root);
  state_->labels.finish(root);
  state_->label_ends.finish(root);
  state_->partial.commit();
}

}  // namespace trireme
