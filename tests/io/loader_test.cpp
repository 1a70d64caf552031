#include "io/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "io/hdf5.h"
#include "io/token_source.h"
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

  struct Options {
    int context = 3;
    std::uint64_t seed = 0;
    bool training = true;
    LoaderOptions loader;
  };
  static Loader load(const std::shared_ptr<TokenDataset>& dataset, const Options& options) {
    const SourceOptions how{options.loader.global_batch, options.seed, options.training};
    return {std::make_shared<TokenSource>(dataset, options.context, how), options.loader};
  }
  static Tokens inputs(const Batch& batch) { return of(batch, 0); }
  static Tokens targets(const Batch& batch) { return of(batch, 1); }
  static Tokens of(const Batch& batch, std::size_t field) {
    const auto values = batch.values<std::int32_t>(field);
    return {values.begin(), values.end()};
  }

  /// The first token of every sample of `steps` steps.
  static Tokens starts(Loader& loader, int steps) {
    Tokens found;
    for (int step = 0; step < steps; ++step) {
      const Batch& batch = loader.next();
      const auto context = static_cast<std::size_t>(batch.fields[0].elements());
      for (std::size_t i = 0; i < static_cast<std::size_t>(batch.samples); ++i)
        found.push_back(batch.values<std::int32_t>(0)[i * context]);
    }
    return found;
  }

  std::filesystem::path folder_;
};

