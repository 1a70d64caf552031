// The programs that tests start: where this build put them, or, in an unpacked bundle, where its launcher says.
// As words of a shell's command line: spaces are escaped.
#pragma once

#include <string>

namespace trireme::test {

std::string trireme_executable();
/// tests/support/mpirun.sh
std::string mpirun_script();
/// tests/support/gate, to preload
std::string gate_library();
/// tests/support/stall; not part of a bundle.
std::string stall_library();
/// tests/support/nvml_stub, in a folder of its own
std::string nvml_stub();
/// tests/support/s3/server.py; not part of a bundle.
std::string s3_server_script();

}  // namespace trireme::test
