#include "model/arch/ernie.h"

#include <optional>

#include "kernels/error.h"
#include "model/layers/dropout.h"
#include "model/layers/embedding.h"
#include "model/layers/feed_forward.h"
#include "model/layers/linear.h"
#include "model/layers/norm.h"
#include "model/layers/row_selection.h"
#include "model/layers/self_attention.h"
#include "model/layers/softmax_output.h"

namespace trireme {
namespace {

constexpr double initial_deviation = 0.02;
constexpr const char* token_table = "embedding.token.weight";
constexpr std::int64_t segments = 2;

Norm make_norm(const Build& build, const std::string& name, int hidden) {
  return {build, name, hidden, NormKind::layer, true};
}

/// x = dropout(norm(token + position + segment)). Tokens [batch, time] -> [batch, time, hidden].
class ErnieEmbedding final : public Layer {
 public:
  ErnieEmbedding(const Build& build, const ErnieConfig& config)
      : sum_(build, "embedding",
             {.vocabulary = config.vocabulary,
              .hidden = config.hidden,
              .context = config.context,
              .deviation = initial_deviation}),
        segment_(build.store.declare(build.replicated("embedding.segment.weight", {segments, config.hidden},
                                                      Initial::normal(initial_deviation), true))),
        norm_(make_norm(build, "embedding.norm", config.hidden)),
        dropout_("embedding.dropout", config.dropout) {}

  Tensor forward(const Context& context, const Tensor& tokens, Saved& saved) const override {
    const Tensor words = sum_.forward(context, tokens, saved.child(sum_child));
    EmbeddingArgs args;
    args.tokens = context.microbatch.field(ErnieFields::segments);
    args.table = segment_->working;
    args.out = context.backend.allocate(words.shape(), context.type);
    context.backend.embedding(args);
    context.backend.add(words, args.out, args.out);
    return dropout_(context, norm_.forward(context, args.out, saved.child(norm_child)));
  }

  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    const Tensor dsum = norm_.backward_input(context, dropout_(context, dy), saved.child(norm_child));
    saved[saved_sum_gradient] = dsum;
    return sum_.backward_input(context, dsum, saved.child(sum_child));
  }

  void backward_weight(const Context& context, Saved& saved) const override {
    EmbeddingBackwardArgs args;
    args.tokens = context.microbatch.field(ErnieFields::segments);
    args.dout = saved[saved_sum_gradient];
    args.dtable = segment_->gradient;
    context.backend.embedding_backward(args);
    sum_.backward_weight(context, saved.child(sum_child));
    norm_.backward_weight(context, saved.child(norm_child));
  }

 private:
  enum : std::size_t { saved_sum_gradient };
  enum : std::size_t { sum_child, norm_child };

