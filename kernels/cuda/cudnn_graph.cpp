#include "kernels/cuda/cudnn_graph.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/error.h"

namespace trireme::cuda {
namespace {

std::string last_message() {
  std::array<char, 1024> message{};
  cudnnGetLastErrorString(message.data(), message.size());
  return message.data();
}

/// Notes of engines that the rules forbid.
std::vector<cudnnBackendNumericalNote_t> forbidden_notes(const CudnnRules& rules) {
  std::vector<cudnnBackendNumericalNote_t> notes;
  if (rules.deterministic) notes.push_back(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);
  if (rules.full_f32)
    notes.insert(notes.end(), {CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS,
                               CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION, CUDNN_NUMERICAL_NOTE_FFT,
                               CUDNN_NUMERICAL_NOTE_WINOGRAD});
  return notes;
}

bool allowed(const CudnnDescriptor& engine, const CudnnRules& rules) {
  const auto notes =
      engine.get<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT);
  const auto forbidden = forbidden_notes(rules);
  return std::none_of(forbidden.begin(), forbidden.end(), [&](cudnnBackendNumericalNote_t note) {
    return std::find(notes.begin(), notes.end(), note) != notes.end();
  });
}

/// Engines with settings that the heuristics propose, best first; none where they fail, and why.
std::vector<CudnnDescriptor> proposals(const CudnnDescriptor& graph, cudnnBackendHeurMode_t mode,
                                       const CudnnRules& rules, std::string& reason) {
  try {
    CudnnDescriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph).set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
    if (rules.device != nullptr) heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *rules.device);
    heuristics.finalize();
    return heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
  } catch (const Error& error) {
    reason = error.what();
    return {};
  }
}

struct Choice {
  CudnnDescriptor configuration, plan;
  std::string name;
};

/// The first proposal that follows the rules and can be built.
Choice choose(const CudnnDescriptor& graph, const CudnnRules& rules) {
  std::string reason = "none of its engines takes the graph under our rules";
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    auto found = proposals(graph, mode, rules, reason);
    for (std::size_t i = 0; i < found.size(); ++i) {
      const auto engine = found[i].get(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
      if (!allowed(engine.at(0), rules)) continue;
      try {
        CudnnDescriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
        plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, found[i]);
        if (rules.device != nullptr) plan.set(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *rules.device);
        plan.finalize();
        const auto number = engine.at(0).get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, 1);
        return {std::move(found[i]), std::move(plan),
                fmt::format("engine {}, proposal {} of {}", number.at(0), i + 1, found.size())};
      } catch (const Error& error) {
        reason = error.what();
      }
    }
  }
  fail("cuDNN has no plan: {}", reason);
}

}  // namespace

void check(cudnnStatus_t status, const char* expression, std::source_location where) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  throw Error(fmt::format("{}: {} {}", expression, cudnnGetErrorString(status), last_message()), ExitStatus::failed,
              where);
}

CudnnDescriptor::CudnnDescriptor(cudnnBackendDescriptorType_t type) {
  TRIREME_CUDNN(cudnnBackendCreateDescriptor(type, handle_.put()));
}

CudnnDescriptor& CudnnDescriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                                      std::int64_t count, const void* values) {
  TRIREME_CUDNN(cudnnBackendSetAttribute(get(), name, type, count, values));
  return *this;
}

CudnnDescriptor& CudnnDescriptor::set(cudnnBackendAttributeName_t name, const CudnnDescriptor& value) {
  const cudnnBackendDescriptor_t descriptor = value.get();
  return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, static_cast<const void*>(&descriptor));
}

CudnnDescriptor& CudnnDescriptor::set(cudnnBackendAttributeName_t name, const std::vector<CudnnDescriptor>& values) {
  std::vector<cudnnBackendDescriptor_t> descriptors(values.size());
  std::transform(values.begin(), values.end(), descriptors.begin(), [](const auto& value) { return value.get(); });
  return set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(descriptors.size()),
             static_cast<const void*>(descriptors.data()));
}

void CudnnDescriptor::finalize() { TRIREME_CUDNN(cudnnBackendFinalize(get())); }

std::int64_t CudnnDescriptor::get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t most,
                                  void* values) const {
  std::int64_t count = 0;
  TRIREME_CUDNN(cudnnBackendGetAttribute(get(), name, type, most, &count, values));
  return most == 0 ? count : std::min(count, most);
}

