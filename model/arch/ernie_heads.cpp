#include "model/arch/ernie_heads.h"

#include <array>
#include <optional>

#include "model/arch/ernie_encoder.h"
#include "model/label_spans.h"
#include "model/layers/dropout.h"
#include "model/layers/linear.h"
#include "model/layers/row_selection.h"
#include "model/layers/softmax_output.h"

namespace trireme {
namespace {

/// y = gelu(x W^T + b): what heads do to the encoder's outputs first. The same on all ranks of the tensor axis.
class Transform final : public Layer {
 public:
  Transform(const Build& build, const std::string& name, const ErnieConfig& config)
      : linear_(build, {{name, config.hidden}}, config.hidden, Split::none, true, initial_deviation(config)) {}

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    return linear_.forward(context, x, saved.child(0), Activation::gelu,
                           context.training ? &saved[saved_pre_activation] : nullptr);
  }
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    const Tensor d = context.backend.allocate(dy.shape(), context.type);
    context.backend.activate_backward(Activation::gelu, saved[saved_pre_activation], dy, d);
    return linear_.backward_input(context, d, saved.child(0));
  }
  void backward_weight(const Context& context, Saved& saved) const override {
    linear_.backward_weight(context, saved.child(0));
  }

 private:
  enum : std::size_t { saved_pre_activation };
  Linear linear_;
};

/// A label from one row of a text: whether two parts have changed places, or what a text is about.
/// [batch, 1, hidden] -> [batch, 1, classes].
class TextClassifier {
 public:
  TextClassifier(const Build& build, const std::string& name, const ErnieConfig& config, std::int64_t classes)
      : pooler_(build, "pooler", config),
        dropout_(name + ".dropout", config.dropout),
        output_(build, {.classes = classes,
                        .hidden = config.hidden,
                        .weight = name + ".weight",
                        .bias = name + ".bias",
                        .deviation = initial_deviation(config)}) {}

  Tensor logits(const Context& context, const Tensor& x, Saved& saved) const {
    const Tensor pooled = pooler_.forward(context, x, saved.child(pooler_child));
    return output_.logits(context, dropout_(context, pooled), saved.child(output_child));
  }
  void measure(const Context& context, const Tensor& logits, const Tensor& targets, const Tensor& loss,
               const Tensor& hits, Saved& saved) const {
    output_.measure(context, logits, targets, Tensor(), loss, hits, saved.child(output_child));
  }
  Tensor backward_input(const Context& context, const Tensor& targets, float scale, Saved& saved) const {
    const Tensor d = dropout_(context, output_.backward_input(context, targets, scale, saved.child(output_child)));
    return pooler_.backward_input(context, d, saved.child(pooler_child));
  }
  void backward_weight(const Context& context, Saved& saved) const {
    output_.backward_weight(context, saved.child(output_child));
    pooler_.backward_weight(context, saved.child(pooler_child));
  }

 private:
  enum : std::size_t { pooler_child, output_child };
  Transform pooler_;
  Dropout dropout_;
  SoftmaxOutput output_;
};

Tensor zeros(const Context& context, const Shape& shape) {
  Tensor totals = context.backend.allocate(shape, DType::f64);
  context.backend.zero(totals);
  return totals;
}