  Embedding sum_;
  Parameter* segment_;
  Norm norm_;
  Dropout dropout_;
};

/// Two residual branches, attention and then feed-forward: x = norm(x + dropout(branch(x))), as in BERT and ERNIE, or,
/// pre_norm, x = x + dropout(branch(norm(x))). All tensors are [batch, time, hidden].
class EncoderBlock final : public Layer {
 public:
  EncoderBlock(const Build& build, const std::string& name, const ErnieConfig& config)
      : pre_norm_(config.pre_norm),
        attention_(build, name + ".attention",
                   {.hidden = config.hidden,
                    .heads = config.heads,
                    .key_value_heads = config.heads,
                    .causal = false,
                    .lengths_field = ErnieFields::lengths,
                    .deviation = initial_deviation,
                    .projection_deviation = initial_deviation}),
        feed_forward_(build, name + ".feed_forward",
                      {.hidden = config.hidden,
                       .inner = config.inner_size(),
                       .deviation = initial_deviation,
                       .projection_deviation = initial_deviation}),
        norms_{make_norm(build, name + ".attention_norm", config.hidden),
               make_norm(build, name + ".feed_forward_norm", config.hidden)},
        dropouts_{Dropout(name + ".attention.dropout", config.dropout),
                  Dropout(name + ".feed_forward.dropout", config.dropout)} {}

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    Tensor y = x;
    for (const std::size_t i : {0U, 1U}) {
      Saved& of_norm = saved.child(2 + i);
      if (pre_norm_) {
        const Tensor branch = branch_of(i).forward(context, norms_[i].forward(context, y, of_norm), saved.child(i));
        y = dropouts_[i](context, branch, y);
      } else {
        const Tensor branch = dropouts_[i](context, branch_of(i).forward(context, y, saved.child(i)));
        Tensor sum;
        y = norms_[i].forward_add(context, branch, y, &sum, of_norm);
      }
    }
    return y;
  }

  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    Tensor d = dy;
    for (const std::size_t i : {1U, 0U}) {
      Saved& of_norm = saved.child(2 + i);
      if (pre_norm_) {
        const Tensor branch = branch_of(i).backward_input(context, dropouts_[i](context, d), saved.child(i));
        d = norms_[i].backward_input_add(context, branch, d, of_norm);
      } else {
        d = norms_[i].backward_input(context, d, of_norm);  // of the sum: goes both ways
        const Tensor branch = branch_of(i).backward_input(context, dropouts_[i](context, d), saved.child(i));
        const Tensor both = context.backend.allocate(d.shape(), context.type);
        context.backend.add(branch, d, both);
        d = both;
      }
    }
    return d;
  }

  void backward_weight(const Context& context, Saved& saved) const override {
    for (const std::size_t i : {1U, 0U}) {
      branch_of(i).backward_weight(context, saved.child(i));
      norms_[i].backward_weight(context, saved.child(2 + i));
    }
  }

 private:
  const Layer& branch_of(std::size_t number) const {
    return number == 0 ? static_cast<const Layer&>(attention_) : feed_forward_;
  }

  bool pre_norm_;
  SelfAttention attention_;
  FeedForward feed_forward_;
  Norm norms_[2];
  Dropout dropouts_[2];
};

/// y = gelu(x W^T + b): what heads do to the encoder's outputs first. The same on all ranks of the tensor axis.
class Transform final : public Layer {
 public:
  Transform(const Build& build, const std::string& name, int hidden)
      : linear_(build, {{name, hidden}}, hidden, Split::none, true, initial_deviation) {}

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

/// A label from the first token's output, [CLS]: whether two parts have changed places, or what a text is about.
/// [batch, time, hidden] -> [batch, 1, classes].
class TextClassifier {
 public:
  TextClassifier(const Build& build, const std::string& name, const ErnieConfig& config, int classes)
      : pooler_(build, "pooler", config.hidden),
        dropout_(name + ".dropout", config.dropout),
        output_(build, {.classes = classes,
                        .hidden = config.hidden,
                        .weight = name + ".weight",
                        .bias = name + ".bias",
                        .deviation = initial_deviation}) {}

