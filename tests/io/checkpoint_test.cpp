#include "io/checkpoint/checkpoint.h"

#include <gmock/gmock.h>
#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <functional>

#include "comm/self_communicator.h"
#include "io/checkpoint/file_operations.h"
#include "io/checkpoint/format.h"
#include "io/checkpoint/sealed_file.h"
#include "io/hdf5.h"
#include "tests/io/checkpoint_support.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Checkpoint : public testing::Test {
 protected:
  Checkpoint() : directory_(fast_directory() / fmt::format("trireme-checkpoint-{}", getpid())) {
    fs::remove_all(directory_);
  }
  ~Checkpoint() override {
    files::set_observer({});
    fs::remove_all(directory_);
  }

  static Holding tensors(bool filled, std::uint64_t seed = 0) {
    Holding holding;
    holding.add("parameters/embedding", whole({24, 6}), filled, seed);
    holding.add("parameters/blocks.0.norm.weight", whole({6}), filled, seed);
    holding.add("optimizer/first_moment/embedding", whole({24, 6}), filled, seed);
    return holding;
  }
  fs::path save(std::int64_t step, std::uint64_t seed = 0) {
    return save_checkpoint(directory_, example_info(step), tensors(true, seed).items(), *world_);
  }
  static void expect_whole(const fs::path& folder, std::uint64_t seed = 0) {
    CheckpointReader reader(folder);
    const Holding read = tensors(false);
    read.read_from(reader);
    read.expect_right(seed);
  }
  static void read_all(const fs::path& folder) {
    CheckpointReader reader(folder);
    tensors(false).read_from(reader);
  }
  static void expect_refused(const fs::path& folder, const std::string& file, const std::string& why) {
    const Error error = error_of([&] { read_all(folder); });
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    EXPECT_THAT(error.what(), AllOf(HasSubstr((folder / file).string()), HasSubstr(why)));
  }
  /// Both reading and verifying must say so.
  static void expect_damaged(const fs::path& folder, const std::string& file, const std::string& why) {
    expect_refused(folder, file, why);
    try {
      verify_checkpoint(folder);
      ADD_FAILURE() << file << " passed for whole; expected: " << why;
    } catch (const DamagedCheckpoint& damage) {
      EXPECT_THAT(damage.what(), AllOf(HasSubstr((folder / file).string()), HasSubstr(why)));
    }
  }

  fs::path directory_;
  std::unique_ptr<Communicator> world_ = make_self_communicator("world");
};

TEST_F(Checkpoint, ComesBackExactly) {
  const CheckpointInfo saved = example_info();
  const fs::path folder = save(100);
  EXPECT_EQ(folder, directory_ / "step-00000100");
  EXPECT_EQ(folder, checkpoint_path(directory_, 100));
  CheckpointReader reader(folder);
  const CheckpointInfo& info = reader.info();
  EXPECT_EQ(info.step, saved.step);
  EXPECT_EQ(info.samples, saved.samples);
  EXPECT_EQ(info.seed, saved.seed);
  EXPECT_EQ(info.configuration, saved.configuration);
  EXPECT_EQ(info.tokenizer_kind, saved.tokenizer_kind);
  EXPECT_EQ(info.tokenizer_model, saved.tokenizer_model);
  EXPECT_EQ(info.tokenizer_vocabulary, saved.tokenizer_vocabulary);
  EXPECT_EQ(info.tokenizer_end_of_text, saved.tokenizer_end_of_text);
  EXPECT_EQ(reader.shards(), 1);
  ASSERT_EQ(reader.entries().size(), 3U);
  EXPECT_EQ(reader.entries()[0].path, "optimizer/first_moment/embedding");
  EXPECT_EQ(reader.entries()[0].shape, Shape({24, 6}));
  EXPECT_EQ(reader.entries()[1].path, "parameters/blocks.0.norm.weight");
  EXPECT_EQ(reader.entries()[1].shape, Shape({6}));
  expect_whole(folder);
}

TEST_F(Checkpoint, AnythingEmptyComesBackEmpty) {
  const fs::path folder = save_checkpoint(directory_, {}, {}, *world_);
  const CheckpointReader reader(folder);
  EXPECT_EQ(reader.info().configuration, "");
  EXPECT_EQ(reader.info().tokenizer_model, "");
  EXPECT_EQ(reader.shards(), 0);
  EXPECT_THAT(reader.entries(), IsEmpty());
}

