// Graphs of operations for cuDNN, over its backend interface (cudnn_graph.h of the vendor): tensors and operations are
// described, cuDNN finds engines that run the whole graph, the first that passes our rules becomes a plan. Descriptions
// need no device, and plans can be made for one that is not here.
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <map>
#include <source_location>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/cuda/runtime.h"

namespace trireme::cuda {

/// Throws an Error that names the expression and what cuDNN said last.
void check(cudnnStatus_t status, const char* expression, std::source_location where = std::source_location::current());

#define TRIREME_CUDNN(call) ::trireme::cuda::check((call), #call)

template <typename T>
struct CudnnType;  ///< how the backend interface calls the type of an attribute

#define TRIREME_CUDNN_TYPE(type, name)                         \
  template <>                                                  \
  struct CudnnType<type> {                                     \
    static constexpr cudnnBackendAttributeType_t value = name; \
  }
TRIREME_CUDNN_TYPE(bool, CUDNN_TYPE_BOOLEAN);
TRIREME_CUDNN_TYPE(char, CUDNN_TYPE_CHAR);
TRIREME_CUDNN_TYPE(std::int64_t, CUDNN_TYPE_INT64);
TRIREME_CUDNN_TYPE(float, CUDNN_TYPE_FLOAT);
TRIREME_CUDNN_TYPE(void*, CUDNN_TYPE_VOID_PTR);
TRIREME_CUDNN_TYPE(cudnnHandle_t, CUDNN_TYPE_HANDLE);
TRIREME_CUDNN_TYPE(cudnnDataType_t, CUDNN_TYPE_DATA_TYPE);
TRIREME_CUDNN_TYPE(cudnnPointwiseMode_t, CUDNN_TYPE_POINTWISE_MODE);
TRIREME_CUDNN_TYPE(cudnnReduceTensorOp_t, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE);
TRIREME_CUDNN_TYPE(cudnnConvolutionMode_t, CUDNN_TYPE_CONVOLUTION_MODE);
TRIREME_CUDNN_TYPE(cudnnBackendHeurMode_t, CUDNN_TYPE_HEUR_MODE);
TRIREME_CUDNN_TYPE(cudnnBackendKnobType_t, CUDNN_TYPE_KNOB_TYPE);
TRIREME_CUDNN_TYPE(cudnnBackendNumericalNote_t, CUDNN_TYPE_NUMERICAL_NOTE);
#undef TRIREME_CUDNN_TYPE

/// Owns one descriptor of the backend interface.
class CudnnDescriptor {
 public:
  explicit CudnnDescriptor(cudnnBackendDescriptorType_t type);

  template <typename T>
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, const T& value) {
    return set(name, CudnnType<T>::value, 1, static_cast<const void*>(&value));
  }
  template <typename T>
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, const std::vector<T>& values) {
    return set(name, CudnnType<T>::value, static_cast<std::int64_t>(values.size()),
               static_cast<const void*>(values.data()));
  }
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value);
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, const std::vector<CudnnDescriptor>& values);
  void finalize();

  template <typename T>
  std::vector<T> get(cudnnBackendAttributeName_t name, std::int64_t most) const {
    std::vector<T> values(static_cast<std::size_t>(most));
    values.resize(static_cast<std::size_t>(get(name, CudnnType<T>::value, most, values.data())));
    return values;
  }
  /// Descriptors of this type, finalized by cuDNN.
  std::vector<CudnnDescriptor> get(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type) const;
  cudnnBackendDescriptor_t get() const { return handle_.get(); }

 private:
  CudnnDescriptor& set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
                       const void* values);
  std::int64_t get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t most,
                   void* values) const;

  Handle<cudnnBackendDescriptor_t, cudnnBackendDestroyDescriptor> handle_;
};

/// What a plan must be like.
struct CudnnRules {
  cudnnHandle_t handle = nullptr;           ///< of the device that the plan is for
  const CudnnDescriptor* device = nullptr;  ///< or the properties of a device that is not here
  bool deterministic = true;                ///< the same bits on every run
  bool full_f32 = false;  ///< no engine that rounds f32 operands (tf32) or transforms them (FFT, Winograd)
};

/// Number of a tensor, and its memory.
using CudnnBinding = std::pair<std::int64_t, const void*>;

