#include "model/optim/gradient_reducer.h"

#include <algorithm>

namespace trireme {

GradientReducer::GradientReducer(Communicator& data, ParameterStore& store, std::vector<std::int64_t> block_first,
                                 std::int64_t bucket_elements)
    : data_(data),
      store_(store),
      block_first_(std::move(block_first)),
      bucket_elements_(bucket_elements),
      sent_from_(store.elements()) {}

void GradientReducer::block_ready(int block) {
  if (data_.size() == 1) return;
  for (Request& request : requests_) request.test();
  const std::int64_t first = block_first_[static_cast<std::size_t>(block)];
  if (sent_from_ - first >= bucket_elements_) send(first, sent_from_);
}

void GradientReducer::finish() {
  if (data_.size() > 1 && sent_from_ > 0) send(0, sent_from_);
  if (data_.size() > 1 && !store_.tracked_gradients.empty())
    requests_.push_back(data_.all_reduce(store_.tracked_gradients, Reduction::sum));
  for (Request& request : requests_) request.wait();
  requests_.clear();
  sent_from_ = store_.elements();
}

void GradientReducer::send(std::int64_t first, std::int64_t end) {
  const std::int64_t pieces = std::max<std::int64_t>(1, (end - first) / bucket_elements_);
  const std::int64_t piece = (end - first + pieces - 1) / pieces;
  for (std::int64_t from = first; from < end; from += piece) {
    const std::int64_t count = std::min(piece, end - from);
    requests_.push_back(data_.all_reduce(store_.gradients.view(from, {count}), Reduction::sum));
  }
  sent_from_ = first;
}

}  // namespace trireme
