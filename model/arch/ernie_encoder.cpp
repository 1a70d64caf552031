#include "model/arch/ernie_encoder.h"

#include "model/layers/dropout.h"
#include "model/layers/embedding.h"
#include "model/layers/feed_forward.h"
#include "model/layers/self_attention.h"

namespace trireme {
namespace {

/// x = dropout(norm(token + position + segment)). Tokens [batch, time] -> [batch, time, hidden].
class ErnieEmbedding final : public Layer {
 public:
  ErnieEmbedding(const Build& build, const ErnieConfig& config)
      : sum_(build, "embedding",
             {.vocabulary = config.vocabulary,
              .hidden = config.hidden,
              .context = config.context,
              .deviation = initial_deviation(config)}),
        segment_(build.store.declare(build.replicated("embedding.segment.weight", {ernie_segments, config.hidden},
                                                      Initial::normal(initial_deviation(config)), true))),
        norm_(make_ernie_norm(build, "embedding.norm", config)),
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
                    .deviation = initial_deviation(config),
                    .projection_deviation = initial_deviation(config)}),
        feed_forward_(build, name + ".feed_forward",
                      {.hidden = config.hidden,
                       .inner = config.inner_size(),
                       .deviation = initial_deviation(config),
                       .projection_deviation = initial_deviation(config)}),
        norms_{make_ernie_norm(build, name + ".attention_norm", config),
               make_ernie_norm(build, name + ".feed_forward_norm", config)},
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

}  // namespace

std::unique_ptr<Layer> make_ernie_embedding(const Build& build, const ErnieConfig& config) {
  return std::make_unique<ErnieEmbedding>(build, config);
}

std::unique_ptr<Layer> make_encoder_block(const Build& build, const std::string& name, const ErnieConfig& config) {
  return std::make_unique<EncoderBlock>(build, name, config);
}

}  // namespace trireme
