// What recognisers of text lines have beside GptConfig.
#pragma once

namespace trireme {

struct LineConfig {
  int height = 32;    ///< pixels of a line
  int channels = 32;  ///< of the first convolution
  int width = 256;    ///< of a line, in pixels: what costs are reckoned with, since lines have many widths
};

}  // namespace trireme
