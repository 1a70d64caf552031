#include "io/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <numeric>
#include <set>

#include "io/hdf5.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Tokens = std::vector<std::int32_t>;

class LoaderTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(testing::TempDir()) / fmt::format("loader-{}-{}", test->name(), ::getpid());
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  /// Files of one document each, together 1, 2, 3, ... where no document ends: token value tells the place.
  std::shared_ptr<TokenDataset> counting(const std::vector<int>& sizes) {
    const int total = std::accumulate(sizes.begin(), sizes.end(), 0);
    std::vector<std::filesystem::path> files;
    int place = 0;
    for (const int size : sizes) {
      Tokens tokens(static_cast<std::size_t>(size) - 1);
      std::iota(tokens.begin(), tokens.end(), place);
      place += size;
      files.push_back(folder_ / fmt::format("{}.h5", files.size()));
      TokenDatasetWriter writer(files.back(), {"characters", total + 1, total, ""});
      writer.append_document(tokens);
      writer.commit();
    }
    return std::make_shared<TokenDataset>(files);
  }

  /// The first token of every sample of `steps` steps.
  static Tokens starts(TokenLoader& loader, int steps) {
    Tokens found;
    for (int step = 0; step < steps; ++step) {
      const TokenBatch& batch = loader.next();
      for (int i = 0; i < batch.samples; ++i)
        found.push_back(batch.inputs[static_cast<std::size_t>(i) * static_cast<std::size_t>(batch.context)]);
    }
    return found;
  }

  std::filesystem::path folder_;
};

