// trireme layout, and its agreement with what train accepts.
#include <gmock/gmock.h>

#include "tests/app/training_support.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;

class LayoutCommand : public test::TrainingTest {
 protected:
  test::ProcessResult layout(const std::string& more) const {
    return test::run_trireme("layout --config=" + (*shared / "run.ini").string() + checkpoints("run") + more);
  }
};

TEST_F(LayoutCommand, TellsRanksLayoutAndNewestStep) {
  const auto none = layout("--ranks=7 --parallel.pipeline=2");
  EXPECT_EQ(none.status, 0) << none.err;
  EXPECT_EQ(none.out, "4 --parallel.data=2 --parallel.tensor=1 --parallel.pipeline=2\nsteps 1000\nstep 0\n")
      << "3 data ranks cannot share 8 samples";
  train({1, 1, 1}, 3, "run", checkpoints("run"));
  EXPECT_EQ(layout("--ranks=3 --parallel.pipeline=2").out,
            "2 --parallel.data=1 --parallel.tensor=1 --parallel.pipeline=2\nsteps 1000\nstep 3\n");
}

TEST_F(LayoutCommand, TrainAcceptsWhatItTells) {
  const auto found = layout("--ranks=3 --parallel.tensor=4");
  EXPECT_EQ(found.out, "3 --parallel.data=1 --parallel.tensor=1 --parallel.pipeline=3\nsteps 1000\nstep 0\n");
  EXPECT_EQ(train({1, 1, 3}, 2, "run", checkpoints("run")).size(), 2U);
}

TEST_F(LayoutCommand, RefusesWhatTrainWouldRefuse) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "layout.ranks is not set"},
      {"--ranks=4 --parallel.tensor=3", "parallel.tensor = 3: does not divide model.heads = 4"},
      {"--ranks=4 --model.vocabulary=7", "model.vocabulary=7, but the tokenizer of the data set has"},
      {"--ranks=4 --data.train=nowhere.h5", "nowhere.h5"},
      {"--ranks=4 --train.micro_batch=3", "expected a positive multiple of train.micro_batch = 3"}};
  for (const auto& [arguments, message] : cases) {
    const auto refused = layout(arguments);
    EXPECT_EQ(refused.status, 2) << arguments;
    EXPECT_THAT(refused.err, HasSubstr(message));
  }
  const auto nowhere = test::run_trireme("layout --ranks=2 --config=" + (*shared / "run.ini").string());
  EXPECT_EQ(nowhere.status, 2);
  EXPECT_THAT(nowhere.err, HasSubstr("checkpoint.directory is not set"));
}

}  // namespace
}  // namespace trireme
