// Saving while training goes on: stage by stage, and what is left when a stage fails.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "io/checkpoint/agreement.h"
#include "io/checkpoint/file_operations.h"
#include "io/checkpoint/saver.h"
#include "tests/io/checkpoint_support.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SaverOnRanks : public testing::Test {
 protected:
  SaverOnRanks()
      : directory_(fs::temp_directory_path() / fmt::format("trireme-saver-mpi-{}", gather(world_, getpid())[0])) {}
  ~SaverOnRanks() override {
    held_ = false;
    saver_.reset();
    files::set_observer({});
    world_.barrier();
    if (rank_ == 0) fs::remove_all(directory_);
  }

  /// A tensor split over the ranks, and one that rank 0 alone writes.
  Holding tensors(bool filled, std::uint64_t seed) const {
    Holding holding;
    holding.add("parameters/query", shard_of({8, 4, 20}, 0, rank_, ranks_), filled, seed);
    ShardSpec everywhere = whole({40});
    everywhere.replica = rank_;
    holding.add("parameters/bias", everywhere, filled, seed);
    return holding;
  }
  /// The saver writes from this rank's memory, which must stay until the save is over.
  void begin(std::int64_t step, std::function<void()> before_publishing = nullptr) {
    holding_ = tensors(true, static_cast<std::uint64_t>(step));
    saver_->begin(example_info(step), holding_.items(), std::move(before_publishing));
  }
  /// What the training loop does at the end of every step.
  std::optional<SavedCheckpoint> train_a_step() { return saver_->advance(any_rank(world_, saver_->busy())); }
  /// Trains until the save is over; ends with the test's time limit.
  SavedCheckpoint train_to_the_end() {
    while (true) {
      if (const auto saved = train_a_step()) return *saved;
    }
  }
  /// Trains until rank 0 has made a file or folder.
  void train_until_there(const fs::path& path) {
    do {
      EXPECT_FALSE(train_a_step());
    } while (!any_rank(world_, fs::exists(path)));
  }
  void save(std::int64_t step) {
    begin(step);
    train_to_the_end();
  }
  void expect_whole(std::int64_t step) const {
    CheckpointReader reader(checkpoint_path(directory_, step));
    const Holding read = tensors(false, 0);
    read.read_from(reader);
    read.expect_right(static_cast<std::uint64_t>(step));
  }
  /// After this, writing of what the path names waits while held_.
  void hold(const std::string& part_of_path) {
    held_ = true;
    files::set_observer([this, part_of_path](files::Operation, const fs::path& path) {
      while (held_ && path.string().find(part_of_path) != std::string::npos) std::this_thread::yield();
      return 0;
    });
  }
  /// The names in the directory, in order, as all ranks see them at the same time.
  std::vector<std::string> names() const {
    world_.barrier();
    std::vector<std::string> names;
    if (fs::exists(directory_)) {
      for (const auto& entry : fs::directory_iterator(directory_)) names.push_back(entry.path().filename().string());
    }
    std::sort(names.begin(), names.end());
    world_.barrier();
    return names;
  }

  Communicator& world_ = test_world().all();
  int rank_ = world_.rank();
  int ranks_ = world_.size();
  fs::path directory_;
  Holding holding_;
  std::atomic<bool> held_ = false;
  std::unique_ptr<CheckpointSaver> saver_ = std::make_unique<CheckpointSaver>(directory_, std::nullopt, world_);
};

TEST_F(SaverOnRanks, TrainingGoesOnDuringASave) {
  EXPECT_FALSE(saver_->under_way());
  EXPECT_EQ(saver_->step(), -1);
  EXPECT_FALSE(train_a_step());
  hold("shard-");
  begin(10);
  EXPECT_EQ(saver_->step(), 10);
  train_until_there(directory_ / "step-00000010.partial");
  for (int step = 0; step < 5; ++step) {
    EXPECT_FALSE(train_a_step());
    EXPECT_TRUE(saver_->under_way());
  }
  EXPECT_THAT(list_checkpoints(directory_), IsEmpty());
  EXPECT_THAT(names(), ElementsAre("step-00000010.partial"));
  world_.barrier();
  held_ = false;
  const SavedCheckpoint saved = train_to_the_end();
  EXPECT_EQ(saved.folder, checkpoint_path(directory_, 10));
  EXPECT_GT(saved.seconds, 0);
  EXPECT_EQ(saved.trouble, "");
  EXPECT_FALSE(saver_->under_way());
  EXPECT_FALSE(saver_->busy());
  EXPECT_THAT(names(), ElementsAre("step-00000010"));
  expect_whole(10);
}

