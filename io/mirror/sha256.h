#pragma once

#include <string>
#include <string_view>

namespace trireme::mirror {

/// SHA-256 in hexadecimal.
std::string sha256(std::string_view bytes);

}  // namespace trireme::mirror
