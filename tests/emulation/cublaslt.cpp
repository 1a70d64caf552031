// The functions of cuBLASLt that the backend calls, on host memory.
#include "tests/emulation/cublaslt.h"

#include <cublasLt.h>

#include <cstring>

#include "tests/emulation/cublaslt_product.h"
#include "tests/emulation/emulation.h"

namespace trireme::emulation {

CublasLt& cublaslt() {
  static CublasLt fake;
  return fake;
}

namespace {

struct Preference {
  std::uint64_t workspace = 0;
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::uint32_t alignments[4] = {256, 256, 256, 256};  ///< of A, B, C, D
};

/// What lies in a cublasLtMatmulAlgo_t.
struct Algorithm {
  LtAlgorithm which;
  std::int32_t family;
  std::uint32_t workspace;
  std::uint32_t alignments[4];
  std::uint64_t problem;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

template <typename T, typename Opaque>
T& real(Opaque* opaque) {
  lt::demand(opaque != nullptr, "a descriptor is missing");
  return *reinterpret_cast<T*>(opaque);
}

template <typename T>
void assign(T& to, const void* from, std::size_t bytes) {
  lt::demand(bytes == sizeof(T), "an attribute has another size");
  std::memcpy(static_cast<void*>(&to), from, bytes);
}

}  // namespace
}  // namespace trireme::emulation

using namespace trireme::emulation;      // NOLINT: the functions below are C's
using namespace trireme::emulation::lt;  // NOLINT

extern "C" {

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  *handle = reinterpret_cast<cublasLtHandle_t>(new int);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete &real<int>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
const char* cublasLtGetStatusString(cublasStatus_t) { return "emulated status"; }

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type, uint64_t rows,
                                          uint64_t columns, int64_t stride) {
  demand(rows > 0 && columns > 0 && stride >= static_cast<int64_t>(rows), "sizes of a layout");
  demand(type == CUDA_R_32F || type == CUDA_R_16BF, "type of a layout");
  *layout = reinterpret_cast<cublasLtMatrixLayout_t>(
      new Layout{type, static_cast<int64_t>(rows), static_cast<int64_t>(columns), stride});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete &real<Layout>(layout);
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  demand(scale == CUDA_R_32F, "type of alpha and beta");
  *operation = reinterpret_cast<cublasLtMatmulDesc_t>(new Operation{.compute = compute});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  delete &real<Operation>(operation);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t descriptor, cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  auto& operation = real<Operation>(descriptor);
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      assign(operation.transpose_a, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_TRANSB:
      assign(operation.transpose_b, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      assign(operation.epilogue, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      assign(operation.bias, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      assign(operation.aux, value, bytes);
      break;
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      assign(operation.aux_stride, value, bytes);
      break;
    default:
      demand(false, "attribute of an operation");
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete &real<Preference>(preference);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t descriptor,
                                                    cublasLtMatmulPreferenceAttributes_t attribute, const void* value,
                                                    size_t bytes) {
  auto& preference = real<Preference>(descriptor);
  if (attribute == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
    assign(preference.workspace, value, bytes);
  else if (attribute == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK)
    assign(preference.reductions, value, bytes);
  else if (attribute >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES &&
           attribute <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES)
    assign(preference.alignments[attribute - CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES], value, bytes);
  else
    demand(false, "attribute of a preference");
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t descriptor, int requested,
                                              cublasLtMatmulHeuristicResult_t results[], int* returned) {
  demand(handle != nullptr && requested > 0, "arguments of a search");
  ++cublaslt().searches;
  const auto& preference = real<Preference>(descriptor);
  const Problem problem = {real<Operation>(operation), real<Layout>(a), real<Layout>(b), real<Layout>(c),
                           real<Layout>(d)};
  *returned = 0;
  if (!is_supported(problem)) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool other_family =
      problem.operation.epilogue == CUBLASLT_EPILOGUE_BGRADB && cublaslt().bias_gradient_is_of_another_family;
  for (const auto which : {LtAlgorithm::guess, LtAlgorithm::other_order, LtAlgorithm::refusing, LtAlgorithm::same_bits,
                           LtAlgorithm::in_place}) {
    if (which == LtAlgorithm::in_place && !is_set(preference.reductions, CUBLASLT_REDUCTION_SCHEME_INPLACE)) continue;
    const std::uint32_t workspace = which == LtAlgorithm::same_bits ? 4096 : 0;
    if (workspace > preference.workspace || *returned == requested) continue;
    Algorithm algorithm = {which, other_family ? 21 : 66, workspace, {}, name_of_problem(problem)};
    std::memcpy(algorithm.alignments, preference.alignments, sizeof algorithm.alignments);
    cublasLtMatmulHeuristicResult_t& result = results[(*returned)++];
    result = {};
    std::memcpy(&result.algo, &algorithm, sizeof algorithm);
    result.workspaceSize = workspace;
  }
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* opaque,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute, void* value,
                                                    size_t bytes, size_t* written) {
  demand(attribute == CUBLASLT_ALGO_CONFIG_ID && bytes == sizeof(std::int32_t), "attribute of an algorithm");
  Algorithm algorithm{};
  std::memcpy(&algorithm, opaque, sizeof algorithm);
  std::memcpy(value, &algorithm.family, bytes);
  *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation, const void* alpha, const void* a,
                              cublasLtMatrixLayout_t a_layout, const void* b, cublasLtMatrixLayout_t b_layout,
                              const void* beta, const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* opaque, void* workspace,
                              size_t workspace_bytes, cudaStream_t stream) {
  demand(handle != nullptr && opaque != nullptr, "a product needs a handle and an algorithm");
  Algorithm algorithm{};
  std::memcpy(&algorithm, opaque, sizeof algorithm);
  const Call call = {{real<Operation>(operation), real<Layout>(a_layout), real<Layout>(b_layout),
                      real<Layout>(c_layout), real<Layout>(d_layout)},
                     *static_cast<const float*>(alpha),
                     *static_cast<const float*>(beta),
                     a,
                     b,
                     c,
                     d,
                     algorithm.which};
  demand(is_supported(call.problem), "an unsupported product");
  demand(name_of_problem(call.problem) == algorithm.problem, "the algorithm was found for another problem");
  const void* const operands[] = {a, b, c, d};
  for (int i = 0; i < 4; ++i) demand(is_aligned(operands[i], algorithm.alignments[i]), "an operand is not aligned");
  demand(algorithm.workspace <= workspace_bytes && is_aligned(workspace, 256), "the workspace is too small");
  demand(a != d && b != d, "an operand is also the output");
  if (algorithm.which == LtAlgorithm::refusing) return CUBLAS_STATUS_NOT_SUPPORTED;
  ++cublaslt().products[algorithm.which];
  ++cublaslt().epilogues[call.problem.operation.epilogue];
  enqueue(stream, [=] {
    if (algorithm.workspace != 0) std::memset(workspace, 0x5A, algorithm.workspace);
    run(call);
  });
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"