TEST_F(SaverOnRanks, NoStageBeginsWhileAnyRankIsBusy) {
  begin(10);
  while (any_rank(world_, saver_->busy())) {
  }
  for (int step = 0; step < 5; ++step) {
    EXPECT_FALSE(saver_->advance(true));
    EXPECT_FALSE(saver_->busy());
    EXPECT_TRUE(saver_->under_way());
  }
  EXPECT_TRUE(fs::is_empty(directory_ / "step-00000010.partial")) << "shards are the second stage";
  train_to_the_end();
  expect_whole(10);
}

TEST_F(SaverOnRanks, FinishWaitsFromAnyStageOn) {
  int stages = 0;
  for (bool over = false; !over; ++stages) {
    SCOPED_TRACE(fmt::format("after {} stages", stages));
    begin(10 + stages);
    for (int stage = 0; stage < stages && !over; ++stage) {
      while (any_rank(world_, saver_->busy())) {
      }
      over = saver_->advance(false).has_value();
    }
    if (!over) {
      EXPECT_EQ(saver_->finish().folder, checkpoint_path(directory_, 10 + stages));
    }
    EXPECT_FALSE(saver_->under_way());
    world_.barrier();
    expect_whole(10 + stages);
  }
  EXPECT_GE(stages, 4);
}

TEST_F(SaverOnRanks, ASecondSaveIsRefusedWhileOneIsUnderWay) {
  hold("shard-");
  begin(10);
  const Error error = error_of([&] { saver_->begin(example_info(20), {}); });
  EXPECT_EQ(error.status(), ExitStatus::failed);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("step 20"), HasSubstr("step 10 is under way")));
  held_ = false;
  EXPECT_EQ(saver_->finish().folder, checkpoint_path(directory_, 10));
  expect_whole(10);
}

TEST_F(SaverOnRanks, AFailureInAnyStageOfAnyRankIsToldToAllAndTheNextSaveSucceeds) {
  const int last = ranks_ - 1;
  struct Place {
    std::string file;
    int rank;
  };
  std::int64_t step = 0;
  save(step);
  for (const Place& place : {Place{"shard-", 0}, Place{fmt::format("shard-{:05}", last), last}, Place{"model.h5", 0},
                             Place{"rename", 0}, Place{"", 0}}) {
    SCOPED_TRACE(place.file);
    step += 10;
    std::atomic<bool> published = false;
    const bool publishing = place.file.empty();  // and the callback is what fails
    files::set_observer([&](files::Operation operation, const fs::path& path) {
      const bool renaming = operation == files::Operation::rename;
      const bool here = place.file == "rename" ? renaming : path.string().find(place.file) != std::string::npos;
      return !publishing && here && rank_ == place.rank && operation != files::Operation::remove ? ENOSPC : 0;
    });
    begin(step, [&] {
      published = true;
      if (publishing) fail("metrics: No space left on device");
    });
    const Error error = error_of([&] { train_to_the_end(); });
    files::set_observer({});
    EXPECT_EQ(error.status(), ExitStatus::failed);
    EXPECT_THAT(error.what(), HasSubstr("No space left on device"));
    EXPECT_THAT(error.what(), HasSubstr(ranks_ == 1 ? "" : fmt::format("rank {}: ", place.rank)));
    EXPECT_FALSE(saver_->under_way());
    EXPECT_EQ(published, rank_ == 0 && (publishing || place.file == "rename"));
    EXPECT_THAT(names(), ElementsAre(fmt::format("step-{:08}", step - 10))) << "what was written makes room";
    expect_whole(step - 10);
    world_.barrier();
    save(step);
    expect_whole(step);
    if (rank_ == 0) fs::remove_all(checkpoint_path(directory_, step - 10));
    world_.barrier();
  }
}

