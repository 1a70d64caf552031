#include "kernels/convolution_shape.h"
#include "thread_invariance.h"

namespace trireme {
namespace {

struct Case {
  const char* name;
  ConvolutionShape shape;
  Shape x, filter;

  Shape y() const { return convolution_output(shape, x, filter); }
};

const std::vector<Case> cases = {
    {"1x1", {}, {2, 5, 7, 16}, {24, 1, 1, 16}},
    {"1x1 of stride 2", {.stride_height = 2, .stride_width = 2}, {2, 6, 7, 16}, {32, 1, 1, 16}},
    {"3x3", {.pad_height = 1, .pad_width = 1}, {2, 7, 6, 8}, {16, 3, 3, 8}},
    {"3x3 of stride 2",
     {.stride_height = 2, .stride_width = 2, .pad_height = 1, .pad_width = 1},
     {2, 8, 9, 16},
     {16, 3, 3, 16}},
    {"stem of ResNet",
     {.stride_height = 2, .stride_width = 2, .pad_height = 3, .pad_width = 3},
     {1, 19, 22, 3},
     {16, 7, 7, 3}},
    {"dilated",
     {.pad_height = 2, .pad_width = 2, .dilation_height = 2, .dilation_width = 2},
     {1, 9, 8, 8},
     {8, 3, 3, 8}},
    {"no axis like the other",
     {.stride_height = 2,
      .stride_width = 1,
      .pad_height = 1,
      .pad_width = 2,
      .dilation_height = 1,
      .dilation_width = 3},
     {3, 11, 9, 5},
     {7, 4, 2, 5}},
    {"one grey channel", {}, {4, 12, 12, 1}, {6, 5, 5, 1}},
    {"groups", {.pad_height = 1, .pad_width = 1, .groups = 4}, {2, 6, 5, 32}, {32, 3, 3, 8}},
    {"odd groups", {.stride_height = 2, .groups = 3}, {2, 7, 5, 15}, {21, 3, 2, 5}},
    {"depthwise", {.pad_height = 1, .pad_width = 1, .groups = 19}, {2, 6, 7, 19}, {19, 3, 3, 1}},
    {"two outputs a channel", {.stride_width = 2, .groups = 8}, {1, 6, 7, 8}, {16, 3, 3, 1}},
    {"whole image", {}, {3, 4, 5, 6}, {10, 4, 5, 6}}};

/// visit(at x, at filter, at y) for all triples of elements that meet in a product.
template <typename Visit>
void for_products(const Case& c, const Visit& visit) {
  const Shape y = c.y();
  const ConvolutionShape& s = c.shape;
  const std::int64_t inputs = c.filter[3];
  for (std::int64_t out = 0; out < y.elements(); ++out) {
    const std::int64_t k = out % y[3];
    const std::int64_t first_channel = k / (y[3] / s.groups) * inputs;
    for (std::int64_t at = 0; at < c.filter.elements() / y[3]; ++at) {
      const std::int64_t column =
          out / y[3] % y[2] * s.stride_width - s.pad_width + at / inputs % c.filter[2] * s.dilation_width;
      const std::int64_t row =
          out / y[3] / y[2] % y[1] * s.stride_height - s.pad_height + at / inputs / c.filter[2] * s.dilation_height;
      if (row < 0 || row >= c.x[1] || column < 0 || column >= c.x[2]) continue;
      const std::int64_t image = out / y[3] / y[2] / y[1];
      const std::int64_t in = ((image * c.x[1] + row) * c.x[2] + column) * c.x[3] + first_channel + at % inputs;
      visit(static_cast<std::size_t>(in), static_cast<std::size_t>(k * (c.filter.elements() / y[3]) + at),
            static_cast<std::size_t>(out));
    }
  }
}

class Convolution : public KernelTest {
 protected:
  /// Scaled so that results are about 1.
  static Tensor random_filter(const Case& c) {
    return random(c.filter, 2, std::sqrt(static_cast<double>(c.filter[0]) / static_cast<double>(c.filter.elements())));
  }
};
TRIREME_KERNEL_CASES(Convolution);

TEST_P(Convolution, ForwardMatchesTheDefinition) {
  for (const Case& c : cases) {
    for (const bool with_bias : {false, true}) {
      SCOPED_TRACE(c.name);
      ConvolutionArgs args = {c.shape, random(c.x, 1), random_filter(c), Tensor(), empty(c.y())};
      if (with_bias) args.bias = random({c.filter[0]}, 3);
      backend().convolution(args);
      const Values bias = with_bias ? values(args.bias) : Values(1, 0.0);
      Values wanted(static_cast<std::size_t>(args.y.elements()));
      for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] = bias[i % bias.size()];
      for_products(c, [&, x = values(args.x), filter = values(args.filter)](auto in, auto at, auto out) {
        wanted[out] += x[in] * filter[at];
      });
      expect_close(args.y, wanted);
    }
  }
}

TEST_P(Convolution, DataGradientMatchesTheDefinition) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const ConvolutionBackwardDataArgs args = {c.shape, random(c.y(), 1), random_filter(c), empty(c.x)};
    backend().convolution_backward_data(args);
    Values wanted(static_cast<std::size_t>(c.x.elements()));
    for_products(c, [&, dy = values(args.dy), filter = values(args.filter)](auto in, auto at, auto out) {
      wanted[in] += dy[out] * filter[at];
    });
    expect_close(args.dx, wanted);
  }
}

