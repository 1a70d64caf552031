// Who writes what of a checkpoint, and what a training run makes of saves that are slow or fail.
#include <gmock/gmock.h>

#include <atomic>
#include <numeric>
#include <sstream>
#include <thread>

#include "app/saves.h"
#include "io/checkpoint/agreement.h"
#include "io/checkpoint/file_operations.h"
#include "kernels/error.h"
#include "tests/app/support.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

class SavesOnRanks : public testing::Test {
 protected:
  // One folder for all ranks; rank 0 alone makes and removes it.
  SavesOnRanks()
      : directory_(fs::temp_directory_path() / fmt::format("trireme-saves-mpi-{}", gather(world_.all(), getpid())[0])) {
  }
  ~SavesOnRanks() override {
    saves_.reset();
    files::set_observer({});
    world_.all().barrier();
    if (world_.rank() == 0) fs::remove_all(directory_);
  }

  Configuration configuration(int tensor = 1, int pipeline = 1) const {
    Configuration result;
    result.model.layers = 2;
    result.model.hidden = 32;
    result.model.heads = 4;
    result.model.context = 16;
    result.train.global_batch = 8;
    result.train.micro_batch = 1;
    result.train.device = DeviceChoice::cpu;
    result.parallel.tensor = tensor;
    result.parallel.pipeline = pipeline;
    result.checkpoint.directory = directory_;
    result.log.progress = ProgressKind::plain;
    return result;
  }
  std::unique_ptr<Session> session(const Configuration& configuration) const {
    return std::make_unique<Session>(configuration, world_, TokenizerBlob{"characters", 50, 0, "unused"},
                                     Session::Purpose::training);
  }
  void start(const Configuration& configuration) {
    session_ = session(configuration);
    progress_ = std::make_unique<Progress>(configuration.log, 100, out_, false);
    saves_ = std::make_unique<Saves>(*session_, 0, nullptr, progress_.get());
  }
  void train_until_saved_or_failed(std::int64_t step) {
    saves_->begin(step);
    while (saves_->under_way()) saves_->advance(any_rank(world_.all(), saves_->busy()));
  }

  World& world_ = test_world();
  fs::path directory_;
  std::unique_ptr<Session> session_;
  std::ostringstream out_;
  std::unique_ptr<Progress> progress_;
  std::unique_ptr<Saves> saves_;
};

/// Elements that each rank writes.
std::vector<int> written_by_rank(Session& session) {
  int mine = 0;
  for (const CheckpointItem& item : session.snapshot())
    mine += item.shard.replica == 0 ? static_cast<int>(item.shard.extent.elements()) : 0;
  return gather(session.world().all(), mine);
}

TEST_F(SavesOnRanks, RanksThatHoldTheSameShareTheWriting) {
  const int ranks = world_.size();
  for (const int tensor : {1, 2}) {
    if (tensor > ranks) continue;
    const auto session = this->session(configuration(tensor));
    const std::vector<int> written = written_by_rank(*session);
    const auto [least, most] = std::ranges::minmax(written);
    EXPECT_LE(most, 1.25 * least) << "tensor-parallel ranks: " << tensor;
    const int total = std::accumulate(written.begin(), written.end(), 0);
    EXPECT_EQ(total, 3 * session->parameter_count()) << "parameters and two moments, each once";
    EXPECT_EQ(session->reserve_snapshot(), written[static_cast<std::size_t>(world_.rank())] * 4);
  }
}

/// All that a checkpoint holds, by path.
std::map<std::string, std::vector<float>> contents(const fs::path& folder) {
  CheckpointReader reader(folder);
  std::map<std::string, std::vector<float>> result;
  for (const CheckpointEntry& entry : reader.entries()) {
    std::vector<float>& values = result[entry.path];
    values.resize(static_cast<std::size_t>(entry.shape.elements()));
    reader.read({entry.path, {.global = entry.shape, .offset = {}, .extent = entry.shape}, values.data()});
  }
  return result;
}

