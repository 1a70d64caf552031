#include "io/lines/pack_lines.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <future>
#include <memory>
#include <optional>
#include <set>

#include "io/lines/image_list.h"
#include "io/lines/key_set.h"
#include "io/lines/line_dataset.h"
#include "io/lines/line_image.h"
#include "io/lines/line_renderer.h"
#include "io/lines/line_texts.h"
#include "io/parallel.h"
#include "io/utf8.h"
#include "kernels/error.h"
#include "kernels/philox.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

void check_options(const PackLinesOptions& options) {
  if (options.output.empty()) refuse("pack.output: found nothing, expected the data set to write");
  for (const fs::path& output : {options.output, options.validation_output})
    if (!output.parent_path().empty() && !fs::is_directory(output.parent_path()))
      refuse("{}: there is no folder {} to write it in", output.string(), output.parent_path().string());
  if (!options.validation_output.empty() &&
      fs::weakly_canonical(options.output) == fs::weakly_canonical(options.validation_output))
    refuse("pack.validation_output: {} is pack.output itself", options.validation_output.string());
  const bool drawn = options.from != "images";
  if (options.from == "receipts" && !options.inputs.empty())
    refuse("pack.input: found {}, but pack.from=receipts invents its texts; did you mean pack.from=text?",
           options.inputs.front().string());
  if (options.from != "receipts" && options.inputs.empty())
    refuse("pack.input: found nothing, expected {}", drawn ? "text files or folders" : "lists of images or folders");
  if (drawn && options.fonts.empty()) refuse("pack.fonts: found none, expected font files to draw lines with");
}

/// A line that could not be packed.
struct Fault {
  std::int64_t FaultyLines::*cause = nullptr;
  std::string text;
};

/// What a thread makes of one line.
struct Made {
  std::optional<Line> line;
  bool other_font = false;
  Fault fault;
};

/// A recogniser needs a time step for every label, and one between two that are equal.
std::int64_t steps_needed(const std::vector<std::int32_t>& labels) {
  std::int64_t steps = static_cast<std::int64_t>(labels.size());
  for (std::size_t i = 1; i < labels.size(); ++i) steps += labels[i] == labels[i - 1] ? 1 : 0;
  return steps;
}

class Packer {
 public:
  Packer(const PackLinesOptions& options, const FaultReport& report) : options_(options), report_(report) {}

  PackLinesResult pack() {
    const auto start = std::chrono::steady_clock::now();
    check_options(options_);
    if (options_.from == "images")
      pack_images();
    else
      draw_lines();
    result_.classes = key_set_->classes();
    result_.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return result_;
  }

 private:
  void draw_lines();
  void pack_images();
  void take_key_set(const std::string& occurring) {
    key_set_ = options_.characters.empty() ? KeySet(occurring, "pack.input") : KeySet::read(options_.characters);
  }

  /// Labels, or the fault of a line that has no picture yet.
  bool label(const std::string& text, const std::string& place, Line& line, Fault& fault) const {
    std::string unknown;
    line.labels = key_set_->encode(text, unknown);
    if (unknown.empty()) return true;
    fault = {&FaultyLines::unknown, fmt::format("{}: the character '{}' is outside the key set", place, unknown)};
    return false;
  }

  bool check_size(const Line& line, const std::string& place, Fault& fault) const {
    const std::int64_t steps = (line.width + line_step - 1) / line_step;
    if (line.width > options_.widest)
      fault = {&FaultyLines::unfit,
               fmt::format("{}: {} pixels wide, expected at most pack.widest={}", place, line.width, options_.widest)};
    else if (steps_needed(line.labels) > steps)
      fault = {&FaultyLines::unfit,
               fmt::format("{}: {} pixels are too narrow for {} characters", place, line.width, line.labels.size())};
    return fault.text.empty();
  }

  Made draw(LineRenderer& renderer, const LineTexts& texts, LineSplit split, std::int64_t number) const;
  Made read(const ListedImage& image) const;

  /// Makes lines 0..count-1 on all threads and writes them in this order; `make(thread, number)`.
  template <typename Make>
  PackedLines write(const fs::path& file, std::int64_t count, const Make& make);
  void take(Made& made, LineDatasetWriter& writer);

  const PackLinesOptions& options_;
  const FaultReport& report_;
  std::optional<KeySet> key_set_;
  PackLinesResult result_;
};

void Packer::take(Made& made, LineDatasetWriter& writer) {
  result_.other_font += made.other_font ? 1 : 0;
  if (made.line) return writer.append(*made.line);
  if (options_.faulty == "refuse") refuse("{}; pack.faulty=skip leaves such lines out", made.fault.text);
  ++(result_.faulty.*made.fault.cause);
  if (report_) report_(made.fault.text);
}

