// Checkpoints of several ranks: any layout writes, any layout reads, and a failure on one rank is everybody's.
#include <gmock/gmock.h>

#include "io/checkpoint/agreement.h"
#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/file_operations.h"
#include "io/hdf5.h"
#include "tests/io/checkpoint_support.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CheckpointOfRanks : public testing::Test {
 protected:
  // One folder for all ranks; rank 0 alone makes and removes it.
  CheckpointOfRanks()
      : directory_(fs::temp_directory_path() / fmt::format("trireme-checkpoint-mpi-{}", gather(world_, getpid())[0])) {}
  ~CheckpointOfRanks() override {
    files::set_observer({});
    world_.barrier();
    if (rank_ == 0) fs::remove_all(directory_);
  }

  /// The tensors of a small model on this rank, split along `axis` (-1: every rank holds all of them).
  Holding tensors(int axis, bool filled, std::uint64_t seed = 0) const {
    Holding holding;
    const std::pair<std::string, Shape> shapes[] = {{"embedding", {16, 12}}, {"query", {8, 4, 20}}, {"bias", {40}}};
    for (const auto& [name, shape] : shapes) {
      for (const std::string kind : {"parameters/", "optimizer/first_moment/", "optimizer/second_moment/"}) {
        holding.add(kind + name, shard_of(shape, std::min(axis, shape.rank() - 1), rank_, ranks_), filled, seed);
      }
    }
    return holding;
  }
  fs::path save(Holding tensors, std::int64_t step = 100) {
    return save_checkpoint(directory_, example_info(step), tensors.items(), world_);
  }
  /// Every rank must throw, with a message that has these parts, and no checkpoint may be there.
  template <typename Call>
  void expect_all_fail(Call call, ExitStatus status, const testing::Matcher<std::string>& message) {
    const Error error = error_of(call);
    EXPECT_EQ(error.status(), status);
    EXPECT_THAT(std::string(error.what()), message);
    EXPECT_THAT(list_checkpoints(directory_), IsEmpty());
    world_.barrier();
  }

  Communicator& world_ = test_world().all();
  int rank_ = world_.rank();
  int ranks_ = world_.size();
  fs::path directory_;
};

TEST_F(CheckpointOfRanks, AnyLayoutReadsWhatAnyLayoutWrote) {
  for (const int writing : {0, 1, 2, -1}) {
    const fs::path folder = save(tensors(writing, true));
    CheckpointReader reader(folder);
    EXPECT_EQ(reader.shards(), writing == -1 ? 1 : ranks_);
    EXPECT_EQ(reader.entries().size(), 9U);
    for (const int reading : {-1, 0, 1, 2}) {
      SCOPED_TRACE(fmt::format("written along axis {}, read along axis {}", writing, reading));
      const Holding read = tensors(reading, false);
      read.read_from(reader);
      read.expect_right();
    }
    world_.barrier();  // the next one replaces this one
  }
}

TEST_F(CheckpointOfRanks, UnevenBoxesAndRanksWithNothing) {
  // Rank 0 holds nothing, the last rank all that the others do not.
  Holding mine;
  const Shape global = {10, 7};
  const std::int64_t first = ranks_ == 1 ? 0 : std::max(0, rank_ - 1);
  const std::int64_t rows = rank_ == ranks_ - 1 ? 10 - first : std::min(rank_, 1);
  mine.add("parameters/x", {.global = global, .offset = {first}, .extent = {rows, 7}}, true);
  CheckpointReader reader(save(std::move(mine)));
  EXPECT_EQ(reader.shards(), std::max(1, ranks_ - 1));
  Holding read;
  read.add("parameters/x", {.global = global, .offset = {0, 2}, .extent = {10, 3}}, false);
  read.read_from(reader);
  read.expect_right();
}

