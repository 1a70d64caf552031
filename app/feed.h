// Batches on their way to the device.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "app/session.h"
#include "io/loader.h"
#include "model/layer.h"

namespace trireme {

/// Brings a rank's batches to the device, cut into microbatches.
class Feed {
 public:
  /// Begins with that batch of the source.
  Feed(Session& session, std::shared_ptr<Source> source, std::int64_t first_batch);

  /// Where microbatches with these fields go. What lies there keeps its memory while shapes stay.
  using Place = std::function<std::vector<Microbatch>&(const std::vector<Field>& fields)>;

  /// The next batch, at its place; waits until it has been read.
  const std::vector<Microbatch>& next(const Place& place);
  /// Seconds that the last `next` waited for the loader.
  double last_wait() const { return last_wait_; }
  /// Sends the batch after on its way, beside what a GPU computes, where it has been read by now. The device must have
  /// done everything that was enqueued before the last `next`, except updates of parameters.
  void send_ahead();

 private:
  struct Sent {
    std::vector<Field> fields;
    std::vector<Microbatch> microbatches;
  };

  Session& session_;
  Loader loader_;
  std::array<Sent, 2> ahead_;  ///< in turn: one may still be copied from while the other is filled
  std::size_t turn_ = 0;
  bool is_ahead_ = false;  ///< the next batch is in ahead_[turn_]
  double last_wait_ = 0;
};

}  // namespace trireme
