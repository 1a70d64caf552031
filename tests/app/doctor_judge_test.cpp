// What facts about ranks mean: clusters that this machine is not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "app/doctor/demand.h"
#include "app/doctor/judge.h"
#include "app/doctor/launch.h"
#include "model/parameter.h"

namespace trireme {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

auto is(Verdict verdict, const ::testing::Matcher<const std::string&>& text) {
  return AllOf(Field(&Finding::verdict, verdict), Field(&Finding::text, text));
}

std::vector<int> cores(int first, int count) {
  std::vector<int> list(static_cast<std::size_t>(count));
  std::iota(list.begin(), list.end(), first);
  return list;
}

/// Ranks of a job under mpirun in good order: hosts of 8 cores, each rank bound to its share of them.
Ranks cluster(int hosts, int ranks_per_host) {
  Ranks ranks;
  for (int host = 0; host < hosts; ++host)
    for (int local = 0; local < ranks_per_host; ++local) {
      RankFacts& facts = ranks.emplace_back();
      facts.host = "node" + std::to_string(host);
      facts.local_rank = local;
      facts.launch = {.launcher = "mpirun", .process_manager = "PMIx 4.2.2", .processes = hosts * ranks_per_host};
      const int share = 8 / ranks_per_host;
      facts.cores = cores(local * share, share);
      facts.host_cores = cores(0, 8);
      facts.threads = share;
      facts.memory = 64e9;
      facts.shared_memory = 8e9;
      facts.open_files = 1024;
      facts.parts = {"btl_vader", "btl_tcp", "pml_ob1"};
    }
  ranks.front().libraries = {{"trireme", "0.1.0", "aaaa1111"}, {"libx.so.1", "libx.so.1.2", "bbbb2222"}};
  return ranks;
}

TEST(DoctorJudge, KnowsTheLauncherByItsEnvironment) {
  const Launch mpirun = launch_of({{"OMPI_COMM_WORLD_SIZE", "4"}, {"PMIX_RANK", "0"}, {"PMIX_VERSION", "4.2.2"}});
  EXPECT_EQ(mpirun.launcher, "mpirun");
  EXPECT_EQ(mpirun.process_manager, "PMIx 4.2.2");
  EXPECT_EQ(mpirun.processes, 4);
  const Environment step = {
      {"SLURM_JOB_ID", "17"}, {"SLURM_PROCID", "0"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_NTASKS", "4"}};
  EXPECT_EQ(launch_of(step).launcher, "srun in Slurm job 17");
  EXPECT_EQ(launch_of(step).processes, 4);
  // Started by mpirun's daemon, which srun started.
  Environment below = step;
  below["OMPI_COMM_WORLD_SIZE"] = "8";
  EXPECT_EQ(launch_of(below).launcher, "mpirun in Slurm job 17");
  EXPECT_EQ(launch_of(below).processes, 8);
  const Launch script = launch_of({{"SLURM_JOB_ID", "17"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}});
  EXPECT_EQ(script.launcher, "");
  EXPECT_EQ(script.slurm_tasks, 4);
  EXPECT_EQ(launch_of({}).processes, 1);
}

TEST(DoctorJudge, ProcessesThatMpiDidNotJoinFail) {
  RankFacts facts;
  facts.launch = {.launcher = "srun in Slurm job 17", .process_manager = "", .processes = 4};
  EXPECT_THAT(judge_launcher(facts, 1), is(Verdict::fail, AllOf(HasSubstr("started 4 processes, but MPI joins 1"),
                                                                HasSubstr("srun --mpi=pmix"))));
  EXPECT_THAT(judge_launcher(facts, 4), is(Verdict::ok, StartsWith("srun in Slurm job 17")));
  facts.launch = {.launcher = "", .process_manager = "", .processes = 1, .slurm_tasks = 4};
  EXPECT_THAT(judge_launcher(facts, 1), is(Verdict::warn, HasSubstr("one rank in a Slurm job of 4 tasks")));
  facts.launch.slurm_tasks = 1;
  EXPECT_THAT(judge_launcher(facts, 1), is(Verdict::ok, StartsWith("none")));
}

TEST(DoctorJudge, TellsHostsAndTheirRanks) {
  EXPECT_EQ(judge_hosts(cluster(2, 2)).text, "4 ranks on 2 hosts: node0 (ranks 0-1), node1 (ranks 2-3)");
  EXPECT_THAT(judge_hosts(cluster(5, 1)).text, EndsWith("node2 (rank 2) and 2 more"));
}

TEST(DoctorJudge, CoresAreSharedOut) {
  EXPECT_THAT(judge_cores(cluster(2, 2)),
              ElementsAre(is(Verdict::ok, "node0, node1: 2 ranks of 4 threads on 8 cores, bound")));

  Ranks many = cluster(2, 8);
  for (std::size_t rank = 8; rank < 16; ++rank) many[rank].cores = {0, 1};
  EXPECT_THAT(
      judge_cores(many),
      ElementsAre(is(Verdict::ok, StartsWith("node0: ")),
                  is(Verdict::warn, "node1: 8 ranks of 1 thread on 2 cores: they take turns; start at most 2 there")));

  Ranks threads = cluster(1, 2);
  for (RankFacts& facts : threads) facts.threads = 8;
  EXPECT_THAT(judge_cores(threads),
              ElementsAre(is(Verdict::warn, EndsWith("leave OMP_NUM_THREADS out or set it to 4"))));

  Ranks bound = cluster(1, 2);
  for (RankFacts& facts : bound) facts.cores = {facts.local_rank}, facts.threads = 1;
  EXPECT_THAT(judge_cores(bound),
              ElementsAre(is(Verdict::warn,
                             AllOf(HasSubstr("2 cores, to which they are bound, of 8"), HasSubstr("--bind-to none")))));

  Ranks contained = cluster(1, 4);
  for (RankFacts& facts : contained) facts.core_quota = 2;
  EXPECT_THAT(judge_cores(contained),
              ElementsAre(is(Verdict::warn, HasSubstr("2 cores (a control group's limit, of 8)"))));
}

TEST(DoctorJudge, BuildsThatDifferAreNamed) {
  Ranks ranks = cluster(2, 2);
  EXPECT_THAT(judge_versions(ranks), ElementsAre(is(Verdict::ok, AllOf(HasSubstr("trireme 0.1.0 (build aaaa1111)"),
                                                                       HasSubstr("the same everywhere")))));
  for (const std::size_t rank : {2U, 3U}) ranks[rank].libraries = {{"libx.so.1", "libx.so.1.3", "cccc3333"}};
  EXPECT_THAT(
      judge_versions(ranks),
      ElementsAre(is(Verdict::warn, StartsWith("libx.so.1 is libx.so.1.2 (build bbbb2222) on rank 0, libx.so.1.3 "
                                               "(build cccc3333) on ranks 2-3 (node1): "))));
  ranks[3].libraries.push_back({"trireme", "0.1.0", "dddd4444"});
  EXPECT_THAT(judge_versions(ranks),
              ElementsAre(is(Verdict::warn, HasSubstr("trireme is 0.1.0 (build aaaa1111) on rank "
                                                      "0, 0.1.0 (build dddd4444) on rank 3 (node1)"))));
}

TEST(DoctorJudge, LimitsThatBite) {
  Ranks ranks = cluster(2, 2);
  EXPECT_THAT(judge_shared_memory(ranks), ElementsAre(is(Verdict::ok, StartsWith("node0, node1: "))));
  EXPECT_THAT(judge_limits(ranks), ElementsAre(is(Verdict::ok, HasSubstr("1024 open files"))));
  ranks[2].shared_memory = 1e6;
  EXPECT_THAT(judge_shared_memory(ranks),
              ElementsAre(is(Verdict::ok, StartsWith("node0: ")),
                          is(Verdict::warn, AllOf(StartsWith("node1: 1 MB free"), HasSubstr("--shm-size")))));
  ranks[2].open_files = 64;
  ranks[0].infiniband = true;
  ranks[0].locked_memory = 65536;
  EXPECT_THAT(judge_limits(ranks), ::testing::UnorderedElementsAre(
                                       is(Verdict::warn, AllOf(StartsWith("node1: "), HasSubstr("64 files"))),
                                       is(Verdict::warn, AllOf(StartsWith("node0: 65.5 kB"), HasSubstr("ulimit -l")))));
}

TEST(DoctorJudge, GpusOnSomeHostsOnly) {
  Ranks ranks = cluster(2, 2);
  EXPECT_THAT(judge_gpus(ranks, DeviceChoice::automatic), IsEmpty());
  EXPECT_THAT(judge_gpus(ranks, DeviceChoice::cuda), ElementsAre(is(Verdict::fail, HasSubstr("train.device=cuda"))));
  ranks[0].gpus = ranks[1].gpus = 1;
  EXPECT_THAT(
      judge_gpus(ranks, DeviceChoice::automatic),
      ::testing::UnorderedElementsAre(is(Verdict::ok, "node0: 1 GPU for 2 ranks"),
                                      is(Verdict::fail, StartsWith("node1: no usable GPU, but other hosts have"))));
  EXPECT_THAT(judge_gpus(ranks, DeviceChoice::cpu), IsEmpty());
}

TEST(DoctorJudge, DataSetsThatDiffer) {
  Ranks ranks = cluster(2, 1);
  EXPECT_THAT(judge_data(ranks), IsEmpty());
  ranks[0].data_size = ranks[1].data_size = "1000 tokens";
  EXPECT_THAT(judge_data(ranks), ElementsAre(is(Verdict::ok, HasSubstr("1000 tokens"))));
  ranks[1].data_size = "900 tokens";
  EXPECT_THAT(judge_data(ranks),
              ElementsAre(is(Verdict::fail, HasSubstr("1000 tokens on node0, but 900 tokens on node1"))));
  ranks[1].data_error = "data/train.h5: found nothing there";
  EXPECT_THAT(judge_data(ranks), ElementsAre(is(Verdict::fail, StartsWith("rank 1 (node1): data/train.h5"))));
}

TEST(DoctorJudge, ClocksThatAreOff) {
  EXPECT_THAT(judge_clocks({{"node1", -0.002}, {"node2", 0.0004}}), is(Verdict::ok, "within 2 ms of each other"));
  EXPECT_THAT(judge_clocks({{"node1", 0.1}, {"node2", -3.5}}),
              is(Verdict::warn, StartsWith("node2 is 3.50 s behind rank 0's host")));
}

TEST(DoctorJudge, LinksByClass) {
  Ranks ranks = cluster(4, 2);
  std::vector<PairReport> pairs;
  for (int rank = 0; rank < 8; ++rank)
    pairs.push_back(
        {std::min(rank, (rank + 1) % 8), std::max(rank, (rank + 1) % 8), 1e-6, rank % 2 == 0 ? 9e9 : 1e9, ""});
  const auto links = judge_links(ranks, pairs);
  ASSERT_EQ(links.size(), 2U);
  EXPECT_EQ(links[0].check, "same-host");
  EXPECT_THAT(links[0], is(Verdict::ok, StartsWith("1 us, 9 GB/s one way in the slowest of 4 pairs")));
  EXPECT_EQ(links[1].check, "between-hosts");
  EXPECT_THAT(links[1], is(Verdict::ok, HasSubstr("1 GB/s")));

  pairs[3].bandwidth = 0.1e9;
  EXPECT_THAT(judge_links(ranks, pairs)[1],
              is(Verdict::warn, HasSubstr("between ranks 3 (node1) and 4 (node2), but 1 GB/s elsewhere")));
  pairs[3].silence = "rank 4 does not answer rank 3";
  const auto silent = judge_links(ranks, pairs);
  ASSERT_EQ(silent.size(), 3U);
  EXPECT_EQ(silent[0].check, "between-hosts");
  EXPECT_THAT(silent[0], is(Verdict::fail, StartsWith("ranks 3 (node1) and 4 (node2): rank 4 does not answer rank 3")));

  ranks[1].cores = ranks[0].cores;
  EXPECT_EQ(judge_links(ranks, {{0, 1, 1e-6, 1e9, ""}})[0].check, "same-cores");
}

TEST(DoctorJudge, NetworksInUse) {
  Ranks ranks = cluster(2, 2);
  const std::vector<Connection> connections = {{"eth1", "10.0.0.1", "10.0.0.2:1024", true, 1e10},
                                               {"eth1", "10.0.0.2", "10.0.0.1:1024", true, 1e10}};
  EXPECT_THAT(judge_network(ranks, connections),
              is(Verdict::ok, "shared memory (btl vader) on a host, TCP over eth1 (10000 Mb/s) between hosts"));
  for (RankFacts& facts : ranks) facts.parts = {"btl_tcp", "pml_ob1"};
  EXPECT_THAT(judge_network(ranks, connections), is(Verdict::warn, HasSubstr("talk over TCP")));
}

TEST(DoctorJudge, MemoryOfTheHosts) {
  Ranks ranks = cluster(2, 2);
  const Demand demand{.parameters = 1'000'000'000, .checkpoint_bytes = 12e9, .rank_bytes = 20e9};
  EXPECT_THAT(judge_memory(ranks, demand),
              ElementsAre(is(Verdict::ok,
                             HasSubstr("1.00G parameters need about 20 GB a rank, 40 GB a host; 64 GB are free"))));
  ranks[2].memory = 30e9;
  EXPECT_THAT(judge_memory(ranks, demand),
              ElementsAre(is(Verdict::warn, StartsWith("node1: its ranks need about 40 GB, and 30 GB are free"))));
}

TEST(DoctorJudge, SpaceForCheckpoints) {
  const Demand demand{.parameters = 1'000'000'000, .checkpoint_bytes = 12e9};
  CheckpointOptions options;
  options.directory = "runs/a";
  options.keep = 3;
  EXPECT_THAT(judge_space({.free_bytes = 11e9}, demand, options),
              is(Verdict::fail, StartsWith("checkpoint.directory=runs/a: 11 GB free, a checkpoint takes 12 GB")));
  EXPECT_THAT(judge_space({.free_bytes = 40e9}, demand, options),
              is(Verdict::warn, HasSubstr("room for 3, but checkpoint.keep=3 needs 4")));
  EXPECT_THAT(judge_space({.free_bytes = 40e9, .checkpoints = 1}, demand, options),
              is(Verdict::ok, EndsWith("room for 3")));
  EXPECT_THAT(judge_space({.free_bytes = 13e9, .checkpoints = 7}, demand, options),
              is(Verdict::ok, EndsWith("room for 1")));
  options.keep = 0;
  EXPECT_THAT(judge_space({.free_bytes = 13e9}, demand, options).verdict, Verdict::ok);
  EXPECT_THAT(judge_space({.free_bytes = 1}, std::nullopt, options).verdict, Verdict::ok);
}

TEST(DoctorJudge, CountsParametersAsAModelHasThem) {
  // GPT-2 small (Radford et al. 2019): 124,439,808.
  GptConfig gpt2{.layers = 12, .hidden = 768, .heads = 12, .context = 1024, .vocabulary = 50257};
  EXPECT_EQ(count_parameters(make_gpt(gpt2, 1, DType::f32)), 124439808);
  gpt2.tie_embeddings = false;
  EXPECT_EQ(count_parameters(make_gpt(gpt2, 1, DType::f32)), 124439808 + 768 * 50257);
}

TEST(DoctorJudge, LinesAndFigures) {
  EXPECT_EQ(to_line({Verdict::warn, "cores", "too few"}), "WARN  cores          too few\n");
  EXPECT_THAT(to_line({Verdict::fail, "cores", "none"}, true), StartsWith("\x1b[31mFAIL\x1b[0m  cores"));
  EXPECT_EQ(format_bytes(0), "0 B");
  EXPECT_EQ(format_bytes(999.6), "1.00 kB");
  EXPECT_EQ(format_bytes(1.5e9), "1.50 GB");
  EXPECT_EQ(format_seconds(0.0123), "12.3 ms");
  EXPECT_EQ(format_seconds(4e-7), "0.40 us");
  EXPECT_EQ(format_ranges({0, 1, 2, 5, 7, 8}), "0-2, 5, 7-8");
  EXPECT_EQ(format_ranges({}), "");
}

}  // namespace
}  // namespace trireme