TEST_F(Checkpoint, ATensorLargerThanTheReadersSlabComesBack) {
  Holding large;
  large.add("parameters/large", whole({5000, 1000}), true);
  CheckpointReader reader(save_checkpoint(directory_, example_info(), large.items(), *world_));
  Holding part;
  part.add("parameters/large", {.global = {5000, 1000}, .offset = {4100, 990}, .extent = {900, 7}}, false);
  part.read_from(reader);
  part.expect_right();
}

TEST_F(Checkpoint, ReadsOfWhatIsNotThereAreRefused) {
  CheckpointReader reader(save(100));
  Holding wrong;
  wrong.add("parameters/other", whole({6}), false);
  wrong.add("parameters/embedding", whole({24, 8}), false);
  const Error unknown = error_of([&] { reader.read(wrong.items()[0]); });
  EXPECT_EQ(unknown.status(), ExitStatus::invalid_input);
  EXPECT_THAT(unknown.what(), AllOf(HasSubstr("model.h5"), HasSubstr("parameters/other")));
  const Error shape = error_of([&] { reader.read(wrong.items()[1]); });
  EXPECT_EQ(shape.status(), ExitStatus::invalid_input);
  EXPECT_THAT(shape.what(), AllOf(HasSubstr("[24, 6]"), HasSubstr("[24, 8]"), HasSubstr("parameters/embedding")));
  Holding beyond;
  beyond.add("parameters/embedding", {.global = {24, 6}, .offset = {20, 0}, .extent = {8, 6}}, false);
  EXPECT_THAT(error_of([&] { reader.read(beyond.items()[0]); }).what(), HasSubstr("24 of the 48"));
}

TEST_F(Checkpoint, OneFlippedBitIsFound) {
  const fs::path folder = save(100);
  const fs::path shard = folder / "shard-00000.h5";
  Holding holding = tensors(true);
  const std::string original = bytes_of(shard);
  for (std::size_t number = 0; number < 3; ++number) {
    const std::vector<float>& values = holding.values(number);
    const std::string pattern(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
    const std::size_t at = original.find(pattern);
    ASSERT_NE(at, std::string::npos);
    std::string damaged = original;
    damaged[at + 21] = static_cast<char>(damaged[at + 21] ^ 4);
    std::ofstream(shard, std::ios::binary) << damaged;
    expect_damaged(folder, fmt::format("shard-00000.h5: /{}", holding.items()[number].path), "checksum");
  }
  std::ofstream(shard, std::ios::binary) << original;
  read_all(folder);
}

TEST_F(Checkpoint, ADamagedTokenizerIsFound) {
  const fs::path folder = save(100);
  std::string bytes = bytes_of(folder / "model.h5");
  bytes[bytes.find("mmmm")] = 'n';
  std::ofstream(folder / "model.h5", std::ios::binary) << bytes;
  expect_damaged(folder, "model.h5", "does not fit its seal");
}

TEST_F(Checkpoint, FilesThatAreMissingCutShortOrForeignAreRefused) {
  const fs::path folder = save(100);
  for (const std::string name : {"shard-00000.h5", "model.h5"}) {
    const std::string original = bytes_of(folder / name);
    fs::resize_file(folder / name, original.size() - 8);
    expect_damaged(folder, name, "truncated");
    fs::resize_file(folder / name, 0);
    expect_damaged(folder, name, "not an HDF5 file");
    fs::remove(folder / name);
    expect_damaged(folder, name, "no such file");
    hdf5::create_file(folder / name).close();
    expect_damaged(folder, name, "format");
    std::ofstream(folder / name, std::ios::binary) << original;
  }
  fs::copy_file(folder / "shard-00000.h5", folder / "model.h5", fs::copy_options::overwrite_existing);
  expect_damaged(folder, "model.h5", "trireme-shard");
  expect_damaged(directory_ / "step-00000007", "model.h5", "no such file");
}

TEST_F(Checkpoint, ShardsOfAnotherStepAreRefused) {
  const fs::path folder = save(100);
  fs::copy_file(save(200) / "shard-00000.h5", folder / "shard-00000.h5", fs::copy_options::overwrite_existing);
  expect_damaged(folder, "shard-00000.h5", "is of step 200, expected 100");
}

TEST_F(Checkpoint, AnotherVersionIsRefusedWithBothNumbersAndIsNoDamage) {
  const fs::path folder = save(100);
  for (const auto& [name, format] :
       {std::pair("shard-00000.h5", checkpoint::shard_format), std::pair("model.h5", checkpoint::model_format)}) {
    const hdf5::Handle file = hdf5::create_file(folder / name);
    hdf5::write_string(file, "format", format);
    hdf5::write_number(file, "version", 7);
    try {
      read_all(folder);
      ADD_FAILURE() << name << " was read";
    } catch (const DamagedCheckpoint& damage) {
      ADD_FAILURE() << damage.what();
    } catch (const Error&) {
      expect_refused(folder, name, "version is 7, this program reads version 1");
    }
  }
}

/// Changes a finished file, which the program itself never does, and seals it anew.
void change(const fs::path& file, const std::function<void(const hdf5::Handle&)>& how) {
  how({TRIREME_HDF5(H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)), H5Fclose});
  const std::string structure = bytes_of(file).substr(512);
  std::ofstream(file, std::ios::binary) << checkpoint::make_seal(std::ssize(structure) + 512, structure) << structure;
}

