// model.arch=crnn and model.arch=svtr: recognisers of text lines.
#include <algorithm>

#include "app/inference.h"
#include "app/workloads/workloads.h"
#include "io/lines/key_set.h"
#include "io/lines/line_source.h"
#include "kernels/error.h"
#include "model/arch/crnn.h"
#include "model/arch/svtr.h"
#include "model/ctc_decode.h"

namespace trireme {
namespace {

class Lines final : public DataSet {
 public:
  explicit Lines(const std::vector<std::filesystem::path>& files) : data_(std::make_shared<LineDataset>(files)) {}
  const TokenizerBlob& tokenizer() const override { return data_->tokenizer(); }
  std::int64_t size() const override { return data_->lines(); }
  std::string unit() const override { return "lines"; }
  std::shared_ptr<Source> source(const Configuration& configuration, const SourceOptions& options) override {
    if (configuration.line.height != data_->height())
      refuse("model.height={}, but the lines of {} are {} pixels high", configuration.line.height, data_->name(),
             data_->height());
    return std::make_shared<LineSource>(data_, line_step, options);
  }

 private:
  std::shared_ptr<LineDataset> data_;
};

class LineWorkload : public Workload {
 public:
  std::shared_ptr<DataSet> open(const std::vector<std::filesystem::path>& files) const override {
    return std::make_shared<Lines>(files);
  }
  void take(Configuration& configuration, const TokenizerBlob& tokenizer) const override {
    const KeySet check(tokenizer);
    int& classes = configuration.model.vocabulary;
    if (classes != 0 && classes != tokenizer.vocabulary)
      refuse(
          "model.vocabulary={}, but the key set of the data set has {} classes; leave the key out to take its number",
          classes, tokenizer.vocabulary);
    classes = tokenizer.vocabulary;
  }
  bool is_complete(const Configuration& configuration) const override { return configuration.model.vocabulary != 0; }
  int tokens_per_sample(const Configuration&) const override { return 0; }
  std::optional<Example> example(Inference& model, const Batch& sample) const override {
    const KeySet characters(model.tokenizer());
    const Shape& picture = sample.fields[0].shape;
    const std::int32_t steps =
        std::min(sample.values<std::int32_t>(2).front(), static_cast<std::int32_t>(picture[1] / line_step));
    const auto values = model.logits(first_fields(sample, 1), characters.classes(), {.count = steps});
    const Tensor logits = model.backend().allocate({1, steps, characters.classes()}, DType::f32);
    model.backend().upload(values.data(), logits);
    const DecodedText found = decode_greedily(model.backend(), logits, {&steps, 1}).front();
    return Example{fmt::format("label:   {}\nread as: {}", characters.decode(sample.values<std::int32_t>(1)),
                               characters.decode(found.labels)),
                   picture_of(sample.values<float>(0), picture)};
  }
};

class CrnnWorkload final : public LineWorkload {
 public:
  std::string arch() const override { return "crnn"; }
  Architecture architecture(const Configuration& configuration, int, DType type) const override {
    return make_crnn(configuration.model, configuration.line, type);
  }
  void limit(const Configuration&, LayoutLimits&) const override {}  // no layer is divided: tensor must be 1
};

class SvtrWorkload final : public LineWorkload {
 public:
  std::string arch() const override { return "svtr"; }
  Architecture architecture(const Configuration& configuration, int tensor_ranks, DType type) const override {
    return make_svtr(configuration.model, configuration.line, tensor_ranks, type);
  }
  void limit(const Configuration& configuration, LayoutLimits& limits) const override {
    limits.heads = limits.key_value_heads = configuration.model.heads;
    limits.feed_forward = configuration.model.inner_size();
    limits.vocabulary = configuration.model.vocabulary;
  }
};

}  // namespace

const Workload& crnn_workload() {
  static const CrnnWorkload workload;
  return workload;
}

const Workload& svtr_workload() {
  static const SvtrWorkload workload;
  return workload;
}

}  // namespace trireme
