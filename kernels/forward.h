// For the sources that define a vendor's functions and forward them to the library that kernels/library.h loads.
#pragma once

#include "kernels/library.h"

/// Body of `function`: looks up the library's function of that name, once, and calls it. `library()` must be there.
#define TRIREME_FORWARD(function, ...)                                                            \
  static auto* const real = reinterpret_cast<decltype(&(function))>(library().symbol(#function)); \
  return real(__VA_ARGS__)
