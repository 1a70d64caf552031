#include "tests/emulation/cublaslt_product.h"

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>
#include <vector>

#include "kernels/tensor.h"
#include "tests/emulation/emulation.h"

namespace trireme::emulation::lt {
namespace {

constexpr std::uint32_t aux_bit = 128;
std::size_t bytes_of(cudaDataType type) { return type == CUDA_R_16BF ? 2 : 4; }

float load(const void* memory, cudaDataType type, std::int64_t at) {
  return type == CUDA_R_16BF ? to_float(static_cast<const bfloat16*>(memory)[at])
                             : static_cast<const float*>(memory)[at];
}
void store(void* memory, cudaDataType type, std::int64_t at, float value) {
  if (type == CUDA_R_16BF)
    static_cast<bfloat16*>(memory)[at] = to_bfloat16(value);
  else
    static_cast<float*>(memory)[at] = value;
}

constexpr float gelu_scale = 0.79788456F;  // sqrt(2 / pi)
constexpr float gelu_cubic = 0.044715F;

float gelu(float x) { return 0.5F * x * (1.0F + std::tanh(gelu_scale * (x + gelu_cubic * x * x * x))); }
float gelu_slope(float x) {
  const float t = std::tanh(gelu_scale * (x + gelu_cubic * x * x * x));
  return 0.5F * (1.0F + t) + 0.5F * x * (1.0F - t * t) * gelu_scale * (1.0F + 3.0F * gelu_cubic * x * x);
}

/// One column of D, before the epilogue.
std::vector<float> column_of(const Call& call, const std::vector<float>& a, std::int64_t column) {
  const Problem& problem = call.problem;
  const std::int64_t inner = problem.inner();
  std::vector<float> sums(static_cast<std::size_t>(problem.d.rows));
  for (std::int64_t step = 0; step < inner; ++step) {
    const std::int64_t l = call.algorithm == LtAlgorithm::other_order ? inner - 1 - step : step;
    const bool plain = problem.operation.transpose_b == CUBLAS_OP_N;
    const float factor =
        load(call.b, problem.b.type, plain ? column * problem.b.stride + l : l * problem.b.stride + column);
    const float* line = a.data() + l * problem.d.rows;
    for (std::size_t row = 0; row < sums.size(); ++row) sums[row] += line[row] * factor;
  }
  return sums;
}

/// op(A) in f32, column by column.
std::vector<float> widened(const Call& call) {
  const Layout& layout = call.problem.a;
  const std::int64_t rows = call.problem.d.rows;
  std::vector<float> wide(static_cast<std::size_t>(rows * call.problem.inner()));
  const bool plain = call.problem.operation.transpose_a == CUBLAS_OP_N;
  for (std::int64_t l = 0; l < call.problem.inner(); ++l)
    for (std::int64_t row = 0; row < rows; ++row)
      wide[static_cast<std::size_t>(l * rows + row)] =
          load(call.a, layout.type, plain ? l * layout.stride + row : row * layout.stride + l);
  return wide;
}

float finished(const Call& call, std::int64_t row, std::int64_t column, float value) {
  const Operation& operation = call.problem.operation;
  const cudaDataType type = call.problem.d.type;
  if (is_set(operation.epilogue, CUBLASLT_EPILOGUE_BIAS)) value += load(operation.bias, type, row);
  const std::int64_t at = column * operation.aux_stride + row;
  if (operation.epilogue == CUBLASLT_EPILOGUE_DGELU) return value * gelu_slope(load(operation.aux, type, at));
  if (operation.aux != nullptr) store(operation.aux, type, at, value);
  return is_set(operation.epilogue, CUBLASLT_EPILOGUE_GELU) ? gelu(value) : value;
}

/// Sums of op(B) along the inner axis, one for every column of D.
void write_bias_gradient(const Call& call) {
  const Problem& problem = call.problem;
  for (std::int64_t column = 0; column < problem.d.columns; ++column) {
    float sum = 0;
    const bool plain = problem.operation.transpose_b == CUBLAS_OP_N;
    for (std::int64_t l = 0; l < problem.inner(); ++l)
      sum += load(call.b, problem.b.type, plain ? column * problem.b.stride + l : l * problem.b.stride + column);
    store(problem.operation.bias, problem.d.type, column, sum);
  }
}

}  // namespace

void demand(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "emulated cuBLASLt: %s\n", what);
  std::abort();
}

