#include "app/hang_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

namespace trireme {
namespace {

/// A rank that cannot run, or a thread that hangs without waiting for another.
struct Culprit {
  const RankReport* rank;
  const ThreadReport* thread;

  std::string name() const {
    const bool of_all = thread == nullptr || thread->name == "main";
    return fmt::format("rank {}{}", rank->rank, of_all ? "" : "'s thread \"" + thread->name + "\"");
  }
  std::string reason() const {
    return rank->trouble.empty() ? fmt::format("hangs in {}", thread->activity) : rank->trouble;
  }
};

const ThreadReport* stillest(const RankReport& rank) {
  const auto found = std::ranges::max_element(rank.threads, {}, &ThreadReport::still);
  return found == rank.threads.end() ? nullptr : &*found;
}

std::vector<Culprit> find_culprits(const HangReport& report) {
  std::vector<Culprit> culprits;
  for (const RankReport& rank : report.ranks)
    if (!rank.trouble.empty()) culprits.push_back({&rank, stillest(rank)});
  if (!culprits.empty()) return culprits;
  // Who waits has been still for no longer than those it waits for, but for the time between two looks.
  constexpr double nearly = 0.8;
  for (const RankReport& rank : report.ranks)
    for (const ThreadReport& thread : rank.threads)
      if (thread.waits == Waits::no && thread.still >= nearly * report.patience) culprits.push_back({&rank, &thread});
  return culprits;
}

std::string headline(const HangReport& report, const Culprit& about) {
  const std::string subject = fmt::format("{} (host {})", about.name(), report.host);
  const std::string trouble = about.rank->trouble.empty() ? "" : fmt::format("; the process {}", about.rank->trouble);
  if (about.thread == nullptr) return subject + trouble;
  return fmt::format("{} has not moved for {:.0f} s: {}{}", subject, about.thread->still, about.thread->activity,
                     trouble);
}

std::string positions(const HangReport& report) {
  std::string text;
  for (const RankReport& rank : report.ranks) {
    std::string who = fmt::format("rank {} (process {}{}{})", rank.rank, rank.process,
                                  rank.trouble.empty() ? "" : ", which ", rank.trouble);
    if (rank.threads.empty()) text += fmt::format("  {} is at nothing that is watched\n", who);
    for (const ThreadReport& thread : rank.threads)
      text += fmt::format("  {}, {}, for {:.1f} s: {}\n", who, thread.name, thread.still, thread.activity);
  }
  return text;
}

std::string ranks_text(const std::vector<int>& ranks) {
  return fmt::format("rank{} {}", ranks.size() == 1 ? "" : "s", fmt::join(ranks, ", "));
}

/// Each stack once, with the ranks that have it.
std::string stacks(const HangReport& report) {
  std::map<std::string, std::vector<int>> ranks_with;
  std::vector<std::string> order;
  for (const RankReport& rank : report.ranks)
    for (std::size_t at = 0, end = 0; (end = rank.stacks.find("\n\n", at)) != std::string::npos; at = end + 2) {
      const std::string stack = rank.stacks.substr(at, end - at);
      std::vector<int>& ranks = ranks_with[stack];
      if (ranks.empty()) order.push_back(stack);
      ranks.push_back(rank.rank);
    }
  std::string text;
  for (const std::string& stack : order) text += fmt::format("stack of {}, {}\n", ranks_text(ranks_with[stack]), stack);
  return text;
}

/// Who waits in which operation.
std::string all_wait(const HangReport& report) {
  std::map<std::string, std::vector<int>> waiting;
  for (const RankReport& rank : report.ranks)
    if (const ThreadReport* thread = stillest(rank)) {
      const std::size_t innermost = thread->activity.rfind(" > ");
      waiting[thread->activity.substr(innermost == std::string::npos ? 0 : innermost + 3)].push_back(rank.rank);
    }
  std::vector<std::string> parts;
  for (const auto& [where, ranks] : waiting) parts.push_back(fmt::format("{} in {}", ranks_text(ranks), where));
  return fmt::format("every rank {}waits for others: {}", report.other_hosts ? "of this host " : "",
                     fmt::join(parts, "; "));
}

std::string conclusion(const HangReport& report, const std::vector<Culprit>& culprits) {
  if (culprits.empty()) return all_wait(report);
  constexpr std::size_t most = 4;
  std::vector<std::string> parts;
  for (const Culprit& culprit : culprits)
    if (parts.size() < most) parts.push_back(fmt::format("{} {}", culprit.name(), culprit.reason()));
  if (culprits.size() > most) parts.push_back(fmt::format("{} more are like that", culprits.size() - most));
  const bool others_wait = culprits.front().rank == culprits.back().rank && report.ranks.size() > 1;
  return fmt::format("{}{}", fmt::join(parts, "; "), others_wait ? "; the others wait for it, or will" : "");
}

}  // namespace

std::string HangReport::summary() const {
  const std::vector<Culprit> culprits = find_culprits(*this);
  const RankReport& noticed = ranks.at(noticed_by);
  return headline(*this, culprits.empty() ? Culprit{&noticed, stillest(noticed)} : culprits.front());
}

std::string HangReport::to_string() const {
  return fmt::format("trireme: {}\n{}{}trireme: {}\ntrireme: the job ends with status 1 ({})\n", summary(),
                     positions(*this), stacks(*this), conclusion(*this, find_culprits(*this)), limit);
}

std::string HangReport::death_summary(std::size_t dead) const {
  const RankReport& rank = ranks.at(dead);
  return fmt::format("rank {} (host {}, process {}) has died: killed, or crashed", rank.rank, host, rank.process);
}

std::string HangReport::death_of(std::size_t dead) const {
  return fmt::format("trireme: {}. Where the ranks here were:\n{}", death_summary(dead), positions(*this));
}

}  // namespace trireme
