#include "app/doctor/facts.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>

#include "comm/mpi/cores.h"
#include "kernels/error.h"

namespace trireme {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(LoadedLibrary, name, version, build)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Launch, launcher, process_manager, processes, slurm_tasks)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(RankFacts, host, local_rank, launch, cores, host_cores, core_quota, threads, memory,
                                   shared_memory, open_files, locked_memory, infiniband, parts, libraries, gpus,
                                   gpu_device, data_size, data_error)

namespace {

/// The folders of this process's control group, innermost first, in the hierarchy of version 2 or of a controller of
/// version 1. Inside a container its own group is the root that it sees.
std::vector<std::filesystem::path> control_groups(const std::string& controller) {
  std::ifstream file("/proc/self/cgroup");
  std::vector<std::filesystem::path> folders;
  for (std::string line; std::getline(file, line);) {
    const auto names = line.find(':') + 1;
    const auto path = line.find(':', names) + 1;
    const std::string found = line.substr(names, path - names - 1);
    if (!found.empty() && found != controller) continue;
    const std::filesystem::path root = found.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/" + controller;
    for (std::filesystem::path group = line.substr(path);; group = group.parent_path()) {
      folders.push_back(root / group.relative_path());
      if (group == group.parent_path()) break;
    }
  }
  return folders;
}

/// The first numbers of a file; none where it cannot be read or holds a word ("max").
std::vector<double> numbers_in(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::vector<double> numbers;
  for (double number = 0; stream >> number;) numbers.push_back(number);
  return numbers;
}

double core_quota() {
  double quota = 0;
  const auto limit = [&](double time, double period) {
    if (time > 0 && period > 0 && (quota == 0 || time / period < quota)) quota = time / period;
  };
  for (const auto& group : control_groups("cpu")) {
    if (const auto both = numbers_in(group / "cpu.max"); both.size() == 2) limit(both[0], both[1]);
    const auto time = numbers_in(group / "cpu.cfs_quota_us");
    const auto period = numbers_in(group / "cpu.cfs_period_us");
    if (!time.empty() && !period.empty()) limit(time[0], period[0]);
  }
  return quota;
}

double free_memory() {
  double left = std::numeric_limits<double>::max();
  std::ifstream file("/proc/meminfo");
  for (std::string name, unit; file >> name;) {
    double kilobytes = 0;
    file >> kilobytes;
    std::getline(file, unit);
    if (name == "MemAvailable:") left = 1024 * kilobytes;
  }
  for (const auto& group : control_groups("memory"))
    for (const auto& [limit, used] :
         {std::pair("memory.max", "memory.current"), std::pair("memory.limit_in_bytes", "memory.usage_in_bytes")}) {
      const auto most = numbers_in(group / limit);
      const auto now = numbers_in(group / used);
      if (!most.empty() && !now.empty()) left = std::min(left, std::max(0.0, most[0] - now[0]));
    }
  return left;
}

double free_bytes(const char* path) {
  struct statvfs system {};
  return statvfs(path, &system) == 0 ? static_cast<double>(system.f_bavail) * static_cast<double>(system.f_frsize) : 0;
}

rlim_t limit_of(__rlimit_resource resource) {
  rlimit limit{};
  return getrlimit(resource, &limit) == 0 ? limit.rlim_cur : 0;
}

/// What the launcher, this process's parent, may use: the job's share of the host. A shell in between, or a parent that
/// is gone, makes it this process's own.
std::vector<int> cores_of_host() {
  try {
    return physical_cores(bound_cpus(getppid()));
  } catch (const Error&) {
    return physical_cores(bound_cpus());
  }
}

/// "mca_btl_tcp.so" is "btl_tcp".
std::vector<std::string> parts_among(const std::vector<LoadedLibrary>& libraries) {
  std::vector<std::string> parts;
  for (const LoadedLibrary& library : libraries)
    for (const char* framework : {"mca_pml_", "mca_mtl_", "mca_btl_"})
      if (library.name.starts_with(framework)) parts.push_back(library.name.substr(4, library.name.find('.') - 4));
  return parts;
}

}  // namespace

RankFacts own_facts(const World& world) {
  RankFacts facts;
  facts.host = world.host();
  facts.local_rank = world.local_rank();
  facts.launch = launch_of(starting_environment());
  facts.cores = physical_cores(bound_cpus());
  facts.host_cores = cores_of_host();
  facts.core_quota = core_quota();
  facts.threads = threads_per_rank(world);
  facts.memory = free_memory();
  facts.shared_memory = free_bytes("/dev/shm");
  const rlim_t files = limit_of(RLIMIT_NOFILE);
  facts.open_files =
      files == RLIM_INFINITY ? std::numeric_limits<std::int64_t>::max() : static_cast<std::int64_t>(files);
  const rlim_t locked = limit_of(RLIMIT_MEMLOCK);
  facts.locked_memory = locked == RLIM_INFINITY ? -1 : static_cast<double>(locked);
  facts.infiniband = std::filesystem::exists("/dev/infiniband");
  facts.libraries = loaded_libraries();
  facts.parts = parts_among(facts.libraries);
  facts.gpu_device = std::filesystem::exists("/dev/nvidia0");
  return facts;
}

using nlohmann::json;

/// Paths in messages need not be UTF-8.
std::string dump(const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); }

std::string to_text(const RankFacts& facts) { return dump(facts); }
RankFacts facts_of(const std::string& text) { return json::parse(text).get<RankFacts>(); }
std::string to_text(const std::vector<LoadedLibrary>& libraries) { return dump(libraries); }
std::vector<LoadedLibrary> libraries_of(const std::string& text) {
  return json::parse(text).get<std::vector<LoadedLibrary>>();
}

}  // namespace trireme
