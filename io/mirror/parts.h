// Work on the parts of many files, several at a time.
#pragma once

#include <functional>
#include <stop_token>
#include <vector>

#include "io/mirror/manifest.h"

namespace trireme::mirror {

struct PartWork {
  /// Before any part of the file, on some thread.
  std::function<void(std::size_t file)> begin;
  std::function<void(std::size_t file, std::int64_t part)> part;
  /// After all parts of the file.
  std::function<void(std::size_t file)> end;
};

/// Returns when all is done, by the caller and a few more threads. What a thread throws stops the others after their
/// part and is thrown again, as is a wish to stop.
void work_on_parts(const std::vector<MirroredFile>& files, const PartWork& work, const std::stop_token& stop);

}  // namespace trireme::mirror
