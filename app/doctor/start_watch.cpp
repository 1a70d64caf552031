#include "app/doctor/start_watch.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "app/doctor/finding.h"
#include "app/doctor/launch.h"
#include "app/doctor/sockets.h"
#include "app/options.h"

namespace trireme {
namespace {

/// Rank of this process as its launcher tells it; MPI cannot be asked.
std::string launched_rank() {
  const Environment environment = starting_environment();
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"})
    if (const auto found = environment.find(name); found != environment.end()) return found->second;
  return "0";
}

/// Empty where this rank has nothing to say.
std::string diagnosis(double seconds) {
  std::vector<std::string> waiting;
  for (const Connection& connection : connections_to_other_hosts())
    if (!connection.established) waiting.push_back(fmt::format("from {} to {}", connection.local, connection.remote));
  const std::string rank = launched_rank();
  if (waiting.empty() && rank != "0") return {};
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return fmt::format(
      "rank {} ({}): MPI has not brought all ranks together in {:.3g} s{}; does a firewall close ports "
      "between hosts, or is a rank stopped? OMPI_MCA_btl_tcp_if_include=NETWORK/BITS chooses the network",
      rank, host.data(), seconds,
      waiting.empty() ? "" : fmt::format(", waits for connections {}", fmt::join(waiting, ", ")));
}

}  // namespace

StartWatch::StartWatch(double seconds) : thread_([this, seconds] { run(seconds); }) {}

StartWatch::~StartWatch() {
  {
    const std::scoped_lock lock(mutex_);
    over_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void StartWatch::run(double seconds) {
  std::unique_lock lock(mutex_);
  const auto over = [this] { return over_; };
  if (changed_.wait_for(lock, std::chrono::duration<double>(seconds), over)) return;
  if (const std::string text = diagnosis(seconds); !text.empty()) {
    std::fputs(to_line({Verdict::fail, "start", text}).c_str(), stdout);
    std::fflush(stdout);
  }
  // The first process to end takes the others with it: they shall have spoken too.
  changed_.wait_for(lock, std::chrono::seconds(1), over);
  std::_Exit(1);
}

double start_patience(std::span<const std::string> arguments) {
  constexpr double timeouts = 3;
  try {
    return timeouts * parse_command_line(Command::doctor, arguments).doctor.timeout;
  } catch (const Error&) {
    return timeouts * DoctorOptions().timeout;  // all ranks will refuse alike
  }
}

}  // namespace trireme
