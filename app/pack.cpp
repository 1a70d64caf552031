#include "app/pack.h"

#include <fmt/ostream.h>

#include <iostream>

#include "app/commands.h"
#include "io/text_statistics.h"

namespace trireme {
namespace {

void print_split(const std::string& name, const PackTextSplit& split, const std::filesystem::path& file,
                 std::ostream& out) {
  fmt::print(out, "  {:<18}{} tokens in {} documents, {}\n", name, split.tokens, split.documents, file.string());
  const auto& [characters, words, entities] = split.units;
  if (characters + words + entities > 0)
    fmt::print(out, "  {:<18}{} characters, {} words, {} entities\n", "  units", characters, words, entities);
}

void print_entropies(const PackTextOptions& options, std::ostream& out) {
  TokenDataset train({options.output});
  const TextEntropy entropy = text_entropy(train);
  fmt::print(out, "  {:<18}{:.4f} nats a token\n  {:<18}{:.4f} nats a token\n", "unigram entropy", entropy.unigram,
             "bigram entropy", entropy.bigram);
  if (entropy.tokens < train.tokens()) fmt::print(out, "  {:<18}of the first {} tokens\n", "", entropy.tokens);
  if (options.validation_output.empty()) return;
  TokenDataset validation({options.validation_output});
  if (validation.tokens() < 2) return;
  const NGramBaseline baseline = ngram_baseline(train, validation);
  fmt::print(out, "  {:<18}{:.4f} nats a token for a unigram model, {:.4f} for a bigram model\n", "validation loss",
             baseline.unigram, baseline.bigram);
}

}  // namespace

void pack_text_and_tell(const PackTextOptions& options, std::ostream& out, std::ostream& progress) {
  if (options.inputs.empty()) refuse("--input: found nothing, expected the files or folders to pack");
  if (options.output.empty()) refuse("--output: found nothing, expected the data set to write");

  std::string current;
  const PackTextResult result = pack_text(options, [&](std::string_view phase, double) {
    if (phase == current) return;
    current = phase;
    progress << phase << std::endl;
  });

  const std::int64_t tokens = result.train.tokens + result.validation.tokens;
  fmt::print(out, "packed text\n");
  fmt::print(out, "  {:<18}{}\n  {:<18}{}\n", "files", result.files, "documents", result.documents);
  fmt::print(out, "  {:<18}{} bytes, {} characters\n", "text", result.bytes, result.characters);
  fmt::print(out, "  {:<18}{} ({})\n", "vocabulary", result.vocabulary, options.tokenizer);
  print_split("train", result.train, options.output, out);
  if (!options.validation_output.empty()) print_split("validation", result.validation, options.validation_output, out);
  fmt::print(out, "  {:<18}{:.3f}\n", "bytes per token",
             static_cast<double>(result.bytes) / static_cast<double>(tokens));
  print_entropies(options, out);
  fmt::print(out, "  {:<18}{:.1f} s\n", "time", result.seconds);
}

void pack_images_and_tell(const PackImagesOptions& options, std::ostream& out, std::ostream& progress) {
  const PackImagesResult result =
      pack_images(options, [&](std::int64_t images) { progress << fmt::format("{} images", images) << std::endl; });
  for (const std::string& fault : result.skipped) fmt::print(progress, "left out: {}\n", fault);
  fmt::print(out, "packed images\n");
  fmt::print(out, "  {:<18}{}, {}\n", "train", result.train, options.output.string());
  if (!options.validation_output.empty())
    fmt::print(out, "  {:<18}{}, {}\n", "validation", result.validation, options.validation_output.string());
  fmt::print(out, "  {:<18}{}\n  {:<18}{}\n", "classes", result.classes.size(), "channels", result.channels);
  fmt::print(out, "  {:<18}{}\n  {:<18}{:.1f} s\n", "left out", result.skipped_count, "time", result.seconds);
}

void pack_labels_and_tell(const PackLabelsOptions& options, std::ostream& out) {
  const PackLabelsResult result = pack_labels(options);
  fmt::print(out, "packed labels\n  {:<18}{} with {} tokens, the longest with {}, {}\n", "texts", result.texts,
             result.tokens, result.longest, options.output.string());
  for (const auto& [name, count] : result.labels) fmt::print(out, "  {:<18}{}\n", name, count);
}

ExitStatus run_pack(const Configuration& configuration) {
  if (configuration.pack_kind == "labels") {
    PackLabelsOptions options = configuration.pack_labels;
    options.inputs = configuration.pack_text.inputs;
    options.output = configuration.pack_text.output;
    options.encoding = configuration.pack_text.encoding;
    pack_labels_and_tell(options, std::cout);
  } else if (configuration.pack_kind == "images") {
    PackImagesOptions options = configuration.pack_images;
    options.inputs = configuration.pack_text.inputs;
    options.output = configuration.pack_text.output;
    options.validation_output = configuration.pack_text.validation_output;
    options.validation_share = configuration.pack_text.validation_share;
    pack_images_and_tell(options, std::cout, std::cerr);
  } else if (configuration.pack_kind == "ocr") {
    pack_lines_and_tell(configuration, std::cout, std::cerr);
  } else {
    pack_text_and_tell(configuration.pack_text, std::cout, std::cerr);
  }
  return ExitStatus::done;
}

}  // namespace trireme