TEST_F(Checkpoint, AModelFileThatWasNotFinishedIsRefused) {
  const fs::path folder = save(100);
  change(folder / "model.h5", [](const hdf5::Handle& file) { TRIREME_HDF5(H5Adelete(file.get(), "complete")); });
  expect_damaged(folder, "model.h5", "not complete");
}

TEST_F(Checkpoint, ShardsThatAreOnlyClaimedAreNotListed) {
  const fs::path folder = save(100);
  change(folder / "model.h5", [](const hdf5::Handle& file) {
    const int claim = 2'000'000'000;
    hdf5::overwrite_attribute(file, "shards", hdf5::native_type<int>(), &claim);
  });
  const Error error = error_of([&] { verify_checkpoint(folder); });
  EXPECT_THAT(error.what(), AllOf(HasSubstr("shard-00001.h5"), HasSubstr("no such file")));
}

TEST_F(Checkpoint, AMappingOfAnotherRankIsDamage) {
  const fs::path folder = save(100);
  change(folder / "model.h5", [](const hdf5::Handle& file) {
    TRIREME_HDF5(H5Ldelete(file.get(), "parameters/embedding", H5P_DEFAULT));
    const hdf5::Handle properties(TRIREME_HDF5(H5Pcreate(H5P_DATASET_CREATE)), H5Pclose);
    const hdf5::Handle scalar(TRIREME_HDF5(H5Screate(H5S_SCALAR)), H5Sclose);
    TRIREME_HDF5(H5Pset_virtual(properties.get(), scalar.get(), "shard-00000.h5", "x", scalar.get()));
    hdf5::create_dataset(file, "parameters/embedding", H5T_NATIVE_FLOAT, scalar, properties);
  });
  EXPECT_EQ(error_of([&] { verify_checkpoint(folder); }).status(), ExitStatus::invalid_input);
}

TEST_F(Checkpoint, FilesWithoutASealAreRead) {
  const fs::path folder = save(100);
  for (const char* name : {"shard-00000.h5", "model.h5"}) {
    const std::string structure = bytes_of(folder / name).substr(512);
    std::ofstream(folder / name, std::ios::binary) << structure;
  }
  expect_whole(folder);
  verify_checkpoint(folder);
}

TEST_F(Checkpoint, AllThatHaveANameAreListedWholeOrNot) {
  EXPECT_THAT(list_checkpoints(directory_), IsEmpty());
  for (const std::int64_t step : {200, 30, 123456789}) save(step);
  for (const char* name : {"step-00000400.partial", "step-00000500", "step-600", "step-00000700x", "step--0000001",
                           "other", "step-00000030.replaced", "step-00000300.damaged"}) {
    fs::create_directories(directory_ / name);
    if (name != std::string("step-00000500")) std::ofstream(directory_ / name / "model.h5") << "x";
  }
  std::ofstream(directory_ / "step-00000800") << "a file";
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(30, 200, 500, 123456789));
  expect_damaged(directory_ / "step-00000500", "model.h5", "no such file");
}

