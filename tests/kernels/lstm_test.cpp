#include "finite_differences.h"
#include "thread_invariance.h"

namespace trireme {
namespace {

struct Sizes {
  std::int64_t batch, time, inputs, hidden, directions;

  Shape x() const { return {batch, time, inputs}; }
  Shape weight() const { return {directions, 4 * hidden, inputs}; }
  Shape recurrent_weight() const { return {directions, 4 * hidden, hidden}; }
  Shape bias() const { return {directions, 4 * hidden}; }
  Shape y() const { return {batch, time, directions * hidden}; }
  std::string to_string() const {
    return fmt::format("batch {} time {} inputs {} hidden {} directions {}", batch, time, inputs, hidden, directions);
  }
};

/// What the output depends on.
struct Point {
  Values x, weight, recurrent_weight, bias;
};

double sigmoid(double x) { return 1.0 / (1.0 + std::exp(-x)); }

/// y by the definition, one row and direction after the other.
Values reference(const Sizes& s, const Point& p) {
  Values y(static_cast<std::size_t>(s.y().elements()));
  for (std::int64_t d = 0; d < s.directions; ++d) {
    for (std::int64_t b = 0; b < s.batch; ++b) {
      Values h(static_cast<std::size_t>(s.hidden));
      Values c(h.size());
      for (std::int64_t step = 0; step < s.time; ++step) {
        const std::int64_t t = d == 0 ? step : s.time - 1 - step;
        const auto z = [&](std::int64_t row) {
          double sum = p.bias[static_cast<std::size_t>(d * 4 * s.hidden + row)];
          for (std::int64_t i = 0; i < s.inputs; ++i)
            sum += p.weight[static_cast<std::size_t>((d * 4 * s.hidden + row) * s.inputs + i)] *
                   p.x[static_cast<std::size_t>((b * s.time + t) * s.inputs + i)];
          for (std::int64_t i = 0; i < s.hidden; ++i)
            sum += p.recurrent_weight[static_cast<std::size_t>((d * 4 * s.hidden + row) * s.hidden + i)] *
                   h[static_cast<std::size_t>(i)];
          return sum;
        };
        Values next(h.size());
        for (std::int64_t i = 0; i < s.hidden; ++i) {
          double& cell = c[static_cast<std::size_t>(i)];
          cell = sigmoid(z(s.hidden + i)) * cell + sigmoid(z(i)) * std::tanh(z(2 * s.hidden + i));
          next[static_cast<std::size_t>(i)] = sigmoid(z(3 * s.hidden + i)) * std::tanh(cell);
        }
        h = next;
        std::copy(h.begin(), h.end(), y.begin() + ((b * s.time + t) * s.directions + d) * s.hidden);
      }
    }
  }
  return y;
}

double dot(const Values& a, const Values& b) {
  double sum = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

LstmArgs arguments(Backend& backend, DType type, const Sizes& s) {
  const auto random = [&](const Shape& shape, std::uint64_t seed, double scale) {
    return from_double(backend, shape, type, random_values(shape.elements(), seed, scale));
  };
  LstmArgs args;
  args.x = random(s.x(), 1, 1.0);
  args.weight = random(s.weight(), 2, 1.0 / std::sqrt(static_cast<double>(s.inputs)));
  args.recurrent_weight = random(s.recurrent_weight(), 3, 1.0 / std::sqrt(static_cast<double>(s.hidden)));
  args.bias = random(s.bias(), 4, 0.5);
  const auto unset = [&](const Shape& shape, DType of) {
    return from_double(backend, shape, of, Values(static_cast<std::size_t>(shape.elements()), std::nan("")));
  };
  args.y = unset(s.y(), type);
  args.inputs = unset({s.time, s.batch, s.inputs}, type);
  args.gates = unset({s.directions, s.time, s.batch, 4 * s.hidden}, type);
  args.cells = unset({s.directions, s.time, s.batch, s.hidden}, DType::f32);
  args.outputs = unset({s.directions, s.time, s.batch, s.hidden}, type);
  return args;
}

class Lstm : public KernelTest {
 protected:
  struct Gradients {
    Tensor dx, dweight, drecurrent_weight, dbias;
  };

  static Point point(const LstmArgs& args) {
    return {values(args.x), values(args.weight), values(args.recurrent_weight), values(args.bias)};
  }
  /// Gradients of sum(y * dy). Those of weights are added to random numbers, which are taken off again.
  static Gradients backward(const Sizes& s, const LstmArgs& args, const Tensor& dy, std::array<Values, 3>& added_to) {
    const Gradients g = {empty(s.x()), random_tensor(s.weight(), DType::f32, 6),
                         random_tensor(s.recurrent_weight(), DType::f32, 7), random_tensor(s.bias(), DType::f32, 8)};
    added_to = {values(g.dweight), values(g.drecurrent_weight), values(g.dbias)};
    backend().lstm_backward_input({args, dy, g.dx});
    backend().lstm_backward_weight({args, g.dweight, g.drecurrent_weight, g.dbias});
    return g;
  }
  static Values plus(Values a, const Values& b) {
    for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
    return a;
  }
  /// Rounding meets rounding at every step, in bf16 states.
  static double gradient_tolerance() { return type() == DType::bf16 ? 4e-2 : 2e-5; }
};
TRIREME_KERNEL_CASES(Lstm);

TEST_P(Lstm, ForwardMatchesTheDefinition) {
  // Batches around the rows of an item, hidden sizes that fill panels of 16 or do not.
  for (const Sizes& s : std::vector<Sizes>{{1, 1, 1, 1, 1},
                                           {2, 3, 4, 5, 2},
                                           {3, 20, 8, 12, 1},
                                           {13, 4, 6, 16, 2},
                                           {24, 3, 16, 24, 2},
                                           {30, 5, 16, 40, 2}}) {
    SCOPED_TRACE(s.to_string());
    const LstmArgs args = arguments(backend(), type(), s);
    backend().lstm(args);
    expect_close(args.y, reference(s, point(args)), 2.0 * tolerance());
  }
}

TEST_P(Lstm, GradientsMatchFiniteDifferences) {
  for (const Sizes& s : std::vector<Sizes>{{1, 1, 1, 1, 1}, {2, 4, 3, 5, 2}, {14, 3, 2, 4, 2}, {3, 6, 4, 3, 1}}) {
    SCOPED_TRACE(s.to_string());
    const LstmArgs args = arguments(backend(), type(), s);
    const Point at = point(args);
    const Tensor dy = random(s.y(), 5);
    const Values weights = values(dy);
    backend().lstm(args);
    std::array<Values, 3> added_to;
    const Gradients g = backward(s, args, dy, added_to);
    const auto along = [&](Values Point::*part) {
      return differences(at.*part, [&](const Values& moved) {
        Point there = at;
        there.*part = moved;
        return dot(reference(s, there), weights);
      });
    };
    expect_close(g.dx, along(&Point::x), gradient_tolerance());
    expect_close(g.dweight, plus(along(&Point::weight), added_to[0]), gradient_tolerance());
    expect_close(g.drecurrent_weight, plus(along(&Point::recurrent_weight), added_to[1]), gradient_tolerance());
    expect_close(g.dbias, plus(along(&Point::bias), added_to[2]), gradient_tolerance());
  }
}

/// Sizes at which all differences would take too long: along some directions.
TEST_P(Lstm, GradientsOfLongSequencesMatchDirectionalDifferences) {
  const Sizes s = {18, 12, 20, 24, 2};
  const LstmArgs args = arguments(backend(), type(), s);
  const Point at = point(args);
  const Tensor dy = random(s.y(), 5);
  const Values weights = values(dy);
  backend().lstm(args);
  std::array<Values, 3> added_to;
  const Gradients g = backward(s, args, dy, added_to);
  const auto check = [&](Values Point::*part, const Values& gradient, const char* name) {
    constexpr double step = 1e-5;
    const Values along = random_values(static_cast<std::int64_t>(gradient.size()), 9);
    double wanted = 0.0;
    for (const double sign : {1.0, -1.0}) {
      Point there = at;
      for (std::size_t i = 0; i < along.size(); ++i) (there.*part)[i] += sign * step * along[i];
      wanted += sign * dot(reference(s, there), weights) / (2.0 * step);
    }
    const double size = std::sqrt(dot(gradient, gradient));
    EXPECT_NEAR(dot(gradient, along), wanted, gradient_tolerance() * size) << name;
  };
  const auto without = [](Values all, const Values& part) {
    for (std::size_t i = 0; i < all.size(); ++i) all[i] -= part[i];
    return all;
  };
  check(&Point::x, values(g.dx), "x");
  check(&Point::weight, without(values(g.dweight), added_to[0]), "weight");
  check(&Point::recurrent_weight, without(values(g.drecurrent_weight), added_to[1]), "recurrent weight");
  check(&Point::bias, without(values(g.dbias), added_to[2]), "bias");
}

TEST_P(Lstm, LargeInputsSaturate) {
  const Sizes s = {2, 3, 2, 4, 1};
  LstmArgs args = arguments(backend(), type(), s);
  args.x = tensor_of(s.x(), type(), {1e4, 1e4, -1e4, 1e4, 3e38, 0, 1e4, -1e4, -3e38, 0, 1, 1});
  backend().lstm(args);
  expect_close(args.y, reference(s, point(args)), 2.0 * tolerance());
}

TEST_P(Lstm, NotANumberReachesTheStepsBehindIt) {
  const Sizes s = {2, 4, 3, 5, 1};
  LstmArgs args = arguments(backend(), type(), s);
  Values x = values(args.x);
  x[2 * 3] = std::nan("");
  args.x = tensor_of(s.x(), type(), x);
  backend().lstm(args);
  const Values y = values(args.y);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i >= 10 && i < 20) << i;
}

TEST_P(Lstm, SteadyStateTakesNoMemoryFromTheSystem) {
  const Sizes s = {5, 4, 8, 12, 2};
  const LstmArgs args = arguments(backend(), type(), s);
  const Tensor dy = random(s.y(), 5);
  const Tensor dx = empty(s.x());
  const auto run = [&] {
    backend().lstm(args);
    backend().lstm_backward_input({args, dy, dx});
  };
  run();
  const auto before = backend().pool().statistics().system_allocations;
  for (int i = 0; i < 3; ++i) run();
  EXPECT_EQ(backend().pool().statistics().system_allocations, before);
}

TEST_P(Lstm, ShapesThatDoNotFitFail) {
  const Sizes s = {2, 3, 4, 5, 2};
  const LstmArgs good = arguments(backend(), type(), s);
  LstmArgs bad = good;
  bad.weight = empty({1, 20, 4});
  EXPECT_THROW(backend().lstm(bad), Error);
  bad = good;
  bad.y = empty({2, 3, 5});
  EXPECT_THROW(backend().lstm(bad), Error);
  bad = good;
  bad.cells = empty({2, 3, 2, 4}, DType::f32);
  EXPECT_THROW(backend().lstm(bad), Error);
  bad = good;
  bad.bias = random_tensor(s.bias(), type() == DType::f32 ? DType::bf16 : DType::f32, 1);
  EXPECT_THROW(backend().lstm(bad), Error);
  EXPECT_THROW(backend().lstm_backward_input({good, empty({2, 3, 9}), empty(s.x())}), Error);
  const Tensor wrong = empty({2, 20, 5}, DType::f32);
  EXPECT_THROW(backend().lstm_backward_weight({good, wrong, wrong, empty(s.bias(), DType::f32)}), Error);
}

TEST(LstmThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const Sizes s = {70, 7, 40, 36, 2};
    const LstmArgs args = arguments(cpu, DType::f32, s);
    const Tensor dy = from_double(cpu, s.y(), DType::f32, random_values(s.y().elements(), 5));
    const Tensor dx = cpu.allocate(s.x(), DType::f32);
    const Tensor dweight = cpu.allocate(s.weight(), DType::f32);
    const Tensor drecurrent_weight = cpu.allocate(s.recurrent_weight(), DType::f32);
    const Tensor dbias = cpu.allocate(s.bias(), DType::f32);
    for (const Tensor& gradient : {dweight, drecurrent_weight, dbias}) cpu.zero(gradient);
    cpu.lstm(args);
    cpu.lstm_backward_input({args, dy, dx});
    cpu.lstm_backward_weight({args, dweight, drecurrent_weight, dbias});
    return joined({to_double(cpu, args.y), to_double(cpu, dx), to_double(cpu, dweight),
                   to_double(cpu, drecurrent_weight), to_double(cpu, dbias)});
  });
}

}  // namespace
}  // namespace trireme
