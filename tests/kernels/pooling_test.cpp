#include "kernels/convolution_shape.h"
#include "thread_invariance.h"

namespace trireme {
namespace {

struct Case {
  const char* name;
  PoolingArgs window;  ///< without tensors
  Shape x;

  Shape y() const { return pooling_output(window, x); }
};

PoolingArgs window(int height, int width, int stride_height, int stride_width, int pad_height = 0, int pad_width = 0) {
  PoolingArgs args;
  args.height = height;
  args.width = width;
  args.stride_height = stride_height;
  args.stride_width = stride_width;
  args.pad_height = pad_height;
  args.pad_width = pad_width;
  return args;
}

const std::vector<Case> cases = {{"2x2", window(2, 2, 2, 2), {2, 6, 8, 16}},
                                 {"stem of ResNet", window(3, 3, 2, 2, 1, 1), {2, 11, 12, 8}},
                                 {"every cell in many windows", window(3, 4, 1, 1, 2, 3), {1, 7, 6, 5}},
                                 {"no axis like the other", window(3, 2, 1, 3, 1, 0), {3, 5, 9, 67}},
                                 {"cells in no window", window(2, 1, 3, 2), {2, 9, 8, 3}},
                                 {"whole image", window(7, 5, 1, 1), {3, 7, 5, 130}},
                                 {"one cell", window(3, 3, 2, 2, 1, 1), {2, 1, 1, 1}}};

/// visit(at y, elements of x in row-major order) for every window.
template <typename Visit>
void for_windows(const Case& c, const Visit& visit) {
  const Shape y = c.y();
  for (std::int64_t out = 0; out < y.elements(); ++out) {
    const std::int64_t image = out / y[3] / y[2] / y[1];
    const std::int64_t first_row = out / y[3] / y[2] % y[1] * c.window.stride_height - c.window.pad_height;
    const std::int64_t first_column = out / y[3] % y[2] * c.window.stride_width - c.window.pad_width;
    std::vector<std::size_t> cells;
    for (std::int64_t row = first_row; row < first_row + c.window.height; ++row)
      for (std::int64_t column = first_column; column < first_column + c.window.width; ++column)
        if (row >= 0 && row < c.x[1] && column >= 0 && column < c.x[2])
          cells.push_back(static_cast<std::size_t>(((image * c.x[1] + row) * c.x[2] + column) * c.x[3] + out % y[3]));
    visit(static_cast<std::size_t>(out), cells);
  }
}

std::size_t first_maximum(const Values& x, const std::vector<std::size_t>& cells) {
  return *std::max_element(cells.begin(), cells.end(), [&](std::size_t a, std::size_t b) { return x[a] < x[b]; });
}

Values forward_reference(const Case& c, PoolingKind kind, const Values& x) {
  Values y(static_cast<std::size_t>(c.y().elements()));
  for_windows(c, [&](std::size_t out, const std::vector<std::size_t>& cells) {
    if (kind == PoolingKind::maximum) {
      y[out] = x[first_maximum(x, cells)];
    } else {
      for (const std::size_t cell : cells) y[out] += x[cell] / static_cast<double>(cells.size());
    }
  });
  return y;
}

Values backward_reference(const Case& c, PoolingKind kind, const Values& x, const Values& dy) {
  Values dx(x.size());
  for_windows(c, [&](std::size_t out, const std::vector<std::size_t>& cells) {
    if (kind == PoolingKind::maximum) {
      dx[first_maximum(x, cells)] += dy[out];
    } else {
      for (const std::size_t cell : cells) dx[cell] += dy[out] / static_cast<double>(cells.size());
    }
  });
  return dx;
}

class Pooling : public KernelTest {
 protected:
  static PoolingArgs forward(const Case& c, PoolingKind kind, const Tensor& x) {
    PoolingArgs args = c.window;
    args.kind = kind;
    args.x = x;
    args.y = empty(c.y());
    backend().pooling(args);
    return args;
  }
};
TRIREME_KERNEL_CASES(Pooling);

constexpr std::array kinds = {PoolingKind::maximum, PoolingKind::average};

TEST_P(Pooling, MatchesTheDefinition) {
  for (const Case& c : cases) {
    for (const PoolingKind kind : kinds) {
      SCOPED_TRACE(c.name);
      const PoolingArgs args = forward(c, kind, random(c.x, 1));
      expect_close(args.y, forward_reference(c, kind, values(args.x)));
      const Tensor dy = random(c.y(), 2);
      const Tensor dx = empty(c.x);
      backend().pooling_backward({args, dy, dx});
      expect_close(dx, backward_reference(c, kind, values(args.x), values(dy)));
    }
  }
}

TEST_P(Pooling, OfEqualMaximaTheFirstTakesTheGradient) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    Values few = random_values(c.x.elements(), 1);
    for (double& value : few) value = std::round(value);
    for (const Values& x :
         {few, Values(few.size(), 0.0), Values(few.size(), -std::numeric_limits<double>::infinity())}) {
      const PoolingArgs args = forward(c, PoolingKind::maximum, tensor_of(c.x, type(), x));
      EXPECT_EQ(values(args.y), forward_reference(c, PoolingKind::maximum, x));
      const Tensor dy = random(c.y(), 2);
      const Tensor dx = empty(c.x);
      backend().pooling_backward({args, dy, dx});
      expect_close(dx, backward_reference(c, PoolingKind::maximum, x, values(dy)));
    }
  }
}

