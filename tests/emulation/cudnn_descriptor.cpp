#include "tests/emulation/cudnn_descriptor.h"

#include <algorithm>
#include <set>

namespace trireme::emulation::cudnn_program {
namespace {

std::set<const Descriptor*>& living() {
  static auto& descriptors = *new std::set<const Descriptor*>;  // plans may live as long as the process
  return descriptors;
}

std::size_t size_of(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
      return 1;
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    default:
      return 4;
  }
}

}  // namespace

Descriptor* make(cudnnBackendDescriptorType_t type) {
  auto* const made = new Descriptor{.type = type, .attributes = {}, .program = {}};
  living().insert(made);
  return made;
}

void destroy(Descriptor& descriptor) {
  living().erase(&descriptor);
  delete &descriptor;
}

Descriptor& real(cudnnBackendDescriptor_t opaque) {
  auto* const descriptor = static_cast<Descriptor*>(opaque);
  demand(living().contains(descriptor), "a descriptor was destroyed, or never made");
  return *descriptor;
}

const Descriptor& final_part(const Descriptor& whole, cudnnBackendAttributeName_t name) {
  const Descriptor& part = real(whole.one<cudnnBackendDescriptor_t>(name));
  demand(part.is_final, "a part is not finalized");
  return part;
}

void set(Descriptor& descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
         const void* values) {
  const auto* const bytes = static_cast<const std::byte*>(values);
  descriptor.attributes[name] = {type, count, {bytes, bytes + static_cast<std::size_t>(count) * size_of(type)}};
}

TensorInfo tensor_of(const Descriptor& d) {
  demand(d.type == CUDNN_BACKEND_TENSOR_DESCRIPTOR && d.is_final, "not a finalized tensor");
  TensorInfo info;
  info.id = d.one<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID);
  info.type = d.one<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
  info.is_inner = d.one<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL);
  info.is_value = d.one<bool>(CUDNN_ATTR_TENSOR_IS_BY_VALUE);
  const auto extents = d.all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const auto strides = d.all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  demand(extents.size() == 4 && strides.size() == 4, "a tensor has not four axes");
  std::copy(extents.begin(), extents.end(), info.extents.begin());
  std::copy(strides.begin(), strides.end(), info.strides.begin());
  demand(d.one<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT) == 16, "a tensor has another alignment");
  return info;
}

namespace {

/// A descriptor of an operation in the form that is carried out.
Operation operation_of(const Descriptor& d) {
  const auto tensor = [&](cudnnBackendAttributeName_t name) { return tensor_of(final_part(d, name)); };
  const auto optional = [&](cudnnBackendAttributeName_t name) {
    return d.attributes.contains(name) ? tensor(name) : TensorInfo{};
  };
  const auto convolution = [&](Kind kind, cudnnBackendAttributeName_t how, cudnnBackendAttributeName_t image,
                               cudnnBackendAttributeName_t filter, cudnnBackendAttributeName_t result,
                               cudnnBackendAttributeName_t alpha, cudnnBackendAttributeName_t beta) {
    demand(d.one<float>(alpha) == 1.0F && d.one<float>(beta) == 0.0F, "a convolution is scaled");
    const Descriptor& w = final_part(d, how);
    demand(w.one<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE) == CUDNN_CROSS_CORRELATION &&
               w.one<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE) == CUDNN_DATA_FLOAT &&
               w.one<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS) == 2,
           "a convolution is of another mode");
    const auto paddings = w.all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
    demand(paddings == w.all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS), "paddings differ");
    return Operation{.kind = kind,
                     .x = tensor(image),
                     .b = tensor(filter),
                     .out = tensor(result),
                     .strides = w.all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES),
                     .paddings = paddings,
                     .dilations = w.all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS)};
  };
  switch (d.type) {
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
      return {.kind = Kind::matmul,
              .x = tensor(CUDNN_ATTR_OPERATION_MATMUL_ADESC),
              .b = tensor(CUDNN_ATTR_OPERATION_MATMUL_BDESC),
              .out = tensor(CUDNN_ATTR_OPERATION_MATMUL_CDESC),
              .rows = optional(CUDNN_ATTR_OPERATION_MATMUL_GEMM_M_OVERRIDE_DESC),
              .columns = optional(CUDNN_ATTR_OPERATION_MATMUL_GEMM_N_OVERRIDE_DESC),
              .terms = optional(CUDNN_ATTR_OPERATION_MATMUL_GEMM_K_OVERRIDE_DESC)};
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR: {
      const Descriptor& how = final_part(d, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
      const auto mode = how.one<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
      return {.kind = Kind::pointwise,
              .x = tensor(CUDNN_ATTR_OPERATION_POINTWISE_XDESC),
              .b = optional(CUDNN_ATTR_OPERATION_POINTWISE_BDESC),
              .condition = optional(CUDNN_ATTR_OPERATION_POINTWISE_TDESC),
              .out = tensor(CUDNN_ATTR_OPERATION_POINTWISE_YDESC),
              .mode = mode,
              .axis = mode == CUDNN_POINTWISE_GEN_INDEX ? how.one<std::int64_t>(CUDNN_ATTR_POINTWISE_AXIS) : 0};
    }
    case CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR:
      return {.kind = Kind::reduction,
              .x = tensor(CUDNN_ATTR_OPERATION_REDUCTION_XDESC),
              .out = tensor(CUDNN_ATTR_OPERATION_REDUCTION_YDESC),
              .reduction = final_part(d, CUDNN_ATTR_OPERATION_REDUCTION_DESC)
                               .one<cudnnReduceTensorOp_t>(CUDNN_ATTR_REDUCTION_OPERATOR)};
    case CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR:
      return {.kind = Kind::reshape,
              .x = tensor(CUDNN_ATTR_OPERATION_RESHAPE_XDESC),
              .out = tensor(CUDNN_ATTR_OPERATION_RESHAPE_YDESC)};
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
      return convolution(Kind::convolution, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA);
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
      return convolution(Kind::data_gradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA);
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
      return convolution(Kind::filter_gradient, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA);
    default:
      demand(false, "an operation is of a kind that no test needed so far");
      return {};
  }
}

}  // namespace

Program program_of(const Descriptor& graph) {
  demand(graph.type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR && graph.is_final, "not a finalized graph");
  Program program;
  for (auto* operation : graph.all<cudnnBackendDescriptor_t>(CUDNN_ATTR_OPERATIONGRAPH_OPS)) {
    demand(real(operation).is_final, "an operation is not finalized");
    program.push_back(operation_of(real(operation)));
  }
  return program;
}

}  // namespace trireme::emulation::cudnn_program
