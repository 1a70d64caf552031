#include "kernels/cuda/convolution_graph.h"

namespace trireme::cuda {
namespace {

using Id = CudnnGraph::Id;
using Kind = CudnnGraph::Convolution;

/// cuDNN counts axes as [batch, channels, height, width] whatever their order in memory.
CudnnExtents channels_last(const CudnnExtents& extents) {
  const std::int64_t row = extents[3] * extents[1];
  return {extents[2] * row, 1, row, extents[1]};
}

Id dense(CudnnGraph& graph, Id id, const CudnnExtents& extents, cudnnDataType_t type) {
  return graph.tensor(id, extents, channels_last(extents), type);
}

}  // namespace

CudnnGraph convolution_graph(const ConvolutionProblem& problem) {
  const ConvolutionSizes& s = problem.sizes;
  const auto type = problem.type == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
  const auto filter_type = problem.kind == Kind::filter_gradient ? CUDNN_DATA_FLOAT : type;
  CudnnGraph graph;
  const Id image = dense(graph, convolution_image, {s.batch, s.channels, s.height, s.width}, type);
  const CudnnExtents filter_extents = {s.outputs, s.channels / s.groups, s.rows, s.columns};
  const Id filter = dense(graph, convolution_filter, filter_extents, filter_type);
  const CudnnExtents result_extents = {s.batch, s.outputs, s.out_height, s.out_width};
  const Id result = dense(graph, convolution_result, result_extents, type);
  const CudnnWindow window = {
      {s.stride_height, s.stride_width}, {s.pad_height, s.pad_width}, {s.dilation_height, s.dilation_width}};
  if (!problem.add) {
    graph.convolution(problem.kind, window, image, filter, result);
  } else if (problem.kind == Kind::forward) {
    const Id before = graph.inner(result_extents, channels_last(result_extents));
    graph.convolution(problem.kind, window, image, filter, before);
    const Id bias = dense(graph, convolution_addend, {1, s.outputs, 1, 1}, type);
    graph.pointwise(CUDNN_POINTWISE_ADD, before, bias, result);
  } else {
    const Id before = graph.inner(filter_extents, channels_last(filter_extents));
    graph.convolution(problem.kind, window, image, before, result);
    const Id held = dense(graph, convolution_addend, filter_extents, filter_type);
    graph.pointwise(CUDNN_POINTWISE_ADD, before, held, filter);
  }
  return graph;
}

}  // namespace trireme::cuda
