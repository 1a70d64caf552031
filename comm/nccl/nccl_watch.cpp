// How a communicator over NCCL finds that it waits in vain.
#include <fmt/format.h>

#include <thread>
#include <utility>

#include "comm/nccl/nccl_communicator.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {

using Clock = std::chrono::steady_clock;

bool NcclCommunicator::Flight::complete() const {
  const cudaError_t status = cudaEventQuery(event.get());
  if (status == cudaErrorNotReady) {
    static_cast<void>(cudaGetLastError());  // no error, but the next to ask would be told of one
    return false;
  }
  cuda::check(status, "cudaEventQuery(event)");
  return true;
}

ncclResult_t NcclCommunicator::settled(ncclResult_t result, Seconds limit) {
  const auto begin = Clock::now();
  for (int looks = 0; result == ncclSuccess || result == ncclInProgress; ++looks) {
    if (comm_ == nullptr) return result;  // what was called does not concern a communicator
    // Asked even after success: this is also where NCCL takes back the thread that did the work.
    const ncclResult_t asked = ncclCommGetAsyncError(comm_, &result);
    if (asked != ncclSuccess) return asked;
    if (result != ncclInProgress || Clock::now() - begin > limit) return result;
    // A message between ranks that are connected is under way within microseconds.
    if (looks < 1000) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
  }
  return result;
}

void NcclCommunicator::expect(ncclResult_t result, Seconds limit, const std::string& doing) {
  const Activity activity("NCCL's", doing, -1, Waits::for_ranks);
  result = settled(result, limit);
  if (result == ncclSuccess) return;
  if (result == ncclInProgress)
    give_up(fmt::format("{} has not begun after {:.0f} s: not all ranks of the group have come to it", doing,
                        limit.count()));
  give_up(fmt::format("{}: {}", doing, ncclGetErrorString(result)));
}

void NcclCommunicator::forget_the_complete() {
  while (!under_way_.empty() && under_way_.front()->complete()) under_way_.pop_front();
}

void NcclCommunicator::check() {
  if (comm_ == nullptr) fail("group {} was given up: {}", name(), failure_);
  ncclResult_t state = ncclSuccess;
  if (const ncclResult_t asked = ncclCommGetAsyncError(comm_, &state); asked != ncclSuccess) state = asked;
  if (state != ncclSuccess && state != ncclInProgress)
    give_up(fmt::format("{} after {} was started", ncclGetErrorString(state), describe(last_)));

  forget_the_complete();
  if (under_way_.empty() && recorded_) {
    // Recorded operations may be among what the host waits for. If so, they end before this.
    under_way_.push_back(mark(*recorded_, queue_));
    under_way_.front()->probe = true;
  }
  if (under_way_.empty()) return;
  const Flight& oldest = *under_way_.front();
  const auto now = Clock::now();
  const bool waits_again = now - last_look_ > std::chrono::seconds(1);  // and did something else in between
  last_look_ = now;
  if (oldest.number != watched_ || waits_again) {
    watched_ = oldest.number;
    watched_since_ = now;
  }
  if (now - watched_since_ > std::chrono::seconds(1))
    name_activity(fmt::format("for {} in {}", describe(oldest.what), name()), Waits::for_ranks);
  if (now - watched_since_ < patience_.operation) return;
  give_up(fmt::format("{}{} is not complete after {:.0f} s: another rank has ended, hangs or does something else",
                      oldest.probe ? "a recording that ends with " : "", describe(oldest.what),
                      patience_.operation.count()));
}

void NcclCommunicator::give_up(const std::string& reason) {
  const char* text = ncclGetLastError(comm_);
  failure_ = fmt::format("NCCL in group {}, rank {} of {}: {}", name(), rank(), size(), reason);
  if (text != nullptr && *text != '\0') failure_ += fmt::format(" ({})", text);
  abort("");
  throw Error(failure_);
}

void NcclCommunicator::abort(const char* reason) noexcept {
  if (comm_ == nullptr) return;
  if (failure_.empty()) failure_ = reason;
  static_cast<void>(ncclCommAbort(std::exchange(comm_, nullptr)));
}

std::string NcclCommunicator::describe(const What& what) {
  return what.name == nullptr ? "nothing" : fmt::format("{} of {} {}", what.name, what.elements, name_of(what.type));
}

}  // namespace trireme
