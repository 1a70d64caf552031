#include "kernels/cuda/cublaslt.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <map>
#include <source_location>
#include <vector>

#include "kernels/cuda/matmul_kernels.h"
#include "kernels/cuda/runtime.h"
#include "kernels/error.h"

namespace trireme::cuda {
namespace {

void check(cublasStatus_t status, const char* expression,
           std::source_location where = std::source_location::current()) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(fmt::format("{}: {}", expression, cublasLtGetStatusString(status)), ExitStatus::failed, where);
}

#define TRIREME_CUBLASLT(call) check((call), #call)

using Context = Handle<cublasLtHandle_t, cublasLtDestroy>;
using Operation = Handle<cublasLtMatmulDesc_t, cublasLtMatmulDescDestroy>;
using Layout = Handle<cublasLtMatrixLayout_t, cublasLtMatrixLayoutDestroy>;
using Preference = Handle<cublasLtMatmulPreference_t, cublasLtMatmulPreferenceDestroy>;

constexpr std::uint64_t workspace_bytes = std::uint64_t{32} << 20;  // what NVIDIA advises on Hopper and newer
constexpr int most_candidates = 8;
constexpr int timed_runs = 3;

cudaDataType_t type_of(DType type) { return type == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

bool has(cublasLtEpilogue_t epilogue, int bit) { return (static_cast<int>(epilogue) & bit) != 0; }
bool has_bias(cublasLtEpilogue_t epilogue) {
  return has(epilogue, CUBLASLT_EPILOGUE_BIAS) || epilogue == CUBLASLT_EPILOGUE_BGRADB;
}
constexpr int aux_bit = CUBLASLT_EPILOGUE_GELU_AUX & ~CUBLASLT_EPILOGUE_GELU;
bool has_aux(cublasLtEpilogue_t epilogue) { return has(epilogue, aux_bit); }
bool has_gelu(cublasLtEpilogue_t epilogue) {
  return has(epilogue, CUBLASLT_EPILOGUE_GELU) || epilogue == CUBLASLT_EPILOGUE_DGELU;
}

/// Bytes that the address is a multiple of; more than 256 make no difference to cuBLASLt.
std::uint32_t alignment_of(const void* address) {
  const auto bits = reinterpret_cast<std::uintptr_t>(address) | 256U;
  return 1U << static_cast<unsigned>(std::countr_zero(bits));
}

void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, const auto& value) {
  const void* at = static_cast<const void*>(&value);
  TRIREME_CUBLASLT(cublasLtMatmulDescSetAttribute(operation.get(), attribute, at, sizeof value));
}
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
  TRIREME_CUBLASLT(cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute, &value, sizeof value));
}

/// cuBLASLt is column-major: what is [rows, columns] to us is columns x rows to it.
Layout layout_of(std::int64_t rows, std::int64_t columns, DType type) {
  Layout layout;
  TRIREME_CUBLASLT(cublasLtMatrixLayoutCreate(layout.put(), type_of(type), static_cast<std::uint64_t>(columns),
                                              static_cast<std::uint64_t>(rows), columns));
  return layout;
}

bool is_capturing(cudaStream_t stream) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  TRIREME_CUDA(cudaStreamIsCapturing(stream, &status));
  return status != cudaStreamCaptureStatusNone;
}

/// Test data of a product's sizes. The real operands would not do: they may be zero at first, which tells no two
/// algorithms apart, and the product may be added to what out already holds.
class Trial {
 public:
  Trial(const LtProduct& product, MemoryPool& pool, cudaStream_t stream)
      : stream_(stream),
        a_(pool, product.transpose_a ? Shape{product.k, product.m} : Shape{product.m, product.k}, product.input),
        b_(pool, product.transpose_b ? Shape{product.n, product.k} : Shape{product.k, product.n}, product.input),
        out_(pool, {product.m, product.n}, product.output) {
    fill_for_trial(a_, product.transpose_a, true, 1, stream_);
    fill_for_trial(b_, !product.transpose_b, false, 2, stream_);
    if (has_bias(product.epilogue)) {
      bias_ = Tensor(pool, {std::max(product.m, product.n)}, product.output);
      TRIREME_CUDA(cudaMemsetAsync(bias_.raw(), 0, bias_.bytes(), stream_));  // anything else would hide the rounding
    }
    if (has_aux(product.epilogue)) {
      aux_ = Tensor(pool, {product.m, product.n}, product.output);
      fill_for_trial(aux_, false, false, 3, stream_);
    }
    hashes_ = Tensor(pool, {fingerprint_size(out_)}, DType::i32);
  }

  LtOperands operands() {
    return {.a = a_.raw(),
            .b = b_.raw(),
            .out = out_.raw(),
            .bias = bias_.empty() ? nullptr : bias_.raw(),
            .aux = aux_.empty() ? nullptr : aux_.raw()};
  }
  void clear() { TRIREME_CUDA(cudaMemsetAsync(out_.raw(), 0, out_.bytes(), stream_)); }

