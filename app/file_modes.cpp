#include "app/file_modes.h"

#include <sys/stat.h>

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "kernels/error.h"

namespace trireme {

void restrict_file_modes() {
  constexpr mode_t no_others_and_no_writing_group = 027;
  const char* given = std::getenv("TRIREME_UMASK");
  if (given == nullptr) {
    ::umask(no_others_and_no_writing_group | ::umask(0777));
    return;
  }
  const std::string_view text = given;
  unsigned mask = 0;
  const auto end = text.data() + text.size();
  const auto read = std::from_chars(text.data(), end, mask, 8);
  if (read.ec != std::errc{} || read.ptr != end || mask > 0777)
    refuse("TRIREME_UMASK: found '{}', expected an octal number up to 777", text);
  ::umask(mask);
}

}  // namespace trireme
