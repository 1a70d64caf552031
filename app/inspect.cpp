#include "app/inspect.h"

#include <fmt/ostream.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <limits>

#include "app/commands.h"
#include "app/progress.h"
#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/format.h"
#include "io/dataset.h"
#include "io/hdf5.h"
#include "io/images/image_dataset.h"
#include "io/lines/key_set.h"
#include "io/lines/line_dataset.h"
#include "io/text_statistics.h"
#include "io/tokenizer.h"
#include "io/wordpiece_tokenizer.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view parameters_group = "parameters/";

template <typename Value>
void row(std::ostream& out, std::string_view name, const Value& value) {
  fmt::print(out, "  {:<17}{}\n", name, value);
}

std::string size_on_disk(const fs::path& path) {
  std::uintmax_t bytes = 0;
  if (fs::is_directory(path)) {
    for (const auto& entry : fs::recursive_directory_iterator(path))
      if (entry.is_regular_file()) bytes += entry.file_size();
  } else {
    bytes = fs::file_size(path);
  }
  return format_count(static_cast<double>(bytes)) + "B";
}

/// At most `count` lines of a text, indented.
std::string indented(std::string_view text, int count) {
  std::string result;
  for (; !text.empty() && count > 0; --count) {
    const auto end = std::min(text.find('\n'), text.size());
    if (end > 0) result.append("  ").append(text.substr(0, end));
    result.append("\n");
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return result;
}

void inspect_dataset(const fs::path& file, std::int32_t version, bool statistics, std::ostream& out) {
  TokenDataset dataset({file});
  const TokenizerBlob& blob = dataset.tokenizer();
  fmt::print(out, "data set {}\n", file.string());
  row(out, "format", fmt::format("{}, version {}", token_format, version));
  row(out, "tokens", dataset.tokens());
  row(out, "documents", dataset.documents());
  row(out, "vocabulary", blob.vocabulary);
  row(out, "tokenizer", fmt::format("{}, end of text is {}", blob.kind, blob.end_of_text));
  if (dataset.has_units()) row(out, "words", "their bounds are known");
  if (dataset.labelled_by() != LabelledBy::nothing)
    row(out, "labels",
        fmt::format("of {}: {}", dataset.labelled_by() == LabelledBy::tokens ? "tokens" : "documents",
                    fmt::join(labels_of(blob).names, ", ")));
  row(out, "size", size_on_disk(file));
  if (statistics) {
    const TextEntropy entropy = text_entropy(dataset);
    row(out, "unigram entropy", fmt::format("{:.4f} nats a token", entropy.unigram));
    row(out, "bigram entropy", fmt::format("{:.4f} nats a token", entropy.bigram));
    if (entropy.tokens < dataset.tokens()) row(out, "", fmt::format("of the first {} tokens", entropy.tokens));
  }
  constexpr std::int64_t shown_tokens = 120;
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(std::min(shown_tokens, dataset.tokens())));
  dataset.read(0, tokens);
  fmt::print(out, "it begins with\n{}", indented(Tokenizer::load(blob)->decode(tokens), 4));
}

void inspect_images(const fs::path& file, std::ostream& out) {
  const ImageDataset dataset({file});
  fmt::print(out, "data set {}\n", file.string());
  row(out, "format", fmt::format("{}, version {}", image_format, image_format_version));
  row(out, "images", dataset.images());
  const ImageHeader raw = dataset.raw_size(0);
  row(out, "stored as", raw.width > 0 ? fmt::format("{} x {} pixels", raw.width, raw.height) : "JPEG and PNG files");
  row(out, "channels", dataset.channels());
  row(out, "size", size_on_disk(file));
  std::vector<std::int64_t> counts(static_cast<std::size_t>(dataset.classes().vocabulary));
  for (std::int64_t i = 0; i < dataset.images(); ++i) ++counts[static_cast<std::size_t>(dataset.label(i))];
  row(out, "classes", counts.size());
  const std::vector<std::string> names = class_names_of(dataset.classes());
  for (std::size_t i = 0; i < names.size(); ++i) fmt::print(out, "  {:>15}  {}\n", counts[i], names[i]);
}

void inspect_lines(const fs::path& file, std::ostream& out) {
  LineDataset dataset({file});
  const KeySet key_set(dataset.tokenizer());
  std::int64_t characters = 0;
  int widest = 0;
  for (std::int64_t line = 0; line < dataset.lines(); ++line) {
    characters += dataset.labels(line);
    widest = std::max(widest, dataset.width(line));
  }
  fmt::print(out, "data set {}\n", file.string());
  row(out, "format", fmt::format("{}, version {}", line_format, line_format_version));
  row(out, "lines", dataset.lines());
  row(out, "characters", characters);
  row(out, "pixels", fmt::format("{} high, at most {} wide", dataset.height(), widest));
  row(out, "key set", fmt::format("{} characters and the blank", key_set.classes() - 1));
  row(out, "size", size_on_disk(file));
  fmt::print(out, "it begins with\n");
  Line line;
  for (std::int64_t i = 0; i < std::min<std::int64_t>(4, dataset.lines()); ++i) {
    dataset.read(i, line);
    fmt::print(out, "  {}\n", key_set.decode(line.labels));
  }
}