  Tensor logits(const Context& context, const Tensor& x, Saved& saved) const {
    const Tensor rows = first_rows(context, x.shape()[0]);
    const Tensor pooled = pooler_.forward(context, select_rows(context, x, rows), saved.child(pooler_child));
    return output_.logits(context, dropout_(context, pooled), saved.child(output_child));
  }
  void measure(const Context& context, const Tensor& logits, const Tensor& targets, const Tensor& loss,
               const Tensor& hits, Saved& saved) const {
    output_.measure(context, logits, targets, Tensor(), loss, hits, saved.child(output_child));
  }
  Tensor backward_input(const Context& context, const Tensor& targets, float scale, std::int64_t time,
                        Saved& saved) const {
    const Tensor d = dropout_(context, output_.backward_input(context, targets, scale, saved.child(output_child)));
    const Tensor rows = first_rows(context, d.shape()[0]);
    return select_rows_backward(context, pooler_.backward_input(context, d, saved.child(pooler_child)), rows, time);
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
        transform_(build, "head.transform", config.hidden),
        norm_(make_norm(build, "head.norm", config.hidden)),
        output_(build, {.classes = config.vocabulary,
                        .hidden = config.hidden,
                        .weight = token_table,
                        .bias = "head.bias",
                        .split = true,
                        .first_copy = build.first_stage,
                        .deviation = initial_deviation}) {
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
      const Tensor parts = order_->logits(context, x, saved.child(order_child));
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
      const Tensor more = order_->backward_input(context, context.microbatch.field(ErnieFields::order),
                                                 context.loss_scale * order_scale_, time_, saved.child(order_child));
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

/// One label a text. [batch, time, hidden] -> f64 [2, 2]: loss, accuracy.
class TextHead final : public Layer {
 public:
  TextHead(const Build& build, const ErnieConfig& config)
      : time_(config.context), classifier_(build, "classifier", config, config.labels) {}

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    Tensor logits = classifier_.logits(context, x, saved);
    const Tensor& labels = context.microbatch.field(ErnieFields::labels);
    if (labels.empty()) return logits;
    Tensor totals = zeros(context, {2, 2});
    classifier_.measure(context, logits, labels, totals.view(0, {2}), totals.view(2, {1, 2}), saved);
    return totals;
  }
  Tensor backward_input(const Context& context, const Tensor&, Saved& saved) const override {
    return classifier_.backward_input(context, context.microbatch.field(ErnieFields::labels), context.loss_scale, time_,
                                      saved);
  }
  void backward_weight(const Context& context, Saved& saved) const override {
    classifier_.backward_weight(context, saved);
  }

 private:
  std::int64_t time_;
  TextClassifier classifier_;
};

/// One label a token. [batch, time, hidden] -> f64 [3, 2]: loss, accuracy, accuracy of tokens whose label is not "O".
class TokenHead final : public Layer {
 public:
  TokenHead(const Build& build, const ErnieConfig& config)
      : dropout_("labeller.dropout", config.dropout),
        output_(build, {.classes = config.labels,
                        .hidden = config.hidden,
                        .weight = "labeller.weight",
                        .bias = "labeller.bias",
                        .deviation = initial_deviation}) {}

  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    Tensor logits = output_.logits(context, dropout_(context, x), saved);
    const Tensor& labels = context.microbatch.field(ErnieFields::labels);
    if (labels.empty()) return logits;
    Tensor totals = zeros(context, {3, 2});
    // Group 0 is the labels with a name, group 1 the others: all is their sum.
    const Tensor hits = zeros(context, {2, 2});
    output_.measure(context, logits, labels, context.microbatch.field(ErnieFields::named), totals.view(0, {2}), hits,
                    saved);
    context.backend.add(hits.view(0, {2}), hits.view(2, {2}), totals.view(2, {2}));
    context.backend.add(hits.view(0, {2}), totals.view(4, {2}), totals.view(4, {2}));
    return totals;
  }
  Tensor backward_input(const Context& context, const Tensor&, Saved& saved) const override {
    return dropout_(context, output_.backward_input(context, context.microbatch.field(ErnieFields::labels),
                                                    context.loss_scale, saved));
  }
  void backward_weight(const Context& context, Saved& saved) const override { output_.backward_weight(context, saved); }

 private:
  Dropout dropout_;
  SoftmaxOutput output_;
};

void check(const ErnieConfig& config) {
  if (config.vocabulary < 2) refuse("model: a vocabulary of {} tokens; at least 2 are needed", config.vocabulary);
  if (config.hidden % config.heads != 0)
    refuse("model.hidden={} cannot be divided between model.heads={}: hidden must be a multiple of heads",
           config.hidden, config.heads);
  if (config.task != ErnieTask::pretrain && config.labels < 2)
    refuse("data.train: its texts have {} labels; a model to tell them apart needs at least 2", config.labels);
}

/// Costs of one sample on one rank of the tensor axis. Backward costs twice the forward pass everywhere.
struct Costs {
  const ErnieConfig& config;
  double ranks;
  double bytes;  ///< of one activation

  double tokens() const { return config.context; }
  double hidden() const { return config.hidden; }

