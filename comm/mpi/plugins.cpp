#include "comm/mpi/plugins.h"

#include <dlfcn.h>
#include <link.h>

#include <string>
#include <string_view>
#include <vector>

namespace trireme {

void keep_plugins() {
  std::vector<std::string> paths;
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void* found) {
        if (std::string_view(object->dlpi_name).find("/mca_") != std::string_view::npos)
          static_cast<std::vector<std::string>*>(found)->emplace_back(object->dlpi_name);
        return 0;
      },
      &paths);
  for (const std::string& path : paths) dlopen(path.c_str(), RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

}  // namespace trireme