  /// Of everything that a product may have written.
  std::vector<std::int32_t> results() {
    std::vector<std::int32_t> all;
    for (const Tensor& written : {out_, bias_, aux_}) {
      if (written.empty()) continue;
      fingerprint(written, hashes_, stream_);
      const auto size = static_cast<std::size_t>(fingerprint_size(written));
      all.resize(all.size() + size);
      TRIREME_CUDA(cudaMemcpyAsync(all.data() + all.size() - size, hashes_.raw(), size * sizeof(std::int32_t),
                                   cudaMemcpyDeviceToHost, stream_));
      TRIREME_CUDA(cudaStreamSynchronize(stream_));
    }
    return all;
  }

 private:
  cudaStream_t stream_;
  Tensor a_, b_, out_, bias_, aux_, hashes_;
};

/// One kind of product, made ready.
struct Plan {
  Operation operation;
  Layout a, b, out;
  float beta = 0.0F;
  std::vector<cublasLtMatmulAlgo_t> candidates;  ///< the best guess first; none: not for cuBLASLt
  bool is_chosen = false;                        ///< the first candidate is the one to use

  cublasStatus_t run(cublasLtHandle_t context, const cublasLtMatmulAlgo_t& algorithm, const LtOperands& operands,
                     MemoryPool& pool, cudaStream_t stream) const {
    if (operands.bias != nullptr) set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
    if (operands.aux != nullptr) set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operands.aux);
    Tensor workspace(pool, {static_cast<std::int64_t>(workspace_bytes / size_of(DType::f32))}, DType::f32);
    const float alpha = 1.0F;
    return cublasLtMatmul(context, operation.get(), &alpha, operands.b, b.get(), operands.a, a.get(), &beta,
                          operands.out, out.get(), operands.out, out.get(), &algorithm, workspace.raw(),
                          workspace_bytes, stream);
  }
};

/// Milliseconds of `work`, the least of a few runs.
template <typename Work>
float time_of(cudaStream_t stream, const Work& work) {
  Event begin;
  Event end;
  TRIREME_CUDA(cudaEventCreate(begin.put()));
  TRIREME_CUDA(cudaEventCreate(end.put()));
  float least = std::numeric_limits<float>::infinity();
  for (int i = 0; i < timed_runs; ++i) {
    TRIREME_CUDA(cudaEventRecord(begin.get(), stream));
    work();
    TRIREME_CUDA(cudaEventRecord(end.get(), stream));
    TRIREME_CUDA(cudaEventSynchronize(end.get()));
    float milliseconds = 0.0F;
    TRIREME_CUDA(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()));
    least = std::min(least, milliseconds);
  }
  return least;
}

/// Leaves the fastest of the candidates that give the bits of the first one that runs, or none.
void choose(Plan& plan, Trial& trial, cublasLtHandle_t context, MemoryPool& pool, cudaStream_t stream) {
  std::vector<cublasLtMatmulAlgo_t> best;
  std::vector<std::int32_t> wanted;
  float least = std::numeric_limits<float>::infinity();
  for (const cublasLtMatmulAlgo_t& candidate : plan.candidates) {
    const auto run = [&] { return plan.run(context, candidate, trial.operands(), pool, stream); };
    trial.clear();
    if (run() != CUBLAS_STATUS_SUCCESS) continue;
    const std::vector<std::int32_t> results = trial.results();
    if (wanted.empty()) wanted = results;
    if (results != wanted) continue;
    const float time = time_of(stream, [&] { TRIREME_CUBLASLT(run()); });
    if (time >= least) continue;
    least = time;
    best = {candidate};
  }
  plan.candidates = best;
}

/// Number of the family of kernels that an algorithm belongs to.
int family_of(const cublasLtMatmulAlgo_t& algorithm) {
  std::int32_t number = 0;
  std::size_t written = 0;
  TRIREME_CUBLASLT(
      cublasLtMatmulAlgoConfigGetAttribute(&algorithm, CUBLASLT_ALGO_CONFIG_ID, &number, sizeof number, &written));
  return number;
}

}  // namespace

struct CublasLt::State {
  struct Key {
    LtProduct product;
    std::array<std::uint32_t, 5> alignments{};     ///< of a, b, out, bias, aux
    auto operator<=>(const Key&) const = default;  // NOLINT(modernize-use-nullptr): takes <=> for a pointer
  };

  State() {
    TRIREME_CUBLASLT(cublasLtCreate(context.put()));
    int device = 0;
    TRIREME_CUDA(cudaGetDevice(&device));
    TRIREME_CUDA(cudaDeviceGetAttribute(&generation, cudaDevAttrComputeCapabilityMajor, device));
  }

  Plan& plan_for(const LtProduct& product, const LtOperands& operands);
  Plan make_plan(const LtProduct& product, const LtOperands& operands) const;
  std::vector<cublasLtMatmulAlgo_t> ask(const Plan& plan, const LtOperands& operands) const;
  bool is_worthwhile(const LtProduct& product, const LtOperands& operands, const Plan& plan);

