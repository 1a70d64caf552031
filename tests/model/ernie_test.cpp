// ERNIE against its float64 double: the loss, and every parameter's gradient by finite differences of the double.
#include "model/arch/ernie.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <random>
#include <set>
#include <string>
#include <tuple>

#include "comm/self_communicator.h"
#include "kernels/error.h"
#include "model/parameter.h"
#include "tests/support/reference_ernie.h"

namespace trireme {
namespace {

using testing::reference_ernie_objective;
using testing::ReferenceParameters;
using testing::ReferenceSample;

constexpr int batch = 2;  // samples of each of two microbatches
constexpr int time_steps = 7;

struct Variant {
  std::string name;
  ErnieConfig config;
};

// Its name is GoogleTest's. NOLINTNEXTLINE(readability-identifier-naming)
void PrintTo(const Variant& variant, std::ostream* out) { *out << variant.name; }

ErnieConfig base() {
  return {.layers = 2, .hidden = 16, .heads = 4, .context = time_steps, .vocabulary = 23, .slots = 3, .masked = 2};
}

std::vector<Variant> variants() {
  std::vector<Variant> all = {
      {"MaskedTokens", base()}, {"PreNormWithOrder", base()}, {"Texts", base()}, {"Tokens", base()}};
  all[1].config.pre_norm = true;
  all[1].config.order_weight = 0.7;
  all[2].config.task = ErnieTask::label_texts;
  all[2].config.labels = {"a", "b", "c"};
  all[3].config.task = ErnieTask::label_tokens;
  all[3].config.labels = {"B-a", "I-a", "B-b", "O"};
  return all;
}

class ErnieTest : public ::testing::TestWithParam<Variant> {
 protected:
  ErnieTest() : config_(GetParam().config), backend_(make_cpu_backend(1)), self_(make_self_communicator("self")) {
    const Architecture architecture = make_ernie(config_, 1, DType::f32);
    const Build build{.store = store_};
    for (const Block& block : architecture.blocks) layers_.push_back(block.make(build));
    metrics_ = architecture.metrics.size();
    store_.allocate(*backend_, DType::f32, 5);
    // Far from the tiny initial values, so that a wrong sign or a missing term shows.
    std::normal_distribution<float> normal(0.0F, 0.3F);
    for (Parameter& parameter : store_.parameters())
      for (float& value : parameter.value.values<float>()) value += normal(random_);
    for (int i = 0; i < 2 * batch; ++i) samples_.push_back(make_sample(i));
  }

  std::int32_t draw(int from, int to) { return std::uniform_int_distribution<int>(from, to - 1)(random_); }

  /// Of full length, padded, with a slot or an order or a label that is nothing: each occurs.
  ReferenceSample make_sample(int number) {
    ReferenceSample sample;
    sample.length = number % 2 == 0 ? time_steps : 4;
    for (int t = 0; t < time_steps; ++t) {
      sample.tokens.push_back(t < sample.length ? draw(0, config_.vocabulary) : 0);
      sample.segments.push_back(t < sample.length && t > 2 ? 1 : 0);
    }
    sample.positions = {1, 3, number == 1 ? -1 : 2};
    for (const std::int32_t position : sample.positions)
      sample.targets.push_back(position < 0 ? -1 : draw(0, config_.vocabulary));
    sample.order = number == 2 ? -1 : number % 2;
    const bool texts = config_.task == ErnieTask::label_texts;
    for (int t = 0; t < (texts ? 1 : time_steps); ++t)
      sample.labels.push_back(texts || (t > 0 && t < sample.length)
                                  ? draw(0, std::max<int>(1, static_cast<int>(config_.labels.size())))
                                  : -1);
    return sample;
  }

  Tensor bring(const std::vector<std::int32_t>& values, const Shape& shape) {
    Tensor tensor = backend_->allocate(shape, DType::i32);
    EXPECT_EQ(static_cast<std::int64_t>(values.size()), shape.elements());
    backend_->upload(values.data(), tensor);
    return tensor;
  }
  template <typename Get>
  Tensor field(int number, std::int64_t width, const Get& get) {
    std::vector<std::int32_t> values;
    for (int i = 0; i < batch; ++i)
      for (const std::int32_t value : get(samples_[static_cast<std::size_t>(number * batch + i)]))
        values.push_back(value);
    return bring(values, width == 0 ? Shape{batch} : Shape{batch, width});
  }
  using Values = std::vector<std::int32_t>;

