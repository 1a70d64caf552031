// A run on four ranks that is killed again and again, in many ways and at any moment, and loses nothing.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <random>
#include <set>

#include "tests/app/job.h"
#include "tests/app/training_support.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using test::Job;
using test::Layout;

constexpr int ranks = 4;
constexpr int keep = 3;
constexpr int every = 5;
constexpr std::chrono::minutes patience{20};  // for a run to its end

class Kills : public test::TrainingTest {
 protected:
  std::string command(const std::string& name, std::int64_t steps, const Layout& layout) const {
    return arguments("--log.timing=false --log.progress=plain --log.every=1000000 --train.validate_every=20") +
           " --data.validation=" + (*shared / "validation.h5").string() +
           " --checkpoint.every=" + std::to_string(every) + " --checkpoint.keep=" + std::to_string(keep) +
           checkpoints(name) + "--log.metrics=" + (folder_ / (name + ".jsonl")).string() +
           " --train.steps=" + std::to_string(steps) + layout.arguments();
  }
  fs::path metrics(const std::string& name) const { return folder_ / (name + ".jsonl"); }
  std::int64_t newest() const {
    const auto steps = list_checkpoints(folder_ / "run");
    return steps.empty() ? 0 : steps.back();
  }

  /// One life of the run, and its end.
  void live_and_die(std::int64_t steps, const Layout& layout) {
    const std::int64_t before = newest();
    Job job(ranks, command("run", steps, layout));
    wait_for_the_moment(job, before);
    if (job.ended()) return;  // nothing was killed
    ++kills_;
    kill(job);
    const auto saving = [](const auto& entry) { return entry.path().extension() == ".partial"; };
    ASSERT_NE(job.wait(), -1) << "processes are left\n" << job.err();
    if (fs::exists(folder_ / "run")) saves_hit_ += std::ranges::any_of(fs::directory_iterator(folder_ / "run"), saving);
    note_committed(job.err());
    check_start(job.err(), before);
    check_checkpoints();
    check_metrics();
  }

  /// Any moment: of the start, of a step, of a save.
  void wait_for_the_moment(Job& job, std::int64_t before) {
    const auto seconds = [this](double most) {
      return std::chrono::duration<double>(std::uniform_real_distribution(0.0, most)(random_));
    };
    const auto look = [this] {
      note_committed();
      return false;
    };
    switch (random_() % 4) {
      case 0:
        job.until([&, end = std::chrono::steady_clock::now() + seconds(0.7)] {
          return look() || std::chrono::steady_clock::now() > end;
        });
        return;
      case 1: {
        const auto step = before + 1 + static_cast<std::int64_t>(random_() % 16);
        job.until([&] { return look() || test::lines_in(metrics("run")) >= step; });
        break;
      }
      default:  // so that the run gets on, however slow the disk is
        job.until([&] { return look() || newest() > before; });
    }
    test::wait_until(look, seconds(0.05));
  }

  void kill(Job& job) {
    switch (random_() % 4) {
      case 0:
        job.signal(static_cast<int>(random_() % ranks), SIGKILL);
        if (job.ranks().empty()) job.kill_mpirun();  // they were not there yet
        break;
      case 1:
        job.kill_ranks();
        if (job.ranks().empty()) job.kill_mpirun();
        break;
      case 2:
        job.kill_mpirun();
        break;
      default:
        job.kill_all();
    }
  }

  /// Remembers what can be seen in the directory, and what the run said that it saved.
  void note_committed(const std::string& said = "") {
    for (const std::int64_t step : list_checkpoints(folder_ / "run")) committed_.insert(step);
    for (const std::int64_t step : numbers_after(said, "saved       " + (folder_ / "run/step-").string()))
      committed_.insert(step);
  }
  static std::vector<std::int64_t> numbers_after(const std::string& text, const std::string& words) {
    std::vector<std::int64_t> numbers;
    for (auto at = text.find(words); at != std::string::npos; at = text.find(words, at + 1))
      numbers.push_back(std::atoll(text.c_str() + at + words.size()));
    return numbers;
  }

