#include "app/doctor/judge.h"

#include <fmt/ranges.h>
#include <gnu/libc-version.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

namespace trireme {
namespace {

const RankFacts& at(const Ranks& ranks, int rank) { return ranks[static_cast<std::size_t>(rank)]; }

std::string plural(std::size_t count, const std::string& noun) {
  return fmt::format("{} {}{}", count, noun, count == 1 ? "" : "s");
}

/// "node1, node2, node3 and 5 more"
std::string shortened(const std::vector<std::string>& names) {
  constexpr std::size_t shown = 3;
  const std::vector<std::string> head(names.begin(),
                                      names.begin() + std::min<std::ptrdiff_t>(shown, std::ssize(names)));
  return fmt::format("{}{}", fmt::join(head, ", "),
                     names.size() > shown ? fmt::format(" and {} more", names.size() - shown) : "");
}

/// Findings of single hosts, told once for all hosts that have the same.
class HostFindings {
 public:
  void add(const std::string& host, Verdict verdict, const std::string& text) {
    hosts_[{verdict, text}].push_back(host);
  }
  Findings of(const std::string& check) const {
    Findings findings;
    for (const auto& [what, hosts] : hosts_)
      findings.push_back({what.first, check, fmt::format("{}: {}", shortened(hosts), what.second)});
    return findings;
  }