/// A graph that is ready to run. Keeps every descriptor that it was made from.
class CudnnPlan {
 public:
  std::int64_t workspace_bytes() const { return workspace_bytes_; }
  /// For people who compare plans: "engine 6, proposal 1 of 3".
  const std::string& engine() const { return engine_; }
  /// Enqueues the graph on the handle's stream. The bindings name every tensor in memory; others may be
  /// among them.
  void execute(cudnnHandle_t handle, std::span<const CudnnBinding> bindings, void* workspace) const;

 private:
  friend class CudnnGraph;
  CudnnPlan(CudnnDescriptor plan, std::string engine);

  std::vector<CudnnDescriptor> parts_;
  std::vector<std::int64_t> in_memory_;
  std::vector<std::pair<std::int64_t, float>> scalars_;
  CudnnDescriptor plan_;
  std::int64_t workspace_bytes_;
  std::string engine_;
};

using CudnnExtents = std::vector<std::int64_t>;

/// Strides of a dense row-major tensor.
CudnnExtents dense_strides(const CudnnExtents& extents);

/// Tensors i32 [batch, 1, 1, 1] that say how much of a product's sizes each batch has: rows and columns of the result,
/// terms of its sums. 0: all. What lies beyond is not computed.
struct CudnnLimits {
  std::int64_t rows = 0, columns = 0, terms = 0;
};

/// Window of a convolution over two spatial axes.
struct CudnnWindow {
  CudnnExtents strides, paddings, dilations;
};

class CudnnGraph {
 public:
  using Id = std::int64_t;  ///< number of a tensor
  enum class Convolution { forward, data_gradient, filter_gradient };

  /// A tensor in memory, aligned to 16 bytes. The caller numbers these, below `first_inner`.
  Id tensor(Id id, const CudnnExtents& extents, const CudnnExtents& strides, cudnnDataType_t type);
  /// A tensor that exists within the graph only.
  Id inner(const CudnnExtents& extents, const CudnnExtents& strides, cudnnDataType_t type = CUDNN_DATA_FLOAT);
  Id inner(const CudnnExtents& extents, cudnnDataType_t type = CUDNN_DATA_FLOAT) {
    return inner(extents, dense_strides(extents), type);
  }
  /// A number that the plan remembers, as a tensor of four axes.
  Id scalar(float value);

  // Operations give back `out`, so that they can be chained. They compute in f32 unless they say otherwise.
  Id matmul(Id a, Id b, Id out, const CudnnLimits& limits = {});
  Id pointwise(cudnnPointwiseMode_t mode, Id x, Id out);
  Id pointwise(cudnnPointwiseMode_t mode, Id x, Id b, Id out, cudnnDataType_t computation = CUDNN_DATA_FLOAT);
  /// out = condition ? x : otherwise
  Id select(Id x, Id otherwise, Id condition, Id out);
  /// out = index along the axis, of the shape of x
  Id index(std::int64_t axis, Id x, Id out);
  /// Over the axes that are 1 in `out`, or in groups of neighbours where `out` is shorter otherwise.
  Id reduce(cudnnReduceTensorOp_t operation, Id x, Id out);
  Id reshape(Id x, Id out);
  /// `image` is what the forward pass reads, `result` what it writes, whichever of the three is computed.
  void convolution(Convolution kind, const CudnnWindow& window, Id image, Id filter, Id result);

  /// The first engine in cuDNN's order of expected speed that follows the rules. Throws an Error with cuDNN's reason
  /// where there is none. The graph moves into the plan.
  CudnnPlan plan(const CudnnRules& rules);

 private:
  static constexpr Id first_inner = 1000;

  Id add_tensor(Id id, const CudnnExtents& extents, const CudnnExtents& strides, cudnnDataType_t type, bool inner,
                bool by_value);
  Id next_inner() const { return first_inner + static_cast<Id>(tensors_.size()); }
  const CudnnDescriptor& at(Id id) const { return tensors_.at(id); }
  CudnnDescriptor& add_pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t computation, std::int64_t axis = -1);
  CudnnDescriptor& add_operation(cudnnBackendDescriptorType_t type, cudnnBackendAttributeName_t how_name,
                                 CudnnDescriptor how);

  std::map<Id, CudnnDescriptor> tensors_;
  std::vector<CudnnDescriptor> hows_, operations_;
  std::vector<std::pair<Id, float>> scalars_;
};

}  // namespace trireme::cuda
