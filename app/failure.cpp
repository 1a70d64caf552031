#include "app/failure.h"

#include <chrono>
#include <filesystem>
#include <functional>
#include <iostream>
#include <numeric>
#include <thread>
#include <vector>

namespace trireme {
namespace {

/// How long a failing rank gives the others to fail too.
constexpr std::chrono::seconds patience{2};

std::string short_place(const std::source_location& where) {
  const std::filesystem::path file = where.file_name();
  return fmt::format("{}:{}", (file.parent_path().filename() / file.filename()).string(), where.line());
}

std::vector<int> all_ranks(const World& world) {
  std::vector<int> ranks(static_cast<std::size_t>(world.size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return ranks;
}

bool finishes_in_time(Request& request) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!request.test()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

Failure::Failure(const std::exception& error) : message(error.what()) {
  if (const auto* ours = dynamic_cast<const Error*>(&error)) {
    status = ours->status();
    where = short_place(ours->where());
  }
}

std::string Failure::text() const {
  return status == ExitStatus::invalid_input || where.empty() ? message : fmt::format("{} [{}]", message, where);
}

FailureReport::FailureReport(World& world) : world_(world), ranks_(world.group("failures", all_ranks(world))) {}

void FailureReport::print(const Failure& failure, const std::string& who) const {
  std::cerr << fmt::format("trireme: {}{}\n", who, failure.text());
  if (listener_ && failure.status != ExitStatus::invalid_input) listener_(who + failure.text());
}

ExitStatus FailureReport::report(const Failure& failure) {
  MemoryPool pool(make_host_memory());
  Tensor digest(pool, {2}, DType::f64);
  const auto hash = static_cast<double>(std::hash<std::string>{}(failure.text()) >> 16U);  // a double holds 53 bits
  digest.data<double>()[0] = hash;
  digest.data<double>()[1] = -hash;
  Request request = ranks_->all_reduce(digest, Reduction::maximum);
  const bool all_failed = finishes_in_time(request);
  const bool alike = all_failed && digest.data<double>()[0] == -digest.data<double>()[1];

  if (!alike) {
    print(failure, fmt::format("rank {} ({}): ", world_.rank(), world_.host()));
  } else if (world_.rank() == 0) {
    print(failure, "");
  }
  if (alike && failure.status == ExitStatus::invalid_input) return failure.status;
  if (all_failed) ranks_->barrier();  // the first to end the job must not cut off another's message
  world_.abort(static_cast<int>(failure.status));
}

}  // namespace trireme
