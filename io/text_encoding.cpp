#include "io/text_encoding.h"

#include <unicode/ucnv.h>
#include <unicode/ucsdet.h>
#include <unicode/ustring.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <utility>
#include <vector>

#include "io/utf8.h"
#include "kernels/error.h"

namespace trireme {
namespace {

struct DetectorCloser {
  void operator()(UCharsetDetector* detector) const { ucsdet_close(detector); }
};
struct ConverterCloser {
  void operator()(UConverter* converter) const { ucnv_close(converter); }
};

void check(UErrorCode code, const char* what) {
  if (U_FAILURE(code)) fail("ICU: {}: {}", what, u_errorName(code));
}

/// UTF-16 whose surrogates are in pairs.
void append_utf8(const std::vector<char16_t>& units, std::string& text) {
  const std::size_t before = text.size();
  text.resize(before + 3 * units.size());  // the most that a unit takes
  std::int32_t bytes = 0;
  UErrorCode code = U_ZERO_ERROR;
  u_strToUTF8(text.data() + before, static_cast<std::int32_t>(3 * units.size()), &bytes, units.data(),
              static_cast<std::int32_t>(units.size()), &code);
  check(code, "u_strToUTF8");
  text.resize(before + static_cast<std::size_t>(bytes));
}

}  // namespace

std::string detect_encoding(const std::filesystem::path& file) {
  constexpr std::size_t looked_at = std::size_t{1} << 18;
  constexpr std::size_t longest_character = 4;
  std::string text(looked_at, '\0');
  std::ifstream stream(file, std::ios::binary);
  if (!stream) refuse("{}: cannot be read", file.string());
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(stream.gcount()));
  const std::size_t valid = valid_utf8_bytes(text);
  if (text.size() - valid < (text.size() < looked_at ? 1 : longest_character)) return "utf-8";

  UErrorCode code = U_ZERO_ERROR;
  const std::unique_ptr<UCharsetDetector, DetectorCloser> detector(ucsdet_open(&code));
  ucsdet_setText(detector.get(), text.data(), static_cast<std::int32_t>(text.size()), &code);
  std::int32_t count = 0;
  const UCharsetMatch** matches = ucsdet_detectAll(detector.get(), &count, &code);
  check(code, "ucsdet_detectAll");
  std::string best;
  for (std::int32_t i = 0; i < count && best.empty(); ++i) {  // the likeliest first
    const std::string name = ucsdet_getName(matches[i], &code);
    if (name == "GB18030") best = "gb18030";
    if (name == "Big5") best = "big5";
  }
  if (best.empty())
    refuse("{}: byte {} is not UTF-8, and it looks like neither GB18030 nor Big5; say what it is with --encoding",
           file.string(), valid);
  return best;
}

namespace {

/// What ICU makes of bytes that Big5 gives no character to: control and private characters.
bool is_unassigned(char16_t unit) { return (unit >= 0x80 && unit < 0xA0) || (unit >= 0xE000 && unit < 0xF900); }

}  // namespace

struct TextDecoder::State {
  std::unique_ptr<UConverter, ConverterCloser> converter;
  std::int64_t offset = 0;  ///< of the next part
  bool refuses_unassigned = false;
};

TextDecoder::TextDecoder(std::string_view encoding) : state_(std::make_unique<State>()) {
  const char* name = encoding == "gb18030" ? "gb18030" : encoding == "big5" ? "Big5" : nullptr;
  if (name == nullptr) refuse("encoding: found '{}', expected auto, utf-8, gb18030 or big5", encoding);
  UErrorCode code = U_ZERO_ERROR;
  state_->converter.reset(ucnv_open(name, &code));
  ucnv_setToUCallBack(state_->converter.get(), UCNV_TO_U_CALLBACK_STOP, nullptr, nullptr, nullptr, &code);
  check(code, name);
  state_->refuses_unassigned = encoding == "big5";
}

TextDecoder::~TextDecoder() = default;

std::int64_t TextDecoder::decode(std::string_view part, bool last, std::string& text) {
  UConverter* converter = state_->converter.get();
  std::vector<char16_t> units(2 * part.size() + 16);  // never too few: a byte makes at most two
  std::vector<std::int32_t> offsets(units.size());    // in the part, of what each was
  const char* from = part.data();
  char16_t* to = units.data();
  UErrorCode code = U_ZERO_ERROR;
  ucnv_toUnicode(converter, &to, units.data() + units.size(), &from, part.data() + part.size(), offsets.data(),
                 static_cast<UBool>(last), &code);
  units.resize(static_cast<std::size_t>(to - units.data()));
  const std::int64_t begin = std::exchange(state_->offset, state_->offset + static_cast<std::int64_t>(part.size()));
  if (state_->refuses_unassigned) {
    const auto wrong = std::ranges::find_if(units, is_unassigned);
    if (wrong != units.end())
      return begin + std::max<std::int64_t>(offsets[static_cast<std::size_t>(wrong - units.begin())], -1);
  }
  append_utf8(units, text);
  if (U_SUCCESS(code)) return all_valid;
  std::array<char, 16> invalid{};
  auto length = static_cast<std::int8_t>(invalid.size());
  UErrorCode ignored = U_ZERO_ERROR;
  ucnv_getInvalidChars(converter, invalid.data(), &length, &ignored);
  return begin + (from - part.data()) - length;
}

}  // namespace trireme