/// Guesses the masked tokens: logits = norm(gelu(x W^T + b)) table^T + bias, with the embedding's table, at the masked
/// positions alone. Beside it, where asked for, whether the two parts have changed places.
/// [batch, time, hidden] -> f64 [metrics, 2]: loss, accuracy by level, accuracy of the order.
class PretrainingHead final : public Layer {
 public:
  PretrainingHead(const Build& build, const ErnieConfig& config)
      : time_(config.context),
        order_scale_(static_cast<float>(config.order_weight * config.masked)),
        transform_(build, "head.transform", config),
        norm_(make_ernie_norm(build, "head.norm", config)),
        output_(build, {.classes = config.vocabulary,
                        .hidden = config.hidden,
                        .weight = ernie_token_table,
                        .bias = "head.bias",
                        .split = true,
                        .first_copy = build.first_stage,
                        .deviation = initial_deviation(config)}) {
    if (order_scale_ > 0) order_.emplace(build, "order", config, 2);
  }

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    const Tensor masked = select_rows(context, x, context.microbatch.field(ErnieFields::positions));
    Tensor y = transform_.forward(context, masked, saved.child(transform_child));
    y = norm_.forward(context, y, saved.child(norm_child));
    Tensor logits = output_.logits(context, y, saved.child(output_child));
    const Tensor& targets = context.microbatch.field(ErnieFields::targets);
    if (targets.empty()) return logits;
    Tensor totals = zeros(context, {order_ ? levels + 2 : levels + 1, 2});
    output_.measure(context, logits, targets, context.microbatch.field(ErnieFields::levels), totals.view(0, {2}),
                    totals.view(2, {levels, 2}), saved.child(output_child));
    if (order_) {
      const Tensor loss = zeros(context, {2});  // not shown: the accuracy tells it
      const Tensor parts =
          order_->logits(context, select_rows(context, x, first_rows(context, x.shape()[0])), saved.child(order_child));
      order_->measure(context, parts, context.microbatch.field(ErnieFields::order), loss,
                      totals.view(2 * (levels + 1), {1, 2}), saved.child(order_child));
    }
    return totals;
  }

  Tensor backward_input(const Context& context, const Tensor&, Saved& saved) const override {
    Tensor d = output_.backward_input(context, context.microbatch.field(ErnieFields::targets), context.loss_scale,
                                      saved.child(output_child));
    d = norm_.backward_input(context, d, saved.child(norm_child));
    d = transform_.backward_input(context, d, saved.child(transform_child));
    const Tensor dx = select_rows_backward(context, d, context.microbatch.field(ErnieFields::positions), time_);
    if (order_) {
      const Tensor of_first = order_->backward_input(context, context.microbatch.field(ErnieFields::order),
                                                     context.loss_scale * order_scale_, saved.child(order_child));
      const Tensor rows = first_rows(context, of_first.shape()[0]);
      const Tensor more = select_rows_backward(context, of_first, rows, time_);
      context.backend.add(dx, more, dx);
    }
    return dx;
  }

  void backward_weight(const Context& context, Saved& saved) const override {
    output_.backward_weight(context, saved.child(output_child));
    norm_.backward_weight(context, saved.child(norm_child));
    transform_.backward_weight(context, saved.child(transform_child));
    if (order_) order_->backward_weight(context, saved.child(order_child));
  }

  static constexpr std::int64_t levels = 3;  ///< character, word, entity

 private:
  enum : std::size_t { transform_child, norm_child, output_child, order_child };

  std::int64_t time_;
  float order_scale_;  ///< of a sample's order, where a masked token has 1
  Transform transform_;
  Norm norm_;
  SoftmaxOutput output_;
  std::optional<TextClassifier> order_;
};

/// One label a text, from the mean of its tokens: nothing of the pre-training asks the first token, [CLS], to know
/// them. [batch, time, hidden] -> f64 [2, 2]: loss, accuracy.
class TextHead final : public Layer {
 public:
  TextHead(const Build& build, const ErnieConfig& config)
      : norm_(make_ernie_norm(build, "classifier.norm", config)),
        classifier_(build, "classifier", config, std::ssize(config.labels)) {}

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    // The gradient of a selection adds rows up; the norm makes the same of their sum as of their mean.
    const Tensor sums = select_rows_backward(context, x, context.microbatch.field(ErnieFields::within), 1);
    const Tensor means = norm_.forward(context, sums, saved.child(norm_child));
    Tensor logits = classifier_.logits(context, means, saved.child(classifier_child));
    const Tensor& labels = context.microbatch.field(ErnieFields::labels);
    if (labels.empty()) return logits;
    Tensor totals = zeros(context, {2, 2});
    classifier_.measure(context, logits, labels, totals.view(0, {2}), totals.view(2, {1, 2}),
                        saved.child(classifier_child));
    return totals;
  }
  Tensor backward_input(const Context& context, const Tensor&, Saved& saved) const override {
    const Tensor d = classifier_.backward_input(context, context.microbatch.field(ErnieFields::labels),
                                                context.loss_scale, saved.child(classifier_child));
    return select_rows(context, norm_.backward_input(context, d, saved.child(norm_child)),
                       context.microbatch.field(ErnieFields::within));
  }
  void backward_weight(const Context& context, Saved& saved) const override {
    classifier_.backward_weight(context, saved.child(classifier_child));
    norm_.backward_weight(context, saved.child(norm_child));
  }

 private:
  enum : std::size_t { norm_child, classifier_child };
  Norm norm_;
  TextClassifier classifier_;
};

