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
    Trainer trainer(session, std::make_shared<TokenDataset>(std::vector{folder / "data.h5"}), 0);
    for (int i = 0; i < 4; ++i) trainer.step();
    const auto before = session.backend().pool().statistics();
    for (int i = 0; i < 6; ++i) trainer.step();
    const auto after = session.backend().pool().statistics();
    EXPECT_EQ(after.system_allocations, before.system_allocations);
    EXPECT_EQ(after.bytes_held, before.bytes_held);
    EXPECT_EQ(after.bytes_in_use, before.bytes_in_use) << "nothing of a step outlives it";
  }
}

}  // namespace
}  // namespace trireme