std::vector<CudnnDescriptor> CudnnDescriptor::get(cudnnBackendAttributeName_t name,
                                                  cudnnBackendDescriptorType_t type) const {
  std::vector<CudnnDescriptor> found;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (auto left = get(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, nullptr); left > 0; --left)
    raw.push_back(found.emplace_back(type).get());
  if (found.empty()) return found;
  const auto count =
      get(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(raw.size()), static_cast<void*>(raw.data()));
  found.erase(found.begin() + count, found.end());
  return found;
}

CudnnPlan::CudnnPlan(CudnnDescriptor plan, std::string engine)
    : plan_(std::move(plan)),
      workspace_bytes_(plan_.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, 1).at(0)),
      engine_(std::move(engine)) {}

void CudnnPlan::execute(cudnnHandle_t handle, std::span<const CudnnBinding> bindings, void* workspace) const {
  std::vector<std::int64_t> ids = in_memory_;
  std::vector<void*> memory;
  for (const std::int64_t id : ids) {
    const auto binding = std::find_if(bindings.begin(), bindings.end(), [&](const auto& it) { return it.first == id; });
    if (binding == bindings.end()) fail("tensor {} of a cuDNN graph has no memory", id);
    memory.push_back(const_cast<void*>(binding->second));
  }
  for (const auto& [id, value] : scalars_) {
    ids.push_back(id);
    memory.push_back(const_cast<float*>(&value));
  }
  CudnnDescriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids)
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, memory)
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace)
      .finalize();
  TRIREME_CUDNN(cudnnBackendExecute(handle, plan_.get(), pack.get()));
}

CudnnExtents dense_strides(const CudnnExtents& extents) {
  CudnnExtents strides(extents.size(), 1);
  for (std::size_t i = extents.size() - 1; i > 0; --i) strides[i - 1] = strides[i] * extents[i];
  return strides;
}

CudnnGraph::Id CudnnGraph::add_tensor(Id id, const CudnnExtents& extents, const CudnnExtents& strides,
                                      cudnnDataType_t type, bool inner, bool by_value) {
  CudnnDescriptor descriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  descriptor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id)
      .set(CUDNN_ATTR_TENSOR_DATA_TYPE, type)
      .set(CUDNN_ATTR_TENSOR_DIMENSIONS, extents)
      .set(CUDNN_ATTR_TENSOR_STRIDES, strides)
      .set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16})
      .set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, inner)
      .set(CUDNN_ATTR_TENSOR_IS_BY_VALUE, by_value)
      .finalize();
  tensors_.emplace(id, std::move(descriptor));
  return id;
}

CudnnGraph::Id CudnnGraph::tensor(Id id, const CudnnExtents& extents, const CudnnExtents& strides,
                                  cudnnDataType_t type) {
  return add_tensor(id, extents, strides, type, false, false);
}

CudnnGraph::Id CudnnGraph::inner(const CudnnExtents& extents, const CudnnExtents& strides, cudnnDataType_t type) {
  return add_tensor(next_inner(), extents, strides, type, true, false);
}

CudnnGraph::Id CudnnGraph::scalar(float value) {
  const Id id = add_tensor(next_inner(), {1, 1, 1, 1}, {1, 1, 1, 1}, CUDNN_DATA_FLOAT, false, true);
  scalars_.emplace_back(id, value);
  return id;
}

CudnnDescriptor& CudnnGraph::add_operation(cudnnBackendDescriptorType_t type, cudnnBackendAttributeName_t how_name,
                                           CudnnDescriptor how) {
  how.finalize();
  hows_.push_back(std::move(how));
  return operations_.emplace_back(type).set(how_name, hows_.back());
}

CudnnGraph::Id CudnnGraph::matmul(Id a, Id b, Id out, const CudnnLimits& limits) {
  CudnnDescriptor how(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
  how.set(CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_DATA_FLOAT);
  CudnnDescriptor& operation =
      add_operation(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR, CUDNN_ATTR_OPERATION_MATMUL_DESC, std::move(how))
          .set(CUDNN_ATTR_OPERATION_MATMUL_ADESC, at(a))
          .set(CUDNN_ATTR_OPERATION_MATMUL_BDESC, at(b))
          .set(CUDNN_ATTR_OPERATION_MATMUL_CDESC, at(out));
  if (limits.rows != 0) operation.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC, at(limits.rows));
  if (limits.columns != 0) operation.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC, at(limits.columns));
  if (limits.terms != 0) operation.set(CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC, at(limits.terms));
  operation.finalize();
  return out;
}

