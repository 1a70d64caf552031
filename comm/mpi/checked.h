// The only place that includes MPI's header. Every call goes through TRIREME_MPI, which turns an error code into an
// Error.
#pragma once

// Not the C++ bindings of MPI-2, which need a library of their own.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <source_location>
#include <string>

namespace trireme {

/// Throws with MPI's own words for `code`, the call as written and the group it was made for.
[[noreturn]] void fail_mpi(int code, const char* expression, const std::string& group, std::source_location where);

inline void check_mpi(int code, const char* expression, const std::string& group,
                      std::source_location where = std::source_location::current()) {
  if (code != MPI_SUCCESS) fail_mpi(code, expression, group, where);
}

}  // namespace trireme

/// A macro, because only a macro can name the expression.
#define TRIREME_MPI(group, call) ::trireme::check_mpi((call), #call, (group))
