#include "tests/kernels/kernel_test.h"
#include "tests/kernels/thread_invariance.h"

namespace trireme {
namespace {

class Attention : public KernelTest {};
TRIREME_KERNEL_CASES(Attention);

struct Sizes {
  std::int64_t batch, time;
  int heads, key_value_heads, head_size;
  bool causal;

  std::int64_t row() const { return std::int64_t{heads + 2 * key_value_heads} * head_size; }
  std::string to_string() const {
    return fmt::format("batch {} time {} heads {} kv {} size {} causal {}", batch, time, heads, key_value_heads,
                       head_size, causal);
  }
};

/// Lengths around the tile of 64, head sizes that fill no panel of 16, grouped queries, the usual sizes of models.
const std::vector<Sizes> all_sizes = {{1, 1, 1, 1, 1, true},      {2, 5, 2, 2, 8, true},    {1, 64, 1, 1, 64, false},
                                      {1, 65, 2, 1, 20, true},    {2, 63, 4, 2, 16, false}, {1, 200, 3, 3, 64, true},
                                      {1, 130, 6, 2, 10, false},  {1, 70, 1, 1, 256, true}, {2, 96, 4, 2, 64, true},
                                      {1, 128, 8, 2, 128, false}, {1, 20, 2, 1, 264, true}};

/// One query head: indices into the packed tensor, probabilities, and the definition of attention over them.
struct Reference {
  Reference(const Sizes& of, double factor, const Values& packed)
      : sizes(of),
        scale(factor),
        qkv(packed),
        out(static_cast<std::size_t>(of.batch * of.time * of.heads * of.head_size)),
        log_sum_exp(static_cast<std::size_t>(of.batch * of.heads * of.time)),
        dqkv(packed.size()) {}

  std::size_t at(std::int64_t b, std::int64_t t, std::int64_t head, std::int64_t d) const {
    return static_cast<std::size_t>((b * sizes.time + t) * sizes.row() + head * sizes.head_size + d);
  }
  std::size_t at_out(std::int64_t b, std::int64_t t, std::int64_t head, std::int64_t d) const {
    return static_cast<std::size_t>(((b * sizes.time + t) * sizes.heads + head) * sizes.head_size + d);
  }

  /// Fills out and log_sum_exp and, given dout, dqkv.
  void run(const Values& dout = {}) {
    for (std::int64_t b = 0; b < sizes.batch; ++b) {
      for (int head = 0; head < sizes.heads; ++head) {
        for (std::int64_t t = 0; t < length(b); ++t) run_query(b, head, t, dout);
      }
    }
  }

  void run_query(std::int64_t b, int head, std::int64_t t, const Values& dout) {
    const int key_head = sizes.heads + head / (sizes.heads / sizes.key_value_heads);
    const int value_head = key_head + sizes.key_value_heads;
    const std::int64_t keys = sizes.causal ? t + 1 : length(b);
    Values probability(static_cast<std::size_t>(keys));
    double sum = 0.0;
    for (std::int64_t s = 0; s < keys; ++s) {
      double score = 0.0;
      for (int d = 0; d < sizes.head_size; ++d) score += qkv[at(b, t, head, d)] * qkv[at(b, s, key_head, d)];
      sum += probability[static_cast<std::size_t>(s)] = std::exp(score * scale);
    }
    log_sum_exp[static_cast<std::size_t>((b * sizes.heads + head) * sizes.time + t)] = std::log(sum);
    Values dprobability(probability.size());
    double through_out = 0.0;
    for (std::int64_t s = 0; s < keys; ++s) {
      const auto i = static_cast<std::size_t>(s);
      probability[i] /= sum;
      for (int d = 0; d < sizes.head_size; ++d) {
        out[at_out(b, t, head, d)] += probability[i] * qkv[at(b, s, value_head, d)];
        if (dout.empty()) continue;
        dprobability[i] += dout[at_out(b, t, head, d)] * qkv[at(b, s, value_head, d)];
        dqkv[at(b, s, value_head, d)] += probability[i] * dout[at_out(b, t, head, d)];
      }
      through_out += probability[i] * dprobability[i];
    }
    for (std::int64_t s = 0; s < keys && !dout.empty(); ++s) {
      const auto i = static_cast<std::size_t>(s);
      const double dscore = scale * probability[i] * (dprobability[i] - through_out);
      for (int d = 0; d < sizes.head_size; ++d) {
        dqkv[at(b, t, head, d)] += dscore * qkv[at(b, s, key_head, d)];
        dqkv[at(b, s, key_head, d)] += dscore * qkv[at(b, t, head, d)];
      }
    }
  }

