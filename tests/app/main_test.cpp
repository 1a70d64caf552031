// The built executable, as a user and a job scheduler meet it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "app/commands.h"
#include "tests/app/support.h"

namespace trireme {
namespace {

using test::run_shell;
using test::run_trireme;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

std::string on_ranks(int ranks, const std::string& arguments) {
  return fmt::format("{} {} {} {}", test::mpirun_script(), ranks, test::trireme_executable(), arguments);
}

int occurrences(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Executable, HelpsAndTellsItsVersion) {
  const auto help = run_trireme("--help");
  EXPECT_EQ(help.status, 0);
  EXPECT_THAT(help.out, StartsWith("Trireme"));
  for (const CommandInfo& info : command_list()) {
    EXPECT_THAT(help.out, HasSubstr(info.summary));
    const auto of_command = run_trireme(std::string(info.name) + " --help");
    EXPECT_EQ(of_command.status, 0) << info.name;
    EXPECT_THAT(of_command.out, AllOf(HasSubstr(info.summary), HasSubstr("--config path"))) << info.name;
    EXPECT_THAT(of_command.err, IsEmpty());
  }
  EXPECT_THAT(run_trireme("--version").out, ContainsRegex("^trireme [0-9]+\\.[0-9]+\\.[0-9]+\n$"));
}

TEST(Executable, RefusesAMissingOrUnknownCommand) {
  const auto none = run_trireme("");
  EXPECT_EQ(none.status, 2);
  EXPECT_THAT(none.err, HasSubstr("found no command"));
  const auto unknown = run_trireme("trian");
  EXPECT_EQ(unknown.status, 2);
  EXPECT_EQ(unknown.err,
            "trireme: unknown command 'trian'; did you mean 'train'? 'trireme --help' lists the commands\n");
}

TEST(Executable, RefusesAWrongConfigurationWithOneLine) {
  const auto unknown = run_trireme("train --train.stepz=4");
  EXPECT_EQ(unknown.status, 2);
  EXPECT_EQ(unknown.err, "trireme: unknown key 'train.stepz' (command line); did you mean 'train.steps'?\n");
  const auto wrong = run_trireme("eval --parallel.tensor=two");
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, HasSubstr("parallel.tensor (command line): found 'two', expected an integer >= 1"));
  const auto missing = run_trireme("sample --config=/no/such.ini");
  EXPECT_EQ(missing.status, 2);
  EXPECT_THAT(missing.err, HasSubstr("/no/such.ini"));
  EXPECT_THAT(wrong.out, IsEmpty());
}

TEST(Executable, OneRankSpeaksForAllThatFailAlike) {
  const auto result = run_shell(on_ranks(3, "train --train.stepz=4"));
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(occurrences(result.err, "unknown key"), 1) << result.err;
  EXPECT_THAT(result.err, Not(HasSubstr("rank 0 (")));
  const auto no_data = run_shell(on_ranks(2, "train --data.train=/no/such.h5"));
  EXPECT_EQ(no_data.status, 2);
  EXPECT_EQ(occurrences(no_data.err, "/no/such.h5"), 1) << no_data.err;
}

TEST(Executable, ARankThatFailsAloneEndsTheJob) {
  // Only rank 0 opens the metrics file; the others wait for it in a collective operation.
  const test::TemporaryFolder folder;
  std::string text;
  for (int line = 0; line < 400; ++line) text += fmt::format("第{}行，白日依山尽。\n", line * line);
  test::write_text(folder / "poem.txt", text);
  test::write_text(folder / "notes.txt", "my notes\nof yesterday\n");
  const std::string at = folder.path().string();
  ASSERT_EQ(
      run_trireme(fmt::format("pack text --input={0}/poem.txt --output={0}/set.h5 --tokenizer=characters", at)).status,
      0);
  const auto result = run_shell(on_ranks(
      2, fmt::format("train --data.train={0}/set.h5 --log.metrics={0}/notes.txt --model.layers=2 --model.hidden=32 "
                     "--model.context=16 --train.global_batch=2 --train.micro_batch=1 --train.steps=2",
                     at)));
  EXPECT_EQ(result.status, 2) << result.err;
  EXPECT_THAT(result.err, ContainsRegex("trireme: rank 0 \\([^)]+\\): log.metrics: .*notes.txt:1: found 'my notes'"));
  EXPECT_EQ(occurrences(result.err, "trireme: "), 1) << result.err;
}

TEST(Executable, RanksThatFailDifferentlyAllSpeak) {
  // Only one of the ranks finds its configuration file.
  const test::TemporaryFolder folder;
  test::write_text(folder / "rank-0.ini", "[data]\ntrain = /dev/null\n");
  const std::string script = fmt::format("{} train --config={}/rank-$OMPI_COMM_WORLD_RANK.ini --train.steps=x",
                                         test::trireme_executable(), folder.path().string());
  const auto result = run_shell(fmt::format("{} 2 sh -c '{}'", test::mpirun_script(), script));
  EXPECT_EQ(result.status, 2);
  EXPECT_THAT(result.err, AllOf(ContainsRegex("trireme: rank 0 \\([^)]+\\): train.steps"),
                                ContainsRegex("trireme: rank 1 \\([^)]+\\): --config")));
}

TEST(Executable, ToolsRunUnderMpirun) {
  const auto result = run_shell(on_ranks(1, "inspect /no/such.h5"));
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(occurrences(result.err, "/no/such.h5"), 1);
}

}  // namespace
}  // namespace trireme
