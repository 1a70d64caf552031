// For tests of errors: what was thrown, as a value.
#pragma once

#include "kernels/error.h"

namespace trireme {

/// The Error that a call throws; one with status `done` if it throws none.
template <typename Call>
Error error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return Error("nothing was thrown", ExitStatus::done);
}

}  // namespace trireme
