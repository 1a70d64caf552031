// model.arch=ernie: encoders of Chinese text. A data set of text is pre-trained on, one with labels is fine-tuned on.
#include "model/arch/ernie.h"

#include <algorithm>

#include "app/inference.h"
#include "app/workloads/text_predictor.h"
#include "app/workloads/workloads.h"
#include "io/ernie_source.h"
#include "io/labelled_source.h"
#include "io/wordpiece_tokenizer.h"
#include "kernels/error.h"

namespace trireme {
namespace {

class Texts final : public DataSet {
 public:
  explicit Texts(const std::vector<std::filesystem::path>& files) : data_(std::make_shared<TokenDataset>(files)) {}
  const TokenizerBlob& tokenizer() const override { return data_->tokenizer(); }
  std::int64_t size() const override { return data_->tokens(); }
  std::string unit() const override { return "tokens"; }
  std::shared_ptr<Source> source(const Configuration& configuration, const SourceOptions& how) override {
    const int context = configuration.model.context;
    if (data_->labelled_by() != LabelledBy::nothing) return std::make_shared<LabelledSource>(data_, context, how);
    const ErnieOptions& ernie = configuration.ernie;
    const MaskOptions mask{.share = ernie.mask_share,
                           .character = ernie.mask_characters,
                           .word = ernie.mask_words,
                           .entity = ernie.mask_entities};
    return std::make_shared<ErnieSource>(
        data_, ErnieSourceOptions{.context = context, .mask = mask, .sentence_order = ernie.order_weight > 0}, how);
  }

