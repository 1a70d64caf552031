#include "app/feed.h"

#include <utility>

namespace trireme {
namespace {

LoaderOptions loader_options(Session& session, std::int64_t first_batch) {
  const Configuration& configuration = session.configuration();
  return {.global_batch = configuration.train.global_batch,
          .data_rank = session.data().rank(),
          .data_ranks = session.data().size(),
          .first_batch = first_batch,
          .workers = configuration.data.workers};
}

}  // namespace

Feed::Feed(Session& session, std::shared_ptr<Source> source, std::int64_t first_batch)
    : session_(session), loader_(std::move(source), loader_options(session, first_batch)) {}

bool Feed::bring(const Batch& batch, std::vector<Microbatch>& to, Order order) {
  Backend& backend = session_.backend();
  const std::int64_t samples = session_.configuration().train.micro_batch;
  bool in_place = !to.empty();
  to.resize(static_cast<std::size_t>(batch.samples / samples));
  std::int64_t first = 0;
  for (Microbatch& microbatch : to) {
    microbatch.fields.resize(batch.fields.size());
    for (std::size_t number = 0; number < batch.fields.size(); ++number) {
      const Field& field = batch.fields[number];
      Tensor& tensor = microbatch.fields[number];
      const Shape shape = field.shape.batch(samples);
      const bool keeps = tensor.shape() == shape;
      if (!keeps) {
        tensor = {};
        tensor = backend.allocate(shape, field.type);
        in_place = false;
      }
      const std::byte* from = batch.data[number].data() + static_cast<std::size_t>(first) * field.bytes();
      // New memory may have been another tensor's, which what is enqueued still uses.
      if (keeps && order == Order::beside)
        backend.upload_beside(from, tensor);
      else
        backend.upload(from, tensor);
    }
    microbatch.first_sample = batch.first_sample + first;
    first += samples;
  }
  return in_place;
}

const std::vector<Microbatch>& Feed::next() {
  if (!std::exchange(is_ahead_, false)) {
    const Batch& batch = loader_.next();
    last_wait_ = loader_.last_wait();
    in_place_ = bring(batch, microbatches_, Order::behind);
    return microbatches_;
  }
  last_wait_ = 0;
  in_place_ = true;
  const std::vector<Microbatch>& from = ahead_[turn_];
  turn_ = 1 - turn_;
  for (std::size_t i = 0; i < from.size(); ++i) {
    microbatches_[i].first_sample = from[i].first_sample;
    for (std::size_t number = 0; number < from[i].fields.size(); ++number) {
      const Tensor& sent = from[i].fields[number];
      Tensor& tensor = microbatches_[i].fields[number];
      if (tensor.shape() != sent.shape()) {
        tensor = {};
        tensor = session_.backend().allocate(sent.shape(), sent.dtype());
        in_place_ = false;
      }
      session_.backend().cast(sent, tensor);
    }
  }
  return microbatches_;
}

void Feed::send_ahead() {
  if (session_.backend().kind() == DeviceKind::cpu || is_ahead_ || !loader_.ready()) return;
  bring(loader_.next(), ahead_[turn_], Order::beside);
  is_ahead_ = true;
}

}  // namespace trireme
