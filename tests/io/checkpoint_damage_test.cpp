// Whatever happens to the bytes of a checkpoint, it is found, or changes nothing that is loaded.
#include <gmock/gmock.h>

#include <random>

#include "io/checkpoint/format.h"
#include "tests/io/checkpoint_support.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// A checkpoint of three shards: a tensor in three parts, and others that one shard each holds whole.
class CheckpointDamage : public testing::Test {
 protected:
  static constexpr int shards = 3;

  CheckpointDamage() : folder_(fast_directory() / fmt::format("trireme-damage-{}", getpid())) {
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    for (int number = 0; number < shards; ++number) {
      Holding part;
      for (const std::string kind : {"parameters/", "optimizer/first_moment/"}) {
        part.add(kind + "head.weight", shard_of({12, 16}, 0, number, shards), true);
        part.add(fmt::format("{}norm.{}.weight", kind, number), whole({24}), true);
      }
      checkpoint::write_shard(folder_ / checkpoint::shard_file(number), 100, part.items());
    }
    CheckpointInfo info = example_info();
    info.tokenizer_model.resize(2000);
    checkpoint::write_model(folder_, info, shards, checkpoint::read_shards(folder_, shards));
    for (const auto& entry : fs::directory_iterator(folder_)) files_.push_back(entry.path());
    std::sort(files_.begin(), files_.end());
  }
  ~CheckpointDamage() override { fs::remove_all(folder_); }

  /// Loads everything; what comes back must be what was saved.
  void expect_all_right() const {
    CheckpointReader reader(folder_);
    Holding all;
    for (const auto& [path, shape] : reader.entries()) all.add(path, whole(shape), false);
    ASSERT_EQ(all.items().size(), 2U * (1 + shards));
    all.read_from(reader);
    all.expect_right();
    CheckpointInfo expected = example_info();
    expected.tokenizer_model.resize(2000);
    const CheckpointInfo& info = reader.info();
    EXPECT_TRUE(info.step == expected.step && info.samples == expected.samples && info.seed == expected.seed);
    EXPECT_TRUE(info.configuration == expected.configuration && info.tokenizer_model == expected.tokenizer_model);
  }

  /// Whether verifying finds the damage; where it does not, loading must not be changed by it.
  bool is_found() const {
    bool found = false;
    try {
      verify_checkpoint(folder_);
    } catch (const DamagedCheckpoint& damage) {
      found = true;
      EXPECT_THAT(damage.what(), HasSubstr(folder_.string()));
    }
    // Loading may meet the damage too; then it says so, or it gives what was saved.
    try {
      expect_all_right();
    } catch (const DamagedCheckpoint&) {
      EXPECT_TRUE(found);
    }
    return found;
  }

  /// Damages one file after the other in `count` ways, and mends it again. Returns how many were found.
  template <typename Damage>
  int count_found(int count, Damage damage) {
    int found = 0;
    for (int number = 0; number < count && !HasFailure(); ++number) {
      const fs::path& file = files_[static_cast<std::size_t>(number) % files_.size()];
      const std::string original = bytes_of(file);
      std::string bytes = original;
      SCOPED_TRACE(fmt::format("{} {}: {}", number, file.string(), damage(bytes)));
      write(file, bytes);
      found += is_found() ? 1 : 0;
      write(file, original);
    }
    EXPECT_FALSE(is_found());
    return found;
  }
  std::size_t below(std::size_t end) { return std::uniform_int_distribution<std::size_t>(0, end - 1)(random_); }
  static void write(const fs::path& file, const std::string& bytes) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << bytes;
  }

  fs::path folder_;
  std::vector<fs::path> files_;
  std::mt19937_64 random_{20260512};
};

TEST_F(CheckpointDamage, AThousandFlippedBits) {
  const int found = count_found(1000, [&](std::string& bytes) {
    const std::size_t bit = below(bytes.size() * 8);
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    return fmt::format("bit {} of {}", bit, bytes.size() * 8);
  });
  // No byte is unused: alignment between data sets of odd sizes could be.
  EXPECT_EQ(found, 1000);
}

TEST_F(CheckpointDamage, FilesThatAreCutShort) {
  EXPECT_EQ(count_found(100,
                        [&](std::string& bytes) {
                          bytes.resize(below(bytes.size()));
                          return fmt::format("cut to {} bytes", bytes.size());
                        }),
            100);
}

TEST_F(CheckpointDamage, LostSectors) {
  EXPECT_EQ(count_found(100,
                        [&](std::string& bytes) {
                          const std::size_t sector = below(bytes.size()) / 512 * 512;
                          const std::string lost(std::min<std::size_t>(512, bytes.size() - sector), '\xa5');
                          bytes.replace(sector, lost.size(), lost);
                          return fmt::format("sector at {}", sector);
                        }),
            100);
}

TEST_F(CheckpointDamage, ShardsThatChangedPlaces) {
  fs::rename(files_[1], folder_ / "other");
  fs::rename(files_[2], files_[1]);
  fs::rename(folder_ / "other", files_[2]);
  const Error verified = error_of([&] { verify_checkpoint(folder_); });
  EXPECT_THAT(verified.what(), AllOf(HasSubstr("shard-00000.h5"), HasSubstr("does not hold what model.h5 says")));
  Holding head;
  head.add("parameters/head.weight", whole({12, 16}), false);
  CheckpointReader reader(folder_);
  EXPECT_THAT(error_of([&] { reader.read(head.items()[0]); }).what(), HasSubstr("its place in the tensor"));
}

TEST_F(CheckpointDamage, EachPartFindsWhatIsItsToFind) {
  const std::string original = bytes_of(files_[2]);  // shard 1
  std::string bytes = original;
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  write(files_[2], bytes);
  for (int part = 0; part < 2; ++part) {
    const Error error = error_of([&] { verify_checkpoint(folder_, part, 2); });
    EXPECT_EQ(error.status() == ExitStatus::done, part == 0) << error.what();
  }
  fs::remove(files_[0]);  // model.h5 is everybody's
  for (int part = 0; part < 2; ++part) {
    EXPECT_THAT(error_of([&] { verify_checkpoint(folder_, part, 2); }).what(), HasSubstr("model.h5: no such file"));
  }
}

}  // namespace
}  // namespace trireme
