// UTF-8, as far as tokenizers and packing need it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace trireme {

struct CodePoint {
  char32_t value = 0;
  std::size_t bytes = 0;  ///< 0: no valid code point starts here
};

/// The code point that `text` starts with. Overlong forms, surrogates and values past U+10FFFF are not valid
/// (RFC 3629).
CodePoint first_code_point(std::string_view text);

/// Bytes before the first one that is not UTF-8; text.size() if all is.
std::size_t valid_utf8_bytes(std::string_view text);

/// Code points of valid text.
std::size_t count_code_points(std::string_view text);

}  // namespace trireme