void inspect_checkpoint(const fs::path& folder, bool verify, std::ostream& out) {
  if (verify) verify_checkpoint(folder);
  const CheckpointReader reader(folder);
  const CheckpointInfo& info = reader.info();
  std::int64_t parameters = 0;
  std::size_t width = 0;
  for (const auto& [path, shape] : reader.entries()) {
    width = std::max(width, path.size());
    if (path.starts_with(parameters_group)) parameters += shape.elements();
  }
  fmt::print(out, "checkpoint {}\n", folder.string());
  row(out, "format", fmt::format("{}, version {}", checkpoint::model_format, checkpoint::version));
  row(out, "step", info.step);
  row(out, "samples", info.samples);
  row(out, "seed", info.seed);
  row(out, "parameters", parameters);
  row(out, "tokenizer", fmt::format("{}, {} tokens", info.tokenizer_kind, info.tokenizer_vocabulary));
  row(out, "shards", reader.shards());
  row(out, "size", size_on_disk(folder));
  if (verify) row(out, "verified", "every checksum is right");
  fmt::print(out, "tensors\n");
  for (const auto& [path, shape] : reader.entries()) fmt::print(out, "  {:<{}}  {}\n", path, width, shape.to_string());
  fmt::print(out, "configuration\n{}", indented(info.configuration, std::numeric_limits<int>::max()));
}

void inspect_shard(const fs::path& path, const hdf5::Handle& file, std::ostream& out) {
  checkpoint::check_format(file, checkpoint::shard_format);
  const std::vector<std::string> tensors = hdf5::dataset_paths(file);
  fmt::print(out, "shard {}\n", path.string());
  row(out, "format", fmt::format("{}, version {}", checkpoint::shard_format, checkpoint::version));
  row(out, "step", hdf5::read_number<std::int64_t>(file, "step"));
  row(out, "size", size_on_disk(path));
  fmt::print(out, "tensors\n");
  for (const std::string& name : tensors) {
    const hdf5::Handle dataset = hdf5::open_object(file, name);
    const Shape extent = hdf5::shape_of(dataset);
    std::vector<std::int64_t> offset(static_cast<std::size_t>(extent.rank()));
    std::vector<std::int64_t> global(offset.size());
    const hid_t type = hdf5::native_type<std::int64_t>();
    hdf5::read_attribute(dataset, "offset", type, offset.data(), offset.size());
    hdf5::read_attribute(dataset, "global", type, global.data(), global.size());
    fmt::print(out, "  {}  {} at [{}] of [{}]\n", name, extent.to_string(), fmt::join(offset, ", "),
               fmt::join(global, ", "));
  }
}

void inspect_checkpoint_list(const fs::path& directory, const std::vector<std::int64_t>& steps, bool verify,
                             std::ostream& out) {
  fmt::print(out, "{} checkpoints in {}\n", steps.size(), directory.string());
  int damaged = 0;
  for (const std::int64_t step : steps) {
    const fs::path folder = checkpoint_path(directory, step);
    const std::string name = folder.filename().string();
    try {
      const CheckpointReader reader(folder);
      if (verify) verify_checkpoint(folder);
      fmt::print(out, "  {}  {} samples, {} shards, {}{}\n", name, reader.info().samples, reader.shards(),
                 size_on_disk(folder), verify ? ", verified" : "");
    } catch (const DamagedCheckpoint& error) {
      fmt::print(out, "  {}  DAMAGED: {}\n", name, error.what());
      ++damaged;
    }
  }
  if (damaged > 0) refuse("{}: {} of {} checkpoints are damaged", directory.string(), damaged, steps.size());
}

void inspect_folder(const fs::path& folder, bool verify, std::ostream& out) {
  if (fs::exists(folder / checkpoint::model_file)) return inspect_checkpoint(folder, verify, out);
  const std::vector<std::int64_t> steps = list_checkpoints(folder);
  if (steps.empty())
    refuse("{}: found a folder without {} and without checkpoints, expected a checkpoint or a folder of them",
           folder.string(), checkpoint::model_file);
  inspect_checkpoint_list(folder, steps, verify, out);
}

}  // namespace

void inspect(const InspectOptions& options, std::ostream& out) {
  const fs::path& path = options.path;
  if (path.empty()) refuse("inspect: found no path, expected a data set, a checkpoint or a shard");
  if (!fs::exists(path)) refuse("{}: found nothing there, expected a data set or a checkpoint", path.string());
  if (fs::is_directory(path)) return inspect_folder(path, options.verify, out);

  const hdf5::Handle file = hdf5::open_file(path);
  const std::string format = hdf5::has_attribute(file, "format") ? hdf5::read_string(file, "format") : "";
  if (format == token_format) {
    const auto version = hdf5::read_number<std::int32_t>(file, "version");
    return inspect_dataset(path, version, options.statistics, out);
  }
  if (format == image_format) return inspect_images(path, out);
  if (format == line_format) return inspect_lines(path, out);
  if (format == checkpoint::shard_format) return inspect_shard(path, file, out);
  if (format == checkpoint::model_format)
    return inspect_checkpoint(fs::absolute(path).parent_path(), options.verify, out);
  refuse("{}: found an HDF5 file of format '{}', expected {}, {}, {} or {}", path.string(), format, token_format,
         line_format, checkpoint::model_format, checkpoint::shard_format);
}

ExitStatus run_inspect(const Configuration& configuration) {
  inspect(configuration.inspect, std::cout);
  return ExitStatus::done;
}

}  // namespace trireme
