// What `trireme pack ocr` does: text lines to data sets of pictures and what they say (io/lines/line_dataset.h).
//
// from=receipts  fields of receipts and invoices, invented (io/lines/receipt_text.h) and drawn
// from=text      pieces of text files, drawn: a paragraph is a line of a file, a piece is at most `longest` characters
//                of one, begun anywhere
// from=images    pictures of lines: lists of "path<TAB>text" as PaddleOCR has them, paths relative to the list; of a
//                folder every *.txt is a list, and pictures that none names are missing a label
//
// What is drawn depends on the seed and the number of the line alone, not on threads. Validation lines are drawn with
// fonts of their own where there are any, and have texts that no training line has: of receipts, texts that were not
// drawn for training; of text and images, those whose paragraph or path a hash puts there (validation_share).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace trireme {

struct PackLinesOptions {
  std::vector<std::filesystem::path> inputs;
  std::filesystem::path output;
  std::filesystem::path validation_output;  ///< empty: no validation set
  double validation_share = 0.02;           ///< of paragraphs or pictures
  std::string from = "receipts";            ///< or "text", "images"
  std::string encoding = "utf-8";           ///< of texts and lists, as TextReader
  std::vector<std::filesystem::path> fonts;
  std::vector<std::filesystem::path> validation_fonts;  ///< none: the same
  std::int64_t lines = 100000;                          ///< to draw
  std::int64_t validation_lines = 2000;
  std::filesystem::path characters;  ///< key file, one character a line; empty: those that occur
  int height = 32;                   ///< pixels of a line
  int longest = 24;                  ///< characters of a piece of text
  int widest = 2048;                 ///< pixels; wider lines are left out
  double distortion = 1.0;           ///< as of scan(): 0 none
  std::uint64_t seed = 1;
  int threads = 0;              ///< 0: one a core
  std::string faulty = "skip";  ///< what is to be done with lines that cannot be packed; or "refuse"
};

/// Lines that could not be packed, by cause.
struct FaultyLines {
  std::int64_t undecodable = 0;  ///< the picture is missing or does not decode
  std::int64_t unlabelled = 0;
  std::int64_t unknown = 0;    ///< a character outside the key set
  std::int64_t glyphless = 0;  ///< no font has glyphs for all of the text
  std::int64_t unfit = 0;      ///< too wide, or too narrow for the text
  std::int64_t all() const { return undecodable + unlabelled + unknown + glyphless + unfit; }
};

struct PackedLines {
  std::int64_t lines = 0, characters = 0;
};

struct PackLinesResult {
  PackedLines train, validation;
  int classes = 0;
  FaultyLines faulty;
  std::int64_t other_font = 0;  ///< drawn in another font than was meant, which lacked a glyph
  double seconds = 0;
};

/// Told what is wrong with a line that is left out.
using FaultReport = std::function<void(const std::string& fault)>;

/// Refuses wrong options, inputs that are missing or hold nothing, and, with faulty=refuse, the first line that cannot
/// be packed, naming file and line. The data sets appear when they are complete.
PackLinesResult pack_lines(const PackLinesOptions& options, const FaultReport& report = {});

}  // namespace trireme