TEST_F(Checkpoint, ADamagedOneIsSetAside) {
  for (const std::uint64_t seed : {1, 2}) {  // the second time an older one is in the way
    save(200, seed);
    set_aside(save(100, seed));
    EXPECT_THAT(list_checkpoints(directory_), ElementsAre(200));
    expect_whole(directory_ / "step-00000100.damaged", seed);
  }
  prune_checkpoints(directory_, 1);
  expect_whole(directory_ / "step-00000100.damaged", 2);
}

TEST_F(Checkpoint, PruningKeepsEveryMthForEver) {
  for (const std::int64_t step : {10, 15, 20, 25, 30, 35}) save(step);
  fs::create_directories(directory_ / "step-00000040");  // incomplete: does not count among the newest, is not removed
  prune_checkpoints(directory_, 2, 10);
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(10, 20, 30, 35, 40));
  prune_checkpoints(directory_, 1, 20);
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(20, 35, 40));
}

TEST_F(Checkpoint, PruningKeepsTheNewestAndWhatIsNotOurs) {
  for (const std::int64_t step : {1, 2, 3, 4}) save(step);
  fs::create_directories(directory_ / "step-00000005.partial" / "x");
  fs::create_directories(directory_ / "step-00000004.replaced");
  fs::create_directories(directory_ / "mine.partial");
  prune_checkpoints(directory_, 0);
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(1, 2, 3, 4));
  EXPECT_FALSE(fs::exists(directory_ / "step-00000005.partial"));
  EXPECT_FALSE(fs::exists(directory_ / "step-00000004.replaced"));
  prune_checkpoints(directory_, 2);
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(3, 4));
  prune_checkpoints(directory_, 9);
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(3, 4));
  EXPECT_TRUE(fs::exists(directory_ / "mine.partial"));
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), {}), 3);
}

TEST_F(Checkpoint, AnInterruptedPruningLeavesNoHalfCheckpoint) {
  save(1);
  save(2);
  files::set_observer(
      [](files::Operation operation, const fs::path&) { return operation == files::Operation::remove ? EIO : 0; });
  EXPECT_EQ(error_of([&] { prune_checkpoints(directory_, 1); }).status(), ExitStatus::failed);
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(2));
}

TEST_F(Checkpoint, TheSameStepIsReplaced) {
  save(100, 1);
  expect_whole(save(100, 2), 2);
  EXPECT_EQ(std::distance(fs::directory_iterator(directory_), {}), 1);
}

/// Lets every operation of a save fail in turn. Before it there is a checkpoint of the same step; after it, and after
/// the check at the start of the next program, there is a whole one, the old or the new.
void fail_everywhere(const fs::path& directory, const std::function<fs::path(std::uint64_t)>& save,
                     const std::function<void(const fs::path&, std::uint64_t)>& expect_whole, int exchange_error) {
  bool failed = true;
  for (int victim = 0; failed; ++victim) {
    SCOPED_TRACE(fmt::format("operation {} fails", victim));
    files::set_observer({});
    save(1);
    int count = 0;
    int renames = 0;
    bool renamed = false;  // the new one has the name
    files::set_observer([&](files::Operation operation, const fs::path&) {
      if (count++ == victim) return ENOSPC;
      renames += operation == files::Operation::rename ? 1 : 0;
      renamed = exchange_error == 0 ? operation == files::Operation::exchange || renamed : renames == 2;
      return operation == files::Operation::exchange ? exchange_error : 0;
    });
    const Error error = error_of([&] { save(2); });
    failed = error.status() != ExitStatus::done;
    files::set_observer({});
    check_checkpoint_directory(directory);
    ASSERT_THAT(list_checkpoints(directory), ElementsAre(100));
    if (failed) {
      EXPECT_THAT(error.what(), HasSubstr("No space left on device"));
      expect_whole(checkpoint_path(directory, 100), renamed ? 2 : 1);
    } else {
      expect_whole(checkpoint_path(directory, 100), 2);
      EXPECT_GT(victim, 10);
    }
    ASSERT_LT(victim, 100);
  }
}