 private:
  std::shared_ptr<TokenDataset> data_;
};

/// Refuses what is set for gpt and has no meaning here.
void check_keys(const Configuration& configuration) {
  const GptConfig& model = configuration.model;
  const auto only = [](bool as_expected, const char* key, const char* expected) {
    if (!as_expected) refuse("{}: model.arch=ernie knows {} only", key, expected);
  };
  only(model.norm == NormKind::layer, "model.norm", "layer");
  only(model.activation == FeedForwardKind::gelu, "model.activation", "gelu");
  only(model.positions == PositionKind::learned, "model.positions", "learned");
  only(model.bias, "model.bias", "true");
  only(model.tie_embeddings, "model.tie_embeddings", "true");
  only(model.key_value_heads == 0 || model.key_value_heads == model.heads, "model.key_value_heads", "0");
  const ErnieOptions& ernie = configuration.ernie;
  if (ernie.mask_characters + ernie.mask_words + ernie.mask_entities <= 0)
    refuse("model.mask_characters, mask_words and mask_entities are all 0, expected at least one above it");
}

ErnieConfig config_of(const Configuration& configuration) {
  const GptConfig& model = configuration.model;
  const ErnieOptions& ernie = configuration.ernie;
  return {.task = ernie.task,
          .layers = model.layers,
          .hidden = model.hidden,
          .heads = model.heads,
          .context = model.context,
          .feed_forward = model.feed_forward,
          .vocabulary = model.vocabulary,
          .dropout = model.dropout,
          .pre_norm = ernie.pre_norm,
          .order_weight = ernie.order_weight,
          .slots = ErnieSource::slots(ernie.mask_share, model.context),
          .masked = std::max(1.0, ernie.mask_share * (model.context - ErnieSource::specials)),
          .labels = ernie.labels};
}

/// The likeliest class of each row.
std::vector<std::int32_t> guesses(Inference& model, std::span<const HostField> inputs, std::int64_t classes,
                                  std::int64_t rows) {
  const std::vector<float> logits = model.logits(inputs, classes, {.count = rows});
  std::vector<std::int32_t> found;
  for (std::int64_t row = 0; row < rows; ++row)
    found.push_back(likeliest(
        std::span(logits).subspan(static_cast<std::size_t>(row * classes), static_cast<std::size_t>(classes))));
  return found;
}

/// A text with what was masked in it, as it was, and as the model fills it up.
Example masked_text(Inference& model, const Batch& sample, const WordpieceTokenizer& tokenizer) {
  const auto window = sample.values<std::int32_t>(0).first(static_cast<std::size_t>(sample.values<std::int32_t>(2)[0]));
  const auto positions = sample.values<std::int32_t>(3), targets = sample.values<std::int32_t>(4);
  const auto masked = std::ranges::find(positions, -1) - positions.begin();
  const auto found = guesses(model, first_fields(sample, 4), tokenizer.vocabulary(), masked);
  std::vector<std::int32_t> text(window.begin(), window.end()), filled = text;
  for (std::size_t i = 0; i < found.size(); ++i) {
    text[static_cast<std::size_t>(positions[i])] = targets[i];
    filled[static_cast<std::size_t>(positions[i])] = found[i];
  }
  return {fmt::format("given:   {}\nguessed: {}\ntext:    {}", tokenizer.decode(window), tokenizer.decode(filled),
                      tokenizer.decode(text)),
          {}};
}

/// A text with the labels that it, or its tokens, have and get.
Example labelled_text(Inference& model, const Batch& sample, const WordpieceTokenizer& tokenizer) {
  const auto length = static_cast<std::size_t>(sample.values<std::int32_t>(2)[0]);
  const auto labels = sample.values<std::int32_t>(4);
  const std::size_t rows = std::min(labels.size(), length);
  const auto& names = tokenizer.labels().names;
  const auto found =
      guesses(model, first_fields(sample, 4), static_cast<std::int64_t>(names.size()), static_cast<std::int64_t>(rows));
  std::string wanted, guessed;
  for (std::size_t i = 0; i < rows; ++i) {
    if (labels[i] < 0) continue;
    wanted += " " + names[static_cast<std::size_t>(labels[i])];
    guessed += " " + names[static_cast<std::size_t>(found[i])];
  }
  return {fmt::format("text:    {}\nlabel:  {}\nguessed:{}", tokenizer.decode(sample.values<std::int32_t>(0)), wanted,
                      guessed),
          {}};
}

class ErnieWorkload final : public Workload {
 public:
  std::string arch() const override { return "ernie"; }
  std::shared_ptr<DataSet> open(const std::vector<std::filesystem::path>& files) const override {
    return std::make_shared<Texts>(files);
  }
  void take(Configuration& configuration, const TokenizerBlob& tokenizer) const override {
    if (tokenizer.kind != WordpieceTokenizer::kind)
      refuse(
          "model.arch=ernie: the data set has a {} tokenizer, expected wordpiece; pack it with --tokenizer=wordpiece",
          tokenizer.kind);
    int& vocabulary = configuration.model.vocabulary;
    if (vocabulary != 0 && vocabulary != tokenizer.vocabulary)
      refuse(
          "model.vocabulary={}, but the tokenizer of the data set has {} tokens; leave the key out to take its number",
          vocabulary, tokenizer.vocabulary);
    vocabulary = tokenizer.vocabulary;
    const LabelSet labels = labels_of(tokenizer);
    configuration.ernie.labels = labels.names;
    configuration.ernie.task = labels.kind == LabelSet::Kind::none       ? ErnieTask::pretrain
                               : labels.kind == LabelSet::Kind::sequence ? ErnieTask::label_texts
                                                                         : ErnieTask::label_tokens;
  }
  bool is_complete(const Configuration& configuration) const override { return configuration.model.vocabulary != 0; }
  Architecture architecture(const Configuration& configuration, int tensor_ranks, DType type) const override {
    check_keys(configuration);
    return make_ernie(config_of(configuration), tensor_ranks, type);
  }
  void limit(const Configuration& configuration, LayoutLimits& limits) const override {
    const ErnieConfig model = config_of(configuration);
    limits.heads = model.heads;
    limits.key_value_heads = model.heads;
    limits.feed_forward = model.inner_size();
    limits.vocabulary = model.vocabulary;
  }
  std::unique_ptr<Predictor> predictor(const Configuration& configuration,
                                       const TokenizerBlob& tokenizer) const override {
    if (configuration.ernie.task == ErnieTask::pretrain) return nullptr;
    return make_text_predictor(tokenizer, configuration.model.context);
  }
  int tokens_per_sample(const Configuration& configuration) const override { return configuration.model.context; }
  std::optional<Example> example(Inference& model, const Batch& sample) const override {
    const WordpieceTokenizer tokenizer(model.tokenizer().model);
    return model.configuration().ernie.task == ErnieTask::pretrain ? masked_text(model, sample, tokenizer)
                                                                   : labelled_text(model, sample, tokenizer);
  }
};

}  // namespace

const Workload& ernie_workload() {
  static const ErnieWorkload workload;
  return workload;
}

}  // namespace trireme
