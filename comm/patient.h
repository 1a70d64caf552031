// What ranks tell each other when one of them may be dead or cut off: every wait has an end.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "kernels/error.h"

namespace trireme {

using Deadline = std::chrono::steady_clock::time_point;

/// Another rank did not answer in time. What was under way with it can never be completed, so the job can only end.
class Unanswered : public Error {
 public:
  using Error::Error;
};

/// Lets the request progress until it is complete. Throws Unanswered with `late` as its message at the deadline.
void complete(Request& request, Deadline deadline, const std::string& late);

inline constexpr int length_tag = 1, text_tag = 2;  ///< of the messages that carry texts

/// Collective: rank 0's text on every rank. Throws Unanswered.
std::string broadcast_text(Communicator& ranks, const std::string& text, Deadline deadline);
/// Collective: on rank 0 the text of every rank, without a value for one that did not answer; elsewhere empty. A rank
/// whose text rank 0 does not take throws Unanswered. Once a text is missing, rank 0 can only end the job.
std::vector<std::optional<std::string>> gather_texts(Communicator& ranks, const std::string& text, Deadline deadline);

}  // namespace trireme
