#include "kernels/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

#include "kernels/error.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

/// Folders that the loader does not look in by itself.
std::vector<fs::path> usual_folders(const std::string& wheel) {
  std::vector<fs::path> folders;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const char* home = std::getenv(variable))
      folders.insert(folders.end(), {fs::path(home) / "lib64", fs::path(home) / "lib"});
  folders.insert(folders.end(), {"/usr/local/cuda/lib64", "/usr/local/cuda/lib"});
  std::vector<fs::path> roots = {"/usr/local", "/usr"};
  for (const char* variable : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const char* root = std::getenv(variable)) roots.emplace_back(root);
  std::error_code ignored;
  for (const fs::path& root : roots) {
    for (const auto& entry : fs::directory_iterator(root / "lib", ignored)) {
      if (!entry.path().filename().string().starts_with("python3")) continue;
      for (const char* packages : {"site-packages", "dist-packages"})
        for (const std::string& folder : {wheel, std::string("cu13"), std::string("cu12")})
          folders.push_back(entry.path() / packages / "nvidia" / folder / "lib");
    }
  }
  return folders;
}

}  // namespace

void Library::load() {
  for (const std::string& name : search_.names) {
    handle_ = dlopen(name.c_str(), RTLD_NOW | RTLD_GLOBAL);
    if (handle_ != nullptr) return;
  }
  std::string reason = dlerror();  // of the last name: "cannot open shared object file" or what is wrong with it
  for (const fs::path& folder : usual_folders(search_.wheel)) {
    for (const std::string& name : search_.names) {
      std::error_code ignored;
      if (!fs::exists(folder / name, ignored)) continue;
      handle_ = dlopen((folder / name).c_str(), RTLD_NOW | RTLD_GLOBAL);
      if (handle_ != nullptr) return;
      reason = dlerror();
    }
  }
  refuse("{} cannot be loaded ({}): {}, or add its folder to LD_LIBRARY_PATH", search_.names.front(), reason,
         search_.advice);
}

void* Library::symbol(const char* name) {
  if (handle_ == nullptr) load();
  if (void* found = dlsym(handle_, name)) return found;
  fail("{} lacks the function {}: it is too old for this program", search_.names.front(), name);
}

}  // namespace trireme
