// cuDNN: a handle that is made on first use, and plans that are kept.
#pragma once

#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "kernels/cuda/attention_graph.h"
#include "kernels/cuda/convolution_graph.h"
#include "kernels/tensor.h"

namespace trireme::cuda {

/// Whether the graphs may use the tensor where it is.
inline bool is_aligned_for_cudnn(const Tensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.raw()) % 16 == 0;
}

/// Plans are made when they are asked for first, which takes up to a second; no call may be captured before. A plan
/// that cuDNN refused is remembered too.
class Cudnn {
 public:
  struct Planned {
    std::optional<CudnnPlan> plan;
    std::string refusal;  ///< why there is no plan
  };

  // All calls of one object take the same stream.
  const Planned& attention(const AttentionSizes& sizes, cudaStream_t stream);
  /// Not deterministic: sums in any order, faster and in less memory, but two runs differ.
  const Planned& attention_backward(const AttentionSizes& sizes, bool deterministic, cudaStream_t stream);
  const Planned& convolution(const ConvolutionProblem& problem, cudaStream_t stream);

  /// Enqueues the plan on the stream of its making. The bindings name every tensor in memory; others may be
  /// among them.
  void execute(const CudnnPlan& plan, std::initializer_list<CudnnBinding> bindings, MemoryPool& pool);

 private:
  template <typename Key, typename Describe>
  const Planned& planned(std::map<Key, Planned>& plans, const Key& key, CudnnRules rules, cudaStream_t stream,
                         Describe describe);
  cudnnHandle_t handle(cudaStream_t stream);

  Handle<cudnnHandle_t, cudnnDestroy> handle_;
  std::map<AttentionSizes, Planned> attention_;
  std::map<std::pair<AttentionSizes, bool>, Planned> attention_backward_;
  std::map<ConvolutionProblem, Planned> convolution_;
};

}  // namespace trireme::cuda