  std::int64_t length(std::int64_t b) const {
    return lengths.empty() ? sizes.time : static_cast<std::int64_t>(lengths[static_cast<std::size_t>(b)]);
  }

  Sizes sizes;
  double scale;
  Values qkv, out, log_sum_exp, dqkv;
  Values lengths = {};  ///< of the sequences; empty: all positions take part
};

AttentionArgs arguments(Backend& backend, const Sizes& sizes, const Tensor& qkv) {
  AttentionArgs args;
  args.heads = sizes.heads;
  args.key_value_heads = sizes.key_value_heads;
  args.head_size = sizes.head_size;
  args.causal = sizes.causal;
  args.scale = 1.0F / std::sqrt(static_cast<float>(sizes.head_size));
  args.qkv = qkv;
  args.out = backend.allocate({sizes.batch, sizes.time, std::int64_t{sizes.heads} * sizes.head_size}, qkv.dtype());
  args.log_sum_exp = backend.allocate({sizes.batch, sizes.heads, sizes.time}, DType::f32);
  return args;
}

TEST_P(Attention, ForwardMatchesTheDefinition) {
  for (const Sizes& sizes : all_sizes) {
    SCOPED_TRACE(sizes.to_string());
    AttentionArgs args = arguments(backend(), sizes, random({sizes.batch, sizes.time, sizes.row()}, 1));
    backend().attention(args);
    Reference reference(sizes, args.scale, values(args.qkv));
    reference.run();
    // In bf16 probabilities may be rounded too, and a query with few keys does not average that out.
    expect_close(args.out, reference.out, (type() == DType::bf16 ? 2.0 : 1.0) * tolerance());
    expect_close_f32(args.log_sum_exp, reference.log_sum_exp);
  }
}

TEST_P(Attention, BackwardMatchesTheDefinition) {
  for (const Sizes& sizes : all_sizes) {
    SCOPED_TRACE(sizes.to_string());
    AttentionBackwardArgs args;
    args.forward = arguments(backend(), sizes, random({sizes.batch, sizes.time, sizes.row()}, 1));
    args.dout = random(args.forward.out.shape(), 2);
    args.dqkv = empty(args.forward.qkv.shape());
    backend().attention(args.forward);
    backend().attention_backward(args);
    Reference reference(sizes, args.forward.scale, values(args.forward.qkv));
    reference.run(values(args.dout));
    // out was rounded, and its error is the same for all keys of a query, so that it does not average out
    expect_close(args.dqkv, reference.dqkv, 4.0 * tolerance());
  }
}

TEST_P(Attention, LargeScoresNeitherOverflowNorDivideByZero) {
  const Sizes sizes = {1, 100, 1, 1, 16, true};
  AttentionArgs args = arguments(backend(), sizes, random({1, 100, sizes.row()}, 1));
  args.scale = 20.0F;
  backend().attention(args);
  Reference reference(sizes, args.scale, values(args.qkv));
  reference.run();
  expect_close(args.out, reference.out, 10.0 * tolerance());  // rounding of a score of 300 moves its probability
}

TEST_P(Attention, CausalOutputsDoNotSeeLaterTokens) {
  const Sizes sizes = {1, 100, 2, 2, 16, true};
  Values numbers = random_values(100 * sizes.row(), 1);
  AttentionArgs before = arguments(backend(), sizes, tensor_of({1, 100, sizes.row()}, type(), numbers));
  for (std::size_t i = static_cast<std::size_t>(70 * sizes.row()); i < numbers.size(); ++i) numbers[i] += 1.0;
  AttentionArgs after = arguments(backend(), sizes, tensor_of({1, 100, sizes.row()}, type(), numbers));
  backend().attention(before);
  backend().attention(after);
  const Values one = values(before.out);
  const Values two = values(after.out);
  const auto seen = static_cast<std::ptrdiff_t>(70 * 32);
  EXPECT_TRUE(std::equal(one.begin(), one.begin() + seen, two.begin()));
  EXPECT_FALSE(std::equal(one.begin() + seen, one.end(), two.begin() + seen));
}

/// Sequences of their own lengths, among them none at all, one, around a tile, and all of the time.
TEST_P(Attention, PositionsPastTheLengthTakeNoPart) {
  const std::vector<std::pair<Sizes, Values>> cases = {{{4, 70, 4, 2, 16, false}, {70, 33, 1, 0}},
                                                       {{4, 70, 2, 2, 64, true}, {64, 65, 2, 0}},
                                                       {{3, 130, 6, 2, 10, false}, {128, 5, 63}},
                                                       {{2, 40, 1, 1, 264, true}, {17, 40}},
                                                       {{3, 150, 2, 1, 8, false}, {150, 129, 64}}};
  for (const auto& [sizes, lengths] : cases) {
    SCOPED_TRACE(sizes.to_string());
    AttentionBackwardArgs args;
    args.forward = arguments(backend(), sizes, random({sizes.batch, sizes.time, sizes.row()}, 1));
    args.forward.lengths = tensor_of({sizes.batch}, DType::i32, lengths);
    args.dout = random(args.forward.out.shape(), 2);
    args.dqkv = empty(args.forward.qkv.shape());
    backend().attention(args.forward);
    backend().attention_backward(args);
    Reference reference(sizes, args.forward.scale, values(args.forward.qkv));
    reference.lengths = lengths;
    reference.run(values(args.dout));
    expect_close(args.forward.out, reference.out, (type() == DType::bf16 ? 2.0 : 1.0) * tolerance());
    expect_close(args.dqkv, reference.dqkv, 4.0 * tolerance());
    for (const Tensor& tensor : {args.forward.out, args.dqkv}) {
      const Values found = values(tensor);
      const std::size_t row = found.size() / static_cast<std::size_t>(sizes.batch * sizes.time);
      for (std::size_t i = 0; i < found.size(); ++i) {
        const auto t = static_cast<std::int64_t>(i / row);
        if (t % sizes.time < reference.length(t / sizes.time)) continue;
        ASSERT_EQ(found[i], 0.0) << "position " << t;
      }
    }
  }
}

TEST_P(Attention, WhatLiesPastTheLengthChangesNoBit) {
  const Sizes sizes = {1, 100, 2, 2, 16, false};
  const Values numbers = random_values(100 * sizes.row(), 1);
  const auto run = [&](double past) {
    Values changed = numbers;
    for (std::size_t i = static_cast<std::size_t>(61 * sizes.row()); i < changed.size(); ++i) changed[i] += past;
    AttentionBackwardArgs args;
    args.forward = arguments(backend(), sizes, tensor_of({1, 100, sizes.row()}, type(), changed));
    args.forward.lengths = tensor_of({1}, DType::i32, {61.0});
    args.dout = random(args.forward.out.shape(), 2);
    args.dqkv = empty(args.forward.qkv.shape());
    backend().attention(args.forward);
    backend().attention_backward(args);
    return joined({values(args.forward.out), values(args.dqkv)});
  };
  EXPECT_EQ(run(0.0), run(3.0));
}

TEST_P(Attention, ShapesThatDoNotFitFail) {
  const Sizes sizes = {1, 8, 4, 2, 16, true};
  AttentionArgs args = arguments(backend(), sizes, random({1, 8, sizes.row()}, 1));
  args.key_value_heads = 3;
  EXPECT_THROW(backend().attention(args), Error);
  args.key_value_heads = 2;
  args.lengths = backend().allocate({2}, DType::i32);
  EXPECT_THROW(backend().attention(args), Error);
  args.lengths = Tensor();
  args.log_sum_exp = backend().allocate({1, 4, 7}, DType::f32);
  EXPECT_THROW(backend().attention(args), Error);
}

TEST(AttentionOnCpu, AnyNumberOfThreadsGivesTheSameBits) {
  const Sizes sizes = {2, 150, 4, 2, 24, true};
  expect_same_for_any_thread_count([&](Backend& backend) {
    const Values numbers = random_values(2 * 150 * sizes.row(), 1);
    AttentionBackwardArgs args;
    args.forward = arguments(backend, sizes, from_double(backend, {2, 150, sizes.row()}, DType::f32, numbers));
    args.dout = from_double(backend, args.forward.out.shape(), DType::f32, random_values(2 * 150 * 96, 2));
    args.dqkv = backend.allocate(args.forward.qkv.shape(), DType::f32);
    backend.attention(args.forward);
    backend.attention_backward(args);
    return joined({to_double(backend, args.forward.out), to_double(backend, args.dqkv)});
  });
}

}  // namespace
}  // namespace trireme
