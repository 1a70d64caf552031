// trireme pack ocr
#include "io/lines/pack_lines.h"

#include <fmt/ostream.h>

#include <iostream>

#include "app/pack.h"

namespace trireme {
namespace {

void print_split(const char* name, const PackedLines& packed, const std::filesystem::path& file, std::ostream& out) {
  fmt::print(out, "  {:<18}{} lines of {} characters, {}\n", name, packed.lines, packed.characters, file.string());
}

void print_faults(const FaultyLines& faulty, std::ostream& out) {
  fmt::print(out, "  {:<18}{} lines", "left out", faulty.all());
  if (faulty.all() > 0)
    fmt::print(out,
               ": {} do not decode, {} have no label, {} have a character outside the key set, {} have one that "
               "no font has, {} do not fit",
               faulty.undecodable, faulty.unlabelled, faulty.unknown, faulty.glyphless, faulty.unfit);
  fmt::print(out, "\n");
}

}  // namespace

void pack_lines_and_tell(const Configuration& configuration, std::ostream& out, std::ostream& progress) {
  PackLinesOptions options = configuration.pack_lines;
  const PackTextOptions& shared = configuration.pack_text;
  options.inputs = shared.inputs;
  options.output = shared.output;
  options.validation_output = shared.validation_output;
  options.validation_share = shared.validation_share;
  options.encoding = shared.encoding;

  constexpr int most_named = 20;
  int named = 0;
  const PackLinesResult result = pack_lines(options, [&](const std::string& fault) {
    if (++named <= most_named) progress << "left out: " << fault << "\n";
    if (named == most_named) progress << "left out: more, which are only counted\n";
  });

  fmt::print(out, "packed ocr\n");
  print_split("train", result.train, options.output, out);
  if (!options.validation_output.empty()) print_split("validation", result.validation, options.validation_output, out);
  fmt::print(out, "  {:<18}{} characters and the blank\n", "key set", result.classes - 1);
  if (options.from != "images")
    fmt::print(out, "  {:<18}{} lines, for want of a glyph in the font that was drawn\n", "in another font",
               result.other_font);
  print_faults(result.faulty, out);
  const auto lines = static_cast<double>(result.train.lines + result.validation.lines);
  fmt::print(out, "  {:<18}{:.1f} s, {:.0f} lines a second\n", "time", result.seconds, lines / result.seconds);
}

}  // namespace trireme
