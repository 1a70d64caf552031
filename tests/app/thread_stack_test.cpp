#include "app/thread_stack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <future>
#include <thread>

namespace trireme {
namespace {

using testing::HasSubstr;

/// A process that does nothing until it is killed.
class Child {
 public:
  Child() : process_(fork()) {
    while (process_ == 0) pause();
  }
  ~Child() {
    kill(process_, SIGKILL);
    waitpid(process_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  pid_t process() const { return process_; }
  bool becomes(const std::string& trouble) const {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (trouble_of(process_) != trouble && std::chrono::steady_clock::now() < end) std::this_thread::yield();
    return trouble_of(process_) == trouble;
  }

 private:
  pid_t process_;
};

TEST(ThreadStackTest, TellsWhereAThreadIs) {
  prepare_stacks();
  std::promise<pid_t> number;
  std::promise<void> end;
  std::thread thread([&] {
    number.set_value(gettid());
    end.get_future().wait();
  });
  const pid_t asked = number.get_future().get();
  std::string stack;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  do stack = stack_of(asked);
  while (stack.find("syscall") == std::string::npos && std::chrono::steady_clock::now() < deadline);
  EXPECT_THAT(stack, HasSubstr("  syscall\n")) << "a future waits in a futex";
  end.set_value();
  thread.join();
  EXPECT_EQ(stack_of(asked), "  (the thread has ended)\n");
}

TEST(ThreadStackTest, SaysWhenAThreadDoesNotAnswer) {
  prepare_stacks();
  std::promise<pid_t> number;
  std::promise<void> end;
  std::thread thread([&] {
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, nullptr);
    number.set_value(gettid());
    end.get_future().wait();
  });
  EXPECT_EQ(stack_of(number.get_future().get()), "  (the thread does not answer)\n");
  end.set_value();
  thread.join();
}

TEST(ThreadStackTest, KnowsWhatKeepsAProcessFromRunning) {
  const Child child;
  EXPECT_TRUE(child.becomes(""));
  EXPECT_TRUE(can_run(child.process()));
  kill(child.process(), SIGSTOP);
  EXPECT_TRUE(child.becomes("is stopped by a signal"));
  EXPECT_FALSE(can_run(child.process()));
  EXPECT_FALSE(has_ended(child.process()));
  kill(child.process(), SIGKILL);
  EXPECT_TRUE(child.becomes("has ended")) << "though nobody has waited for it";
  EXPECT_TRUE(has_ended(child.process()));
}

}  // namespace
}  // namespace trireme