template <typename Make>
PackedLines Packer::write(const fs::path& file, std::int64_t count, const Make& make) {
  constexpr std::int64_t block = 1024;
  LineDatasetWriter writer(file, options_.height, key_set_->blob());
  std::array<std::vector<Made>, 2> blocks;
  std::future<void> writing;  // one block, while the next is made
  const auto finish_writing = [&] {
    if (writing.valid()) writing.get();
  };
  for (std::int64_t first = 0; first < count; first += block) {
    const std::int64_t lines = std::min(block, count - first);
    std::vector<Made>& made = blocks[static_cast<std::size_t>(first / block % 2)];
    made.assign(static_cast<std::size_t>(lines), {});
    parallel_for(thread_count(options_.threads), lines, [&](int thread, std::int64_t line) {
      made[static_cast<std::size_t>(line)] = make(thread, first + line);
    });
    finish_writing();
    writing = std::async(std::launch::async, [this, &made, &writer] {
      for (Made& each : made) take(each, writer);
    });
  }
  finish_writing();
  if (writer.lines() == 0)
    refuse(
        "{}: not one of {} lines could be packed; {} do not decode, {} have no label, {} have a character outside "
        "the key set, {} one without glyph, {} do not fit",
        file.string(), count, result_.faulty.undecodable, result_.faulty.unlabelled, result_.faulty.unknown,
        result_.faulty.glyphless, result_.faulty.unfit);
  writer.commit();
  return {writer.lines(), writer.characters()};
}

Made Packer::draw(LineRenderer& renderer, const LineTexts& texts, LineSplit split, std::int64_t number) const {
  Made made;
  const std::string text = texts.text(split, number);
  Line labels;
  const auto place = [&] { return fmt::format("{} ('{}')", texts.place(split, number), text); };
  if (!label(text, place(), labels, made.fault)) return made;
  const std::uint64_t stream = stream_of(split == LineSplit::train ? "train line" : "validation line");
  RenderedLine drawn = renderer.render(text, options_.seed, stream + static_cast<std::uint64_t>(number));
  made.other_font = drawn.other_font;
  if (!drawn.lacking.empty()) {
    made.fault = {&FaultyLines::glyphless,
                  fmt::format("{}: no font has a glyph for '{}' and all others", place(), drawn.lacking)};
    return made;
  }
  drawn.line.labels = std::move(labels.labels);
  if (check_size(drawn.line, place(), made.fault)) made.line = std::move(drawn.line);
  return made;
}

void Packer::draw_lines() {
  const bool validates = !options_.validation_output.empty();
  const auto texts = options_.from == "receipts"
                         ? make_receipt_texts(options_.seed, options_.lines)
                         : make_corpus_texts(options_.seed, read_paragraphs(options_.inputs, options_.encoding),
                                             options_.longest, validates ? options_.validation_share : 0.0);
  take_key_set(texts->characters());
  const auto draw_split = [&](LineSplit split, const std::vector<fs::path>& fonts, const fs::path& file,
                              std::int64_t count) {
    std::vector<LineRenderer> renderers;
    for (int thread = 0; thread < thread_count(options_.threads); ++thread)
      renderers.emplace_back(fonts, options_.height, options_.distortion);
    return write(file, count, [&](int thread, std::int64_t number) {
      return draw(renderers[static_cast<std::size_t>(thread)], *texts, split, number);
    });
  };
  result_.train = draw_split(LineSplit::train, options_.fonts, options_.output, options_.lines);
  if (!validates) return;
  const auto& fonts = options_.validation_fonts.empty() ? options_.fonts : options_.validation_fonts;
  result_.validation = draw_split(LineSplit::validation, fonts, options_.validation_output, options_.validation_lines);
}

Made Packer::read(const ListedImage& image) const {
  Made made;
  Line line;
  if (image.text.empty()) {
    made.fault = {&FaultyLines::unlabelled, fmt::format("{}: the label is missing", image.place)};
    return made;
  }
  if (!label(image.text, image.place, line, made.fault)) return made;
  try {
    const Line picture = read_line_image(image.path, options_.height);
    line.width = picture.width;
    line.pixels = picture.pixels;
  } catch (const Error& error) {
    made.fault = {&FaultyLines::undecodable, fmt::format("{}: {}", image.place, error.what())};
    return made;
  }
  if (check_size(line, image.place, made.fault)) made.line = std::move(line);
  return made;
}

void Packer::pack_images() {
  const bool validates = !options_.validation_output.empty();
  const auto threshold = static_cast<std::uint64_t>(options_.validation_share * 0x1p64);
  std::vector<ListedImage> train, validation;
  std::string occurring;
  std::set<char32_t> seen;
  for (ListedImage& image : read_image_lists(options_.inputs, options_.encoding)) {
    for (std::string_view rest = image.text; !rest.empty();) {
      const CodePoint point = first_code_point(rest);
      if (seen.insert(point.value).second) occurring += rest.substr(0, point.bytes);
      rest.remove_prefix(std::max<std::size_t>(1, point.bytes));
    }
    const std::string name = image.path.filename().string();
    const bool held_out = validates && XXH3_64bits(name.data(), name.size()) < threshold;
    (held_out ? validation : train).push_back(std::move(image));
  }
  if (train.empty() || (validates && validation.empty()))
    refuse("pack.validation_share={}: found {} images, too few to split them", options_.validation_share,
           train.size() + validation.size());
  take_key_set(occurring);
  const auto pack_split = [&](const std::vector<ListedImage>& images, const fs::path& file) {
    return write(file, static_cast<std::int64_t>(images.size()),
                 [&](int, std::int64_t number) { return read(images[static_cast<std::size_t>(number)]); });
  };
  result_.train = pack_split(train, options_.output);
  if (validates) result_.validation = pack_split(validation, options_.validation_output);
}

}  // namespace

PackLinesResult pack_lines(const PackLinesOptions& options, const FaultReport& report) {
  return Packer(options, report).pack();
}

}  // namespace trireme
