// What scanners, cameras, thermal printers and fax machines do to a line of text.
#pragma once

#include "io/lines/draws.h"
#include "io/lines/font.h"
#include "io/lines/line_dataset.h"

namespace trireme {

/// A grey picture of `height` rows of what `ink` covers, on paper: skewed, in perspective, on uneven ground with rules
/// and specks, thinned or thickened, blurred, of low resolution, noisy, and squeezed by JPEG, each more or less or not
/// at all as is drawn. `strength` 0 leaves black on white, 1 is what receipts meet, 2 is hard to read. `letters` is
/// the size of the letters that the ink was drawn with, in pixels. The labels stay empty.
Line scan(const Coverage& ink, int letters, int height, double strength, Draws& draws);

}  // namespace trireme