TEST_F(CheckpointOfRanks, VirtualDatasetsShowTensorsWhole) {
  const hdf5::Handle model = hdf5::open_file(save(tensors(1, true)) / "model.h5");
  const hdf5::Handle dataset = hdf5::open_object(model, "parameters/embedding");
  ASSERT_EQ(hdf5::shape_of(dataset), Shape({16, 12}));
  std::vector<float> values(16 * 12);
  hdf5::read<float>(dataset, {}, {16, 12}, values.data());
  for (std::size_t index = 0; index < values.size(); ++index) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(values[index]),
              bits_at("parameters/embedding", static_cast<std::int64_t>(index)));
  }
}

TEST_F(CheckpointOfRanks, HolesAndOverlapsAreToldToAll) {
  const int last = ranks_ - 1;
  Holding hole = tensors(0, true);
  if (rank_ == last) hole.items()[0].shard.replica = 1;
  expect_all_fail([&] { save(std::move(hole)); }, ExitStatus::failed,
                  AllOf(HasSubstr("parameters/embedding"), HasSubstr(ranks_ == 1 ? "no rank holds" : "hole")));
  if (ranks_ == 1) return;
  Holding overlap = tensors(0, true);
  if (rank_ == last) overlap.items()[1].shard.offset[0] -= 1;
  expect_all_fail([&] { save(std::move(overlap)); }, ExitStatus::failed,
                  AllOf(HasSubstr("rank 0: optimizer/first_moment/embedding"), HasSubstr("overlap")));
  Holding shapes = tensors(0, true);
  if (rank_ == last) shapes.items()[0].shard.global = {99, 12};
  expect_all_fail([&] { save(std::move(shapes)); }, ExitStatus::failed,
                  AllOf(HasSubstr("parameters/embedding"), HasSubstr("[99, 12]"), HasSubstr("[16, 12]")));
}

TEST_F(CheckpointOfRanks, AFailingRankFailsAll) {
  const int last = ranks_ - 1;
  for (const auto victim : {files::Operation::create, files::Operation::write, files::Operation::sync}) {
    files::set_observer([&](files::Operation operation, const fs::path& path) {
      return operation == victim && path.string().find("shard") != std::string::npos && rank_ == last ? ENOSPC : 0;
    });
    expect_all_fail([&] { save(tensors(0, true)); }, ExitStatus::failed,
                    AllOf(HasSubstr(fmt::format("shard-{:05}.h5", last)), HasSubstr("No space left on device"),
                          HasSubstr(ranks_ == 1 ? "" : fmt::format("rank {}: ", last))));
  }
  files::set_observer({});
  save(tensors(0, true));
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(100));
}

TEST_F(CheckpointOfRanks, AllHearTheLowestFailingRankWithItsStatus) {
  const auto work = [&] {
    if (rank_ == ranks_ - 1) refuse("key {}", "x");
    if (rank_ > 0) throw std::runtime_error("other");
  };
  const Error error = error_of([&] { together(world_, work); });
  const std::string expected[] = {"key x", "rank 1: key x", "", "rank 1: other"};
  EXPECT_EQ(error.what(), expected[ranks_ - 1]);
  EXPECT_EQ(error.status(), ranks_ == 4 ? ExitStatus::failed : ExitStatus::invalid_input);
  together(world_, [] {});
}

TEST_F(CheckpointOfRanks, AMissingShardIsOnlyMissedWhereItIsWanted) {
  const fs::path folder = save(tensors(0, true));
  if (rank_ == 0) fs::remove(folder / fmt::format("shard-{:05}.h5", ranks_ - 1));
  world_.barrier();
  CheckpointReader reader(folder);
  Holding mine = tensors(0, false);
  if (rank_ < ranks_ - 1) {
    mine.read_from(reader);
    mine.expect_right();
  } else {
    const Error error = error_of([&] { mine.read_from(reader); });
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    EXPECT_THAT(error.what(), HasSubstr(fmt::format("shard-{:05}.h5: no such file", ranks_ - 1)));
  }
}

}  // namespace
}  // namespace trireme
