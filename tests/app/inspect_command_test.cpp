#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <sstream>

#include "app/inspect.h"
#include "app/options.h"
#include "comm/self_communicator.h"
#include "io/checkpoint/checkpoint.h"
#include "io/dataset.h"
#include "io/hdf5.h"
#include "io/tokenizer.h"
#include "kernels/error.h"
#include "tests/app/support.h"
#include "tests/support/error_of.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

class Inspect : public ::testing::Test {
 protected:
  std::filesystem::path make_dataset() {
    const std::string text = "白日依山尽\n黄河入海流\n";
    const auto tokenizer = Tokenizer::train("characters", 100, {text});
    TokenDatasetWriter writer(folder_ / "set.h5", tokenizer->blob());
    writer.append_document(tokenizer->encode(text));
    writer.commit();
    return folder_ / "set.h5";
  }

  /// Two tensors: [2, 3] parameters and one of their moments.
  std::filesystem::path make_checkpoint(std::int64_t step) {
    CheckpointInfo info;
    info.step = step;
    info.samples = 32 * step;
    info.seed = 7;
    Configuration configuration;
    configuration.train.steps = 4321;
    info.configuration = to_ini(configuration);
    const auto tokenizer = Tokenizer::train("characters", 100, {"白日依山尽"})->blob();
    info.tokenizer_kind = tokenizer.kind;
    info.tokenizer_model = tokenizer.model;
    info.tokenizer_vocabulary = tokenizer.vocabulary;
    info.tokenizer_end_of_text = tokenizer.end_of_text;
    std::array<float, 6> values{};
    const ShardSpec whole = shard_of({2, 3}, -1, 0, 1);
    const auto self = make_self_communicator("world");
    return save_checkpoint(
        folder_ / "checkpoints", info,
        {{"parameters/a.weight", whole, values.data()}, {"optimizer/first_moment/a.weight", whole, values.data()}},
        *self);
  }

  static std::string inspected(const std::filesystem::path& path, bool statistics = false, bool verify = false) {
    std::ostringstream out;
    inspect({.path = path, .statistics = statistics, .verify = verify}, out);
    return out.str();
  }

  static std::string refusal(const std::filesystem::path& path, bool verify = false) {
    try {
      inspected(path, false, verify);
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input) << error.what();
      return error.what();
    }
    return "nothing was refused";
  }

  test::TemporaryFolder folder_;
};

TEST_F(Inspect, DescribesADataSet) {
  const auto file = make_dataset();
  const std::string text = inspected(file);
  EXPECT_THAT(text, AllOf(HasSubstr("trireme-tokens, version 1"), ContainsRegex("tokens +13\n"),
                          ContainsRegex("documents +1\n"), HasSubstr("characters"),
                          HasSubstr("  白日依山尽\n  黄河入海流\n"), Not(HasSubstr("entropy"))));
  EXPECT_THAT(inspected(file, true), AllOf(ContainsRegex("unigram entropy +[0-9]\\.[0-9]{4} nats"),
                                           ContainsRegex("bigram entropy +[0-9]\\.[0-9]{4} nats")));
}

TEST_F(Inspect, DescribesACheckpointByFolderAndByModelFile) {
  const auto folder = make_checkpoint(100);
  const std::string text = inspected(folder);
  EXPECT_THAT(text, AllOf(ContainsRegex("step +100\n"), ContainsRegex("samples +3200\n"), ContainsRegex("seed +7\n"),
                          ContainsRegex("parameters +6\n"), ContainsRegex("shards +1\n")));
  EXPECT_THAT(text, AllOf(ContainsRegex("parameters/a\\.weight +\\[2, 3\\]"),
                          HasSubstr("optimizer/first_moment/a.weight"), HasSubstr("steps = 4321")));
  EXPECT_EQ(inspected(folder / "model.h5"), text);
}

TEST_F(Inspect, DescribesAShard) {
  const auto shard = make_checkpoint(100) / "shard-00000.h5";
  EXPECT_THAT(inspected(shard), AllOf(HasSubstr("trireme-shard, version 1"), ContainsRegex("step +100\n"),
                                      HasSubstr("parameters/a.weight  [2, 3] at [0, 0] of [2, 3]")));
}

TEST_F(Inspect, ListsTheCheckpointsOfAFolder) {
  make_checkpoint(200);
  make_checkpoint(100);
  EXPECT_THAT(inspected(folder_ / "checkpoints"),
              AllOf(HasSubstr("2 checkpoints in"),
                    ContainsRegex("step-00000100  3200 samples, 1 shards.*\n  step-00000200  6400 samples")));
}

TEST_F(Inspect, NamesDamage) {
  const auto shard = make_checkpoint(200) / "shard-00000.h5";
  make_checkpoint(100);
  EXPECT_THAT(inspected(folder_ / "checkpoints", false, true),
              AllOf(ContainsRegex("step-00000100 .*verified"), ContainsRegex("step-00000200 .*verified")));
  std::filesystem::resize_file(shard, 3000);
  inspected(folder_ / "checkpoints");  // needs no shard
  InspectOptions options{.path = folder_ / "checkpoints", .verify = true};
  std::ostringstream out;
  const Error error = error_of([&] { inspect(options, out); });
  EXPECT_EQ(error.status(), ExitStatus::invalid_input);
  EXPECT_THAT(error.what(), HasSubstr("1 of 2 checkpoints are damaged"));
  EXPECT_THAT(out.str(),
              AllOf(ContainsRegex("step-00000100 .*verified"), ContainsRegex("step-00000200  DAMAGED: .*shard")));
  EXPECT_THAT(refusal(folder_ / "checkpoints" / "step-00000200", true), HasSubstr("shard-00000.h5"));
}

TEST_F(Inspect, RefusesAnythingElse) {
  EXPECT_THAT(refusal(folder_ / "nothing"), HasSubstr("nothing: found nothing there"));
  EXPECT_THAT(refusal(folder_.path()), HasSubstr("expected a checkpoint or a folder of them"));
  test::write_text(folder_ / "notes.txt", "notes");
  EXPECT_THAT(refusal(folder_ / "notes.txt"), HasSubstr("notes.txt"));
  { const hdf5::Handle other = hdf5::create_file(folder_ / "other.h5"); }
  EXPECT_THAT(refusal(folder_ / "other.h5"), AllOf(HasSubstr("other.h5"), HasSubstr("expected trireme-tokens")));
}

TEST_F(Inspect, IsACommand) {
  const auto result = test::run_trireme("inspect " + make_dataset().string() + " --statistics");
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_THAT(result.out, AllOf(HasSubstr("data set"), HasSubstr("bigram entropy")));
  const auto missing = test::run_trireme("inspect");
  EXPECT_EQ(missing.status, 2);
  EXPECT_THAT(missing.err, HasSubstr("inspect: found no path"));
}

}  // namespace
}  // namespace trireme
