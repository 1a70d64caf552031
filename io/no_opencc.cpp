// Stands in for opencc.cpp where OpenCC was not found.
#include "io/opencc.h"
#include "kernels/error.h"

namespace trireme {

std::unique_ptr<ScriptConverter> make_simplifier() {
  refuse("script=simplified: this trireme was built without OpenCC (libopencc-dev); expected script=keep");
}

}  // namespace trireme