TEST_F(SaverOnRanks, AFolderThatCannotBeMadeFailsTheSave) {
  files::set_observer([&](files::Operation operation, const fs::path&) {
    return operation == files::Operation::make_directory && rank_ == 0 ? EROFS : 0;
  });
  begin(10);
  EXPECT_THAT(error_of([&] { train_to_the_end(); }).what(), HasSubstr("Read-only file system"));
  EXPECT_FALSE(saver_->under_way());
  files::set_observer({});
  save(10);
  expect_whole(10);
}

TEST_F(SaverOnRanks, BeforePublishingRunsWhenAllIsWrittenAndNothingHasAppeared) {
  int calls = 0;
  begin(10, [&] {
    ++calls;
    EXPECT_FALSE(fs::exists(checkpoint_path(directory_, 10)));
    CheckpointReader written(directory_ / "step-00000010.partial");
    EXPECT_EQ(written.entries().size(), 2U);
  });
  train_to_the_end();
  EXPECT_EQ(calls, rank_ == 0 ? 1 : 0);
}

TEST_F(SaverOnRanks, KeepsTheNewestAndEveryMth) {
  saver_ = std::make_unique<CheckpointSaver>(directory_, Retention{.newest = 2, .every = 30}, world_);
  for (std::int64_t step = 10; step <= 80; step += 10) save(step);
  EXPECT_THAT(names(), ElementsAre("step-00000030", "step-00000060", "step-00000070", "step-00000080"));
  for (const std::int64_t step : {30, 60, 70, 80}) expect_whole(step);
  world_.barrier();
  saver_ = std::make_unique<CheckpointSaver>(directory_, Retention{.newest = 1}, world_);
  save(90);
  EXPECT_THAT(names(), ElementsAre("step-00000090"));
  saver_ = std::make_unique<CheckpointSaver>(directory_, Retention{}, world_);
  for (const std::int64_t step : {100, 110}) save(step);
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(90, 100, 110));
}

TEST_F(SaverOnRanks, ARunThatWentBackKeepsWhatItSaves) {
  for (const std::int64_t step : {80, 90}) save(step);
  saver_ = std::make_unique<CheckpointSaver>(directory_, Retention{.newest = 1}, world_);
  for (const std::int64_t step : {10, 20}) save(step);
  EXPECT_THAT(names(), ElementsAre("step-00000020", "step-00000080", "step-00000090"));
}

TEST_F(SaverOnRanks, AnOldCheckpointThatCannotBeRemovedDoesNotFailTheNewOne) {
  saver_ = std::make_unique<CheckpointSaver>(directory_, Retention{.newest = 1}, world_);
  save(10);
  files::set_observer([&](files::Operation operation, const fs::path& path) {
    return operation == files::Operation::rename && path == checkpoint_path(directory_, 10) ? EACCES : 0;
  });
  begin(20);
  const SavedCheckpoint saved = train_to_the_end();
  files::set_observer({});
  EXPECT_THAT(saved.trouble, rank_ == 0 ? HasSubstr("step-00000010") : HasSubstr(""));
  EXPECT_THAT(names(), ElementsAre("step-00000010", "step-00000020"));
  expect_whole(20);
  world_.barrier();
  save(30);
  EXPECT_THAT(names(), ElementsAre("step-00000030"));
}

TEST_F(SaverOnRanks, EndingInTheMiddleLeavesAPartialFolderOnly) {
  save(10);
  hold("shard-");
  begin(20);
  train_until_there(directory_ / "step-00000020.partial");
  held_ = false;
  saver_.reset();
  files::set_observer({});
  EXPECT_THAT(names(), ElementsAre("step-00000010", "step-00000020.partial"));
  expect_whole(10);
  saver_ = std::make_unique<CheckpointSaver>(directory_, std::nullopt, world_);
  save(20);
  EXPECT_THAT(names(), ElementsAre("step-00000010", "step-00000020"));
  expect_whole(20);
}

}  // namespace
}  // namespace trireme