TEST_F(Checkpoint, AFailureAnywhereLeavesAWholeCheckpoint) {
  for (const int exchange_error : {0, EINVAL}) {
    fail_everywhere(
        directory_, [&](std::uint64_t seed) { return save(100, seed); },
        [](const fs::path& folder, std::uint64_t seed) { expect_whole(folder, seed); }, exchange_error);
  }
}

std::ptrdiff_t open_files() { return std::distance(fs::directory_iterator("/proc/self/fd"), {}); }

TEST_F(Checkpoint, AFullDiskIsAnErrorAndNoCheckpoint) {
  fs::create_directories(directory_);
  Holding large;
  large.add("parameters/large", whole({100, 1000}), true);
  const auto save_large = [&] { save_checkpoint(directory_, example_info(), large.items(), *world_); };
  const std::ptrdiff_t files_before = open_files();
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, SIG_IGN);
  for (const rlim_t bytes : {10'000, 100'000, 401'000}) {
    const rlimit small{bytes, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    const Error error = error_of(save_large);
    setrlimit(RLIMIT_FSIZE, &old);
    EXPECT_EQ(error.status(), ExitStatus::failed) << bytes;
    EXPECT_THAT(error.what(), AllOf(HasSubstr("step-00000100.partial"), HasSubstr("File too large"))) << bytes;
    EXPECT_THAT(list_checkpoints(directory_), IsEmpty());
  }
  EXPECT_EQ(open_files(), files_before);  // a deleted file that is still open would still fill the disk
  save_large();
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(100));
}

TEST_F(Checkpoint, TheDirectoryIsMadeAndTried) {
  check_checkpoint_directory(directory_ / "a" / "b");
  EXPECT_TRUE(fs::is_empty(directory_ / "a" / "b"));
  std::ofstream(directory_ / "file") << "x";
  for (const fs::path& path : {directory_ / "file", directory_ / "file" / "below", fs::path("/proc/checkpoints")}) {
    const Error error = error_of([&] { check_checkpoint_directory(path); });
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    EXPECT_THAT(error.what(), AllOf(HasSubstr("checkpoint.directory=" + path.string()), HasSubstr("cannot")));
  }
  const Error unsaved =
      error_of([&] { save_checkpoint(directory_ / "file", example_info(), tensors(true).items(), *world_); });
  EXPECT_EQ(unsaved.status(), ExitStatus::failed);
  EXPECT_THAT(unsaved.what(), HasSubstr((directory_ / "file").string()));
}

TEST_F(Checkpoint, AnInterruptedReplacementIsTakenBack) {
  fs::rename(save(100), directory_ / "step-00000100.replaced");
  EXPECT_THAT(list_checkpoints(directory_), IsEmpty());
  check_checkpoint_directory(directory_);
  EXPECT_THAT(list_checkpoints(directory_), ElementsAre(100));
  expect_whole(checkpoint_path(directory_, 100));
}

TEST_F(Checkpoint, ATensorThatNobodyWritesIsAnError) {
  Holding holding = tensors(true);
  holding.items()[1].shard.replica = 1;
  const Error error = error_of([&] { save_checkpoint(directory_, example_info(), holding.items(), *world_); });
  EXPECT_THAT(error.what(), AllOf(HasSubstr("parameters/blocks.0.norm.weight"), HasSubstr("replica 0")));
  EXPECT_THAT(list_checkpoints(directory_), IsEmpty());
}

TEST_F(Checkpoint, AMovedFolderStillOpens) {
  const fs::path moved = directory_ / "elsewhere" / "renamed";
  const fs::path folder = save(100);
  fs::create_directories(moved.parent_path());
  fs::rename(folder, moved);
  expect_whole(moved);
  // As another program sees it: through the virtual data set.
  std::vector<std::uint32_t> bits(24 * 6);
  const hdf5::Handle model = hdf5::open_file(moved / "model.h5");
  hdf5::read<float>(hdf5::open_object(model, "parameters/embedding"), {}, {24, 6},
                    reinterpret_cast<float*>(bits.data()));
  for (std::size_t index = 0; index < bits.size(); ++index) {
    EXPECT_EQ(bits[index], bits_at("parameters/embedding", static_cast<std::int64_t>(index)));
  }
}

}  // namespace
}  // namespace trireme
