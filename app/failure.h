// What happens when a rank cannot go on.
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "comm/mpi/world.h"
#include "kernels/error.h"

namespace trireme {

/// The message, status and place of an exception of any kind.
struct Failure {
  std::string message;
  ExitStatus status = ExitStatus::failed;
  std::string where;  ///< "io/dataset.cpp:33"; empty where it is not known

  explicit Failure(const std::exception& error);
  /// What is printed: the place only where the user's input is not to blame.
  std::string text() const;
};

/// Tells errors that all ranks ran into alike (a wrong key, a missing file), which rank 0 reports alone and after which
/// the job ends in good order, from errors of some ranks only, which each of them reports before the whole job is ended
/// rather than left waiting.
class FailureReport {
 public:
  explicit FailureReport(World& world);  ///< collective
  /// Is also told what this rank prints of a failure that is not the user's.
  void on_report(std::function<void(const std::string& text)> listener) { listener_ = std::move(listener); }
  /// Returns the exit status, or ends the job.
  ExitStatus report(const Failure& failure);

 private:
  void print(const Failure& failure, const std::string& who) const;

  World& world_;
  std::function<void(const std::string&)> listener_;
  std::unique_ptr<Communicator> ranks_;  ///< of its own, so that nothing else is under way on it
};

}  // namespace trireme
