// The real cuDNN plans our graphs, for devices that need not be here: it is told their properties, finds engines for
// them, and compiles their kernels. Nothing runs. Skipped where cuDNN is not installed.
#include <dlfcn.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernels/cuda/attention_graph.h"
#include "kernels/cuda/convolution_graph.h"
#include "kernels/error.h"

namespace trireme::cuda {
namespace {

using Kind = CudnnGraph::Convolution;

/// What cudaGetDeviceProperties says of a device, in cuDNN's words.
std::string properties(const char* name, int architecture, int multiprocessors, int shared_memory) {
  return fmt::format(
      R"({{"cudaDeviceId":0,"deviceVer":{},"driverVer":13000,"maxGridSize":[2147483647,65535,65535],)"
      R"("maxBlockSize":[1024,1024,64],"regsPerBlock":65536,"multiProcessorCount":{},"warpSize":32,)"
      R"("maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":{},"reservedSharedMemoryPerBlock":1024,)"
      R"("maxRegistersPerSM":65536,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"pciDeviceId":0,)"
      R"("isTccDriver":0,"supportCoopLaunch":1,"smClockRateKHz":1980000,"memClockRateKHz":3201000,)"
      R"("l2CacheSize":62914560,"totalGlobalMem":85899345920,"deviceName":"{}"}})",
      architecture, multiprocessors, shared_memory, name);
}

class CudnnPlans : public testing::Test {
 protected:
  void SetUp() override {
    // cuDNN asks for libcuda.so.1, which is then this one
    ASSERT_NE(dlopen(TRIREME_DRIVER_STUB, RTLD_NOW | RTLD_GLOBAL), nullptr) << dlerror();
    try {
      const std::size_t version = cudnnGetVersion();
      if (version < 91002) GTEST_SKIP() << "cuDNN " << version << " is older than 9.10.2";
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    use(properties("NVIDIA H200", 900, 132, 232448));
  }

  void use(const std::string& json) {
    device_.emplace(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    device_->set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, std::vector<char>(json.begin(), json.end())).finalize();
  }

  void expect_plan(CudnnGraph graph, CudnnRules rules = {}, std::int64_t most_workspace = std::int64_t{1} << 31) {
    rules.device = &*device_;
    try {
      const CudnnPlan plan = graph.plan(rules);
      EXPECT_LE(plan.workspace_bytes(), most_workspace) << plan.engine();
    } catch (const Error& error) {
      if (std::string(error.what()).find("PREREQUISITE_MISSING") != std::string::npos) GTEST_SKIP() << error.what();
      ADD_FAILURE() << error.what();
    }
  }

  /// Forward keeps no more than some flags; backward in fixed order a square of bf16 for every head, and where groups
  /// share keys their gradients.
  void expect_attention(const AttentionSizes& s) {
    SCOPED_TRACE(fmt::format("batch {} time {} heads {} kv {} size {} causal {} lengths {}", s.batch, s.time, s.heads,
                             s.key_value_heads, s.size, s.causal, s.lengths));
    const std::int64_t rows = s.batch * s.heads * ((s.time + 127) / 128 * 128);
    expect_plan(attention_graph(s), {}, 1 << 16);
    expect_plan(attention_backward_graph(s, true), {}, rows * ((s.time + 127) / 128 * 256 + 16 * s.size) + (1 << 16));
    expect_plan(attention_backward_graph(s, false), {.deterministic = false}, rows * 16 * s.size + (1 << 16));
  }

  std::optional<CudnnDescriptor> device_;
};

TEST_F(CudnnPlans, AttentionOfGpt2) {
  for (const std::int64_t heads : {12, 20, 25}) expect_attention({8, 1024, heads, heads, 64, true, false, 0.125F});
}

TEST_F(CudnnPlans, AttentionInBothDirections) { expect_attention({8, 1024, 12, 12, 64, false, false, 0.125F}); }

TEST_F(CudnnPlans, AttentionOfSequencesOfAnyLength) {
  for (const bool causal : {false, true}) {
    expect_attention({32, 512, 12, 12, 64, causal, true, 0.125F});
    expect_attention({4, 128, 16, 4, 64, causal, true, 0.125F});
  }
}

TEST_F(CudnnPlans, AttentionOfGroupedQueries) {
  expect_attention({2, 2048, 32, 8, 128, true, false, 0.088F});
  expect_attention({2, 1024, 32, 8, 128, false, false, 0.088F});
}

TEST_F(CudnnPlans, AttentionOfOddSizes) {
  if (cudnnGetVersion() <= 91500) GTEST_SKIP() << "older than 9.15.1, not used for such lengths";
  expect_attention({2, 1000, 4, 2, 16, false, false, 0.25F});
  expect_attention({2, 5, 2, 2, 8, true, false, 0.25F});
  expect_attention({1, 70, 1, 1, 256, true, false, 0.0625F});
}

TEST_F(CudnnPlans, AttentionOfOtherGpus) {
  for (const std::string& json :
       {properties("NVIDIA A100", 800, 108, 166912), properties("NVIDIA L40S", 890, 142, 101376),
        properties("NVIDIA B200", 1000, 148, 232448)}) {
    use(json);
    expect_attention({4, 1024, 12, 12, 64, true, false, 0.125F});
    expect_attention({1, 1024, 8, 2, 128, true, false, 0.125F});
  }
}

ConvolutionSizes sizes(std::int64_t extent, std::int64_t channels, std::int64_t outputs, std::int64_t window,
                       std::int64_t stride, std::int64_t pad, std::int64_t groups = 1) {
  ConvolutionSizes s;
  s.batch = 64;
  s.height = s.width = extent;
  s.channels = channels;
  s.outputs = outputs;
  s.rows = s.columns = window;
  s.groups = groups;
  s.stride_height = s.stride_width = stride;
  s.pad_height = s.pad_width = pad;
  s.out_height = s.out_width = output_extent(extent, window, stride, pad);
  return s;
}

/// Of ResNet-50, the last two not.
const std::vector<ConvolutionSizes> convolutions = {sizes(224, 3, 64, 7, 2, 3),   sizes(56, 64, 64, 1, 1, 0),
                                                    sizes(56, 64, 64, 3, 1, 1),   sizes(56, 64, 256, 1, 1, 0),
                                                    sizes(56, 128, 128, 3, 2, 1), sizes(56, 256, 512, 1, 2, 0),
                                                    sizes(14, 256, 256, 3, 1, 1), sizes(7, 512, 2048, 1, 1, 0),
                                                    sizes(9, 15, 21, 3, 2, 1, 3), sizes(9, 19, 19, 3, 1, 1, 19)};

class CudnnConvolutionPlans : public CudnnPlans {
 protected:
  void expect_plans(DType type) {
    const bool full_f32 = type == DType::f32;
    for (const ConvolutionSizes& s : convolutions) {
      SCOPED_TRACE(fmt::format("{}x{} of {} channels, {}x{} to {} in {} groups", s.height, s.width, s.channels, s.rows,
                               s.columns, s.outputs, s.groups));
      for (const bool bias : {false, true})
        expect_plan(convolution_graph({Kind::forward, s, type, full_f32, bias}), {.full_f32 = full_f32});
      expect_plan(convolution_graph({Kind::data_gradient, s, type, full_f32, false}), {.full_f32 = full_f32});
      expect_plan(convolution_graph({Kind::filter_gradient, s, DType::f32, full_f32, false}), {.full_f32 = full_f32});
      if (type == DType::bf16 && s.channels % 8 == 0)
        expect_plan(convolution_graph({Kind::filter_gradient, s, type, false, true}));
    }
  }
};

TEST_F(CudnnConvolutionPlans, InBf16) { expect_plans(DType::bf16); }
TEST_F(CudnnConvolutionPlans, InF32) { expect_plans(DType::f32); }

}  // namespace
}  // namespace trireme::cuda