 private:
  std::map<std::pair<Verdict, std::string>, std::vector<std::string>> hosts_;
};

void judge_cores_of(const HostRanks& host, const Ranks& ranks, HostFindings& findings) {
  std::set<int> cores;
  std::size_t threads = 0;
  bool bound = false;
  for (const int rank : host.ranks) {
    const RankFacts& facts = at(ranks, rank);
    cores.insert(facts.cores.begin(), facts.cores.end());
    threads += static_cast<std::size_t>(facts.threads);
    bound |= facts.cores != facts.host_cores;
  }
  const RankFacts& first = at(ranks, host.ranks.front());
  const bool limited = first.core_quota > 0 && first.core_quota < static_cast<double>(cores.size());
  const std::size_t usable =
      limited ? std::max<std::size_t>(1, static_cast<std::size_t>(first.core_quota)) : cores.size();
  const std::string found = fmt::format(
      "{} of {} on {}{}", plural(host.ranks.size(), "rank"), plural(static_cast<std::size_t>(first.threads), "thread"),
      plural(usable, "core"), limited ? fmt::format(" (a control group's limit, of {})", cores.size()) : "");
  if (host.ranks.size() > usable)
    findings.add(host.host, Verdict::warn, fmt::format("{}: they take turns; start at most {} there", found, usable));
  else if (threads > usable)
    findings.add(
        host.host, Verdict::warn,
        fmt::format("{}: too many; leave OMP_NUM_THREADS out or set it to {}", found, usable / host.ranks.size()));
  else if (bound && 2 * cores.size() <= first.host_cores.size())
    findings.add(host.host, Verdict::warn,
                 fmt::format("{}, to which they are bound, of {}: the others idle; mpirun --bind-to none, as "
                             "jobs/mpirun.sh does, lets ranks use all",
                             found, first.host_cores.size()));
  else
    findings.add(host.host, Verdict::ok, fmt::format("{}, {}", found, bound ? "bound" : "not bound to any"));
}

std::string name_of(const LoadedLibrary& library) {
  return fmt::format("{} (build {:.8})", library.version, library.build);
}

/// "libx.so.1 is A on rank 0, B on ranks 2-3 (node2)"
std::string difference(const std::string& name, const Ranks& ranks) {
  std::string text = name + " is ";
  const auto& all = ranks.front().libraries;
  text += name_of(*std::ranges::find(all, name, &LoadedLibrary::name)) + " on rank 0";
  std::map<std::string, std::vector<int>> others;
  for (int rank = 1; rank < std::ssize(ranks); ++rank)
    for (const LoadedLibrary& library : at(ranks, rank).libraries)
      if (library.name == name) others[name_of(library)].push_back(rank);
  for (const auto& [other, holders] : others)
    text += fmt::format(", {} on {} {} ({})", other, holders.size() == 1 ? "rank" : "ranks", format_ranges(holders),
                        at(ranks, holders.front()).host);
  return text;
}

}  // namespace

std::vector<HostRanks> hosts_of(const Ranks& ranks) {
  std::vector<HostRanks> hosts;
  for (int rank = 0; rank < std::ssize(ranks); ++rank) {
    auto found = std::ranges::find(hosts, at(ranks, rank).host, &HostRanks::host);
    if (found == hosts.end()) found = hosts.insert(found, {at(ranks, rank).host, {}});
    found->ranks.push_back(rank);
  }
  return hosts;
}

Finding judge_launcher(const RankFacts& first, int world) {
  const Launch& launch = first.launch;
  if (launch.processes > world)
    return {Verdict::fail, "launcher",
            fmt::format("{} started {} processes, but MPI joins {} of them: each would train alone; use {}",
                        launch.launcher, launch.processes, world,
                        launch.launcher.starts_with("srun") ? "srun --mpi=pmix ('srun --mpi=list' shows what it knows)"
                                                            : "the mpirun of " + mpi_library())};
  if (launch.launcher.empty() && launch.slurm_tasks > 1)
    return {Verdict::warn, "launcher",
            fmt::format("none: one rank in a Slurm job of {} tasks; start with srun --mpi=pmix, or mpirun",
                        launch.slurm_tasks)};
  if (launch.launcher.empty())
    return {Verdict::ok, "launcher", "none: one rank by itself; mpirun -n N, or srun --mpi=pmix, starts N"};
  return {Verdict::ok, "launcher",
          fmt::format("{}, {}{}", launch.launcher, mpi_library(),
                      launch.process_manager.empty() ? "" : ", " + launch.process_manager)};
}

Finding judge_hosts(const Ranks& ranks) {
  std::vector<std::string> names;
  for (const HostRanks& host : hosts_of(ranks))
    names.push_back(
        fmt::format("{} ({} {})", host.host, host.ranks.size() == 1 ? "rank" : "ranks", format_ranges(host.ranks)));
  return {Verdict::ok, "hosts",
          fmt::format("{} on {}: {}", plural(ranks.size(), "rank"), plural(names.size(), "host"), shortened(names))};
}

Findings judge_cores(const Ranks& ranks) {
  HostFindings findings;
  for (const HostRanks& host : hosts_of(ranks)) judge_cores_of(host, ranks, findings);
  return findings.of("cores");
}

Findings judge_versions(const Ranks& ranks) {
  std::set<std::string> differing;
  for (std::size_t rank = 1; rank < ranks.size(); ++rank)
    for (const LoadedLibrary& library : ranks[rank].libraries) differing.insert(library.name);
  if (differing.erase("trireme") != 0)
    return {{Verdict::warn, "versions",
             difference("trireme", ranks) + ": another build computes and talks otherwise; copy one to all hosts"}};
  if (!differing.empty()) {
    std::vector<std::string> texts;
    for (const std::string& name : differing) texts.push_back(difference(name, ranks));
    return {{Verdict::warn, "versions", shortened(texts) + ": install the same packages on all hosts"}};
  }
  std::vector<std::string> known = {mpi_library(), fmt::format("glibc {}", gnu_get_libc_version())};
  const auto& libraries = ranks.front().libraries;
  for (const LoadedLibrary& library : libraries)
    for (const char* name : {"libhdf5", "libdnnl.", "libcuda.", "libcudnn.", "libnccl."})
      if (library.name.starts_with(name)) known.push_back(library.version);
  return {{Verdict::ok, "versions",
           fmt::format(
               "trireme {}, {}{}", name_of(libraries.front()), fmt::join(known, ", "),
               ranks.size() == 1 ? "" : fmt::format(": all {} libraries the same everywhere", libraries.size() - 1))}};
}

Findings judge_shared_memory(const Ranks& ranks) {
  constexpr double of_rank = 4 << 20;  // Open MPI's segment
  constexpr double of_gpu = 32 << 20;  // about what NCCL takes for each
  HostFindings findings;
  for (const HostRanks& host : hosts_of(ranks)) {
    const RankFacts& first = at(ranks, host.ranks.front());
    const double needed = static_cast<double>(host.ranks.size()) * (first.gpus > 0 ? of_gpu : of_rank);
    const std::string found = fmt::format("{} free in /dev/shm", format_bytes(first.shared_memory));
    if (host.ranks.size() > 1 && first.shared_memory < needed)
      findings.add(
          host.host, Verdict::warn,
          fmt::format("{}, and {} may need {}: ranks die with a bus error when it is full; enlarge it (mount -o "
                      "remount,size=1G /dev/shm; docker run --shm-size=1g)",
                      found, plural(host.ranks.size(), "rank"), format_bytes(needed)));
    else
      findings.add(host.host, Verdict::ok, "enough free in /dev/shm");
  }
  return findings.of("shm");
}

Findings judge_limits(const Ranks& ranks) {
  HostFindings findings;
  for (const HostRanks& host : hosts_of(ranks)) {
    const RankFacts& first = at(ranks, host.ranks.front());
    // A socket for each rank elsewhere, and this program's own files.
    const auto needed = static_cast<std::int64_t>(ranks.size() - host.ranks.size()) + 200;
    const std::string locked = first.locked_memory < 0 ? "any amount" : format_bytes(first.locked_memory);
    if (first.open_files < needed)
      findings.add(host.host, Verdict::warn,
                   fmt::format("a rank may open {} files and may need {}; raise it (ulimit -n; LimitNOFILE of slurmd)",
                               first.open_files, needed));
    if (first.infiniband && first.locked_memory >= 0)
      findings.add(host.host, Verdict::warn,
                   fmt::format("{} of memory may be locked, but InfiniBand needs any amount; raise it (ulimit -l "
                               "unlimited; LimitMEMLOCK of slurmd)",
                               locked));
    if (first.open_files >= needed && (!first.infiniband || first.locked_memory < 0))
      findings.add(host.host, Verdict::ok,
                   fmt::format("{} open files, {} of locked memory a rank", first.open_files, locked));
  }
  return findings.of("limits");
}

Findings judge_gpus(const Ranks& ranks, DeviceChoice wanted) {
  if (wanted == DeviceChoice::cpu) return {};
  const bool some =
      wanted == DeviceChoice::cuda || std::ranges::any_of(ranks, [](const auto& each) { return each.gpus > 0; });
  HostFindings findings;
  for (const HostRanks& host : hosts_of(ranks)) {
    const RankFacts& first = at(ranks, host.ranks.front());
    const std::string found = fmt::format("{} for {}", plural(static_cast<std::size_t>(first.gpus), "GPU"),
                                          plural(host.ranks.size(), "rank"));
    if (first.gpus == 0 && some)
      findings.add(host.host, Verdict::fail,
                   "no usable GPU, but " +
                       std::string(wanted == DeviceChoice::cuda ? "train.device=cuda" : "other hosts have some") +
                       "; mend its driver ('nvidia-smi' there), or set train.device=cpu");
    else if (first.gpus == 0 && first.gpu_device)
      findings.add(
          host.host, Verdict::warn,
          "has a GPU that this program cannot use; is it a build with CUDA, and does 'nvidia-smi' work there?");
    else if (first.gpus > 0)
      findings.add(host.host, Verdict::ok, found);
  }
  return findings.of("gpus");
}

Findings judge_data(const Ranks& ranks) {
  for (int rank = 0; rank < std::ssize(ranks); ++rank)
    if (!at(ranks, rank).data_error.empty())
      return {{Verdict::fail, "data",
               fmt::format("rank {} ({}): {}; all hosts need the files under the same paths", rank,
                           at(ranks, rank).host, at(ranks, rank).data_error)}};
  for (int rank = 1; rank < std::ssize(ranks); ++rank)
    if (at(ranks, rank).data_size != ranks.front().data_size)
      return {
          {Verdict::fail, "data",
           fmt::format("data.train has {} on {}, but {} on {}; copy the same files to all hosts",
                       ranks.front().data_size, ranks.front().host, at(ranks, rank).data_size, at(ranks, rank).host)}};
  if (ranks.front().data_size.empty()) return {};
  return {{Verdict::ok, "data", fmt::format("data.train has {}, the same on all ranks", ranks.front().data_size)}};
}

Finding judge_clocks(const std::vector<ClockReading>& readings) {
  const auto worst = std::ranges::max_element(readings, {}, [](const auto& each) { return std::abs(each.ahead); });
  const double off = std::abs(worst->ahead);
  if (off <= 1.0) return {Verdict::ok, "clocks", fmt::format("within {} of each other", format_seconds(off))};
  return {Verdict::warn, "clocks",
          fmt::format("{} is {} {} rank 0's host; run chrony or NTP on all hosts", worst->host, format_seconds(off),
                      worst->ahead > 0 ? "ahead of" : "behind")};
}

}  // namespace trireme