  /// Microbatch 0 or 1.
  Microbatch microbatch(int number) {
    Microbatch result{{field(number, time_steps, [](const auto& s) { return s.tokens; }),
                       field(number, time_steps, [](const auto& s) { return s.segments; }),
                       field(number, 0, [](const auto& s) { return Values{s.length}; })},
                      number * batch};
    if (config_.task == ErnieTask::pretrain) {
      result.fields.push_back(field(number, 3, [](const auto& s) { return s.positions; }));
      result.fields.push_back(field(number, 3, [](const auto& s) { return s.targets; }));
      result.fields.push_back(field(number, 3, [](const auto&) { return Values{0, 1, 2}; }));
      result.fields.push_back(field(number, 0, [](const auto& s) { return Values{s.order}; }));
      return result;
    }
    result.fields.push_back(field(number, time_steps, [](const auto& s) {
      Values within(time_steps, -1);
      std::fill_n(within.begin(), s.length, 0);
      return within;
    }));
    if (config_.task == ErnieTask::label_texts) {
      result.fields.push_back(field(number, 0, [](const auto& s) { return s.labels; }));
    } else {
      result.fields.push_back(field(number, time_steps, [](const auto& s) { return s.labels; }));
    }
    return result;
  }

  ReferenceParameters reference_parameters() const {
    ReferenceParameters result;
    for (const Parameter& parameter : store_.parameters()) {
      auto next = parameter.value.values<float>().begin();
      for (const auto& part : parameter.parts()) {
        const auto end = next + part.shard.extent.elements();
        result[part.name] = std::vector<double>(next, end);
        next = end;
      }
    }
    return result;
  }