TEST_P(Convolution, FilterGradientIsAddedInF32) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const ConvolutionBackwardFilterArgs args = {c.shape, random(c.x, 1), random(c.y(), 2),
                                                random_tensor(c.filter, DType::f32, 3)};
    Values wanted = values(args.dfilter);
    for_products(c, [&, x = values(args.x), dy = values(args.dy)](auto in, auto at, auto out) {
      wanted[at] += x[in] * dy[out];
    });
    backend().convolution_backward_filter(args);
    expect_close_f32(args.dfilter, wanted);
  }
}

TEST_P(Convolution, TensorsMayBePartsOfOthers) {
  const Case& c = cases[2];
  const Tensor images = random({4, c.x[1], c.x[2], c.x[3]}, 1);
  const Tensor filters = random({3 * c.filter[0], c.filter[1], c.filter[2], c.filter[3]}, 2);
  const Tensor bias = random({3 * c.filter[0]}, 3);
  const Tensor second_bias = bias.view(c.filter[0], {c.filter[0]});
  const Tensor x = images.view(c.x.elements(), c.x);
  const Tensor filter = filters.view(c.filter.elements(), c.filter);
  const Tensor y = empty(c.y());
  backend().convolution({c.shape, x, filter, second_bias, y});
  const Tensor wanted = empty(c.y());
  backend().convolution({c.shape, tensor_of(c.x, type(), values(x)), tensor_of(c.filter, type(), values(filter)),
                         tensor_of({c.filter[0]}, type(), values(second_bias)), wanted});
  expect_close(y, values(wanted));
}

TEST_P(Convolution, SteadyStateTakesNoMemoryFromTheSystem) {
  const Case& c = cases[2];
  const Tensor x = random(c.x, 1);
  const Tensor dx = empty(c.x);
  const Tensor filter = random_filter(c);
  const Tensor dfilter = random_tensor(c.filter, DType::f32, 3);
  const Tensor y = empty(c.y());
  const auto run = [&] {
    backend().convolution({c.shape, x, filter, Tensor(), y});
    backend().convolution_backward_data({c.shape, y, filter, dx});
    backend().convolution_backward_filter({c.shape, x, y, dfilter});
  };
  run();
  const auto before = backend().pool().statistics().system_allocations;
  for (int i = 0; i < 3; ++i) run();
  EXPECT_EQ(backend().pool().statistics().system_allocations, before);
}

TEST_P(Convolution, ShapesAndTypesThatDoNotMatchFail) {
  const Case& c = cases[2];
  const DType other = type() == DType::f32 ? DType::bf16 : DType::f32;
  const ConvolutionArgs good = {c.shape, random(c.x, 1), random_filter(c), Tensor(), empty(c.y())};
  ConvolutionArgs bad = good;
  bad.shape.pad_height = 0;
  EXPECT_THROW(backend().convolution(bad), Error);
  bad = good;
  bad.y = empty(c.y().with(3, 8));
  EXPECT_THROW(backend().convolution(bad), Error);
  bad = good;
  bad.bias = random({8}, 3);
  EXPECT_THROW(backend().convolution(bad), Error);
  bad = good;
  bad.filter = random_tensor(c.filter, other, 2);
  EXPECT_THROW(backend().convolution(bad), Error);
  EXPECT_THROW(backend().convolution_backward_data({c.shape, good.y, good.filter, random_tensor(c.x, other, 1)}),
               Error);
  EXPECT_THROW(
      backend().convolution_backward_filter({c.shape, good.x, good.y, random_tensor(c.filter, DType::bf16, 2)}), Error);
}

TEST_P(Convolution, RunsRepeatBitForBit) {
  const Case c = {"", {.pad_height = 1, .pad_width = 1}, {4, 14, 13, 24}, {16, 3, 3, 24}};
  const auto run = [&] {
    const Tensor x = random(c.x, 1);
    const Tensor filter = random_filter(c);
    const Tensor y = empty(c.y());
    const Tensor dx = empty(c.x);
    const Tensor dfilter = random_tensor(c.filter, DType::f32, 3);
    backend().convolution({c.shape, x, filter, Tensor(), y});
    backend().convolution_backward_data({c.shape, y, filter, dx});
    backend().convolution_backward_filter({c.shape, x, y, dfilter});
    return joined({values(y), values(dx), values(dfilter)});
  };
  EXPECT_EQ(run(), run());
}

/// Not so the filter's gradient: oneDNN gives every thread images of its own, and adds what they found.
TEST(ConvolutionThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Case c = {"", {.pad_height = 1, .pad_width = 1}, {5, 28, 27, 40}, {48, 3, 3, 40}};
    const auto tensor = [&](const Shape& shape, std::uint64_t seed) {
      return from_double(cpu, shape, DType::f32, random_values(shape.elements(), seed));
    };
    const Tensor x = tensor(c.x, 1);
    const Tensor filter = tensor(c.filter, 2);
    const Tensor dy = tensor(c.y(), 3);
    const Tensor y = tensor(c.y(), 9);
    const Tensor dx = tensor(c.x, 9);
    cpu.convolution({c.shape, x, filter, Tensor(), y});
    cpu.convolution_backward_data({c.shape, dy, filter, dx});
    return joined({to_double(cpu, y), to_double(cpu, dx)});
  });
}

}  // namespace
}  // namespace trireme
