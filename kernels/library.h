// Vendor libraries that are loaded when they are first needed, so that one executable runs on machines without them.
#pragma once

#include <string>
#include <vector>

namespace trireme {

/// A shared library, looked for by these names where the loader looks, then in the usual places of the CUDA toolkit
/// and of the Python wheels that carry it.
class Library {
 public:
  struct Search {
    std::vector<std::string> names;  ///< file names in order of preference: "libcudnn.so.9"
    std::string wheel;               ///< folder of the wheel under site-packages/nvidia: "cudnn"
    std::string advice;              ///< what to install where it is missing
  };

  explicit Library(Search search) : search_(std::move(search)) {}
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  /// Address of a function; loads the library first. Refuses with the advice where the library is missing, fails where
  /// it lacks the function.
  void* symbol(const char* name);

 private:
  void load();

  Search search_;
  void* handle_ = nullptr;  ///< stays loaded until the process ends
};

}  // namespace trireme