  ErnieConfig config_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<Communicator> self_;
  std::mt19937 random_{3};
  ParameterStore store_;
  std::vector<std::unique_ptr<Layer>> layers_;
  std::size_t metrics_ = 0;
  std::vector<ReferenceSample> samples_;
};

TEST_P(ErnieTest, LossAndGradientsOfInterleavedMicrobatchesMatchTheReference) {
  constexpr float scale = 0.25F;
  const std::array<Microbatch, 2> microbatches = {microbatch(0), microbatch(1)};
  std::array<std::vector<Saved>, 2> saved{std::vector<Saved>(layers_.size()), std::vector<Saved>(layers_.size())};
  const auto context = [&](std::size_t number) {
    return Context{*backend_, *self_, *self_, DType::f32, true, 1, scale, 2, microbatches[number]};
  };
  double loss = 0;
  std::vector<double> counts(metrics_);
  for (const std::size_t number : {0U, 1U}) {
    Tensor x = microbatches[number].fields[0];
    for (std::size_t i = 0; i < layers_.size(); ++i) x = layers_[i]->forward(context(number), x, saved[number][i]);
    ASSERT_EQ(x.shape(), (Shape{static_cast<std::int64_t>(metrics_), 2}));
    loss += x.values<double>()[0];
    for (std::size_t i = 0; i < metrics_; ++i) counts[i] += x.values<double>()[2 * i + 1];
  }
  for (const std::size_t number : {1U, 0U}) {
    Tensor dy;
    for (std::size_t i = layers_.size(); i-- > 0;)
      dy = layers_[i]->backward_input(context(number), dy, saved[number][i]);
    EXPECT_TRUE(dy.empty()) << "tokens have no gradient";
  }
  for (const std::size_t number : {0U, 1U})
    for (std::size_t i = 0; i < layers_.size(); ++i) layers_[i]->backward_weight(context(number), saved[number][i]);

  ReferenceParameters parameters = reference_parameters();
  ErnieConfig shown = config_;  // the loss that is shown is that of the tokens
  shown.order_weight = 0;
  EXPECT_NEAR(loss, reference_ernie_objective(shown, parameters, samples_), 2e-6 * loss);
  if (config_.task == ErnieTask::pretrain) {
    EXPECT_EQ(counts[0], 11) << "of 12 slots";
    EXPECT_EQ(counts[1] + counts[2] + counts[3], 11);
    if (config_.order_weight > 0) {
      EXPECT_EQ(counts[4], 3) << "of 4 samples";
    }
  }

  for (const Parameter& parameter : store_.parameters()) {
    const float* gradient = parameter.gradient.data<float>();
    for (const auto& part : parameter.parts()) {
      auto& values = parameters.at(part.name);
      for (std::size_t i = 0; i < values.size(); i += 1 + values.size() / 10) {
        constexpr double step = 1e-5;
        const double value = values[i];
        values[i] = value + step;
        const double above = reference_ernie_objective(config_, parameters, samples_);
        values[i] = value - step;
        const double below = reference_ernie_objective(config_, parameters, samples_);
        values[i] = value;
        const double expected = scale * (above - below) / (2 * step);
        EXPECT_NEAR(gradient[i], expected, 3e-5 * std::abs(expected) + 3e-6) << part.name << "[" << i << "]";
      }
      gradient += part.shard.extent.elements();
    }
  }
}

TEST_P(ErnieTest, AccuracyCountsTheLargestLogits) {
  const Microbatch whole = microbatch(0);
  const auto run = [&](const Microbatch& part) {
    const Context context{*backend_, *self_, *self_, DType::f32, false, 1, 1.0F, 1, part};
    Tensor x = part.fields[0];
    Saved nothing;
    for (const auto& layer : layers_) x = layer->forward(context, x, nothing);
    return x;
  };
  Microbatch without = whole;
  const std::size_t targets_at = config_.task == ErnieTask::pretrain ? ErnieFields::targets : ErnieFields::labels;
  const std::vector<std::int32_t> targets(whole.fields[targets_at].values<std::int32_t>().begin(),
                                          whole.fields[targets_at].values<std::int32_t>().end());
  without.fields.resize(targets_at);
  const Tensor logits = run(without);
  ASSERT_EQ(logits.shape().rows(), static_cast<std::int64_t>(targets.size()));
  double hits = 0, all = 0;
  for (std::size_t row = 0; row < targets.size(); ++row) {
    if (targets[row] < 0) continue;
    const auto columns = static_cast<std::size_t>(logits.shape().columns());
    const auto of_row = logits.values<float>().subspan(row * columns, columns);
    all += 1;
    hits += std::ranges::max_element(of_row) - of_row.begin() == targets[row] ? 1 : 0;
  }
  const Tensor totals = run(whole);
  double found = 0, counted = 0;
  const std::size_t end = config_.task == ErnieTask::pretrain ? 4 : 2;  // all levels, or all labels
  for (std::size_t i = 1; i < end; ++i) {
    found += totals.values<double>()[2 * i];
    counted += totals.values<double>()[2 * i + 1];
  }
  EXPECT_EQ(found, hits);
  EXPECT_EQ(counted, all);
  if (config_.task != ErnieTask::label_tokens) return;

  // Spans are counted of both samples, over the tokens that have a label.
  std::vector<std::set<std::tuple<int, std::string, int, int>>> spans(2);  // found, wanted: sample, type, first, end
  for (int sample = 0; sample < batch; ++sample) {
    std::vector<int> rows;
    for (int row = sample * time_steps; row < (sample + 1) * time_steps; ++row)
      if (targets[static_cast<std::size_t>(row)] >= 0) rows.push_back(row);
    const auto likeliest = [&](int row) {
      const auto of_row = logits.values<float>().subspan(static_cast<std::size_t>(row) * 4, 4);
      return static_cast<int>(std::ranges::max_element(of_row) - of_row.begin());
    };
    for (const bool wanted : {false, true}) {
      const auto label = [&](int at) {
        const int row = rows[static_cast<std::size_t>(at)];
        return wanted ? targets[static_cast<std::size_t>(row)] : likeliest(row);
      };
      const int count = static_cast<int>(rows.size());
      for (int at = 0; at < count; ++at) {
        const int one = label(at);  // B-a, I-a, B-b, O
        if (one == 3 || (one == 1 && at > 0 && label(at - 1) <= 1)) continue;
        int after = at + 1;
        while (one <= 1 && after < count && label(after) == 1) ++after;
        spans[wanted ? 1 : 0].emplace(sample, one == 2 ? "b" : "a", at, after);
      }
    }
  }
  std::vector<std::tuple<int, std::string, int, int>> both;
  std::ranges::set_intersection(spans[0], spans[1], std::back_inserter(both));
  const double of_both = static_cast<double>(both.size());
  const double of_found = static_cast<double>(spans[0].size()), of_wanted = static_cast<double>(spans[1].size());
  ASSERT_GT(of_wanted, 2);
  const std::vector<double> wanted = {of_both, of_found, of_both, of_wanted, 2 * of_both, of_found + of_wanted};
  const auto counts = totals.values<double>().subspan(4);
  EXPECT_EQ(std::vector<double>(counts.begin(), counts.end()), wanted);
}

INSTANTIATE_TEST_SUITE_P(Variants, ErnieTest, ::testing::ValuesIn(variants()),
                         [](const auto& variant) { return variant.param.name; });

TEST(Ernie, RefusesSizesThatDoNotFit) {
  ErnieConfig config = base();
  config.heads = 3;
  EXPECT_THROW(make_ernie(config, 1, DType::f32), Error);
  config = base();
  config.task = ErnieTask::label_texts;
  config.labels = {"one"};
  EXPECT_THROW(make_ernie(config, 1, DType::f32), Error);
}

TEST(Ernie, ParametersOfErnieBase) {
  const ErnieConfig config = {
      .layers = 12, .hidden = 768, .heads = 12, .context = 512, .vocabulary = 21128, .slots = 77, .masked = 76};
  ParameterStore store;
  const Build build{.store = store};
  for (const Block& block : make_ernie(config, 1, DType::f32).blocks) block.make(build);
  std::int64_t count = 0;
  for (const Parameter& parameter : store.parameters()) count += parameter.elements();
  // bert-base-chinese: 101,677,056 without its pooler, and the head of masked tokens.
  EXPECT_EQ(count, 101677056 + (768 * 768 + 768 + 2 * 768 + 21128));
}

}  // namespace
}  // namespace trireme
