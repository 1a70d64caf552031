#include "model/layers/embedding.h"

namespace trireme {
namespace {

enum : std::size_t { saved_tokens, saved_output_gradient };

}  // namespace

ShardSpec vocabulary_shard(const Build& build, std::int64_t vocabulary, std::int64_t hidden) {
  const std::int64_t first = vocabulary * build.tensor_rank / build.tensor_ranks;
  const std::int64_t end = vocabulary * (build.tensor_rank + 1) / build.tensor_ranks;
  ShardSpec shard{.global = {vocabulary, hidden}};
  shard.offset[0] = first;
  shard.extent = {end - first, hidden};
  return shard;
}

Embedding::Embedding(const Build& build, const std::string& name, const EmbeddingOptions& options)
    : hidden_(options.hidden), adds_positions_(build.tensor_rank == 0), dropout_(name + ".dropout", options.dropout) {
  const ShardSpec shard = vocabulary_shard(build, options.vocabulary, options.hidden);
  first_token_ = shard.offset[0];
  table_ = build.store.declare({name + ".token.weight", shard, Initial::normal(options.deviation), true});
  if (options.context > 0)
    positions_ = build.store.declare(build.replicated(name + ".position.weight", {options.context, options.hidden},
                                                      Initial::normal(options.deviation), true));
}

Tensor Embedding::forward(const Context& context, const Tensor& tokens, Saved& saved) const {
  EmbeddingArgs args;
  args.tokens = tokens;
  args.table = table_->working;
  args.first_token = first_token_;
  if (positions_ != nullptr && adds_positions_) args.positions = positions_->working;
  args.out = context.backend.allocate({tokens.shape()[0], tokens.shape()[1], hidden_}, context.type);
  context.backend.embedding(args);
  context.tensor.all_reduce(args.out, Reduction::sum).wait();
  if (context.training) saved[saved_tokens] = tokens;
  return dropout_(context, args.out);
}

Tensor Embedding::backward_input(const Context& context, const Tensor& dy, Saved& saved) const {
  saved[saved_output_gradient] = dropout_(context, dy);
  return {};
}

void Embedding::backward_weight(const Context& context, Saved& saved) const {
  EmbeddingBackwardArgs args;
  args.tokens = saved[saved_tokens];
  args.dout = saved[saved_output_gradient];
  args.first_token = first_token_;
  args.dtable = table_->gradient;
  if (positions_ != nullptr) args.dpositions = positions_->gradient;
  context.backend.embedding_backward(args);
}

}  // namespace trireme
