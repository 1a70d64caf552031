#include "app/doctor.h"

#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <numeric>

#include "app/commands.h"
#include "app/doctor/demand.h"
#include "app/doctor/directory.h"
#include "app/doctor/exchange.h"
#include "app/session.h"
#include "app/workload.h"
#include "comm/measure.h"
#include "comm/nccl/nccl_world.h"
#include "io/checkpoint/agreement.h"

namespace trireme {
namespace {

/// Prints findings as they come, so that what hangs later does not take them along. Used by rank 0.
class Report {
 public:
  void add(const Finding& finding) {
    // Under mpirun stdout may look like a terminal and be none; stderr never does.
    const bool colour = ::isatty(STDOUT_FILENO) == 1 && ::isatty(STDERR_FILENO) == 1;
    std::cout << to_line(finding, colour) << std::flush;
    warnings_ += finding.verdict == Verdict::warn ? 1 : 0;
    failures_ += finding.verdict == Verdict::fail ? 1 : 0;
  }
  void add(const Findings& findings) {
    for (const Finding& finding : findings) add(finding);
  }
  void close() const { std::cout << fmt::format("{} WARN, {} FAIL\n", warnings_, failures_) << std::flush; }
  bool failed() const { return failures_ > 0; }

 private:
  int warnings_ = 0, failures_ = 0;
};

class Doctor {
 public:
  Doctor(const Configuration& configuration, World& world)
      : configuration_(configuration),
        workload_(workload_of(configuration)),
        world_(world),
        patience_{configuration.doctor.timeout} {}

  ExitStatus examine() {
    look_at_ranks();
    if (world_.size() > 1) {
      look_at_clocks();
      look_at_network();
    }
    look_at_gpus();
    look_at_model();
    look_at_directory();
    if (here()) report_.close();
    const bool failed =
        broadcast_text(world_.all(), here() && report_.failed() ? "failed" : "", deadline()) == "failed";
    return failed ? ExitStatus::failed : ExitStatus::done;
  }

  /// The end of a job in which some rank is silent.
  [[noreturn]] void give_up(const std::string& check, const std::string& why) {
    if (here()) {
      if (!why.empty()) report_.add({Verdict::fail, check, why});
      report_.close();
    } else {
      std::cerr << fmt::format("trireme: rank {} ({}): {}\n", world_.rank(), world_.host(), why);
    }
    world_.abort(static_cast<int>(ExitStatus::failed));
  }

 private:
  bool here() const { return world_.rank() == 0; }
  Deadline deadline() const { return patience_.of(world_); }

  void look_at_ranks() {
    const bool gpus = configuration_.train.device != DeviceChoice::cpu;
    const int count = gpus ? cuda_device_count() : 0;
    if (count > 0) why_no_nccl();  // loads it, so that its version is seen
    RankFacts mine = own_facts(world_);
    mine.gpus = count;
    look_at_data(mine);
    ranks_ = gather_facts(world_, std::move(mine), patience_);
    firsts_ = first_ranks(world_, ranks_, patience_);
    if (!here()) return;
    report_.add(judge_launcher(ranks_.front(), world_.size()));
    report_.add(judge_hosts(ranks_));
    report_.add(judge_cores(ranks_));
    const Findings of_gpus = judge_gpus(ranks_, configuration_.train.device);
    report_.add(of_gpus);
    report_.add(judge_versions(ranks_));
    report_.add(judge_shared_memory(ranks_));
    report_.add(judge_limits(ranks_));
    report_.add(judge_data(ranks_));
  }

  void look_at_data(RankFacts& mine) {
    if (configuration_.data.train.empty()) return;
    try {
      const auto data = open_data(configuration_, configuration_.data.train, "data.train");
      mine.data_size = fmt::format("{} {}", data->size(), data->unit());
      if (!workload_.is_complete(configuration_)) workload_.take(configuration_, data->tokenizer());
    } catch (const Error& error) {
      mine.data_error = error.what();
    }
  }

  void look_at_clocks() {
    if (firsts_.size() < 2) return;
    const auto readings = read_clocks(world_, ranks_, firsts_, patience_);
    if (here()) report_.add(judge_clocks(readings));
  }

  void look_at_network() {
    const auto backend = make_cpu_backend(1);
    measure_all_reduce(world_.all(), *backend, 4, deadline());  // all begin together
    const RingReport ring = measure_ring(world_, world_.all(), *backend, patience_);
    if (here()) {
      report_.add(judge_network(ranks_, ring.connections));
      report_.add(judge_links(ranks_, ring.pairs));
      if (any_silent(ring.pairs)) give_up({}, {});
    }
    report_all_reduce("all-reduce", world_.all(), *backend);
  }

  static bool any_silent(const std::vector<PairReport>& pairs) {
    return std::ranges::any_of(pairs, [](const PairReport& pair) { return !pair.silence.empty(); });
  }

  void report_all_reduce(const char* check, Communicator& ranks, Backend& backend) {
    const double small = measure_all_reduce(ranks, backend, 8, deadline());
    const double large = measure_all_reduce(ranks, backend, measured_bytes, deadline());
    if (here())
      report_.add({Verdict::ok, check,
                   fmt::format("between all ranks: 8 B in {}, {} in {}", format_seconds(small),
                               format_bytes(measured_bytes), format_seconds(large))});
  }