/// One label a token. [batch, time, hidden] -> f64 [5, 2]: loss, accuracy, and, in an evaluation, precision, recall and
/// F1 of the spans that the labels tell.
class TokenHead final : public Layer {
 public:
  TokenHead(const Build& build, const ErnieConfig& config)
      : names_(span_labels(config.labels)),
        dropout_("labeller.dropout", config.dropout),
        output_(build, {.classes = std::ssize(config.labels),
                        .hidden = config.hidden,
                        .weight = "labeller.weight",
                        .bias = "labeller.bias",
                        .deviation = initial_deviation(config)}) {}

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    Tensor logits = output_.logits(context, dropout_(context, x), saved);
    const Tensor& labels = context.microbatch.field(ErnieFields::labels);
    if (labels.empty()) return logits;
    Tensor totals = zeros(context, {5, 2});
    output_.measure(context, logits, labels, Tensor(), totals.view(0, {2}), totals.view(2, {1, 2}), saved);
    if (!context.training) measure_spans(context, logits, labels, totals.view(4, {3, 2}));
    return totals;
  }
  Tensor backward_input(const Context& context, const Tensor&, Saved& saved) const override {
    return dropout_(context, output_.backward_input(context, context.microbatch.field(ErnieFields::labels),
                                                    context.loss_scale, saved));
  }
  void backward_weight(const Context& context, Saved& saved) const override { output_.backward_weight(context, saved); }

 private:
  /// Sums and counts whose quotients are precision, recall and F1 over all samples. The host counts: there are few.
  void measure_spans(const Context& context, const Tensor& logits, const Tensor& labels, const Tensor& totals) const {
    const Tensor places = context.backend.allocate(labels.shape(), DType::i32);
    context.backend.arg_max({.x = logits, .places = places});
    std::vector<std::int32_t> likeliest(static_cast<std::size_t>(labels.elements())), targets(likeliest.size());
    context.backend.download(places, likeliest.data());
    context.backend.download(labels, targets.data());

    SpanCounts counts;
    const auto time = static_cast<std::size_t>(labels.shape()[1]);
    for (std::size_t sample = 0; sample < targets.size(); sample += time) {
      std::vector<std::int32_t> found, wanted;  // of the tokens that have labels
      for (std::size_t row = sample; row < sample + time; ++row) {
        if (targets[row] < 0) continue;
        found.push_back(likeliest[row]);
        wanted.push_back(targets[row]);
      }
      count_spans(found, wanted, names_, counts);
    }
    const auto hits = static_cast<double>(counts.hits);
    const auto all_found = static_cast<double>(counts.found);
    const auto all_wanted = static_cast<double>(counts.wanted);
    const std::array values = {hits, all_found, hits, all_wanted, 2 * hits, all_found + all_wanted};
    context.backend.upload(values.data(), totals);
  }

  std::vector<SpanLabel> names_;
  Dropout dropout_;
  SoftmaxOutput output_;
};

}  // namespace

std::vector<Metric> ernie_metrics(const ErnieConfig& config) {
  if (config.task == ErnieTask::label_texts) return {{"loss", "nats a text"}, {"accuracy", ""}};
  if (config.task == ErnieTask::label_tokens)
    return {{"loss", "nats a label"}, {"accuracy", ""}, {"span_precision", ""}, {"span_recall", ""}, {"span_f1", ""}};
  std::vector<Metric> metrics = {
      {"loss", "nats a masked token"}, {"character_accuracy", ""}, {"word_accuracy", ""}, {"entity_accuracy", ""}};
  if (config.order_weight > 0) metrics.push_back({"order_accuracy", ""});
  return metrics;
}

std::unique_ptr<Layer> make_ernie_head(const Build& build, const ErnieConfig& config) {
  if (config.task == ErnieTask::pretrain) return std::make_unique<PretrainingHead>(build, config);
  if (config.task == ErnieTask::label_texts) return std::make_unique<TextHead>(build, config);
  return std::make_unique<TokenHead>(build, config);
}

}  // namespace trireme