TEST_F(LoaderTest, SamplesAreNeighbouringWindowsAndTargetsTheNextTokens) {
  const auto dataset = counting({10});
  EXPECT_EQ(TokenSource(dataset, 3, {}).samples(), 3);
  EXPECT_EQ(TokenSource(dataset, 4, {}).samples(), 2);
  EXPECT_EQ(TokenSource(dataset, 9, {}).samples(), 1);
  Loader loader = load(dataset, {.training = false, .loader = {.global_batch = 2}});
  const Batch& first = loader.next();
  EXPECT_EQ(first.samples, 2);
  EXPECT_EQ(first.fields[0].shape, Shape({3}));
  EXPECT_EQ(first.first_sample, 0);
  EXPECT_EQ(inputs(first), (Tokens{0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(targets(first), (Tokens{1, 2, 3, 4, 5, 6}));
  const Batch& second = loader.next();  // past the end
  EXPECT_EQ(second.first_sample, 2);
  EXPECT_EQ(inputs(second), (Tokens{6, 7, 8, 0, 1, 2}));
  EXPECT_EQ(targets(second), (Tokens{7, 8, 10, -1, -1, -1}));  // 10 ends the text; what fills up does not count
}

TEST_F(LoaderTest, RanksTogetherReadTheSameRun) {
  const auto dataset = counting({64});
  constexpr int steps = 12, batch = 8;
  const Options whole{.seed = 5, .loader = {.global_batch = batch}};
  Loader alone = load(dataset, whole);
  const Tokens expected = starts(alone, steps);
  for (const int ranks : {2, 4}) {
    const int share = batch / ranks;
    Tokens together(expected.size());
    for (int rank = 0; rank < ranks; ++rank) {
      Options options = whole;
      options.loader.data_rank = rank;
      options.loader.data_ranks = ranks;
      options.loader.workers = ranks;
      Loader loader = load(counting({64}), options);
      for (int step = 0; step < steps; ++step) {
        const Batch& part = loader.next();
        EXPECT_EQ(part.samples, share);
        EXPECT_EQ(part.first_sample, step * batch + rank * share);
        for (int i = 0; i < share; ++i) {
          together[static_cast<std::size_t>(part.first_sample + i)] = inputs(part)[static_cast<std::size_t>(i) * 3];
        }
      }
    }
    EXPECT_EQ(together, expected) << ranks << " ranks";
  }
}

TEST_F(LoaderTest, EveryEpochHasEverySampleOnceInAnotherOrder) {
  const auto dataset = counting({61});  // 20 samples of 3
  Loader loader = load(dataset, {.seed = 1, .loader = {.global_batch = 5}});
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
  Options options{.seed = 2, .loader = {.global_batch = 6}};
  Loader through = load(dataset, options);
  const Tokens all = starts(through, 11);
  options.loader.first_batch = 7;
  Loader resumed = load(counting({61}), options);
  EXPECT_EQ(starts(resumed, 4), Tokens(all.end() - 24, all.end()));
}

TEST_F(LoaderTest, SeedsGiveOtherOrders) {
  Loader one = load(counting({301}), {.seed = 1, .loader = {.global_batch = 50}});
  Loader two = load(counting({301}), {.seed = 2, .loader = {.global_batch = 50}});
  EXPECT_NE(starts(one, 2), starts(two, 2));
}

TEST_F(LoaderTest, WindowsCrossFiles) {
  const auto dataset = counting({4, 2, 5, 3});  // 14 tokens: 13 samples of 1, windows of 5: 3 samples of 4
  Loader loader = load(dataset, {.context = 4, .training = false, .loader = {.global_batch = 3}});
  const Batch& batch = loader.next();
  EXPECT_EQ(inputs(batch), (Tokens{0, 1, 2, 14, 4, 14, 6, 7, 8, 9, 14, 11}));
  EXPECT_EQ(targets(batch), (Tokens{1, 2, 14, 4, 14, 6, 7, 8, 9, 14, 11, 12}));
}

TEST_F(LoaderTest, ReadsSetsOfManyChunks) {
  constexpr int size = 3'000'000, context = 1000;
  Loader loader = load(counting({size}), {.context = context, .seed = 3, .loader = {.global_batch = 100}});
  std::set<std::int32_t> seen;
  for (int step = 0; step < 29; ++step) {
    const Batch& batch = loader.next();
    for (int i = 0; i < batch.samples; ++i) {
      const auto sample = batch.values<std::int32_t>(0).subspan(static_cast<std::size_t>(i) * context, context);
      EXPECT_EQ(sample.front() % context, 0);
      EXPECT_EQ(sample.back(), sample.front() + context - 1);
      seen.insert(sample.front());
    }
  }
  EXPECT_EQ(seen.size(), 2900U);
}

TEST_F(LoaderTest, ReusesItsBatches) {
  Loader loader = load(counting({61}), {.loader = {.global_batch = 4, .read_ahead = 2}});
  std::set<const std::int32_t*> memory;
  for (int step = 0; step < 50; ++step) memory.insert(loader.next().values<std::int32_t>(0).data());
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
  Loader loader = load(std::make_shared<TokenDataset>(std::vector{path}),
                       {.training = false, .loader = {.global_batch = 4, .workers = 3}});
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

/// Samples of a run: each tells batch and index; batches have different shapes, and late samples come first.
class Numbers final : public Source {
 public:
  std::int64_t samples() const override { return 1000; }
  std::int64_t batches() const override { return 100; }
  std::vector<Field> fields(std::int64_t batch) const override {
    return {{"numbers", DType::i32, {1 + batch % 3}}, {"label", DType::i32, {}}};
  }
  void read(std::int64_t batch, std::int64_t index, std::span<std::byte* const> fields) override {
    std::this_thread::sleep_for(std::chrono::microseconds(200 * (7 - index)));
    auto* const numbers = reinterpret_cast<std::int32_t*>(fields[0]);
    std::fill_n(numbers, 1 + batch % 3, static_cast<std::int32_t>(batch * 10 + index));
    *reinterpret_cast<std::int32_t*>(fields[1]) = static_cast<std::int32_t>(index);
  }
};

TEST_F(LoaderTest, BatchesAreInOrderHoweverManyThreadsReadThem) {
  for (const int workers : {1, 2, 5}) {
    Loader loader(std::make_shared<Numbers>(), {.global_batch = 8, .first_batch = 3, .workers = workers});
    for (std::int64_t step = 3; step < 20; ++step) {
      const Batch& batch = loader.next();
      EXPECT_EQ(batch.number, step);
      Tokens wanted, labels;
      for (int index = 0; index < 8; ++index) {
        wanted.insert(wanted.end(), static_cast<std::size_t>(1 + step % 3),
                      static_cast<std::int32_t>(step * 10 + index));
        labels.push_back(index);
      }
      EXPECT_EQ(of(batch, 0), wanted);
      EXPECT_EQ(of(batch, 1), labels);
    }
  }
}

TEST_F(LoaderTest, StopsWhereverItIs) {
  const auto dataset = counting({61});
  for (int taken = 0; taken < 6; ++taken) {
    Loader loader =
        load(dataset, {.loader = {.global_batch = 4, .read_ahead = 1 + taken % 2, .workers = 1 + taken % 3}});
    for (int step = 0; step < taken; ++step) loader.next();
    EXPECT_GE(loader.last_wait(), 0);
  }
}

TEST_F(LoaderTest, RefusesWhatCannotBeShared) {
  EXPECT_THROW(load(counting({61}), {.loader = {.global_batch = 5, .data_ranks = 2}}), Error);
  try {
    load(counting({61}), {.context = 61, .loader = {.global_batch = 1}});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("0.h5"), HasSubstr("61 tokens"), HasSubstr("62")));
  }
}

}  // namespace
}  // namespace trireme