TEST_P(Pooling, NaNStaysNaN) {
  const Case& c = cases[1];
  for (const PoolingKind kind : kinds) {
    Values x = random_values(c.x.elements(), 1);
    const std::size_t at = x.size() / 2 + 3;
    x[at] = std::nan("");
    const Values y = values(forward(c, kind, tensor_of(c.x, type(), x)).y);
    for_windows(c, [&](std::size_t out, const std::vector<std::size_t>& cells) {
      EXPECT_EQ(std::isnan(y[out]), std::find(cells.begin(), cells.end(), at) != cells.end()) << out;
    });
  }
}

TEST_P(Pooling, SteadyStateTakesNoMemoryFromTheSystem) {
  const Case& c = cases[1];
  const Tensor x = random(c.x, 1);
  const Tensor dy = random(c.y(), 2);
  const Tensor dx = empty(c.x);
  PoolingArgs args = forward(c, PoolingKind::maximum, x);
  backend().pooling_backward({args, dy, dx});
  const auto before = backend().pool().statistics().system_allocations;
  for (int i = 0; i < 3; ++i) {
    backend().pooling(args);
    backend().pooling_backward({args, dy, dx});
  }
  EXPECT_EQ(backend().pool().statistics().system_allocations, before);
}

TEST_P(Pooling, ShapesAndTypesThatDoNotMatchFail) {
  const Case& c = cases[1];
  const DType other = type() == DType::f32 ? DType::bf16 : DType::f32;
  const PoolingArgs good = forward(c, PoolingKind::maximum, random(c.x, 1));
  PoolingArgs bad = good;
  bad.y = empty(c.x);
  EXPECT_THROW(backend().pooling(bad), Error);
  bad = good;
  bad.y = empty(c.y(), other);
  EXPECT_THROW(backend().pooling(bad), Error);
  bad = good;
  bad.pad_height = 3;
  EXPECT_THROW(backend().pooling(bad), Error);
  EXPECT_THROW(backend().pooling_backward({good, random(c.x, 2), empty(c.x)}), Error);
  EXPECT_THROW(backend().pooling_backward({good, random(c.y(), 2), empty(c.y())}), Error);
}

TEST(PoolingThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Case c = {"", window(3, 3, 2, 2, 1, 1), {3, 40, 41, 70}};
    const auto tensor = [&](const Shape& shape, std::uint64_t seed) {
      return from_double(cpu, shape, DType::f32, random_values(shape.elements(), seed));
    };
    Values all;
    for (const PoolingKind kind : kinds) {
      PoolingArgs args = c.window;
      args.kind = kind;
      args.x = tensor(c.x, 1);
      args.y = tensor(c.y(), 9);
      const Tensor dx = tensor(c.x, 9);
      cpu.pooling(args);
      cpu.pooling_backward({args, tensor(c.y(), 2), dx});
      all = joined({all, to_double(cpu, args.y), to_double(cpu, dx)});
    }
    return all;
  });
}

}  // namespace
}  // namespace trireme
