#include "tests/emulation/cublaslt.h"

#include "kernels/cuda/cublaslt.h"
#include "kernels/cuda/runtime.h"
#include "tests/emulation/emulation.h"
#include "tests/kernels/kernel_test.h"

namespace trireme {
namespace {

using emulation::cublaslt;
using emulation::LtAlgorithm;
using Products = std::map<LtAlgorithm, long long>;

/// A backend that has not multiplied anything yet, and counts from zero.
class CudaProducts : public testing::Test {
 protected:
  void SetUp() override { cublaslt() = {}; }
  void TearDown() override { cublaslt() = {}; }

  Tensor random(const Shape& shape, DType type, std::uint64_t seed) {
    return from_double(*backend_, shape, type, random_values(shape.elements(), seed));
  }
  MatmulArgs product(std::int64_t m, std::int64_t n, std::int64_t k, DType type = DType::bf16) {
    MatmulArgs args;
    args.a = random({m, k}, type, 1);
    args.b = random({k, n}, type, 2);
    args.out = backend_->allocate({m, n}, type);
    return args;
  }
  /// Algorithms that run in one call of matmul.
  Products algorithms_of(const MatmulArgs& args) {
    cublaslt().products.clear();
    backend_->matmul(args);
    return cublaslt().products;
  }
  MatmulArgs weight_gradient() {
    MatmulArgs args = product(24, 40, 16);
    args.a = random({16, 24}, DType::bf16, 1);
    args.transpose_a = args.accumulate = true;
    args.out = random({24, 40}, DType::f32, 3);
    args.bias_gradient = random({24}, DType::f32, 4);
    return args;
  }

  std::unique_ptr<Backend> backend_ = make_cuda_backend(0);
};

const Products the_chosen_one = {{LtAlgorithm::same_bits, 1}};

TEST_F(CudaProducts, KeepsTheFastestAlgorithmWithTheBitsOfTheFirst) {
  for (const DType type : {DType::f32, DType::bf16}) {
    const MatmulArgs args = product(24, 40, 64, type);
    backend_->matmul(args);
    EXPECT_EQ(algorithms_of(args), the_chosen_one);
  }
  MatmulArgs added = weight_gradient();
  added.bias_gradient = {};
  backend_->matmul(added);
  EXPECT_EQ(algorithms_of(added), the_chosen_one);
}

/// Has room for a workspace and for nothing else.
class FullMemory final : public MemorySource {
 public:
  void* allocate(std::size_t bytes) override {
    if (bytes < std::size_t{16} << 20) fail("no {} bytes left", bytes);
    return device_->allocate(bytes);
  }
  void release(void* memory, std::size_t bytes) noexcept override { device_->release(memory, bytes); }

