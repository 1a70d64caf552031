#include "thread_invariance.h"

namespace trireme {
namespace {

class Embedding : public KernelTest {
 protected:
  static constexpr std::int64_t batch = 3;
  static constexpr std::int64_t time = 11;
  static constexpr std::int64_t vocabulary = 9;

  /// Tokens of all ranks: some repeat, some lie before and behind this rank's rows.
  static Values tokens() {
    Values result(batch * time);
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = philox(1, 2, i)[0] % 20;
    return result;
  }
};
TRIREME_KERNEL_CASES(Embedding);

TEST_P(Embedding, GathersThisRanksRowsAndAddsPositions) {
  for (const std::int64_t n : {1, 24, 301}) {
    for (const bool with_positions : {false, true}) {
      const Tensor table = random({vocabulary, n}, 1);
      const Tensor positions = random({time + 2, n}, 2);
      const Tensor out = empty({batch, time, n});
      const Tensor token_tensor = tensor_of({batch, time}, DType::i32, tokens());
      backend().embedding({token_tensor, table, with_positions ? positions : Tensor(), 5, out});
      const Values rows = values(table);
      const Values shifts = values(positions);
      Values wanted;
      for (std::size_t row = 0; row < batch * time; ++row) {
        const auto token = static_cast<std::int64_t>(tokens()[row]) - 5;
        for (std::int64_t i = 0; i < n; ++i) {
          const double value = token >= 0 && token < vocabulary ? rows[static_cast<std::size_t>(token * n + i)] : 0.0;
          const double shift = shifts[row % time * static_cast<std::size_t>(n) + static_cast<std::size_t>(i)];
          wanted.push_back(value + (with_positions ? shift : 0.0));
        }
      }
      expect_close(out, wanted);
    }
  }
}

TEST_P(Embedding, BackwardAddsEveryRowToItsTokenAndPosition) {
  for (const std::size_t n : {1U, 24U, 301U}) {
    for (const bool with_positions : {false, true}) {
      const auto columns = static_cast<std::int64_t>(n);
      const Tensor dout = random({batch, time, columns}, 1);
      const Tensor dtable = random_tensor({vocabulary, columns}, DType::f32, 2);
      const Tensor dpositions = random_tensor({time + 2, columns}, DType::f32, 3);
      Values wanted = values(dtable);
      Values wanted_positions = values(dpositions);
      const Values gradient = values(dout);
      for (std::size_t row = 0; row < batch * time; ++row) {
        const double token = tokens()[row] - 5;
        for (std::size_t i = 0; i < n; ++i) {
          if (token >= 0 && token < vocabulary)
            wanted[static_cast<std::size_t>(token) * n + i] += gradient[row * n + i];
          if (with_positions) wanted_positions[row % time * n + i] += gradient[row * n + i];
        }
      }
      const Tensor token_tensor = tensor_of({batch, time}, DType::i32, tokens());
      backend().embedding_backward({token_tensor, dout, 5, dtable, with_positions ? dpositions : Tensor()});
      expect_close_f32(dtable, wanted);
      expect_close_f32(dpositions, wanted_positions);
    }
  }
}

TEST_P(Embedding, BackwardTakesManyRowsAndTokensThatFillHalfTheBatch) {
  constexpr std::int64_t many = 1200;
  constexpr std::int64_t rows_here = 500;
  for (const std::int64_t n : {8, 9}) {
    Values frequent(many);
    for (std::size_t i = 0; i < frequent.size(); ++i)
      frequent[i] = i % 2 == 0 ? 107.0 : philox(1, 2, i)[0] % 700;  // this rank has 100 to 599
    const Tensor dout = random({4, many / 4, n}, 1);
    const Tensor dtable = random_tensor({rows_here, n}, DType::f32, 2);
    Values wanted = values(dtable);
    const Values gradient = values(dout);
    for (std::size_t row = 0; row < frequent.size(); ++row) {
      const std::int64_t token = static_cast<std::int64_t>(frequent[row]) - 100;
      if (token < 0 || token >= rows_here) continue;
      for (std::int64_t i = 0; i < n; ++i)
        wanted[static_cast<std::size_t>(token * n + i)] +=
            gradient[row * static_cast<std::size_t>(n) + static_cast<std::size_t>(i)];
    }
    backend().embedding_backward({tensor_of({4, many / 4}, DType::i32, frequent), dout, 100, dtable, Tensor()});
    expect_close_f32(dtable, wanted);
  }
}

TEST_P(Embedding, RefusesTooFewPositions) {
  const Tensor tokens = tensor_of({1, 4}, DType::i32, Values(4, 0.0));
  EXPECT_THROW(backend().embedding({tokens, random({5, 8}, 1), random({3, 8}, 2), 0, empty({1, 4, 8})}), Error);
}

TEST(EmbeddingThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    constexpr std::int64_t rows = 400;
    constexpr std::int64_t n = 300;
    Values tokens(rows);
    for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = philox(1, 2, i)[0] % 13;
    const Tensor dout = from_double(cpu, {4, rows / 4, n}, DType::f32, random_values(rows * n, 1));
    const Tensor dtable = from_double(cpu, {13, n}, DType::f32, Values(13 * n, 0.5));
    const Tensor dpositions = from_double(cpu, {rows / 4, n}, DType::f32, Values(rows / 4 * n, 0.5));
    cpu.embedding_backward({from_double(cpu, {4, rows / 4}, DType::i32, tokens), dout, 0, dtable, dpositions});
    return joined({to_double(cpu, dtable), to_double(cpu, dpositions)});
  });
}

}  // namespace
}  // namespace trireme
