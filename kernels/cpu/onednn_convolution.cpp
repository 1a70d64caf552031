// Images stay channels-last. Filters are copied into the blocks that a primitive asks for, and their gradients out of
// them, in every call: that is little next to the images, and without it oneDNN has scalar code only.
#include "kernels/cpu/onednn_convolution.h"

#include <dnnl.hpp>
#include <map>
#include <unordered_map>

#include "kernels/error.h"

namespace trireme {
namespace {

using dnnl::memory;

struct Task {
  ConvolutionStep step = ConvolutionStep::forward;
  ConvolutionSizes sizes;
  DType type = DType::f32;
  bool bias = false;
  auto operator<=>(const Task&) const = default;  // NOLINT(modernize-use-nullptr): takes <=> for a pointer
};

#if DNNL_VERSION_MAJOR >= 3
template <typename Primitive, typename... Arguments>
auto describe_forward(const dnnl::engine& engine, const dnnl::primitive_attr& attributes, const Arguments&... all) {
  return typename Primitive::primitive_desc(engine, all..., attributes);
}
template <typename Primitive, typename Hint, typename... Arguments>
auto describe_backward(const dnnl::engine& engine, const dnnl::primitive_attr& attributes, const Hint& forward,
                       const Arguments&... all) {
  return typename Primitive::primitive_desc(engine, all..., forward, attributes);
}
#else
template <typename Primitive, typename... Arguments>
auto describe_forward(const dnnl::engine& engine, const dnnl::primitive_attr& attributes, const Arguments&... all) {
  return typename Primitive::primitive_desc(typename Primitive::desc(all...), attributes, engine);
}
template <typename Primitive, typename Hint, typename... Arguments>
auto describe_backward(const dnnl::engine& engine, const dnnl::primitive_attr& attributes, const Hint& forward,
                       const Arguments&... all) {
  return typename Primitive::primitive_desc(typename Primitive::desc(all...), attributes, engine, forward);
}
#endif

memory::data_type data_type_of(DType type) {
  return type == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

memory::data_type filter_type_of(const Task& task) {
  return data_type_of(task.step == ConvolutionStep::filter ? DType::f32 : task.type);
}

memory::dims filter_dims(const ConvolutionSizes& s) {
  if (s.groups == 1) return {s.outputs, s.channels, s.rows, s.columns};
  return {s.groups, s.outputs / s.groups, s.channels / s.groups, s.rows, s.columns};
}

/// The filter as callers hold it.
memory::desc plain_filter(const Task& task) {
  return {filter_dims(task.sizes), filter_type_of(task),
          task.sizes.groups == 1 ? memory::format_tag::ohwi : memory::format_tag::gohwi};
}

dnnl::primitive_desc describe(const Task& task, const dnnl::engine& engine) {
  const ConvolutionSizes& s = task.sizes;
  const memory::data_type type = data_type_of(task.type);
  const memory::desc x({s.batch, s.channels, s.height, s.width}, type, memory::format_tag::nhwc);
  const memory::desc y({s.batch, s.outputs, s.out_height, s.out_width}, type, memory::format_tag::nhwc);
  const memory::desc filter(filter_dims(s), filter_type_of(task), memory::format_tag::any);
  const memory::desc bias = task.bias ? memory::desc({s.outputs}, type, memory::format_tag::x) : memory::desc();
  const memory::dims strides = {s.stride_height, s.stride_width};
  const memory::dims gaps = {s.dilation_height - 1, s.dilation_width - 1};  // oneDNN counts the cells left out
  const memory::dims pads = {s.pad_height, s.pad_width};
  constexpr auto direct = dnnl::algorithm::convolution_direct;
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  const memory::desc hint_filter(filter_dims(s), type, memory::format_tag::any);
  auto forward =
      describe_forward<dnnl::convolution_forward>(engine, attributes, dnnl::prop_kind::forward_training, direct, x,
                                                  hint_filter, bias, y, strides, gaps, pads, pads);
  if (task.step == ConvolutionStep::forward) return forward;
  if (task.step == ConvolutionStep::data)
    return describe_backward<dnnl::convolution_backward_data>(engine, attributes, forward, direct, x, filter, y,
                                                              strides, gaps, pads, pads);
  return describe_backward<dnnl::convolution_backward_weights>(engine, attributes, forward, direct, x, filter, y,
                                                               strides, gaps, pads, pads);
}

/// A primitive, the copy between the caller's filter and its own, and their arguments.
class Prepared {
 public:
  Prepared(const Task& task, const dnnl::engine& engine) : Prepared(task, describe(task, engine), engine) {}

  void run(ConvolutionTensors& tensors, MemoryPool& pool, const dnnl::stream& stream) {
    const PoolBlock scratch = pool.allocate(arguments_.at(DNNL_ARG_SCRATCHPAD).get_desc().get_size());
    const PoolBlock own_filter = pool.allocate(arguments_.at(filter_).get_desc().get_size());
    arguments_.at(x_).set_data_handle(tensors.x.raw());
    arguments_.at(y_).set_data_handle(tensors.y.raw());
    if (!tensors.bias.empty()) arguments_.at(DNNL_ARG_BIAS).set_data_handle(tensors.bias.raw());
    arguments_.at(DNNL_ARG_SCRATCHPAD).set_data_handle(scratch.data());
    arguments_.at(filter_).set_data_handle(own_filter.data());
    plain_.set_data_handle(tensors.filter.raw());
    if (!backward_filter_) copy_.execute(stream, plain_, arguments_.at(filter_));
    primitive_.execute(stream, arguments_);
    if (backward_filter_) copy_.execute(stream, arguments_.at(filter_), plain_);
  }

 private:
  Prepared(const Task& task, const dnnl::primitive_desc& description, const dnnl::engine& engine)
      : backward_filter_(task.step == ConvolutionStep::filter),
        x_(task.step == ConvolutionStep::data ? DNNL_ARG_DIFF_SRC : DNNL_ARG_SRC),
        filter_(backward_filter_ ? DNNL_ARG_DIFF_WEIGHTS : DNNL_ARG_WEIGHTS),
        y_(task.step == ConvolutionStep::forward ? DNNL_ARG_DST : DNNL_ARG_DIFF_DST),
        primitive_(description),
        plain_(plain_filter(task), engine, DNNL_MEMORY_NONE) {
    for (const int argument : {x_, filter_, y_, DNNL_ARG_SCRATCHPAD})
      arguments_.emplace(argument,
                         memory(description.query_md(dnnl::query::exec_arg_md, argument), engine, DNNL_MEMORY_NONE));
    if (task.bias)
      arguments_.emplace(DNNL_ARG_BIAS, memory(description.query_md(dnnl::query::exec_arg_md, DNNL_ARG_BIAS), engine,
                                               DNNL_MEMORY_NONE));
    dnnl::primitive_attr attributes;
    if (backward_filter_) {
      dnnl::post_ops add;
      add.append_sum(1.0F);
      attributes.set_post_ops(add);
    }
    const memory::desc own = arguments_.at(filter_).get_desc();
    copy_ = backward_filter_
                ? dnnl::reorder(dnnl::reorder::primitive_desc(engine, own, engine, plain_.get_desc(), attributes))
                : dnnl::reorder(dnnl::reorder::primitive_desc(engine, plain_.get_desc(), engine, own, attributes));
  }

  bool backward_filter_;
  int x_, filter_, y_;  ///< what oneDNN calls these arguments in this step
  dnnl::primitive primitive_;
  dnnl::reorder copy_;
  memory plain_;
  std::unordered_map<int, memory> arguments_;
};

}  // namespace

struct OneDnnConvolution::State {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<Task, Prepared> prepared;
};

OneDnnConvolution::OneDnnConvolution() : state_(std::make_unique<State>()) {}

OneDnnConvolution::~OneDnnConvolution() = default;

void OneDnnConvolution::run(ConvolutionStep step, const ConvolutionSizes& sizes, ConvolutionTensors tensors,
                            MemoryPool& pool) try {
  const Task task = {.step = step, .sizes = sizes, .type = tensors.x.dtype(), .bias = !tensors.bias.empty()};
  auto found = state_->prepared.find(task);
  if (found == state_->prepared.end()) found = state_->prepared.try_emplace(task, task, state_->engine).first;
  found->second.run(tensors, pool, state_->stream);
  state_->stream.wait();
} catch (const dnnl::error& error) {
  fail("oneDNN: {} in a convolution of {} {} with a filter {}, {} groups", error.what(), name_of(tensors.x.dtype()),
       tensors.x.shape().to_string(), tensors.filter.shape().to_string(), sizes.groups);
}

}  // namespace trireme
