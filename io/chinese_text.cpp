#include "io/chinese_text.h"

#include <unicode/uchar.h>
#include <unicode/unorm2.h>
#include <unicode/uscript.h>
#include <unicode/ustring.h>

#include <algorithm>
#include <array>

#include "io/utf8.h"
#include "kernels/error.h"

namespace trireme {
namespace {

UChar32 of_icu(char32_t character) { return static_cast<UChar32>(character); }

bool changes_width(char32_t character) {
  constexpr std::u32string_view kept = U"，！？：；（）";
  const int width = u_getIntPropertyValue(of_icu(character), UCHAR_EAST_ASIAN_WIDTH);
  return (width == U_EA_FULLWIDTH || width == U_EA_HALFWIDTH) && kept.find(character) == std::u32string_view::npos;
}

/// The same text with what changes_width normalised by NFKC, a run at a time: half-width voice marks join their kana.
std::string fold_width(std::string_view text) {
  UErrorCode code = U_ZERO_ERROR;
  const UNormalizer2* nfkc = unorm2_getNFKCInstance(&code);
  std::string result;
  while (!text.empty()) {
    CodePoint point = first_code_point(text);
    if (!changes_width(point.value)) {
      result.append(text, 0, point.bytes);
      text.remove_prefix(point.bytes);
      continue;
    }
    std::u16string run;
    for (; !text.empty() && changes_width(point.value); point = first_code_point(text)) {
      run += static_cast<char16_t>(point.value);  // all of them are in the basic plane
      text.remove_prefix(point.bytes);
    }
    std::u16string folded(4 * run.size() + 16, u'\0');
    folded.resize(
        static_cast<std::size_t>(unorm2_normalize(nfkc, run.data(), static_cast<std::int32_t>(run.size()),
                                                  folded.data(), static_cast<std::int32_t>(folded.size()), &code)));
    std::string bytes(3 * folded.size(), '\0');
    std::int32_t length = 0;
    u_strToUTF8(bytes.data(), static_cast<std::int32_t>(bytes.size()), &length, folded.data(),
                static_cast<std::int32_t>(folded.size()), &code);
    if (U_FAILURE(code)) fail("ICU: folding widths: {}", u_errorName(code));
    result.append(bytes, 0, static_cast<std::size_t>(length));
  }
  return result;
}

}  // namespace

TextNormalizer::TextNormalizer(const TextForm& form) : form_(form) {
  if (form.simplify) simplifier_ = make_simplifier();
}

std::string TextNormalizer::operator()(std::string_view text) const {
  std::string result = form_.fold_width ? fold_width(text) : std::string(text);
  return simplifier_ ? simplifier_->convert(result) : result;
}

std::vector<std::string_view> split_sentences(std::string_view line) {
  constexpr std::u32string_view ends = U"。！？!?…";
  constexpr std::u32string_view closes = U"”’」』）)》〉】";
  std::vector<std::string_view> sentences;
  std::size_t begin = 0;
  bool ended = false;
  for (std::size_t at = 0; at < line.size();) {
    const CodePoint point = first_code_point(line.substr(at));
    const bool is_end = ends.find(point.value) != std::u32string_view::npos;
    if (ended && !is_end && closes.find(point.value) == std::u32string_view::npos && !is_space(point.value)) {
      sentences.push_back(line.substr(begin, at - begin));
      begin = at;
      ended = false;
    }
    ended = ended || is_end;
    at += std::max<std::size_t>(point.bytes, 1);
  }
  if (begin < line.size()) sentences.push_back(line.substr(begin));
  return sentences;
}

bool is_space(char32_t character) { return u_isUWhiteSpace(of_icu(character)) || u_iscntrl(of_icu(character)); }

bool is_han(char32_t character) { return u_hasBinaryProperty(of_icu(character), UCHAR_IDEOGRAPHIC); }

bool is_word_character(char32_t character) {
  const UChar32 c = of_icu(character);
  if ((U_GET_GC_MASK(c) & (U_GC_L_MASK | U_GC_N_MASK | U_GC_M_MASK)) == 0 || is_han(character)) return false;
  UErrorCode code = U_ZERO_ERROR;
  const UScriptCode script = uscript_getScript(c, &code);
  return script != USCRIPT_HIRAGANA && script != USCRIPT_KATAKANA;
}

}  // namespace trireme