  Context context;
  int generation = 0;  ///< major compute capability
  std::map<Key, Plan> plans;
};

std::vector<cublasLtMatmulAlgo_t> CublasLt::State::ask(const Plan& plan, const LtOperands& operands) const {
  Preference preference;
  TRIREME_CUBLASLT(cublasLtMatmulPreferenceCreate(preference.put()));
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, workspace_bytes);
  // Sums in one piece, or in pieces that are added in f32 and in a fixed order.
  const auto reductions = static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(operands.b));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(operands.a));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(operands.out));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(operands.out));
  std::array<cublasLtMatmulHeuristicResult_t, most_candidates> found{};
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(context.get(), plan.operation.get(), plan.b.get(), plan.a.get(), plan.out.get(),
                                     plan.out.get(), preference.get(), most_candidates, found.data(), &count);
  if (status != CUBLAS_STATUS_NOT_SUPPORTED && status != CUBLAS_STATUS_INVALID_VALUE) TRIREME_CUBLASLT(status);
  std::vector<cublasLtMatmulAlgo_t> algorithms;
  for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < count; ++i)
    if (const auto& result = found[static_cast<std::size_t>(i)]; result.state == CUBLAS_STATUS_SUCCESS)
      algorithms.push_back(result.algo);
  return algorithms;
}

Plan CublasLt::State::make_plan(const LtProduct& product, const LtOperands& operands) const {
  // out' = b' transposed times a' transposed, and our row-major matrices are their transposes as they lie in memory.
  Plan plan;
  plan.beta = product.accumulate ? 1.0F : 0.0F;
  const auto [m, n, k] = std::array{product.m, product.n, product.k};
  plan.a = product.transpose_a ? layout_of(k, m, product.input) : layout_of(m, k, product.input);
  plan.b = product.transpose_b ? layout_of(n, k, product.input) : layout_of(k, n, product.input);
  plan.out = layout_of(m, n, product.output);
  const bool tf32 = product.tf32 && product.input == DType::f32;
  TRIREME_CUBLASLT(cublasLtMatmulDescCreate(plan.operation.put(),
                                            tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const auto transposed = [](bool is) { return static_cast<std::int32_t>(is ? CUBLAS_OP_T : CUBLAS_OP_N); };
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSA, transposed(product.transpose_b));
  set(plan.operation, CUBLASLT_MATMUL_DESC_TRANSB, transposed(product.transpose_a));
  set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(product.epilogue));
  // The search reads how well these are aligned.
  if (has_bias(product.epilogue)) set(plan.operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, operands.bias);
  if (has_aux(product.epilogue)) {
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, operands.aux);
    set(plan.operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, n);
  }
  return plan;
}

/// Some epilogues are there only in older, slower kernels. The answer must not hang on a timing.
bool CublasLt::State::is_worthwhile(const LtProduct& product, const LtOperands& operands, const Plan& plan) {
  if (has_gelu(product.epilogue)) return generation >= 9;
  if (product.epilogue != CUBLASLT_EPILOGUE_BGRADB || plan.candidates.empty()) return true;
  LtProduct plain = product;
  plain.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  LtOperands without = operands;
  without.bias = nullptr;
  const std::vector<cublasLtMatmulAlgo_t> usual = ask(make_plan(plain, without), without);
  return usual.empty() || family_of(usual.front()) == family_of(plan.candidates.front());
}

Plan& CublasLt::State::plan_for(const LtProduct& product, const LtOperands& operands) {
  const Key key = {.product = product,
                   .alignments = {alignment_of(operands.a), alignment_of(operands.b), alignment_of(operands.out),
                                  alignment_of(operands.bias), alignment_of(operands.aux)}};
  if (const auto found = plans.find(key); found != plans.end()) return found->second;
  Plan plan = make_plan(product, operands);
  plan.candidates = ask(plan, operands);
  if (!is_worthwhile(product, operands, plan)) plan.candidates.clear();
  return plans.emplace(key, std::move(plan)).first->second;
}

CublasLt::CublasLt() = default;
CublasLt::~CublasLt() = default;

bool CublasLt::multiply(const LtProduct& product, const LtOperands& operands, MemoryPool& pool, cudaStream_t stream) {
  if (!state_) state_ = std::make_unique<State>();
  Plan& plan = state_->plan_for(product, operands);
  if (!plan.is_chosen && plan.candidates.size() > 1 && !is_capturing(stream)) {
    plan.is_chosen = true;
    std::unique_ptr<Trial> trial;
    try {
      trial = std::make_unique<Trial>(product, pool, stream);
    } catch (const Error&) {  // no memory left for it; the first candidate gives the same bits
      plan.candidates.resize(1);
    }
    if (trial) choose(plan, *trial, state_->context.get(), pool, stream);
  }
  if (plan.candidates.empty()) return false;
  TRIREME_CUBLASLT(plan.run(state_->context.get(), plan.candidates.front(), operands, pool, stream));
  return true;
}

}  // namespace trireme::cuda