  /// Tensors of GPUs, between them. Only where every rank has one, as was said before.
  void look_at_gpus() {
    const bool everywhere = here() && std::ranges::all_of(ranks_, [](const RankFacts& each) { return each.gpus > 0; });
    if (broadcast_text(world_.all(), everywhere ? "everywhere" : "", deadline()).empty()) return;
    const auto backend = make_backend(configuration_.train, world_);
    if (world_.size() == 1) {
      report_.add({Verdict::ok, "device", backend->description()});
      return;
    }
    DeviceGroups groups(world_, *backend, {.start = seconds(), .operation = seconds()});
    std::vector<int> everyone(static_cast<std::size_t>(world_.size()));
    std::iota(everyone.begin(), everyone.end(), 0);
    const auto ranks = groups.group("doctor", everyone);
    const char* check = groups.transport() == Transport::nccl ? "nccl" : "gpu-staged";
    const RingReport ring = measure_ring(world_, *ranks, *backend, patience_);
    if (here()) {
      if (!groups.why_staged().empty()) report_.add({Verdict::warn, check, groups.why_staged()});
      for (Finding finding : judge_links(ranks_, ring.pairs)) {
        finding.text = finding.check + " " + finding.text;
        finding.check = check;
        report_.add(finding);
      }
      if (any_silent(ring.pairs)) give_up({}, {});
    }
    report_all_reduce(check, *ranks, *backend);
  }

  std::chrono::duration<double> seconds() const { return std::chrono::duration<double>(patience_.seconds); }

  /// Rank 0 alone: nothing is made.
  void look_at_model() {
    if (!here() || !workload_.is_complete(configuration_)) return;
    try {
      const ParallelOptions& parallel = configuration_.parallel;
      const Architecture architecture =
          workload_.architecture(configuration_, parallel.tensor, configuration_.train.precision);
      const Layout layout =
          resolve_layout({.data = parallel.data, .tensor = parallel.tensor, .pipeline = parallel.pipeline},
                         limits_of(configuration_, architecture.blocks.size(), world_.size()));
      demand_ = demand_of(configuration_, layout);
      report_.add({Verdict::ok, "layout", layout.to_string()});
      const bool on_cpu = std::ranges::all_of(ranks_, [](const RankFacts& each) { return each.gpus == 0; });
      if (on_cpu) report_.add(judge_memory(ranks_, *demand_));
    } catch (const Error& error) {
      report_.add({Verdict::fail, "layout", error.what()});
    }
  }

  void look_at_directory() {
    const auto& directory = configuration_.checkpoint.directory;
    if (directory.empty()) {
      if (here()) report_.add({Verdict::ok, "directory", "checkpoint.directory is not set: nothing will be saved"});
      return;
    }
    const Findings findings = check_directory(world_, firsts_, directory, true, demand_, patience_);
    if (!here()) return;
    report_.add(findings);
    if (findings.front().verdict != Verdict::fail)
      report_.add(judge_space(space_of(directory), demand_, configuration_.checkpoint));
  }

  Configuration configuration_;
  const Workload& workload_;
  World& world_;
  Patience patience_;
  Report report_;
  Ranks ranks_;                   ///< on rank 0
  std::vector<int> firsts_;       ///< the first rank of each host
  std::optional<Demand> demand_;  ///< on rank 0
};

}  // namespace

ExitStatus run_doctor(const Configuration& configuration, World& world) {
  Doctor doctor(configuration, world);
  try {
    return doctor.examine();
  } catch (const Unanswered& error) {
    doctor.give_up("answers", error.what());
  }
}

void check_before_training(const Configuration& configuration, World& world, std::int64_t parameters) {
  constexpr Patience patience{60};
  const auto& directory = configuration.checkpoint.directory;
  const Ranks ranks = gather_facts(world, own_facts(world), patience);
  const std::vector<int> firsts = first_ranks(world, ranks, patience);
  Findings findings;
  if (!directory.empty() && firsts.size() > 1)
    findings = check_directory(world, firsts, directory, false, std::nullopt, patience);
  together(world.all(), [&] {
    if (world.rank() != 0) return;
    const auto add = [&](const Findings& more) { findings.insert(findings.end(), more.begin(), more.end()); };
    add({judge_launcher(ranks.front(), world.size())});
    for (const auto& judge : {judge_cores, judge_versions, judge_shared_memory, judge_limits}) add(judge(ranks));
    if (!directory.empty()) {
      const Demand demand{.parameters = parameters, .checkpoint_bytes = checkpoint_bytes_of(parameters)};
      add({judge_space(space_of(directory), demand, configuration.checkpoint)});
    }
    std::vector<std::string> failures;
    for (const Finding& finding : findings) {
      if (finding.verdict == Verdict::fail) failures.push_back(finding.text);
      if (finding.verdict == Verdict::warn) std::cerr << to_line(finding) << std::flush;
    }
    if (!failures.empty()) refuse("{}", fmt::join(failures, "; "));
  });
}

}  // namespace trireme
