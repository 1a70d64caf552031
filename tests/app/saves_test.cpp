// Checkpoints of a training run: where the disk is full, which of them stay, and what they cost.
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/mount.h>

#include "tests/app/job.h"
#include "tests/app/training_support.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using test::Job;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

class SavesOfARun : public test::TrainingTest {};

/// A disk of a few MiB for this process and what it starts.
class SmallDisk {
 public:
  SmallDisk(fs::path where, const std::string& size) : path_(std::move(where)) {
    fs::create_directories(path_);
    // A name space of its own: however the test ends, nothing stays mounted.
    mounted_ = ::unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::mount("tmpfs", path_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  bool mounted() const { return mounted_; }
  const fs::path& path() const { return path_; }
  /// Takes all the room that there is now.
  void fill() const {
    std::ofstream filler(path_ / "filler", std::ios::binary | std::ios::app);
    const std::string block(4096, 'x');
    while (filler.write(block.data(), 4096).flush()) {
    }
  }
  void make_room() const { fs::remove(path_ / "filler"); }

 private:
  fs::path path_;
  bool mounted_ = false;
};

int times_said(const Job& job, const std::string& words) {
  const std::string text = job.err();
  int times = 0;
  for (auto at = text.find(words); at != std::string::npos; at = text.find(words, at + 1)) ++times;
  return times;
}

TEST_F(SavesOfARun, AFullDiskIsReportedAndTriedAgainWhileTrainingGoesOn) {
  const SmallDisk disk(folder_ / "disk", "2M");
  if (!disk.mounted()) GTEST_SKIP() << "a small disk cannot be mounted here: " << std::strerror(errno);
  const fs::path directory = disk.path() / "run";
  const fs::path metrics = disk.path() / "run.jsonl";
  const std::string command = arguments("--checkpoint.every=10 --checkpoint.keep=1 --checkpoint.directory=") +
                              directory.string() + " --log.metrics=" + metrics.string() + " --train.steps=";
  const auto newest = [&] {
    const auto steps = list_checkpoints(directory);
    return steps.empty() ? 0 : steps.back();
  };
  Job job(2, command + "1000000");  // with log.progress=none
  const auto fill_until_saves_fail = [&] {
    const int before = times_said(job, "NOT SAVED");
    return job.until([&] {
      disk.fill();  // what a failed save gives back, too
      return times_said(job, "NOT SAVED") >= before + 2;
    });
  };
  ASSERT_TRUE(job.until([&] { return newest() > 0; })) << job.err();
  ASSERT_TRUE(fill_until_saves_fail()) << job.err();
  EXPECT_THAT(job.err(), AllOf(HasSubstr("No space left on device"),
                               HasSubstr("the newest checkpoint is of step " + std::to_string(newest()))));
  const std::int64_t last_good = newest();
  EXPECT_FALSE(test::contents_of(checkpoint_path(directory, last_good)).empty());
  const int failures = times_said(job, "NOT SAVED");
  ASSERT_TRUE(job.until([&] {
    disk.fill();
    return times_said(job, "NOT SAVED") >= failures + 2;  // one save in ten steps, or one a second
  })) << job.err();
  EXPECT_TRUE(job.said("run.jsonl' cannot be written now; its lines wait in memory"));
  EXPECT_EQ(newest(), last_good);

  disk.make_room();
  ASSERT_TRUE(job.until([&] { return newest() > last_good; })) << job.err();
  EXPECT_FALSE(job.said("could not be saved"));

  ASSERT_TRUE(fill_until_saves_fail()) << job.err();
  job.signal(1, SIGTERM);
  job.until([&] {
    disk.fill();
    return false;
  });
  EXPECT_EQ(job.wait(), 1);
  EXPECT_THAT(job.err(), AllOf(HasSubstr("checkpoint.directory=" + directory.string()),
                               HasSubstr("could not be saved in 3"), HasSubstr("No space left on device"),
                               HasSubstr("the newest checkpoint is of step " + std::to_string(newest()))));
  disk.make_room();
  const std::int64_t last_step = newest() + 5;
  Job rest(2, command + std::to_string(last_step));
  EXPECT_EQ(rest.wait(), 0) << rest.err();
  EXPECT_THAT(list_checkpoints(directory), ElementsAre(last_step));
  std::istringstream lines(test::read_text(metrics));
  std::int64_t steps = 0;
  for (std::string line; std::getline(lines, line);) EXPECT_EQ(nlohmann::json::parse(line)["step"], ++steps);
  EXPECT_EQ(steps, last_step);
}

/// The number that follows the words in a text.
double number_after(const std::string& text, const std::string& words) {
  const auto at = text.find(words);
  return at == std::string::npos ? -1 : std::atof(text.c_str() + at + words.size());
}

TEST_F(SavesOfARun, WaitingForTheDiskAndNotGiveTheSameRun) {
  const std::string every = "--checkpoint.every=5 --checkpoint.keep=2 --checkpoint.keep_every=15 --train.steps=40 ";
  const auto run = [&](const std::string& name, const std::string& more) {
    const auto result = test::mpirun(2, arguments(every) + "--log.progress=plain --log.metrics=" +
                                            (folder_ / (name + ".jsonl")).string() + checkpoints(name) + more);
    EXPECT_EQ(result.status, 0) << result.err;
    EXPECT_THAT(list_checkpoints(folder_ / name), ElementsAre(15, 30, 35, 40));
    return result.err;
  };
  EXPECT_THAT(run("background", "--checkpoint.background=true"), HasSubstr("B a rank for the copy"));
  const std::string said = run("waiting", "--checkpoint.background=false");
  EXPECT_THAT(said, HasSubstr("training waits while they are written"));
  const auto lines = read_metrics("waiting");
  expect_identical(lines, read_metrics("background"));
  for (const std::int64_t step : {15, 30, 35, 40})
    EXPECT_EQ(test::contents_of(checkpoint_path(folder_ / "background", step)),
              test::contents_of(checkpoint_path(folder_ / "waiting", step)));

  // The step after a save tells what it cost.
  const double waited = number_after(said.substr(said.find("step-00000005 in")), "s, ");
  EXPECT_GT(waited, 0);
  EXPECT_NEAR(lines[5]["checkpoint_stall_seconds"], waited, 0.0051);
  EXPECT_LT(lines[3]["checkpoint_stall_seconds"], waited / 2 + 0.001);
}

}  // namespace
}  // namespace trireme