TEST_F(SavesOnRanks, WhatSharingRanksWroteComesBackOnAnyLayout) {
  // Moments too are to be told apart.
  const auto number_all = [](Session& session) {
    float next = 0;
    for (Tensor* arena : {&session.store().values, &session.store().first_moments, &session.store().second_moments})
      for (float& value : arena->values<float>()) value = next++;
  };
  start(configuration());
  number_all(*session_);
  train_until_saved_or_failed(1);
  const auto wanted = contents(checkpoint_path(directory_, 1));
  EXPECT_EQ(wanted.size() % 3, 0U);
  std::int64_t step = 1;
  for (const auto& [tensor, pipeline] : {std::pair{2, 1}, {1, 2}, {2, 2}}) {
    if (tensor * pipeline > world_.size()) continue;
    SCOPED_TRACE(fmt::format("tensor {}, pipeline {}", tensor, pipeline));
    CheckpointReader reader(checkpoint_path(directory_, step));
    start(configuration(tensor, pipeline));
    session_->load(reader);
    train_until_saved_or_failed(++step);
    EXPECT_EQ(contents(checkpoint_path(directory_, step)), wanted);
  }
}

TEST_F(SavesOnRanks, AFailedSaveIsReportedAndTriedAgain) {
  Configuration quiet = configuration();
  quiet.log.progress = ProgressKind::none;
  start(quiet);
  const int last = world_.size() - 1;
  std::atomic<bool> full = true;
  files::set_observer([&](files::Operation operation, const fs::path& path) {
    const bool shard = path.string().find(fmt::format("shard-{:05}", last)) != std::string::npos;
    return full && shard && operation != files::Operation::remove && world_.rank() == last ? ENOSPC : 0;
  });
  const auto wait_for_retry = [this] {
    while (!any_rank(world_.all(), saves_->wants_retry())) {
    }
    EXPECT_EQ(saves_->wants_retry(), world_.rank() == 0) << "one rank's clock decides";
  };
  EXPECT_FALSE(saves_->wants_retry());
  train_until_saved_or_failed(5);
  EXPECT_FALSE(saves_->wants_retry()) << "not at once";
  EXPECT_THAT(out_.str(), AllOf(HasSubstr("NOT SAVED   step 5"), HasSubstr("No space left on device"),
                                HasSubstr("there is no checkpoint yet")));
  wait_for_retry();
  full = false;
  train_until_saved_or_failed(6);
  EXPECT_FALSE(saves_->wants_retry());
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(6));
  world_.all().barrier();
  full = true;
  train_until_saved_or_failed(7);
  EXPECT_THAT(out_.str(), HasSubstr("the newest checkpoint is of step 6"));
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(6));
  world_.all().barrier();
  full = false;
  saves_->finish(8);
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(6, 8));
}

TEST_F(SavesOnRanks, TheNextSaveWaitsForTheLastAndSaysSo) {
  constexpr double slowness = 0.1;  // seconds
  start(configuration());
  std::atomic<bool> next_has_begun = false;
  files::set_observer([&](files::Operation operation, const fs::path& path) {
    const bool slow = operation == files::Operation::rename && path.string().find("00000010") != std::string::npos;
    while (slow && !next_has_begun) std::this_thread::yield();
    if (slow) std::this_thread::sleep_for(std::chrono::duration<double>(slowness));
    return 0;
  });
  saves_->begin(10);
  for (int step = 0; step < 50; ++step) saves_->advance(any_rank(world_.all(), saves_->busy()));
  EXPECT_GT(saves_->take_stall(), 0) << "the copy";
  next_has_begun = true;
  saves_->begin(20);
  EXPECT_GT(saves_->take_stall(), 0);
  EXPECT_EQ(saves_->take_stall(), 0) << "it counts once";
  EXPECT_THAT(out_.str(), HasSubstr("waiting     the checkpoint of step 10 is still being written"));
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(10));
  saves_->finish(20);
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(10, 20));
  EXPECT_GE(saves_->longest(), slowness);
}

TEST_F(SavesOnRanks, WithoutTheBackgroundASaveIsOverAtOnceAndTakesNoMemory) {
  Configuration waiting = configuration();
  waiting.checkpoint.background = false;
  start(waiting);
  EXPECT_EQ(saves_->copy_bytes(), 0);
  saves_->begin(10);
  EXPECT_FALSE(saves_->under_way());
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(10));
  EXPECT_GT(saves_->take_stall(), 0);
}

}  // namespace
}  // namespace trireme
