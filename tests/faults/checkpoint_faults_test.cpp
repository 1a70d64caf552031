// Every file system call of a save and of a pruning fails in turn, in every way in which it can: the previous or the
// new checkpoint is there, whole, and the next save works. A build with sanitizers takes samples of them.
#include <gmock/gmock.h>

#include "tests/faults/crash_support.h"

namespace trireme {
namespace {

using testing::AnyOf;
using testing::HasSubstr;

/// The ways in which a call can go wrong.
std::vector<std::string> kinds_of(const LoggedCall& call) {
  if (call.name == "read") return {"error", "interrupted", "short", "kill"};
  if (call.name == "write") return {"error", "full", "interrupted", "short", "kill"};
  if (call.name == "open") return {"error", "interrupted", "kill"};
  if (call.name == "rename" || call.name == "exchange" || call.name == "mkdir") return {"error", "full", "kill"};
  if (call.name == "unlink" || call.name == "rmdir") return {"error", "kill"};
  return {"error", "full", "interrupted", "kill"};  // create, truncate, fsync, flush, close
}

class CheckpointFaults : public CrashTest, public testing::WithParamInterface<Scenario> {};

TEST_P(CheckpointFaults, EveryCallInEveryWay) {
  const Scenario& scenario = GetParam();
  scenario.prepare(directory());
  ASSERT_TRUE(act_in_child(scenario, 0, "").done);
  const std::vector<LoggedCall> calls = read_log(log());
  ASSERT_GT(calls.size(), scenario.saved > 0 ? 30U : 10U);
  int number = 0;
  int walked = 0;
  for (std::size_t at = 0; at < calls.size(); ++at) {
    for (const std::string& kind : kinds_of(calls[at])) {
      if (number++ % TRIREME_FAULT_STRIDE != 0) continue;
      SCOPED_TRACE(fmt::format("call {} of {}: {} {}: {}", at, calls.size(), calls[at].name, calls[at].path, kind));
      scenario.prepare(directory());
      const Ending ending = act_in_child(scenario, at, kind);
      EXPECT_EQ(ending.killed, kind == "kill");
      if (kind == "interrupted" || kind == "short") {
        EXPECT_TRUE(ending.done) << ending.message;
      }
      if (!ending.message.empty()) {
        EXPECT_THAT(ending.message, AnyOf(HasSubstr("Input/output error"), HasSubstr("No space left on device")));
        EXPECT_THAT(ending.message, HasSubstr(directory().string()));
      }
      scenario.expect_nothing_lost(directory(), ending.done);
      if (HasFailure()) return;  // the first of many tells enough
      ++walked;
    }
  }
  RecordProperty("calls", static_cast<int>(calls.size()));
  RecordProperty("faults", walked);
}

INSTANTIATE_TEST_SUITE_P(All, CheckpointFaults, testing::ValuesIn(scenarios()), name_of_scenario);

}  // namespace
}  // namespace trireme