  void check_start(const std::string& said, std::int64_t newest_before) {
    for (const std::int64_t step : numbers_after(said, "resumed     step ")) {
      EXPECT_EQ(step, newest_before);
      ++resumed_;
    }
  }
  void check_checkpoints() const {
    const auto found = list_checkpoints(folder_ / "run");
    for (const std::int64_t step : committed_) {
      const auto newer = found.end() - std::ranges::upper_bound(found, step);
      EXPECT_TRUE(newer >= keep || std::ranges::binary_search(found, step)) << "step " << step << " is lost";
    }
    for (const std::int64_t step : found)
      EXPECT_NO_THROW(verify_checkpoint(checkpoint_path(folder_ / "run", step))) << "step " << step;
  }
  /// Every step once, up to the newest checkpoint's at least.
  void check_metrics() const {
    const auto lines = read_metrics("run");
    for (std::size_t i = 0; i < lines.size(); ++i) ASSERT_EQ(lines[i]["step"], i + 1);
    EXPECT_GE(static_cast<std::int64_t>(lines.size()), newest());
  }

  void expect_a_fair_share_of_everything() const {
    EXPECT_GE(saves_hit_, kills_ / 6) << "kills that met a save";
    EXPECT_GE(resumed_, kills_ / 3) << "lives that went on from a checkpoint and could say so";
    std::cout << fmt::format("{} kills, {} of them in a save; {} restarts from a checkpoint, {} checkpoints seen\n",
                             kills_, saves_hit_, resumed_, committed_.size());
  }

  void kill_on_a_fixed_layout(int kills);
  void kill_on_changing_layouts(int kills);

  std::mt19937 random_{20};
  std::set<std::int64_t> committed_;
  int kills_ = 0, saves_hit_ = 0, resumed_ = 0;
};

void Kills::kill_on_a_fixed_layout(int kills) {
  const Layout layout{2, 1, 2};
  const std::int64_t steps = 40 + 30 * kills;
  ASSERT_EQ(Job(ranks, command("undisturbed", steps, layout)).wait(patience), 0);
  while (kills_ < kills && newest() < steps && !HasFailure()) live_and_die(steps, layout);
  EXPECT_EQ(kills_, kills) << "the run was over too soon";
  Job last(ranks, command("run", steps, layout));
  ASSERT_EQ(last.wait(patience), 0) << last.err();
  EXPECT_EQ(test::read_text(metrics("run")), test::read_text(metrics("undisturbed")));
  EXPECT_EQ(list_checkpoints(folder_ / "run"), list_checkpoints(folder_ / "undisturbed"));
  EXPECT_EQ(test::contents_of(checkpoint_path(folder_ / "run", steps)),
            test::contents_of(checkpoint_path(folder_ / "undisturbed", steps)));
  expect_a_fair_share_of_everything();
}

void Kills::kill_on_changing_layouts(int kills) {
  const std::vector<Layout> layouts = {{4, 1, 1}, {1, 4, 1}, {1, 1, 4}, {2, 2, 1}, {2, 1, 2}, {1, 2, 2}};
  const auto any_layout = [&] { return layouts[random_() % layouts.size()]; };
  while (kills_ < kills && !HasFailure()) live_and_die(1'000'000, any_layout());
  const std::int64_t steps = newest() + 10;
  Job last(ranks, command("run", steps, any_layout()));
  ASSERT_EQ(last.wait(patience), 0) << last.err();
  check_checkpoints();
  check_metrics();
  EXPECT_EQ(newest(), steps);
  // The order of sums differs, so the run is the same to rounding, which grows with the steps.
  ASSERT_EQ(Job(ranks, command("undisturbed", std::min<std::int64_t>(steps, 40), {4, 1, 1})).wait(patience), 0);
  const auto undisturbed = read_metrics("undisturbed");
  auto begun = read_metrics("run");
  begun.resize(undisturbed.size());
  expect_close(begun, undisturbed);
  expect_a_fair_share_of_everything();
}

TEST_F(Kills, SixOnAFixedLayoutLeaveTheSameRun) { kill_on_a_fixed_layout(6); }
TEST_F(Kills, LongHundredOnAFixedLayoutLeaveTheSameRun) { kill_on_a_fixed_layout(100); }
TEST_F(Kills, LongHundredOnChangingLayoutsLoseNothing) { kill_on_changing_layouts(100); }

}  // namespace
}  // namespace trireme
