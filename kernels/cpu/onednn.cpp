#include "kernels/cpu/onednn.h"

#include <dnnl.hpp>
#include <map>
#include <string_view>
#include <unordered_map>

#include "kernels/error.h"

namespace trireme {
namespace {

using dnnl::memory;

memory::data_type data_type_of(DType type) {
  return type == DType::bf16 ? memory::data_type::bf16 : memory::data_type::f32;
}

memory::desc matrix(std::int64_t rows, std::int64_t columns, DType type, bool transposed) {
  return {{rows, columns}, data_type_of(type), transposed ? memory::dims{1, rows} : memory::dims{columns, 1}};
}

/// An activation in oneDNN's words.
struct Eltwise {
  dnnl::algorithm algorithm;
  float alpha, beta;
};

Eltwise eltwise_of(Activation activation) {
  switch (activation) {
    case Activation::none:
      break;
    case Activation::gelu:
      return {dnnl::algorithm::eltwise_gelu_tanh, 0.0F, 0.0F};
    case Activation::silu:
      return {dnnl::algorithm::eltwise_swish, 1.0F, 0.0F};
    case Activation::relu:
      return {dnnl::algorithm::eltwise_relu, 0.0F, 0.0F};
    case Activation::hard_swish:  // version 2 has these two numbers built in
      return {dnnl::algorithm::eltwise_hardswish, 1.0F / 6.0F, 0.5F};
  }
  fail("oneDNN applies no activation {}", static_cast<int>(activation));
}

void append(dnnl::post_ops& after, Activation activation) {
  const auto [algorithm, alpha, beta] = eltwise_of(activation);
#if DNNL_VERSION_MAJOR >= 3
  after.append_eltwise(algorithm, alpha, beta);
#else
  after.append_eltwise(1.0F, algorithm, alpha, beta);
#endif
}

dnnl::matmul::primitive_desc describe(const Product& product, const dnnl::engine& engine) {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  dnnl::post_ops after;
  if (product.accumulate) after.append_sum(1.0F);
  if (product.activation != Activation::none) append(after, product.activation);
  attributes.set_post_ops(after);
  const memory::desc a = matrix(product.m, product.k, product.input, product.transpose_a);
  const memory::desc b = matrix(product.k, product.n, product.input, product.transpose_b);
  const memory::desc bias = product.bias ? matrix(1, product.n, product.input, false) : memory::desc();
  const memory::desc out = matrix(product.m, product.n, product.output, false);
#if DNNL_VERSION_MAJOR >= 3
  if (!product.bias) return {engine, a, b, out, attributes};
  return {engine, a, b, bias, out, attributes};
#else
  if (!product.bias) return {dnnl::matmul::desc(a, b, out), attributes, engine};
  return {dnnl::matmul::desc(a, b, bias, out), attributes, engine};
#endif
}

/// A primitive with its arguments, whose pointers are set anew for every run.
struct Prepared {
  Prepared(const Product& product, const dnnl::engine& engine) : Prepared(describe(product, engine), product, engine) {}

  void run(const void* a, const void* b, const void* bias, void* out, void* scratch, const dnnl::stream& stream) {
    // oneDNN takes pointers to inputs as non-const too; it does not write through them.
    set(DNNL_ARG_SRC, const_cast<void*>(a));
    set(DNNL_ARG_WEIGHTS, const_cast<void*>(b));
    if (bias) set(DNNL_ARG_BIAS, const_cast<void*>(bias));
    set(DNNL_ARG_DST, out);
    set(DNNL_ARG_SCRATCHPAD, scratch);
    primitive.execute(stream, arguments);
  }

  dnnl::matmul primitive;
  std::unordered_map<int, memory> arguments;
  std::size_t scratch_bytes;

 private:
  Prepared(const dnnl::matmul::primitive_desc& description, const Product& product, const dnnl::engine& engine)
      : primitive(description), scratch_bytes(description.scratchpad_desc().get_size()) {
    add(DNNL_ARG_SRC, description.src_desc(), engine);
    add(DNNL_ARG_WEIGHTS, description.weights_desc(), engine);
    if (product.bias) add(DNNL_ARG_BIAS, matrix(1, product.n, product.input, false), engine);
    add(DNNL_ARG_DST, description.dst_desc(), engine);
    add(DNNL_ARG_SCRATCHPAD, description.scratchpad_desc(), engine);
  }
  void add(int argument, const memory::desc& description, const dnnl::engine& engine) {
    arguments.emplace(argument, memory(description, engine, DNNL_MEMORY_NONE));
  }
  void set(int argument, void* data) { arguments.at(argument).set_data_handle(data); }
};

/// False too where oneDNN would take its scalar reference code.
bool has_vector_code(const Product& product, const dnnl::engine& engine) {
  try {
    return std::string_view(describe(product, engine).impl_info_str()).find("ref") == std::string_view::npos;
  } catch (const dnnl::error&) {
    return false;
  }
}

}  // namespace

struct OneDnn::State {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};
  std::map<Product, Prepared> prepared;
};

OneDnn::OneDnn() : state_(std::make_unique<State>()) {
  const Product probe = {.m = 64, .n = 64, .k = 64, .input = DType::bf16, .output = DType::bf16};
  multiplies_bf16_ = has_vector_code(probe, state_->engine);
}

OneDnn::~OneDnn() = default;

std::string OneDnn::instruction_set() {
  switch (dnnl::get_effective_cpu_isa()) {
    case dnnl::cpu_isa::sse41:
      return "SSE4.1";
    case dnnl::cpu_isa::avx:
      return "AVX";
    case dnnl::cpu_isa::avx2:
      return "AVX2";
    case dnnl::cpu_isa::avx2_vnni:
      return "AVX2-VNNI";
    case dnnl::cpu_isa::avx512_core:
      return "AVX-512";
    case dnnl::cpu_isa::avx512_core_vnni:
      return "AVX-512-VNNI";
    case dnnl::cpu_isa::avx512_core_bf16:
      return "AVX-512-BF16";
    case dnnl::cpu_isa::avx512_core_amx:
      return "AMX";
    default:
      return "all that oneDNN knows";
  }
}

void OneDnn::multiply(const Product& product, const void* a, const void* b, const void* bias, void* out,
                      MemoryPool& pool) try {
  auto found = state_->prepared.find(product);
  if (found == state_->prepared.end()) found = state_->prepared.try_emplace(product, product, state_->engine).first;
  Prepared& prepared = found->second;
  const PoolBlock scratch = pool.allocate(prepared.scratch_bytes);
  prepared.run(a, b, bias, out, scratch.data(), state_->stream);
  state_->stream.wait();
} catch (const dnnl::error& error) {
  fail("oneDNN: {} in a product of {} [{} x {} x {}] to {}", error.what(), name_of(product.input), product.m, product.k,
       product.n, name_of(product.output));
}

void OneDnn::multiply_f32(const Product& product, const float* a, const float* b, float* out) {
  const auto [m, n, k] = std::array{product.m, product.n, product.k};
  const dnnl_status_t status =
      dnnl_sgemm(product.transpose_a ? 'T' : 'N', product.transpose_b ? 'T' : 'N', m, n, k, 1.0F, a,
                 product.transpose_a ? m : k, b, product.transpose_b ? k : n, product.accumulate ? 1.0F : 0.0F, out, n);
  if (status != dnnl_success)
    fail("dnnl_sgemm: status {} in a product [{} x {} x {}]", static_cast<int>(status), m, k, n);
}

}  // namespace trireme