TEST_F(LoaderTest, SamplesAreNeighbouringWindowsAndTargetsTheNextTokens) {
  const auto dataset = counting({10});
  EXPECT_EQ(TokenLoader::samples_in(*dataset, 3), 3);
  EXPECT_EQ(TokenLoader::samples_in(*dataset, 4), 2);
  EXPECT_EQ(TokenLoader::samples_in(*dataset, 9), 1);
  TokenLoader loader(dataset, {.context = 3, .global_batch = 2, .shuffle = false});
  const TokenBatch& first = loader.next();
  EXPECT_EQ(first.samples, 2);
  EXPECT_EQ(first.context, 3);
  EXPECT_EQ(first.first_sample, 0);
  EXPECT_EQ(first.inputs, (Tokens{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(first.targets, (Tokens{1, 2, 3, 4, 5, 6}));
  const TokenBatch& second = loader.next();  // over the end of the epoch
  EXPECT_EQ(second.first_sample, 2);
  EXPECT_EQ(second.inputs, (Tokens{6, 7, 8, 0, 1, 2}));
  EXPECT_EQ(second.targets, (Tokens{7, 8, 10, 1, 2, 3}));  // 10 ends the text
}

TEST_F(LoaderTest, RanksTogetherReadTheSameRun) {
  const auto dataset = counting({64});
  constexpr int steps = 12, batch = 8;
  const LoaderOptions whole{.context = 3, .global_batch = batch, .seed = 5};
  TokenLoader alone(dataset, whole);
  const Tokens expected = starts(alone, steps);
  for (const int ranks : {2, 4}) {
    const int share = batch / ranks;
    Tokens together(expected.size());
    for (int rank = 0; rank < ranks; ++rank) {
      LoaderOptions options = whole;
      options.data_rank = rank;
      options.data_ranks = ranks;
      TokenLoader loader(counting({64}), options);
      for (int step = 0; step < steps; ++step) {
        const TokenBatch& part = loader.next();
        EXPECT_EQ(part.samples, share);
        EXPECT_EQ(part.first_sample, step * batch + rank * share);
        for (int i = 0; i < share; ++i) {
          together[static_cast<std::size_t>(part.first_sample + i)] = part.inputs[static_cast<std::size_t>(i) * 3];
        }
      }
    }
    EXPECT_EQ(together, expected) << ranks << " ranks";
  }
}

TEST_F(LoaderTest, EveryEpochHasEverySampleOnceInAnotherOrder) {
  const auto dataset = counting({61});  // 20 samples of 3
  TokenLoader loader(dataset, {.context = 3, .global_batch = 5, .seed = 1});
  std::vector<Tokens> epochs;
  for (int epoch = 0; epoch < 3; ++epoch) {
    epochs.push_back(starts(loader, 4));
    EXPECT_EQ(std::set<std::int32_t>(epochs.back().begin(), epochs.back().end()).size(), 20U);
  }
  EXPECT_NE(epochs[0], epochs[1]);
  EXPECT_NE(epochs[1], epochs[2]);
}

TEST_F(LoaderTest, ResumesWhereItStopped) {
  const auto dataset = counting({61});
  LoaderOptions options{.context = 3, .global_batch = 6, .seed = 2};
  TokenLoader through(dataset, options);
  const Tokens all = starts(through, 11);
  options.first_sample = 7 * 6;
  TokenLoader resumed(counting({61}), options);
  EXPECT_EQ(starts(resumed, 4), Tokens(all.end() - 24, all.end()));
}

TEST_F(LoaderTest, SeedsGiveOtherOrders) {
  TokenLoader one(counting({301}), {.context = 3, .global_batch = 50, .seed = 1});
  TokenLoader two(counting({301}), {.context = 3, .global_batch = 50, .seed = 2});
  EXPECT_NE(starts(one, 2), starts(two, 2));
}

TEST_F(LoaderTest, WindowsCrossFiles) {
  const auto dataset = counting({4, 2, 5, 3});  // 14 tokens: 13 samples of 1, windows of 5: 3 samples of 4
  TokenLoader loader(dataset, {.context = 4, .global_batch = 3, .shuffle = false});
  const TokenBatch& batch = loader.next();
  EXPECT_EQ(batch.inputs, (Tokens{0, 1, 2, 14, 4, 14, 6, 7, 8, 9, 14, 11}));
  EXPECT_EQ(batch.targets, (Tokens{1, 2, 14, 4, 14, 6, 7, 8, 9, 14, 11, 12}));
}

TEST_F(LoaderTest, ReadsSetsOfManyChunks) {
  constexpr int size = 3'000'000, context = 1000;
  TokenLoader loader(counting({size}), {.context = context, .global_batch = 100, .seed = 3});
  std::set<std::int32_t> seen;
  for (int step = 0; step < 29; ++step) {
    const TokenBatch& batch = loader.next();
    for (int i = 0; i < batch.samples; ++i) {
      const std::int32_t* inputs = &batch.inputs[static_cast<std::size_t>(i) * context];
      EXPECT_EQ(inputs[0] % context, 0);
      EXPECT_EQ(inputs[context - 1], inputs[0] + context - 1);
      seen.insert(inputs[0]);
    }
  }
  EXPECT_EQ(seen.size(), 2900U);
}

TEST_F(LoaderTest, ReusesItsBatches) {
  TokenLoader loader(counting({61}), {.context = 3, .global_batch = 4, .read_ahead = 2});
  std::set<const std::int32_t*> memory;
  for (int step = 0; step < 50; ++step) memory.insert(loader.next().inputs.data());
  EXPECT_LE(memory.size(), 3U);
}

TEST_F(LoaderTest, GivesTheThreadsErrorToTheCaller) {
  const auto path = folder_ / "0.h5";
  counting({61});
  {
    const hdf5::Lock lock(hdf5::library_mutex());
    const hdf5::Handle file(H5Fopen(path.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    const hdf5::Handle tokens(H5Dopen2(file.get(), "tokens", H5P_DEFAULT), H5Dclose);
    std::vector<int> values(61, 1);
    values[40] = 999;
    H5Dwrite(tokens.get(), H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data());
  }
  TokenLoader loader(std::make_shared<TokenDataset>(std::vector{path}),
                     {.context = 3, .global_batch = 4, .shuffle = false});
  for (int step = 0; step < 3; ++step) EXPECT_EQ(loader.next().first_sample, step * 4);
  for (int again = 0; again < 2; ++again) {
    try {
      loader.next();
      FAIL() << "the damaged token was not found";
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), ExitStatus::invalid_input);
      EXPECT_THAT(error.what(), AllOf(HasSubstr("0.h5"), HasSubstr("position 40")));
    }
  }
}

TEST_F(LoaderTest, StopsWhereverItIs) {
  const auto dataset = counting({61});
  for (int taken = 0; taken < 6; ++taken) {
    TokenLoader loader(dataset, {.context = 3, .global_batch = 4, .read_ahead = 1 + taken % 2});
    for (int step = 0; step < taken; ++step) loader.next();
    EXPECT_GE(loader.last_wait(), 0);
  }
}

TEST_F(LoaderTest, RefusesWhatCannotBeShared) {
  EXPECT_THROW(TokenLoader(counting({61}), {.context = 3, .global_batch = 5, .data_ranks = 2}), Error);
  try {
    const TokenLoader loader(counting({61}), {.context = 61, .global_batch = 1});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("0.h5"), HasSubstr("61 tokens"), HasSubstr("62")));
  }
}

}  // namespace
}  // namespace trireme
