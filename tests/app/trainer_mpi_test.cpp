// A training step at steady state takes no memory from the system, on any number of ranks.
#include <gtest/gtest.h>

#include "app/trainer.h"
#include "tests/app/support.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

TEST(TrainerOnRanks, SteadyStepAllocatesNothing) {
  World& world = test_world();
  const test::TemporaryFolder folder;  // every rank has its own copy of the data
  const TokenizerBlob tokenizer{"characters", 50, 0, "unused"};
  TokenDatasetWriter writer(folder / "data.h5", tokenizer);
  std::vector<std::int32_t> tokens(3000);
  for (std::size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<std::int32_t>(i * i % 49) + 1;
  writer.append_document(tokens);
  writer.commit();

  for (const auto schedule : {ScheduleKind::gpipe, ScheduleKind::one_f_one_b}) {
    Configuration configuration;
    configuration.model.layers = 2;
    configuration.model.hidden = 32;
    configuration.model.context = 16;
    configuration.model.dropout = 0.1;
    configuration.train.global_batch = 8;
    configuration.train.micro_batch = 1;
    configuration.train.device = DeviceChoice::cpu;
    configuration.parallel.schedule = schedule;
    configuration.parallel.pipeline = world.size() >= 2 ? 2 : 1;
    Session session(configuration, world, tokenizer, Session::Purpose::training);
    const auto data = open_data(configuration, {folder / "data.h5"}, "data.train");
    Trainer trainer(session, *data, 0);
    trainer.step();
    const std::size_t in_use = session.backend().pool().statistics().bytes_in_use;
    // How many sends are under way at once depends on how fast the peer takes them, so the step that needs most memory
    // may come late; but it comes. Ranks tell each other what they took through the wish to stop.
    bool took = false;
    int steps_without = 0;
    for (int step = 0; step < 60 && steps_without < 6; ++step) {
      const auto before = session.backend().pool().statistics();
      steps_without = trainer.step([&] { return Votes{.stop = took}; }).votes.stop ? 0 : steps_without + 1;
      const auto after = session.backend().pool().statistics();
      took = after.system_allocations != before.system_allocations || after.bytes_held != before.bytes_held;
      EXPECT_EQ(after.bytes_in_use, in_use) << "nothing of a step outlives it";
    }
    EXPECT_EQ(steps_without, 6) << "steps go on taking memory from the system";
  }
}

}  // namespace
}  // namespace trireme
