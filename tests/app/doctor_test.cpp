// `trireme doctor` as a user meets it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include "tests/app/training_support.h"

namespace trireme {
namespace {

using test::mpirun;
using test::ProcessResult;
using test::run_shell;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

struct Line {
  std::string verdict, check, text;
};

/// The report, each line of which must have its form.
std::vector<Line> lines_of(const ProcessResult& result) {
  std::vector<Line> lines;
  std::istringstream out(result.out);
  const std::regex form(R"((OK|WARN|FAIL) {2,4}([a-z-]+) {2,}(\S.*))"), close(R"(\d+ WARN, \d+ FAIL)");
  bool closed = false;
  for (std::string text; std::getline(out, text);) {
    std::smatch match;
    EXPECT_FALSE(closed) << text;
    if (std::regex_match(text, match, form))
      lines.push_back({match[1], match[2], match[3]});
    else
      EXPECT_TRUE(closed = std::regex_match(text, close)) << text;
  }
  EXPECT_TRUE(closed) << result.out << result.err;
  return lines;
}

/// The line of a check; an empty one where it has none.
Line line(const std::vector<Line>& lines, const std::string& check) {
  const auto found = std::ranges::find(lines, check, &Line::check);
  return found == lines.end() ? Line{} : *found;
}

class Doctor : public test::TrainingTest {
 protected:
  static std::string doctor(const std::string& more) {
    return "doctor --config=" + (*shared / "run.ini").string() + " " + more;
  }
  /// A shell of its own in which file systems may be mounted; skips the test where there is none.
  static ProcessResult in_own_mounts(const std::string& commands) {
    return run_shell("unshare --mount sh -c '" + commands + "'");
  }
  static bool can_mount() { return in_own_mounts("mount -t tmpfs none /mnt").status == 0; }
};

TEST_F(Doctor, OneRankAlone) {
  const ProcessResult result = test::run_trireme(doctor(checkpoints("new/checkpoints")));
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  EXPECT_THAT(result.err, IsEmpty());
  const auto lines = lines_of(result);
  for (const char* check :
       {"launcher", "hosts", "cores", "versions", "limits", "data", "layout", "memory", "directory", "space"})
    EXPECT_EQ(line(lines, check).verdict, "OK") << check;
  EXPECT_THAT(line(lines, "launcher").text, StartsWith("none"));
  EXPECT_THAT(line(lines, "directory").text, HasSubstr("(train will make it)"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "new"));
}

TEST_F(Doctor, RanksOfOneHost) {
  const ProcessResult result = mpirun(4, doctor(checkpoints("checkpoints")));
  EXPECT_EQ(result.status, 0) << result.out << result.err;
  const auto lines = lines_of(result);
  EXPECT_THAT(line(lines, "launcher").text, StartsWith("mpirun"));
  EXPECT_THAT(line(lines, "hosts").text, StartsWith("4 ranks on 1 host"));
  EXPECT_THAT(line(lines, "versions").text, HasSubstr("the same everywhere"));
  EXPECT_THAT(line(lines, "network").text, HasSubstr("shared memory"));
  EXPECT_THAT(line(lines, "same-host").text, ContainsRegex("[0-9] [um]?s, [0-9.]+ [MG]B/s one way"));
  EXPECT_THAT(line(lines, "all-reduce").text, ContainsRegex("8 B in [0-9.]+ [um]?s, 4.19 MB in [0-9.]+ [um]?s"));
  EXPECT_EQ(line(lines, "between-hosts").text, "");
}

TEST_F(Doctor, WarnsOfMoreRanksThanCores) {
  const std::string command =
      "taskset -c 0 " + test::mpirun_script() + " 2 " + test::trireme_executable() + " " + doctor("");
  const ProcessResult result = run_shell(command);
  EXPECT_EQ(result.status, 0) << result.err;
  const auto lines = lines_of(result);
  EXPECT_EQ(line(lines, "cores").verdict, "WARN");
  EXPECT_THAT(line(lines, "cores").text, HasSubstr("2 ranks of 1 thread on 1 core: they take turns; start at most 1"));
}

TEST_F(Doctor, FindsAnotherLibraryOnSomeRanks) {
  // A copy of the program whose build ID is another, as another build's would be, and a library's likewise.
  const ProcessResult made = run_shell(
      "cd " + folder_.path().string() + " && cp " + test::trireme_executable() +
      " other && library=$(ldd other | awk '/libfmt/ {print $3}') && " +
      "cp \"$library\" . && for file in other libfmt*; do objcopy --dump-section .note.gnu.build-id=note $file && " +
      "head -c 16 note >new && head -c 20 /dev/zero | tr '\\0' Z >>new && objcopy --update-section "
      ".note.gnu.build-id=new $file; done");
  if (made.status != 0) GTEST_SKIP() << "objcopy cannot make another build: " << made.err;
  const auto run = [&](const std::string& second) {
    return run_shell(test::mpirun_script() + " 1 " + test::trireme_executable() + " " + doctor("") + " : -n 1 " +
                     second + " " + doctor(""));
  };
  const auto program = run((folder_ / "other").string());
  EXPECT_EQ(program.status, 0) << program.err;
  EXPECT_THAT(line(lines_of(program), "versions").text,
              ContainsRegex("^trireme is [^,]*on rank 0, 0.*5a5a5a5a\\) on rank 1"));
  const auto library = run("env LD_LIBRARY_PATH=" + folder_.path().string() + " " + test::trireme_executable());
  const Line versions = line(lines_of(library), "versions");
  EXPECT_EQ(versions.verdict, "WARN");
  EXPECT_THAT(versions.text, ContainsRegex("^libfmt.so[^ ]* is [^,]*on rank 0, .*5a5a5a5a\\) on rank 1"));
}

TEST_F(Doctor, RefusesWrongOptions) {
  const ProcessResult key = mpirun(2, doctor("--doctor.timeouts=3"));
  EXPECT_EQ(key.status, 2);
  EXPECT_THAT(key.err, HasSubstr("did you mean 'doctor.timeout'"));
  EXPECT_EQ(test::run_trireme("doctor --timeout=0").status, 2);
}

TEST_F(Doctor, FailsForALayoutThatCannotWorkAndDataThatOneRankCannotOpen) {
  const std::string program = test::trireme_executable() + " " + doctor("--parallel.tensor=3 ");
  const ProcessResult result =
      run_shell(test::mpirun_script() + " 1 " + program + " : -n 1 " + program + "--data.train=/no/such.h5");
  EXPECT_EQ(result.status, 1);
  const auto lines = lines_of(result);
  EXPECT_EQ(line(lines, "layout").verdict, "FAIL");
  EXPECT_THAT(line(lines, "layout").text, HasSubstr("parallel.tensor = 3"));
  EXPECT_EQ(line(lines, "data").verdict, "FAIL");
  EXPECT_THAT(line(lines, "data").text, AllOf(StartsWith("rank 1 ("), HasSubstr("/no/such.h5")));
}

TEST_F(Doctor, FailsForADirectoryThatCannotBeWritten) {
  if (!can_mount()) GTEST_SKIP() << "no right to mount file systems";
  const std::string run = test::mpirun_script() + " 2 " + test::trireme_executable() + " ";
  const std::string mounted = "mount -t tmpfs -o ro none /mnt && " + run;
  const ProcessResult result = in_own_mounts(mounted + doctor("--checkpoint.directory=/mnt/run"));
  EXPECT_EQ(result.status, 1) << result.err;
  const Line directory = line(lines_of(result), "directory");
  EXPECT_EQ(directory.verdict, "FAIL");
  EXPECT_THAT(directory.text, AllOf(HasSubstr("checkpoint.directory=/mnt/run"), HasSubstr("Read-only file system")));
}

TEST_F(Doctor, FailsForADirectoryWithoutRoomAndTrainRefusesIt) {
  if (!can_mount()) GTEST_SKIP() << "no right to mount file systems";
  const std::string run = test::mpirun_script() + " 2 " + test::trireme_executable() + " ";
  const std::string mounted = "mount -t tmpfs -o size=128k none /mnt && " + run;
  const ProcessResult result = in_own_mounts(mounted + doctor("--checkpoint.directory=/mnt/run"));
  EXPECT_EQ(result.status, 1) << result.err;
  const auto lines = lines_of(result);
  EXPECT_EQ(line(lines, "directory").verdict, "OK");
  EXPECT_EQ(line(lines, "space").verdict, "FAIL");
  EXPECT_THAT(line(lines, "space").text, AllOf(HasSubstr("131 kB free"), HasSubstr("a checkpoint takes 3")));

  const ProcessResult train = in_own_mounts(mounted + arguments("--train.steps=1 --checkpoint.directory=/mnt/run"));
  EXPECT_EQ(train.status, 2) << train.err;
  EXPECT_THAT(train.err, HasSubstr("checkpoint.directory=/mnt/run: 131 kB free"));
}

#ifdef TRIREME_STOP_AT_LIBRARY
/// Rank 1 of 3 stops at a call.
ProcessResult with_stopped_rank(const std::string& arguments, const std::string& call) {
  const std::string plain = test::trireme_executable() + " " + arguments;
  return run_shell(test::mpirun_script() + " 1 " + plain +
                   " : -n 1 env LD_PRELOAD=" TRIREME_STOP_AT_LIBRARY " TRIREME_STOP_AT=" + call + " " + plain +
                   " : -n 1 " + plain);
}

TEST_F(Doctor, NamesARankThatIsSilent) {
  if (!std::filesystem::exists(TRIREME_STOP_AT_LIBRARY)) GTEST_SKIP() << "not in the folder that built this";
  // Its facts never come.
  const ProcessResult facts = with_stopped_rank(doctor("--timeout=2"), "MPI_Isend:1");
  EXPECT_EQ(facts.status, 1);
  EXPECT_THAT(line(lines_of(facts), "answers").text, StartsWith("rank 1 did not answer in 2 s"));
  // It stops in the ring, after two messages with its facts.
  const ProcessResult ring = with_stopped_rank(doctor("--timeout=2"), "MPI_Isend:3");
  EXPECT_EQ(ring.status, 1);
  const auto lines = lines_of(ring);
  EXPECT_EQ(line(lines, "versions").verdict, "OK");
  const Line silent = line(lines, "same-host");
  EXPECT_EQ(silent.verdict, "FAIL");
  EXPECT_THAT(silent.text, ContainsRegex("^ranks 0 \\([^)]*\\) and 1 \\([^)]*\\): rank 1 does not answer rank 0"));
}

TEST_F(Doctor, EndsWhenMpiDoesNotStart) {
  if (!std::filesystem::exists(TRIREME_STOP_AT_LIBRARY)) GTEST_SKIP() << "not in the folder that built this";
  const ProcessResult result = with_stopped_rank(doctor("--timeout=0.5"), "MPI_Comm_split_type:1");
  EXPECT_EQ(result.status, 1);
  EXPECT_THAT(result.out, ContainsRegex("FAIL  start +rank 0 .*: MPI has not brought all ranks together in 1.5 s"));
}
#endif

}  // namespace
}  // namespace trireme
