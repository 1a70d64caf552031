// model.arch=gpt: language models on tokens.
#include "model/arch/gpt.h"

#include <algorithm>

#include "app/continuation.h"
#include "app/workloads/workloads.h"
#include "io/token_source.h"
#include "kernels/error.h"

namespace trireme {
namespace {

class Tokens final : public DataSet {
 public:
  explicit Tokens(const std::vector<std::filesystem::path>& files) : data_(std::make_shared<TokenDataset>(files)) {}
  const TokenizerBlob& tokenizer() const override { return data_->tokenizer(); }
  std::int64_t size() const override { return data_->tokens(); }
  std::string unit() const override { return "tokens"; }
  std::shared_ptr<Source> source(const Configuration& configuration, const SourceOptions& options) override {
    return std::make_shared<TokenSource>(data_, configuration.model.context, options);
  }

 private:
  std::shared_ptr<TokenDataset> data_;
};

constexpr std::size_t longest_prompt = 32;  // tokens of a sample that a text goes on from

class GptWorkload final : public Workload {
 public:
  std::string arch() const override { return "gpt"; }
  std::shared_ptr<DataSet> open(const std::vector<std::filesystem::path>& files) const override {
    return std::make_shared<Tokens>(files);
  }
  void take(Configuration& configuration, const TokenizerBlob& tokenizer) const override {
    int& vocabulary = configuration.model.vocabulary;
    if (vocabulary != 0 && vocabulary != tokenizer.vocabulary)
      refuse(
          "model.vocabulary={}, but the tokenizer of the data set has {} tokens; leave the key out to take its number",
          vocabulary, tokenizer.vocabulary);
    vocabulary = tokenizer.vocabulary;
  }
  bool is_complete(const Configuration& configuration) const override { return configuration.model.vocabulary != 0; }
  Architecture architecture(const Configuration& configuration, int tensor_ranks, DType type) const override {
    return make_gpt(configuration.model, tensor_ranks, type);
  }
  void limit(const Configuration& configuration, LayoutLimits& limits) const override {
    const GptConfig& model = configuration.model;
    limits.heads = model.heads;
    limits.key_value_heads = model.key_value_head_count();
    limits.feed_forward = model.inner_size();
    limits.vocabulary = model.vocabulary;
  }
  bool writes_text() const override { return true; }
  std::optional<Example> example(Inference& model, const Batch& sample) const override {
    const LogOptions& log = model.configuration().log;
    const auto tokenizer = Tokenizer::load(model.tokenizer());
    std::vector<std::int32_t> given = begin_text(*tokenizer, log.prompt);
    if (log.prompt.empty()) {
      const auto window = sample.values<std::int32_t>(0);
      given.assign(window.begin(), window.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                        longest_prompt, std::max<std::size_t>(1, window.size() / 2))));
    }
    const auto all =
        continue_text(model, given, {.tokens = log.sample_tokens}, static_cast<std::uint64_t>(sample.number));
    const auto written = std::span(all).subspan(given.size());
    return Example{fmt::format("given:   {}\nwritten: {}", tokenizer->decode(given), tokenizer->decode(written)), {}};
  }
  int tokens_per_sample(const Configuration& configuration) const override { return configuration.model.context; }
};

}  // namespace

const Workload& gpt_workload() {
  static const GptWorkload workload;
  return workload;
}

}  // namespace trireme
