// Folders and processes for the tests of app/.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>

#include "tests/support/programs.h"

namespace trireme::test {

/// In memory where there is room: what runs write, they flush, and on a busy disk that takes seconds.
inline std::filesystem::path quick_folder() {
  std::error_code error;
  const auto space = std::filesystem::space("/dev/shm", error);
  return !error && space.available > (std::uintmax_t{1} << 30) ? "/dev/shm" : std::filesystem::temp_directory_path();
}

/// A folder of its own that is removed with everything in it.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const std::filesystem::path& parent = quick_folder()) {
    std::string name = (parent / "trireme-app-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

inline std::string read_text(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

inline void write_text(const std::filesystem::path& file, std::string_view text) {
  std::ofstream(file, std::ios::binary) << text;
}

/// What a finished process left.
struct ProcessResult {
  int status = -1;
  std::string out, err;
};

/// Runs a shell command line with its output captured.
inline ProcessResult run_shell(const std::string& command) {
  const TemporaryFolder folder;
  const std::string redirected =
      "{ " + command + "\n} </dev/null >" + (folder / "out").string() + " 2>" + (folder / "err").string();
  const int raw = std::system(redirected.c_str());
  ProcessResult result;
  if (WIFEXITED(raw)) result.status = WEXITSTATUS(raw);
  result.out = read_text(folder / "out");
  result.err = read_text(folder / "err");
  return result;
}

/// Runs the built executable; `arguments` as a shell reads them.
inline ProcessResult run_trireme(const std::string& arguments) {
  return run_shell(trireme_executable() + " " + arguments);
}

}  // namespace trireme::test