 private:
  std::unique_ptr<MemorySource> device_ = cuda::make_device_memory(0);
};

TEST_F(CudaProducts, WithoutMemoryForATrialTheFirstAlgorithmRuns) {
  MatmulArgs args = product(24, 40, 64);
  MemoryPool pool(std::make_unique<FullMemory>());
  cuda::CublasLt library;
  const cuda::LtProduct sizes = {.m = 24, .n = 40, .k = 64, .input = DType::bf16, .output = DType::bf16};
  const cuda::LtOperands operands = {.a = args.a.raw(), .b = args.b.raw(), .out = args.out.raw()};
  EXPECT_TRUE(library.multiply(sizes, operands, pool, static_cast<cudaStream_t>(backend_->queue())));
  EXPECT_EQ(cublaslt().products, (Products{{LtAlgorithm::guess, 1}}));
  backend_->synchronize();
}

TEST_F(CudaProducts, TellsAlgorithmsApartWhereTheOperandsAreZero) {
  const MatmulArgs args = product(8, 8, 32);
  backend_->zero(args.a);
  backend_->matmul(args);
  EXPECT_EQ(algorithms_of(args), the_chosen_one);
}

TEST_F(CudaProducts, SearchesAndTimesOnceAndThenAllocatesNothing) {
  const MatmulArgs args = product(24, 40, 64);
  backend_->matmul(args);
  EXPECT_EQ(cublaslt().searches, 1);
  const emulation::Counters before = emulation::counters();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(algorithms_of(args), the_chosen_one);
  EXPECT_EQ(cublaslt().searches, 1);
  EXPECT_EQ(emulation::counters().mallocs, before.mallocs);
  EXPECT_EQ(emulation::counters().synchronizations, before.synchronizations);
  EXPECT_EQ(emulation::counters().kernels, before.kernels + 3);
}

TEST_F(CudaProducts, AnUnknownProductIsRecordedUntimed) {
  const MatmulArgs args = product(24, 40, 64, DType::f32);
  backend_->synchronize();
  cublaslt().products.clear();
  const auto waits = emulation::counters().synchronizations;
  const auto recording = backend_->record([&] { backend_->matmul(args); });
  EXPECT_EQ(cublaslt().products, (Products{{LtAlgorithm::guess, 1}}));
  EXPECT_EQ(emulation::counters().synchronizations, waits);
  recording->replay();
  const Values recorded = to_double(*backend_, args.out);
  backend_->matmul(args);  // times it now
  EXPECT_EQ(to_double(*backend_, args.out), recorded);
  EXPECT_EQ(algorithms_of(args), the_chosen_one);
}

TEST_F(CudaProducts, TheFirstProductIsAddedOnceToo) {
  const MatmulArgs args = weight_gradient();
  const Values before = to_double(*backend_, args.out);
  backend_->matmul(args);
  const Values once = to_double(*backend_, args.out);
  backend_->matmul(args);
  Values wanted = once;
  for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += once[i] - before[i];
  expect_values_close(to_double(*backend_, args.out), wanted, 1e-5);
}

TEST_F(CudaProducts, OperandsThatLieElsewhereAreAnotherProduct) {
  MatmulArgs args = product(8, 8, 32);
  backend_->matmul(args);
  const Tensor longer = random({8 * 32 + 1}, DType::bf16, 1);
  args.a = longer.view(1, {8, 32});  // 2-byte alignment: the emulation refuses what was found for more
  backend_->matmul(args);
  EXPECT_EQ(cublaslt().searches, 2);
}

TEST_F(CudaProducts, GeluIsFusedInBf16) {
  MatmulArgs args = product(24, 40, 64);
  args.activation = Activation::gelu;
  args.bias = random({40}, DType::bf16, 3);
  args.pre_activation = backend_->allocate({24, 40}, DType::bf16);
  backend_->matmul(args);
  EXPECT_GT(cublaslt().epilogues[CUBLASLT_EPILOGUE_GELU_AUX_BIAS], 0);
  EXPECT_EQ(cublaslt().epilogues.size(), 1U);

  const Values fused = to_double(*backend_, args.out);
  const auto other = make_cuda_backend(0);
  cublaslt() = {};
  cublaslt().is_out_of_epilogues = true;
  other->matmul(args);
  EXPECT_EQ(cublaslt().epilogues.count(CUBLASLT_EPILOGUE_GELU_AUX_BIAS), 0U);
  expect_values_close(to_double(*other, args.out), fused, 1e-2);
}

TEST_F(CudaProducts, BiasGradientIsFusedUnlessThatTakesOtherKernels) {
  const MatmulArgs args = weight_gradient();
  const Values start = to_double(*backend_, args.bias_gradient);
  backend_->matmul(args);
  EXPECT_GT(cublaslt().epilogues[CUBLASLT_EPILOGUE_BGRADB], 0);
  const Values fused = to_double(*backend_, args.bias_gradient);

  const auto other = make_cuda_backend(0);
  cublaslt() = {};
  cublaslt().bias_gradient_is_of_another_family = true;
  other->upload(std::vector<float>(start.begin(), start.end()).data(), args.bias_gradient);
  other->matmul(args);
  EXPECT_EQ(cublaslt().epilogues.count(CUBLASLT_EPILOGUE_BGRADB), 0U);
  expect_values_close(to_double(*other, args.bias_gradient), fused, 1e-5);
}

}  // namespace
}  // namespace trireme
