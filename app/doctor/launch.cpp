#include "app/doctor/launch.h"

#include <fmt/format.h>

#include <charconv>
#include <fstream>

namespace trireme {

Environment starting_environment() {
  Environment environment;
  std::ifstream file("/proc/self/environ");
  for (std::string entry; std::getline(file, entry, '\0');) {
    const auto equals = entry.find('=');
    if (equals != std::string::npos) environment[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  return environment;
}

Launch launch_of(const Environment& environment) {
  const auto text = [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  };
  const auto number = [&](const char* name) {
    int value = 1;
    const std::string digits = text(name);
    std::from_chars(digits.data(), digits.data() + digits.size(), value);
    return value;
  };

  Launch launch;
  launch.slurm_tasks = number("SLURM_NTASKS");
  const std::string job = text("SLURM_JOB_ID");
  const std::string in_job = job.empty() ? "" : fmt::format(" in Slurm job {}", job);
  // mpirun's processes are below srun's in a Slurm job. What a batch script itself runs has no number of step tasks.
  if (environment.contains("OMPI_COMM_WORLD_SIZE")) {
    launch.launcher = "mpirun" + in_job;
    launch.processes = number("OMPI_COMM_WORLD_SIZE");
  } else if (environment.contains("SLURM_STEP_NUM_TASKS") && environment.contains("SLURM_PROCID")) {
    launch.launcher = "srun" + in_job;
    launch.processes = number("SLURM_STEP_NUM_TASKS");
  } else if (environment.contains("PMI_SIZE")) {
    launch.launcher = "mpiexec" + in_job;
    launch.processes = number("PMI_SIZE");
  }
  if (environment.contains("PMIX_RANK"))
    launch.process_manager = fmt::format("PMIx {}", text("PMIX_VERSION"));
  else if (environment.contains("PMI_RANK"))
    launch.process_manager = "PMI";
  return launch;
}

}  // namespace trireme
