#include "app/inference.h"

#include <algorithm>

#include "kernels/error.h"
#include "model/layers/embedding.h"

namespace trireme {

std::vector<HostField> first_fields(const Batch& sample, std::size_t count) {
  std::vector<HostField> fields;
  for (std::size_t i = 0; i < count; ++i)
    fields.push_back({sample.fields[i].type, sample.fields[i].shape, sample.data[i].data()});
  return fields;
}

std::int32_t likeliest(std::span<const float> logits) {
  return static_cast<std::int32_t>(std::ranges::max_element(logits) - logits.begin());
}

Inference::Inference(Session& session)
    : session_(session),
      executor_(session.backend(), session.stage_groups(), session.stage(), session.type(),
                make_forward_only(session.layout().pipeline, 1)) {}

void Inference::run(std::span<const HostField> inputs, const std::function<void(const Tensor&)>& outcome) {
  Backend& backend = session_.backend();
  Microbatch sample;
  for (const HostField& input : inputs) {
    sample.fields.push_back(backend.allocate(input.shape.batch(1), input.type));
    backend.upload(input.values, sample.fields.back());
  }
  StepContext step{.training = false, .gradients_ready = nullptr};
  step.outcome = outcome;
  executor_.run(step, {&sample, 1}, Tensor());
}

std::vector<float> Inference::logits(std::span<const HostField> inputs, std::int64_t classes, const Rows& rows) {
  Backend& backend = session_.backend();
  std::vector<float> answer(static_cast<std::size_t>(rows.count * classes));
  run(inputs, [&](const Tensor& logits) { answer = gather(logits, classes, rows); });
  const Stage& stage = session_.stage();
  if (stage.count == 1) return answer;
  const Tensor shared = backend.allocate({rows.count * classes}, DType::f32);
  if (stage.last()) backend.upload(answer.data(), shared);
  session_.pipeline().broadcast(shared, stage.count - 1).wait();
  backend.download(shared, answer.data());
  return answer;
}

std::vector<float> Inference::gather(const Tensor& logits, std::int64_t classes, const Rows& rows) {
  Backend& backend = session_.backend();
  Communicator& tensor = session_.tensor();
  const std::int64_t here = logits.shape().columns();  // all classes, or this rank's part of them
  const Build build{.store = session_.store(), .tensor_rank = tensor.rank(), .tensor_ranks = tensor.size()};
  const ShardSpec part = vocabulary_shard(build, classes, 1);
  if ((here != classes && here != part.extent[0]) || rows.first + rows.count > logits.shape().rows())
    fail("logits {}: {} classes of rows {} to {} are not there", logits.shape().to_string(), classes, rows.first,
         rows.first + rows.count);
  const Tensor mine = backend.allocate({rows.count, here}, DType::f32);
  backend.cast(logits.view(rows.first * here, mine.shape()), mine);
  std::vector<float> values(static_cast<std::size_t>(rows.count * here));
  backend.download(mine, values.data());
  if (here == classes) return values;
  std::vector<float> whole(static_cast<std::size_t>(rows.count * classes));
  for (std::int64_t row = 0; row < rows.count; ++row)
    std::copy_n(values.begin() + row * here, here, whole.begin() + row * classes + part.offset[0]);
  const Tensor sum = backend.allocate({rows.count, classes}, DType::f32);  // of parts that others leave at 0
  backend.upload(whole.data(), sum);
  tensor.all_reduce(sum, Reduction::sum).wait();
  backend.download(sum, whole.data());
  return whole;
}

}  // namespace trireme
