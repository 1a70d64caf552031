// Gradients of the layers of line recognisers, and what their head measures.
#include "kernels/error.h"
#include "model/arch/crnn.h"
#include "model/arch/svtr.h"
#include "model/layers/ctc_head.h"
#include "model/layers/lstm.h"
#include "tests/model/layer_test.h"

namespace trireme {
namespace {

/// A layer that sees labels and steps of its own in place of the microbatch's.
class WithLabels final : public Layer {
 public:
  WithLabels(std::unique_ptr<Layer> layer, Microbatch microbatch)
      : layer_(std::move(layer)), microbatch_(std::move(microbatch)) {}
  Tensor forward(const Context& context, const Tensor& x, Saved& saved) const override {
    return layer_->forward(with_labels(context), x, saved);
  }
  Tensor backward_input(const Context& context, const Tensor& dy, Saved& saved) const override {
    return layer_->backward_input(with_labels(context), dy, saved);
  }
  void backward_weight(const Context& context, Saved& saved) const override {
    layer_->backward_weight(with_labels(context), saved);
  }

 private:
  Context with_labels(const Context& context) const {
    return {context.backend, context.tensor,     context.data,         context.type, context.training,
            context.seed,    context.loss_scale, context.microbatches, microbatch_};
  }
  std::unique_ptr<Layer> layer_;
  Microbatch microbatch_;
};

class LineLayerTest : public LayerTest {
 protected:
  Tensor numbers(const Shape& shape, const std::vector<std::int32_t>& values) {
    Tensor tensor = backend_->allocate(shape, DType::i32);
    std::ranges::copy(values, tensor.data<std::int32_t>());
    return tensor;
  }
};

TEST_F(LineLayerTest, Lstm) {
  build([](const Build& b) { return std::make_unique<Lstm>(b, "lstm", hidden, 3); });
  check_hidden_states();
}

TEST_F(LineLayerTest, CtcHead) {
  const Microbatch labelled{.fields = {Tensor(), numbers({batch, 3}, {3, 7, -1, 4, 4, -1}), numbers({batch}, {5, 4})}};
  build([&](const Build& b) {
    return std::make_unique<WithLabels>(std::make_unique<CtcHead>(b, "head", hidden, vocabulary), labelled);
  });
  check_hidden_states();
}

TEST_F(LineLayerTest, TheHeadCountsErrorsWhereNothingIsTrained) {
  // Samples: read right, one character wrong of two, fills up the batch.
  const Microbatch labelled{.fields = {Tensor(), numbers({3, 2}, {1, 2, 2, 2, -2, -1}), numbers({3}, {4, 3, 4})}};
  CtcHead head(Build{.store = store_}, "head", 3, 3);
  store_.allocate(*backend_, DType::f32, 1);
  for (Parameter& parameter : store_.parameters())
    for (std::size_t i = 0; i < parameter.value.values<float>().size(); ++i)
      parameter.value.values<float>()[i] = parameter.name() == "head.weight" && i % 4 == 0 ? 9.0F : 0.0F;  // identity
  const Tensor x = backend_->allocate({3, 4, 3}, DType::f32);
  backend_->zero(x);
  const std::vector<int> said = {1, 0, 2, 2, 2, 2, 0, 1, 0, 0, 0, 0};  // the fourth step of the second does not count
  for (std::size_t i = 0; i < said.size(); ++i)
    Tensor(x).data<float>()[i * 3 + static_cast<std::size_t>(said[i])] = 1.0F;
  Saved saved;
  const Context reading{*backend_, *self_, *self_, DType::f32, false, 7, 1.0F, 1, labelled};
  const Tensor totals = head.forward(reading, x, saved);
  ASSERT_EQ(totals.shape(), (Shape{3, 2}));
  const auto values = totals.values<double>();
  EXPECT_EQ(values[1], 2) << "texts with a loss";
  EXPECT_EQ(values[2], 1) << "wrong characters";
  EXPECT_EQ(values[3], 4) << "characters";
  EXPECT_EQ(values[4], 1) << "texts without fault";
  EXPECT_EQ(values[5], 2) << "texts";
}

/// Shapes that the blocks promise are those that they make, for lines of any width.
class LineModel : public LayerTest {
 protected:
  void check(const Architecture& model) {
    std::vector<std::unique_ptr<Layer>> blocks;
    for (const Block& block : model.blocks) blocks.push_back(block.make(Build{.store = store_}));
    store_.allocate(*backend_, DType::f32, 1);
    for (const std::int64_t width : {32, 64, 160}) {
      const Shape image{32, width, 1};
      Tensor x = random_tensor(image.batch(2));
      const Microbatch microbatch{.fields = {x}};
      const Context reading{*backend_, *self_, *self_, DType::f32, false, 7, 1.0F, 1, microbatch};
      for (std::size_t i = 0; i < blocks.size(); ++i) {
        Saved saved;
        x = blocks[i]->forward(reading, x, saved);
        if (model.blocks[i].output) {
          EXPECT_EQ(x.shape(), model.blocks[i].output(image).batch(2)) << model.blocks[i].name;
        }
      }
      EXPECT_EQ(x.shape(), (Shape{2, width / 4, 20})) << "a step for every four columns";
    }
  }
};

TEST_F(LineModel, CrnnTakesLinesOfAnyWidth) {
  check(make_crnn({.layers = 2, .hidden = 8, .vocabulary = 20}, {.channels = 4}, DType::f32));
}

TEST_F(LineModel, SvtrTakesLinesOfAnyWidth) {
  check(make_svtr({.layers = 2, .hidden = 8, .heads = 2, .vocabulary = 20}, {.channels = 4}, 1, DType::f32));
}

TEST_F(LineModel, SizesThatDoNotFitAreRefused) {
  EXPECT_THROW(make_crnn({.vocabulary = 20}, {.height = 40}, DType::f32), Error);
  EXPECT_THROW(make_svtr({.vocabulary = 20}, {.height = 40}, 1, DType::f32), Error);
  EXPECT_THROW(make_svtr({.hidden = 10, .heads = 4, .vocabulary = 20}, {}, 1, DType::f32), Error);
}

}  // namespace
}  // namespace trireme
