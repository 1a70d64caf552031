// Image files of lines.
#pragma once

#include <filesystem>

#include "io/lines/line_dataset.h"

namespace trireme {

/// A JPEG or PNG of one line as recognisers take it: grey, brought to `height` rows without a change of its shape.
/// Refuses what is missing or does not decode, naming the file.
Line read_line_image(const std::filesystem::path& file, int height);

}  // namespace trireme
