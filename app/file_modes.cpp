#include "app/file_modes.h"

#include <sys/stat.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

#include "kernels/error.h"

namespace trireme {

void restrict_file_modes() {
  constexpr mode_t no_others_and_no_writing_group = 027;
  const char* given = std::getenv("TRIREME_UMASK");
  if (given == nullptr) {
    ::umask(no_others_and_no_writing_group | ::umask(0777));
    return;
  }
  unsigned mask = 0;
  const char* const end = given + std::strlen(given);
  const auto read = std::from_chars(given, end, mask, 8);
  if (read.ec != std::errc{} || read.ptr != end || mask > 0777)
    refuse("TRIREME_UMASK: found '{}', expected an octal number up to 777", given);
  ::umask(mask);
}

}  // namespace trireme
