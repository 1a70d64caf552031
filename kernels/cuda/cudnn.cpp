#include "kernels/cuda/cudnn.h"

#include "kernels/error.h"

namespace trireme::cuda {
namespace {

/// Versions whose attention is wrong for these sizes, as their release notes and NVIDIA's own front end have it.
void refuse_faulty_attention(const AttentionSizes& sizes, bool backward) {
  const std::size_t version = cudnnGetVersion();
  if (version < 91002) fail("cuDNN {} is older than 9.10.2", version);
  if (backward && version <= 91500 && sizes.time % 128 != 0)
    fail("cuDNN {}: lengths that are no multiple of 128 need 9.15.1", version);
}

}  // namespace

cudnnHandle_t Cudnn::handle(cudaStream_t stream) {
  if (handle_.get() == nullptr) {
    TRIREME_CUDNN(cudnnCreate(handle_.put()));
    TRIREME_CUDNN(cudnnSetStream(handle_.get(), stream));
  }
  return handle_.get();
}

template <typename Key, typename Describe>
const Cudnn::Planned& Cudnn::planned(std::map<Key, Planned>& plans, const Key& key, CudnnRules rules,
                                     cudaStream_t stream, Describe describe) {
  const auto [found, is_new] = plans.try_emplace(key);
  Planned& planned = found->second;
  if (is_new) {
    try {
      rules.handle = handle(stream);
      planned.plan = describe().plan(rules);
    } catch (const Error& error) {
      planned.refusal = error.what();
    }
  }
  return planned;
}

const Cudnn::Planned& Cudnn::attention(const AttentionSizes& sizes, cudaStream_t stream) {
  return planned(attention_, sizes, {}, stream, [&] {
    refuse_faulty_attention(sizes, false);
    return attention_graph(sizes);
  });
}

const Cudnn::Planned& Cudnn::attention_backward(const AttentionSizes& sizes, bool deterministic, cudaStream_t stream) {
  return planned(attention_backward_, {sizes, deterministic}, {.deterministic = deterministic}, stream, [&] {
    refuse_faulty_attention(sizes, true);
    return attention_backward_graph(sizes, deterministic);
  });
}

const Cudnn::Planned& Cudnn::convolution(const ConvolutionProblem& problem, cudaStream_t stream) {
  return planned(convolution_, problem, {.full_f32 = problem.full_f32}, stream,
                 [&] { return convolution_graph(problem); });
}

void Cudnn::execute(const CudnnPlan& plan, std::initializer_list<CudnnBinding> bindings, MemoryPool& pool) {
  PoolBlock workspace;
  if (plan.workspace_bytes() > 0) workspace = pool.allocate(static_cast<std::size_t>(plan.workspace_bytes()));
  plan.execute(handle_.get(), std::span(bindings.begin(), bindings.size()), workspace ? workspace.data() : nullptr);
}

}  // namespace trireme::cuda
