// What steps do on a GPU, recorded. Batches may have several shapes: lines of text come in widths of their own.
#pragma once

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "io/source.h"
#include "kernels/backend.h"
#include "model/layer.h"

namespace trireme {

/// Work on batches that is the same for all of one shape. A shape's work is run when it comes for the first time, which
/// fills the memory pool and chooses algorithms, recorded when it comes again, and replayed from then on.
class RecordedSteps {
 public:
  using Work = std::function<void()>;
  using Record = std::function<std::unique_ptr<Recording>(const Work&)>;
  /// Shapes that are recorded. What comes after them is run each time.
  static constexpr std::size_t most = 32;

  /// `record` as Backend::record; empty: nothing is recorded.
  explicit RecordedSteps(Record record) : record_(std::move(record)) {}

  /// Where microbatches with these fields belong: the same place for the same shapes, so that recorded work finds them.
  /// What is not recorded shares one.
  std::vector<Microbatch>& place(const std::vector<Field>& fields);
  /// Runs the work on what is in the place that was asked for last.
  void run(const Work& work);

 private:
  struct Shaped {
    std::vector<Shape> shapes;
    std::vector<Microbatch> microbatches;
    bool has_run = false;
    std::unique_ptr<Recording> recording;
  };

  Record record_;
  std::deque<Shaped> recorded_;  // whose references stay when it grows
  Shaped shared_;
  Shaped* current_ = &shared_;
};

}  // namespace trireme