  BlockCost embedding() const {
    const double replicated = (config.context + segments) * hidden();
    return {12.0 * tokens() * hidden(), 4.0 * (config.vocabulary * hidden() / ranks + replicated),
            tokens() * (8.0 + bytes * hidden())};
  }
  BlockCost encoder() const {
    const double weights = hidden() * (4.0 * hidden() + 2.0 * config.inner_size()) / ranks;
    const double scores = 2.0 * tokens() * hidden() / ranks;  // time x time, twice: scores and values
    const double kept = 6.0 * hidden() + (4.0 * hidden() + 2.0 * config.inner_size()) / ranks;
    return {2.0 * tokens() * (weights + scores), 4.0 * weights, bytes * tokens() * kept};
  }
  BlockCost final_norm() const { return {8.0 * tokens() * hidden(), 8.0 * hidden(), bytes * tokens() * hidden()}; }
  BlockCost head() const {
    const bool pretrain = config.task == ErnieTask::pretrain;
    const double classes = pretrain ? config.vocabulary / ranks : config.labels;
    const double rows = pretrain ? config.slots : config.task == ErnieTask::label_texts ? 1 : tokens();
    const double weights = classes * hidden() + (config.task == ErnieTask::label_tokens ? 0 : hidden() * hidden());
    return {2.0 * rows * weights, 4.0 * weights, bytes * rows * (3.0 * hidden() + classes)};
  }
};

std::vector<Metric> metrics_of(const ErnieConfig& config) {
  if (config.task == ErnieTask::label_texts) return {{"loss", "nats a text"}, {"accuracy", ""}};
  if (config.task == ErnieTask::label_tokens)
    return {{"loss", "nats a label"}, {"accuracy", ""}, {"named_accuracy", ""}};
  std::vector<Metric> metrics = {
      {"loss", "nats a masked token"}, {"character_accuracy", ""}, {"word_accuracy", ""}, {"entity_accuracy", ""}};
  if (config.order_weight > 0) metrics.push_back({"order_accuracy", ""});
  return metrics;
}

std::unique_ptr<Layer> make_head(const ErnieConfig& config, const Build& build) {
  if (config.task == ErnieTask::pretrain) return std::make_unique<PretrainingHead>(build, config);
  if (config.task == ErnieTask::label_texts) return std::make_unique<TextHead>(build, config);
  return std::make_unique<TokenHead>(build, config);
}

}  // namespace

Architecture make_ernie(const ErnieConfig& config, int tensor_ranks, DType type) {
  check(config);
  const Costs costs{config, static_cast<double>(tensor_ranks), static_cast<double>(size_of(type))};
  const auto hidden_states = [config](const Shape& tokens) { return Shape{tokens[0], config.hidden}; };
  Architecture result;
  result.metrics = metrics_of(config);
  result.targets_per_sample = config.task == ErnieTask::pretrain      ? config.masked
                              : config.task == ErnieTask::label_texts ? 1
                                                                      : config.context / 2.0;
  result.draws = config.dropout > 0;

  result.blocks.push_back({"embedding", costs.embedding(), hidden_states,
                           [config](const Build& build) { return std::make_unique<ErnieEmbedding>(build, config); }});
  for (int layer = 0; layer < config.layers; ++layer) {
    const std::string name = fmt::format("blocks.{}", layer);
    result.blocks.push_back({name, costs.encoder(), hidden_states, [config, name](const Build& build) {
                               return std::make_unique<EncoderBlock>(build, name, config);
                             }});
  }
  if (config.pre_norm)
    result.blocks.push_back({"final_norm", costs.final_norm(), hidden_states, [config](const Build& build) {
                               return std::make_unique<Norm>(make_norm(build, "final_norm", config.hidden));
                             }});
  result.blocks.push_back(
      {"head", costs.head(), nullptr, [config](const Build& build) { return make_head(config, build); }});
  if (config.task == ErnieTask::pretrain)
    result.shared.push_back({token_table, {0, static_cast<int>(result.blocks.size()) - 1}});
  return result;
}

}  // namespace trireme
