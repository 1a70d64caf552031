// main of the test programs that run under mpirun: see tests/support/mpi_test.h.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <optional>

#include "app/watchdog.h"
#include "kernels/activity.h"
#include "kernels/backend.h"
#include "tests/support/mpi_test.h"

namespace trireme {
namespace {

World* the_world = nullptr;

Watchdog::Options test_limit() {
  const char* text = std::getenv("TRIREME_TEST_TIMEOUT");
  return {.limit = text == nullptr ? 120 : std::atof(text), .name = "TRIREME_TEST_TIMEOUT"};
}

std::string name_of(const testing::TestInfo& test) { return fmt::format("{}.{}", test.test_suite_name(), test.name()); }

/// Prints the failures of a rank other than 0, which prints the normal listing.
class FailurePrinter final : public testing::EmptyTestEventListener {
  // gtest holds a lock while it reports a result, so the current test must be known before.
  void OnTestStart(const testing::TestInfo& test) override { test_ = name_of(test); }
  void OnTestPartResult(const testing::TestPartResult& result) override {
    if (!result.failed()) return;
    const std::string text = fmt::format("rank {}: {}:{}: failure in {}\n{}\n", the_world->rank(),
                                         result.file_name() == nullptr ? "" : result.file_name(), result.line_number(),
                                         test_, result.message());
    std::fputs(text.c_str(), stderr);
  }

  std::string test_;
};

/// Watches every test, and lets none begin before all ranks have ended the last.
class Steps final : public testing::EmptyTestEventListener {
 public:
  Steps() {
    std::vector<int> everyone(static_cast<std::size_t>(the_world->size()));
    std::iota(everyone.begin(), everyone.end(), 0);
    // A group of its own, so that what a failed test left undone cannot be taken for the end of another.
    steps_ = the_world->group("test steps", everyone);
  }

 private:
  void OnTestStart(const testing::TestInfo& test) override { test_.emplace("test", name_of(test)); }
  void OnTestEnd(const testing::TestInfo& test) override {
    if (test.result()->Failed()) {
      // The others may be waiting for what this rank no longer does.
      watchdog_.set_limit(5);
    }
    steps_->barrier();
    watchdog_.set_limit(test_limit().limit);
    test_.reset();
  }
  std::unique_ptr<Communicator> steps_;
  std::optional<Activity> test_;
  Watchdog watchdog_{*the_world, test_limit()};
};

bool failed_on_any_rank(bool failed) {
  const auto backend = make_cpu_backend(1);
  Tensor flag = backend->allocate({1}, DType::i32);
  flag.values<std::int32_t>()[0] = failed;
  the_world->all().all_reduce(flag, Reduction::maximum).wait();
  return flag.values<std::int32_t>()[0] != 0;
}

int run_tests() {
  auto& listeners = testing::UnitTest::GetInstance()->listeners();
  if (the_world->rank() != 0) {
    delete listeners.Release(listeners.default_result_printer());
    listeners.Append(new FailurePrinter);
    delete listeners.Release(listeners.default_xml_generator());  // all ranks would write the same file
  }
  auto* steps = new Steps;
  listeners.Append(steps);
  const bool failed = RUN_ALL_TESTS() != 0;
  delete listeners.Release(steps);  // it owns a communicator, which must go before MPI
  const bool failed_anywhere = failed_on_any_rank(failed);
  if (failed_anywhere && !failed && the_world->rank() == 0) std::puts("FAILED on another rank: see its lines above.");
  return failed_anywhere ? EXIT_FAILURE : EXIT_SUCCESS;
}

}  // namespace

World& test_world() { return *the_world; }

}  // namespace trireme

int main(int argc, char** argv) {
  const trireme::ActivityThread row("main");
  trireme::World world(&argc, &argv);
  trireme::the_world = &world;
  testing::InitGoogleTest(&argc, argv);
  return trireme::run_tests();
}