CudnnDescriptor& CudnnGraph::add_pointwise(cudnnPointwiseMode_t mode, cudnnDataType_t computation, std::int64_t axis) {
  CudnnDescriptor how(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  how.set(CUDNN_ATTR_POINTWISE_MODE, mode).set(CUDNN_ATTR_POINTWISE_MATH_PREC, computation);
  if (axis >= 0) how.set(CUDNN_ATTR_POINTWISE_AXIS, axis);
  return add_operation(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR,
                       std::move(how));
}

CudnnGraph::Id CudnnGraph::pointwise(cudnnPointwiseMode_t mode, Id x, Id out) {
  add_pointwise(mode, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, at(x))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, at(out))
      .finalize();
  return out;
}

CudnnGraph::Id CudnnGraph::pointwise(cudnnPointwiseMode_t mode, Id x, Id b, Id out, cudnnDataType_t computation) {
  add_pointwise(mode, computation)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, at(x))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, at(b))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, at(out))
      .finalize();
  return out;
}

CudnnGraph::Id CudnnGraph::select(Id x, Id otherwise, Id condition, Id out) {
  add_pointwise(CUDNN_POINTWISE_BINARY_SELECT, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, at(x))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, at(otherwise))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_TDESC, at(condition))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, at(out))
      .finalize();
  return out;
}

CudnnGraph::Id CudnnGraph::index(std::int64_t axis, Id x, Id out) {
  add_pointwise(CUDNN_POINTWISE_GEN_INDEX, CUDNN_DATA_FLOAT, axis)
      .set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, at(x))
      .set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, at(out))
      .finalize();
  return out;
}

CudnnGraph::Id CudnnGraph::reduce(cudnnReduceTensorOp_t operation, Id x, Id out) {
  CudnnDescriptor how(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
  how.set(CUDNN_ATTR_REDUCTION_OPERATOR, operation).set(CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  add_operation(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR, CUDNN_ATTR_OPERATION_REDUCTION_DESC, std::move(how))
      .set(CUDNN_ATTR_OPERATION_REDUCTION_XDESC, at(x))
      .set(CUDNN_ATTR_OPERATION_REDUCTION_YDESC, at(out))
      .finalize();
  return out;
}

CudnnGraph::Id CudnnGraph::reshape(Id x, Id out) {
  operations_.emplace_back(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR)
      .set(CUDNN_ATTR_OPERATION_RESHAPE_XDESC, at(x))
      .set(CUDNN_ATTR_OPERATION_RESHAPE_YDESC, at(out))
      .finalize();
  return out;
}

void CudnnGraph::convolution(Convolution kind, const CudnnWindow& window, Id image, Id filter, Id result) {
  struct Names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t window, image, filter, result, alpha, beta;
  };
  static const std::array<Names, 3> all_names = {
      {{CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
        CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
       {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
       {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA}}};
  const Names& names = all_names[static_cast<std::size_t>(kind)];
  CudnnDescriptor how(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  how.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT)
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION)
      .set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, static_cast<std::int64_t>(window.strides.size()))
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, window.paddings)
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, window.paddings)
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, window.dilations)
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, window.strides);
  add_operation(names.type, names.window, std::move(how))
      .set(names.image, at(image))
      .set(names.filter, at(filter))
      .set(names.result, at(result))
      .set(names.alpha, 1.0F)
      .set(names.beta, 0.0F)
      .finalize();
}

CudnnPlan CudnnGraph::plan(const CudnnRules& rules) {
  CudnnDescriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  if (rules.handle != nullptr) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, rules.handle);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_).finalize();
  Choice choice = choose(graph, rules);

  CudnnPlan plan(std::move(choice.plan), std::move(choice.name));
  plan.scalars_ = std::move(scalars_);
  for (auto& [id, tensor] : tensors_) {
    if (id < first_inner) plan.in_memory_.push_back(id);
    plan.parts_.push_back(std::move(tensor));
  }
  for (auto* parts : {&hows_, &operations_}) std::move(parts->begin(), parts->end(), std::back_inserter(plan.parts_));
  plan.parts_.push_back(std::move(graph));
  plan.parts_.push_back(std::move(choice.configuration));
  return plan;
}

}  // namespace trireme::cuda
