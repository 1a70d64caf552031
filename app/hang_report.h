// What a watchdog prints.
#pragma once

#include <string>
#include <vector>

#include "kernels/activity.h"

namespace trireme {

/// A thread that is at work.
struct ThreadReport {
  std::string name;      ///< "main"
  std::string activity;  ///< "training > step 17 > all_reduce in data (100 elements)"
  Waits waits = Waits::no;
  double still = 0;  ///< seconds since it moved
};

struct RankReport {
  int rank = 0;
  int process = 0;
  std::string trouble;  ///< why it cannot run: trouble_of
  std::vector<ThreadReport> threads;
  std::string stacks;  ///< of threads, each as its name in a line, a line for each frame, and an empty line
};

struct HangReport {
  std::string host;
  std::string limit;         ///< "train.watchdog = 600 s"
  double patience = 0;       ///< seconds without movement after which a thread hangs
  bool other_hosts = false;  ///< whether ranks run elsewhere
  std::size_t noticed_by = 0;
  std::vector<RankReport> ranks;  ///< of this host

  /// Who holds up the others, or who noticed, and in what, in a line.
  std::string summary() const;
  /// Lines, each with its end: who holds up the others (or who noticed) and where; where each thread of each rank is;
  /// stacks, those alike together; what to make of it.
  std::string to_string() const;
  /// "rank 2 (host a, process 4711) has died: killed, or crashed": of ranks.at(dead), whose process has ended without a
  /// word.
  std::string death_summary(std::size_t dead) const;
  /// Of ranks.at(dead), the same: who it was, and where each thread of each rank was.
  std::string death_of(std::size_t dead) const;
};

}  // namespace trireme
