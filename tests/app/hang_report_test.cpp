#include "app/hang_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace trireme {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

ThreadReport main_thread(const std::string& activity, Waits waits, double still = 12) {
  return {.name = "main", .activity = activity, .waits = waits, .still = still};
}

HangReport report(std::vector<RankReport> ranks) {
  return {.host = "a", .limit = "limit = 10 s", .patience = 10, .noticed_by = 0, .ranks = std::move(ranks)};
}

const std::string reduce = "training > step 17 > all_reduce in world (3 elements)";

TEST(HangReportTest, NamesTheProcessThatIsStopped) {
  const std::string text =
      report({{.rank = 4, .process = 100, .threads = {main_thread(reduce, Waits::for_ranks)}},
              {.rank = 5,
               .process = 101,
               .trouble = "is stopped by a signal",
               .threads = {main_thread("training > step 17 > microbatch 3 > forward", Waits::no, 12.4)}}})
          .to_string();
  EXPECT_THAT(text, StartsWith("trireme: rank 5 (host a) has not moved for 12 s: training > step 17 > microbatch 3 > "
                               "forward; the process is stopped by a signal\n"
                               "  rank 4 (process 100), main, for 12.0 s: " +
                               reduce + "\n"));
  EXPECT_THAT(text, HasSubstr("trireme: rank 5 is stopped by a signal; the others wait for it, or will\n"
                              "trireme: the job ends with status 1 (limit = 10 s)\n"));
}

TEST(HangReportTest, TellsOfADeathAndWhereAllWere) {
  const std::string text = report({{.rank = 4, .process = 100, .threads = {main_thread(reduce, Waits::for_ranks, 0.2)}},
                                   {.rank = 5,
                                    .process = 101,
                                    .trouble = "has ended",
                                    .threads = {main_thread("training > step 17 > forward", Waits::no, 0.1)}}})
                               .death_of(1);
  EXPECT_EQ(text,
            "trireme: rank 5 (host a, process 101) has died: killed, or crashed. Where the ranks here were:\n"
            "  rank 4 (process 100), main, for 0.2 s: " +
                reduce +
                "\n"
                "  rank 5 (process 101, which has ended), main, for 0.1 s: training > step 17 > forward\n");
}

TEST(HangReportTest, NamesTheThreadThatWaitsForNobody) {
  const ThreadReport writer = {
      .name = "checkpoint", .activity = "flushing to disk /x/shard", .waits = Waits::no, .still = 11};
  const ThreadReport busy = {.name = "loader", .activity = "sample 7", .waits = Waits::no, .still = 0.1};
  const std::string text =
      report({{.rank = 0, .process = 100, .threads = {main_thread("step 2", Waits::no, 0.2)}},
              {.rank = 1, .process = 101, .threads = {main_thread("step 2", Waits::no, 0.2), busy, writer}}})
          .to_string();
  EXPECT_THAT(text, StartsWith("trireme: rank 1's thread \"checkpoint\" (host a) has not moved for 11 s: flushing"));
  EXPECT_THAT(text, HasSubstr("trireme: rank 1's thread \"checkpoint\" hangs in flushing to disk /x/shard; the others "
                              "wait for it, or will\n"));
}

TEST(HangReportTest, TellsWhoWaitsWhereWhenAllWait) {
  HangReport all = report({{.rank = 0, .process = 1, .threads = {main_thread(reduce, Waits::for_ranks)}},
                           {.rank = 1, .process = 2, .threads = {main_thread("a > barrier in b", Waits::for_ranks)}},
                           {.rank = 2, .process = 3, .threads = {main_thread("c > barrier in b", Waits::for_ranks)}},
                           {.rank = 3, .process = 4, .threads = {}}});
  EXPECT_THAT(all.to_string(), StartsWith("trireme: rank 0 (host a) has not moved for 12 s: " + reduce + "\n"));
  EXPECT_THAT(all.to_string(), HasSubstr("\n  rank 3 (process 4) is at nothing that is watched\n"));
  EXPECT_THAT(all.to_string(), HasSubstr("trireme: every rank waits for others: rank 0 in all_reduce in world (3 "
                                         "elements); ranks 1, 2 in barrier in b\n"));
  all.other_hosts = true;
  EXPECT_THAT(all.to_string(), HasSubstr("trireme: every rank of this host waits for others: "));
}

TEST(HangReportTest, PrintsAStackOnceForAllThatHaveIt) {
  const std::string mine = "main\n  MPI_Wait\n  main\n\n";
  const std::string text = report({{.rank = 0, .stacks = mine},
                                   {.rank = 1, .stacks = "main\n  pause\n\nloader\n  pread\n\n"},
                                   {.rank = 2, .stacks = mine}})
                               .to_string();
  EXPECT_THAT(text, HasSubstr("stack of ranks 0, 2, main\n  MPI_Wait\n  main\n"
                              "stack of rank 1, main\n  pause\n"
                              "stack of rank 1, loader\n  pread\n"));
}

TEST(HangReportTest, ManyCulpritsAreCounted) {
  std::vector<RankReport> ranks;
  for (int rank = 0; rank < 6; ++rank)
    ranks.push_back({.rank = rank, .process = rank, .threads = {main_thread("opening /nfs/x", Waits::no)}});
  const std::string text = report(ranks).to_string();
  EXPECT_THAT(text, HasSubstr("trireme: rank 0 hangs in opening /nfs/x; "));
  EXPECT_THAT(text, HasSubstr("; 2 more are like that\n"));
  EXPECT_THAT(text, Not(HasSubstr("the others wait")));
}

}  // namespace
}  // namespace trireme
