// Batches on their way to the device.
#pragma once

#include <array>
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

  /// The next batch; waits until it has been read. It lies where the one before lay, while shapes stay.
  const std::vector<Microbatch>& next();
  /// Whether the last `next` moved none.
  bool in_place() const { return in_place_; }
  /// Seconds that the last `next` waited for the loader.
  double last_wait() const { return last_wait_; }
  /// Sends the batch after on its way, beside what a GPU computes, where it has been read by now. The device must have
  /// done everything that was enqueued before the last `next`, except updates of parameters.
  void send_ahead();

 private:
  enum class Order { behind, beside };  ///< of what is enqueued already
  /// True where no tensor had to be made for it.
  bool bring(const Batch& batch, std::vector<Microbatch>& to, Order order);

  Session& session_;
  Loader loader_;
  std::vector<Microbatch> microbatches_;
  std::array<std::vector<Microbatch>, 2> ahead_;  ///< in turn: one may still be copied from while the other is filled
  std::size_t turn_ = 0;
  bool is_ahead_ = false;  ///< the next batch is in ahead_[turn_]
  bool in_place_ = false;
  double last_wait_ = 0;
};

}  // namespace trireme