bool is_set(std::uint32_t epilogue, int bits) { return (epilogue & static_cast<unsigned>(bits)) != 0; }
bool is_aligned(const void* address, std::size_t to) { return reinterpret_cast<std::uintptr_t>(address) % to == 0; }

std::uint64_t name_of_problem(const Problem& problem) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  const auto add = [&](auto value) { hash = (hash ^ static_cast<std::uint64_t>(value)) * 0x100000001B3ULL; };
  for (const Layout& layout : {problem.a, problem.b, problem.c, problem.d}) {
    add(layout.type), add(layout.rows), add(layout.columns), add(layout.stride);
  }
  add(problem.operation.compute), add(problem.operation.transpose_a), add(problem.operation.transpose_b);
  add(problem.operation.epilogue), add(problem.operation.aux_stride);
  return hash;
}

bool is_supported(const Problem& problem) {
  const Operation& operation = problem.operation;
  const auto [a_rows, a_columns] = operation.transpose_a == CUBLAS_OP_N ? std::pair(problem.a.rows, problem.a.columns)
                                                                        : std::pair(problem.a.columns, problem.a.rows);
  const auto [b_rows, b_columns] = operation.transpose_b == CUBLAS_OP_N ? std::pair(problem.b.rows, problem.b.columns)
                                                                        : std::pair(problem.b.columns, problem.b.rows);
  demand(a_columns == b_rows && a_rows == problem.d.rows && b_columns == problem.d.columns, "sizes do not match");
  demand(problem.c == problem.d, "C is not like D");
  demand(problem.a.type == problem.b.type, "A is not of the type of B");
  const bool from_f32 = problem.a.type == CUDA_R_32F && problem.d.type == CUDA_R_32F;
  const bool from_bf16 = problem.a.type == CUDA_R_16BF;
  demand(from_f32 || from_bf16, "types do not go together");
  demand(operation.compute == CUBLAS_COMPUTE_32F || (operation.compute == CUBLAS_COMPUTE_32F_FAST_TF32 && from_f32),
         "compute type does not go with the types");
  const std::uint32_t epilogue = operation.epilogue;
  const bool biased = is_set(epilogue, CUBLASLT_EPILOGUE_BIAS) || epilogue == CUBLASLT_EPILOGUE_BGRADB;
  demand(biased == (operation.bias != nullptr), "bias pointer does not go with the epilogue");
  demand(is_aligned(operation.bias, bytes_of(problem.d.type)), "bias is not aligned");
  demand(is_set(epilogue, aux_bit) == (operation.aux != nullptr), "aux pointer does not go with the epilogue");
  if (operation.aux != nullptr) {
    demand(operation.aux_stride % 8 == 0 && operation.aux_stride >= problem.d.rows, "leading dimension of aux");
    demand(is_aligned(operation.aux, 16), "aux is not aligned");
  }
  switch (epilogue) {
    case CUBLASLT_EPILOGUE_DEFAULT:
      return true;
    case CUBLASLT_EPILOGUE_BIAS:
    case CUBLASLT_EPILOGUE_BGRADB:
      return !cublaslt().is_out_of_epilogues;
    case CUBLASLT_EPILOGUE_GELU:
    case CUBLASLT_EPILOGUE_GELU_BIAS:
    case CUBLASLT_EPILOGUE_GELU_AUX:
    case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
    case CUBLASLT_EPILOGUE_DGELU:
      return problem.d.type == CUDA_R_16BF && !cublaslt().is_out_of_epilogues;
    default:
      demand(false, "unknown epilogue");
      return false;
  }
}

void run(const Call& call) {
  const Layout& d = call.problem.d;
  const std::vector<float> a = widened(call);
  for (std::int64_t column = 0; column < d.columns; ++column) {
    const std::vector<float> sums = column_of(call, a, column);
    for (std::int64_t row = 0; row < d.rows; ++row) {
      const std::int64_t at = column * d.stride + row;
      float value = call.alpha * sums[static_cast<std::size_t>(row)];
      if (call.beta != 0.0F) value += call.beta * load(call.c, d.type, at);
      store(call.d, d.type, at, finished(call, row, column, value));
    }
  }
  if (call.problem.operation.epilogue == CUBLASLT_EPILOGUE_BGRADB) write_bias_gradient(call);
  constexpr double milliseconds[] = {3, 1, 0, 2, 0};
  advance_clock(milliseconds[static_cast<int>(call.algorithm)]);
}

}  // namespace trireme::emulation::lt
