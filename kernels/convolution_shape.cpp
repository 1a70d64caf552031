#include "kernels/convolution_shape.h"

#include "kernels/error.h"
#include "kernels/expect.h"

namespace trireme {
namespace {

ConvolutionSizes convolution_sizes(const ConvolutionShape& shape, const Shape& x, const Shape& filter) {
  if (x.rank() != 4 || filter.rank() != 4)
    fail(
        "convolution: x {} and filter {} must be [batch, height, width, channels] and [outputs, rows, columns, "
        "channels / groups]",
        x.to_string(), filter.to_string());
  const int groups = shape.groups;
  if (groups < 1 || x[3] % groups != 0 || filter[0] % groups != 0)
    fail("convolution: {} groups do not divide {} channels and {} outputs", groups, x[3], filter[0]);
  if (filter.elements() == 0 || filter[3] * groups != x[3])
    fail("convolution: filter {} of {} groups does not fit images {}", filter.to_string(), groups, x.to_string());
  return {.batch = x[0],
          .height = x[1],
          .width = x[2],
          .channels = x[3],
          .outputs = filter[0],
          .rows = filter[1],
          .columns = filter[2],
          .groups = groups,
          .out_height = output_extent(x[1], filter[1], shape.stride_height, shape.pad_height, shape.dilation_height),
          .out_width = output_extent(x[2], filter[2], shape.stride_width, shape.pad_width, shape.dilation_width),
          .stride_height = shape.stride_height,
          .stride_width = shape.stride_width,
          .pad_height = shape.pad_height,
          .pad_width = shape.pad_width,
          .dilation_height = shape.dilation_height,
          .dilation_width = shape.dilation_width};
}

Shape output_of(const ConvolutionSizes& sizes) {
  return {sizes.batch, sizes.out_height, sizes.out_width, sizes.outputs};
}

PoolingSizes pooling_sizes(const PoolingArgs& args, const Shape& x) {
  if (x.rank() != 4) fail("pooling: x {} must be [batch, height, width, channels]", x.to_string());
  if (args.pad_height >= args.height || args.pad_width >= args.width)
    fail("pooling: padding {} x {} is not smaller than the window {} x {}", args.pad_height, args.pad_width,
         args.height, args.width);
  return {.batch = x[0],
          .height = x[1],
          .width = x[2],
          .channels = x[3],
          .out_height = output_extent(x[1], args.height, args.stride_height, args.pad_height),
          .out_width = output_extent(x[2], args.width, args.stride_width, args.pad_width)};
}

Shape output_of(const PoolingSizes& sizes) { return {sizes.batch, sizes.out_height, sizes.out_width, sizes.channels}; }

/// What all four steps of batch normalisation have: x, and f32 vectors of its channels.
BatchNormSizes batch_norm_sizes(const Tensor& x) {
  expect_working_type("batch norm x", x);
  return {.rows = x.shape().rows(), .channels = x.shape().columns()};
}

void expect_totals(const Tensor& totals, std::int64_t channels) {
  expect_elements("batch norm totals", totals, 2 * channels, DType::f32);
}

/// What every step but the first uses of the forward arguments.
BatchNormSizes sizes_seen_backward(const BatchNormArgs& args, const Tensor& dy) {
  const BatchNormSizes sizes = batch_norm_sizes(args.x);
  const DType type = args.x.dtype();
  expect_elements("batch norm mean", args.mean, sizes.channels, DType::f32);
  expect_elements("batch norm inverse_deviation", args.inverse_deviation, sizes.channels, DType::f32);
  expect_elements("batch norm dy", dy, args.x.elements(), type);
  if (args.relu) expect_elements("batch norm y", args.y, args.x.elements(), type);
  return sizes;
}

}  // namespace

std::int64_t output_extent(std::int64_t in, std::int64_t window, std::int64_t stride, std::int64_t pad,
                           std::int64_t dilation) {
  if (window < 1 || stride < 1 || pad < 0 || dilation < 1)
    fail("a window of {} cells, stride {}, padding {}, dilation {} is impossible", window, stride, pad, dilation);
  const std::int64_t reach = (window - 1) * dilation + 1;
  if (in < 1 || in + 2 * pad < reach)
    fail("a window that reaches over {} cells does not fit {} cells and {} of padding on both sides", reach, in, pad);
  return (in + 2 * pad - reach) / stride + 1;
}

Shape convolution_output(const ConvolutionShape& shape, const Shape& x, const Shape& filter) {
  return output_of(convolution_sizes(shape, x, filter));
}

ConvolutionSizes sizes_of(const ConvolutionArgs& args) {
  const ConvolutionSizes sizes = convolution_sizes(args.shape, args.x.shape(), args.filter.shape());
  const DType type = args.x.dtype();
  expect_working_type("convolution x", args.x);
  expect_shape("convolution filter", args.filter, args.filter.shape(), type);
  expect_shape("convolution y", args.y, output_of(sizes), type);
  if (!args.bias.empty()) expect_elements("convolution bias", args.bias, sizes.outputs, type);
  return sizes;
}

ConvolutionSizes sizes_of(const ConvolutionBackwardDataArgs& args) {
  const ConvolutionSizes sizes = convolution_sizes(args.shape, args.dx.shape(), args.filter.shape());
  const DType type = args.dx.dtype();
  expect_working_type("convolution dx", args.dx);
  expect_shape("convolution filter", args.filter, args.filter.shape(), type);
  expect_shape("convolution dy", args.dy, output_of(sizes), type);
  return sizes;
}

ConvolutionSizes sizes_of(const ConvolutionBackwardFilterArgs& args) {
  const ConvolutionSizes sizes = convolution_sizes(args.shape, args.x.shape(), args.dfilter.shape());
  expect_working_type("convolution x", args.x);
  expect_shape("convolution dy", args.dy, output_of(sizes), args.x.dtype());
  expect_shape("convolution dfilter", args.dfilter, args.dfilter.shape(), DType::f32);
  return sizes;
}

Shape pooling_output(const PoolingArgs& args, const Shape& x) { return output_of(pooling_sizes(args, x)); }

PoolingSizes sizes_of(const PoolingArgs& args) {
  const PoolingSizes sizes = pooling_sizes(args, args.x.shape());
  expect_working_type("pooling x", args.x);
  expect_shape("pooling y", args.y, output_of(sizes), args.x.dtype());
  return sizes;
}

PoolingSizes sizes_of(const PoolingBackwardArgs& args) {
  const PoolingSizes sizes = pooling_sizes(args.forward, args.forward.x.shape());
  const DType type = args.forward.x.dtype();
  expect_working_type("pooling x", args.forward.x);
  expect_shape("pooling dy", args.dy, output_of(sizes), type);
  expect_shape("pooling dx", args.dx, args.forward.x.shape(), type);
  return sizes;
}

BatchNormSizes sizes_of(const BatchNormStatisticsArgs& args) {
  const BatchNormSizes sizes = batch_norm_sizes(args.x);
  expect_elements("batch norm shift", args.shift, sizes.channels, DType::f32);
  expect_totals(args.totals, sizes.channels);
  return sizes;
}

BatchNormSizes sizes_of(const BatchNormMomentsArgs& args) {
  const std::int64_t channels = args.mean.elements();
  const auto expect_vector = [&](const char* name, const Tensor& tensor) {
    expect_elements(name, tensor, channels, DType::f32);
  };
  expect_vector("batch norm mean", args.mean);
  expect_vector("batch norm inverse_deviation", args.inverse_deviation);
  const bool tracks = !args.track_mean.empty();
  if (args.totals.empty() || tracks) {
    expect_vector("batch norm running_mean", args.running_mean);
    expect_vector("batch norm running_variance", args.running_variance);
  }
  if (!args.totals.empty()) {
    expect_totals(args.totals, channels);
    expect_vector("batch norm shift", args.shift);
    if (args.count <= 0) fail("batch norm: totals over {} rows", args.count);
  }
  if (tracks) {
    expect_vector("batch norm track_mean", args.track_mean);
    expect_vector("batch norm track_variance", args.track_variance);
    if (args.totals.empty()) fail("batch norm: nothing to track without totals");
  }
  return {.rows = 0, .channels = channels};
}

BatchNormSizes sizes_of(const BatchNormArgs& args) {
  const BatchNormSizes sizes = batch_norm_sizes(args.x);
  const DType type = args.x.dtype();
  expect_elements("batch norm mean", args.mean, sizes.channels, DType::f32);
  expect_elements("batch norm inverse_deviation", args.inverse_deviation, sizes.channels, DType::f32);
  expect_elements("batch norm weight", args.weight, sizes.channels, type);
  expect_elements("batch norm bias", args.bias, sizes.channels, type);
  expect_elements("batch norm y", args.y, args.x.elements(), type);
  if (!args.residual.empty()) expect_elements("batch norm residual", args.residual, args.x.elements(), type);
  return sizes;
}

BatchNormSizes sizes_of(const BatchNormBackwardStatisticsArgs& args) {
  const BatchNormSizes sizes = sizes_seen_backward(args.forward, args.dy);
  expect_totals(args.totals, sizes.channels);
  return sizes;
}

BatchNormSizes sizes_of(const BatchNormBackwardArgs& args) {
  const BatchNormSizes sizes = sizes_seen_backward(args.forward, args.dy);
  const DType type = args.forward.x.dtype();
  expect_elements("batch norm weight", args.forward.weight, sizes.channels, type);
  expect_elements("batch norm dx", args.dx, args.dy.elements(), type);
  expect_totals(args.totals, sizes.channels);
  if (args.count <= 0) fail("batch norm: totals over {} rows", args.count);
  if (!args.residual_gradient.empty())
    expect_elements("batch norm residual_gradient", args.residual_gradient, args.dy.elements(), type);
  return sizes;
}

}  // namespace trireme
