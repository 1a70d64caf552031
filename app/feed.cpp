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

enum class Order { behind, beside };  ///< of what is enqueued already

/// True where the tensor was of that shape already; else makes it.
bool keeps(Backend& backend, Tensor& tensor, const Shape& shape, DType type) {
  if (tensor.shape() == shape && tensor.dtype() == type) return true;
  tensor = {};
  tensor = backend.allocate(shape, type);
  return false;
}

void upload(Session& session, const Batch& batch, std::vector<Microbatch>& to, Order order) {
  Backend& backend = session.backend();
  const std::int64_t samples = session.configuration().train.micro_batch;
  to.resize(static_cast<std::size_t>(batch.samples / samples));
  std::int64_t first = 0;
  for (Microbatch& microbatch : to) {
    microbatch.fields.resize(batch.fields.size());
    for (std::size_t number = 0; number < batch.fields.size(); ++number) {
      const Field& field = batch.fields[number];
      Tensor& tensor = microbatch.fields[number];
      const std::byte* from = batch.data[number].data() + static_cast<std::size_t>(first) * field.bytes();
      // New memory may have been another tensor's, which what is enqueued still uses.
      if (keeps(backend, tensor, field.shape.batch(samples), field.type) && order == Order::beside)
        backend.upload_beside(from, tensor);
      else
        backend.upload(from, tensor);
    }
    microbatch.first_sample = batch.first_sample + first;
    first += samples;
  }
}

void copy(Backend& backend, const std::vector<Microbatch>& from, std::vector<Microbatch>& to) {
  to.resize(from.size());
  for (std::size_t i = 0; i < from.size(); ++i) {
    to[i].first_sample = from[i].first_sample;
    to[i].fields.resize(from[i].fields.size());
    for (std::size_t number = 0; number < from[i].fields.size(); ++number) {
      const Tensor& sent = from[i].fields[number];
      keeps(backend, to[i].fields[number], sent.shape(), sent.dtype());
      backend.cast(sent, to[i].fields[number]);
    }
  }
}

}  // namespace

Feed::Feed(Session& session, std::shared_ptr<Source> source, std::int64_t first_batch)
    : session_(session), loader_(std::move(source), loader_options(session, first_batch)) {}

const std::vector<Microbatch>& Feed::next(const Place& place) {
  if (std::exchange(is_ahead_, false)) {
    const Sent& sent = ahead_[turn_];
    turn_ = 1 - turn_;
    last_wait_ = 0;
    std::vector<Microbatch>& here = place(sent.fields);
    copy(session_.backend(), sent.microbatches, here);
    return here;
  }
  const Batch& batch = loader_.next();
  last_wait_ = loader_.last_wait();
  std::vector<Microbatch>& here = place(batch.fields);
  upload(session_, batch, here, Order::behind);
  return here;
}

void Feed::send_ahead() {
  if (session_.backend().kind() == DeviceKind::cpu || is_ahead_ || !loader_.ready()) return;
  const Batch& batch = loader_.next();
  Sent& sent = ahead_[turn_];
  sent.fields = batch.fields;
  upload(session_, batch, sent.microbatches, Order::beside);
  is_ahead_ = true;
}

}  // namespace trireme
