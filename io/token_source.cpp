#include "io/token_source.h"

#include <algorithm>

#include "kernels/error.h"

namespace trireme {
namespace {

std::int64_t samples_in(const TokenDataset& dataset, int context) {
  if (context < 1) fail("tokens: a context of {}", context);
  const std::int64_t samples = (dataset.tokens() - 1) / context;
  if (samples < 1) {
    refuse("{}: holds {} tokens, but one sample of model.context = {} needs {}", dataset.name(), dataset.tokens(),
           context, context + 1);
  }
  return samples;
}

}  // namespace

TokenSource::TokenSource(std::shared_ptr<TokenDataset> dataset, int context, const SourceOptions& options)
    : dataset_(std::move(dataset)),
      context_(context),
      options_(options),
      samples_(samples_in(*dataset_, context)),
      order_(samples_, options.seed, options.training),
      window_(static_cast<std::size_t>(context) + 1) {}

std::int64_t TokenSource::batches() const { return (samples_ + options_.global_batch - 1) / options_.global_batch; }

std::vector<Field> TokenSource::fields(std::int64_t) const {
  return {{"tokens", DType::i32, {context_}}, {"targets", DType::i32, {context_}}};
}

void TokenSource::read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) {
  const std::int64_t place = batch * options_.global_batch + index;
  const bool counts = options_.training || place < samples_;
  auto* const tokens = reinterpret_cast<std::int32_t*>(fields[0]);
  auto* const targets = reinterpret_cast<std::int32_t*>(fields[1]);
  const std::lock_guard lock(mutex_);
  dataset_->read(order_(place) * context_, window_);
  std::copy(window_.begin(), window_.end() - 1, tokens);
  if (counts)
    std::copy(window_.begin() + 1, window_.end(), targets);
  else
    std::fill_n(targets, context_, -1);
}

}  // namespace trireme
