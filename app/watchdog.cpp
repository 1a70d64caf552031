#include "app/watchdog.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>
#include <span>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "app/hang_report.h"
#include "app/thread_stack.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr Seconds answer_time{2};      // with ranks that have to tell where they are
constexpr double launchers_turn = 3;   // seconds that the launcher has to notice the end of a rank
constexpr unsigned last_resort = 30;   // seconds after which a watchdog that hangs itself is ended
constexpr double counted_at_once = 1;  // seconds: what lies beyond, the process did not run

/// What a rank shows to the others of its host: plain data, all zero at first.
struct WatchedRank {
  enum class State : std::uint32_t { absent, watched, left };

  ActivityBoard board;
  std::atomic<State> state;
  std::atomic<std::int32_t> rank, process;
  std::atomic<std::uint64_t> process_space;  ///< where that number means the process
  std::atomic<bool> alarm;                   ///< it found that a thread hangs
  std::atomic<bool> told;                    ///< `stacks` is written
  std::array<char, 16384> stacks;            ///< as RankReport has them
  // Of the first rank only, for all.
  std::atomic<bool> has_reporter, reported;
};

std::uint64_t process_space() {
  struct stat facts {};
  return ::stat("/proc/self/ns/pid", &facts) == 0 ? facts.st_ino : 0;
}

template <typename Condition>
void wait_until(Seconds limit, Condition condition) {
  const auto end = Clock::now() + limit;
  while (!condition() && Clock::now() < end) std::this_thread::sleep_for(std::chrono::milliseconds(5));
}

/// In one write, so that what others print does not come between.
void print(std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
    if (written < 0 && errno != EINTR && errno != EAGAIN) return;
    text.remove_prefix(static_cast<std::size_t>(std::max<ssize_t>(written, 0)));
  }
}

/// How long rows of activities have not moved.
class Stillness {
 public:
  explicit Stillness(std::span<const WatchedRank> ranks) : ranks_(ranks), rows_(ranks.size()) {}

  void look(double seconds) {
    of_all_ += seconds;
    for (std::size_t rank = 0; rank < ranks_.size(); ++rank)
      for (std::size_t row = 0; row < rows_[rank].size(); ++row) {
        Row& seen = rows_[rank][row];
        const ActivityRow& now = ranks_[rank].board.rows[row];
        const std::uint64_t movements = now.movements;
        const bool moved = movements != std::exchange(seen.movements, movements);
        seen.still = moved || now.depth == 0 ? 0 : seen.still + seconds;
        if (moved) of_all_ = 0;
      }
  }
  double of(std::size_t rank, std::size_t row) const { return rows_[rank][row].still; }
  double of_all() const { return of_all_; }

 private:
  struct Row {
    std::uint64_t movements = 0;
    double still = 0;
  };
  std::span<const WatchedRank> ranks_;
  std::vector<std::array<Row, std::tuple_size_v<decltype(ActivityBoard::rows)>>> rows_;
  double of_all_ = 0;
};

}  // namespace

struct Watchdog::State {
  State(World& world, Options chosen);

  void enter(const World& world);
  void run();
  bool hangs() const;
  bool neighbour_is_gone(double seconds);
  void expire();
  void tell() const;
  HangReport report() const;
  bool any_alarm() const {
    return std::ranges::any_of(ranks, [](const WatchedRank& rank) { return rank.alarm.load(); });
  }
  bool same_space(const WatchedRank& rank) const { return rank.process_space == own().process_space; }
  WatchedRank& own() const { return ranks[mine]; }

  Options options;
  std::atomic<double> limit;
  std::string host;
  bool other_hosts;
  std::span<WatchedRank> ranks;  ///< of this host
  std::size_t mine;
  ActivityBoard* before = nullptr;
  Stillness stillness;
  double neighbour_gone = 0;  ///< seconds
  bool neighbour_told_of = false;

  std::mutex mutex;
  std::condition_variable changed;
  bool closing = false;
  std::thread thread;
};

Watchdog::State::State(World& world, Options chosen)
    : options(std::move(chosen)),
      limit(options.limit),
      host(world.host()),
      other_hosts(world.size() > world.local_size()),
      ranks([&]() -> std::span<WatchedRank> {
        const auto count = static_cast<std::size_t>(world.local_size());
        if (void* memory = world.shared_memory(count * sizeof(WatchedRank)))
          return {static_cast<WatchedRank*>(memory), count};
        return {new WatchedRank{}, 1};  // lives as long as the process: see move_activities
      }()),
      mine(ranks.size() == 1 ? 0 : static_cast<std::size_t>(world.local_rank())),
      stillness(ranks) {}

void Watchdog::State::enter(const World& world) {
  own().rank = world.rank();
  own().process = getpid();
  own().process_space = process_space();
  before = &activity_board();
  move_activities(own().board);
  own().state = WatchedRank::State::watched;
}

void Watchdog::State::run() {
  auto last = Clock::now();
  std::unique_lock lock(mutex);
  while (true) {
    const Seconds period{std::clamp(limit / 20, 0.01, 0.25)};
    if (changed.wait_for(lock, period, [this] { return closing; })) return;
    const auto now = Clock::now();
    const double seconds = std::min(Seconds(now - std::exchange(last, now)).count(), counted_at_once);
    stillness.look(seconds);
    if (hangs() || neighbour_is_gone(seconds)) own().alarm = true;
    if (!any_alarm()) continue;
    expire();
    return;
  }
}

bool Watchdog::State::hangs() const {
  for (std::size_t number = 0; number < own().board.rows.size(); ++number) {
    const ActivityRow& row = own().board.rows[number];
    if (stillness.of(mine, number) < limit) continue;
    const bool may_wait = row.system_thread == own().process || row.waits() != Waits::no;
    if (!may_wait || stillness.of_all() >= limit) return true;
  }
  return false;
}

/// Each rank looks after the next, so that one that is left notices.
bool Watchdog::State::neighbour_is_gone(double seconds) {
  const WatchedRank& next = ranks[(mine + 1) % ranks.size()];
  const bool gone = next.state == WatchedRank::State::watched && same_space(next) && has_ended(next.process);
  neighbour_gone = gone ? neighbour_gone + seconds : 0;
  // Launchers give the others a second to end, and do not say where they were.
  if (gone && !std::exchange(neighbour_told_of, true) && !any_alarm()) {
    const HangReport all = report();
    const auto dead = std::ranges::find(all.ranks, next.rank.load(), &RankReport::rank);
    if (dead != all.ranks.end()) {
      const auto number = static_cast<std::size_t>(dead - all.ranks.begin());
      print(all.death_of(number));
      if (options.noticed) options.noticed(all.death_summary(number));
    }
  }
  return neighbour_gone >= launchers_turn;
}

void Watchdog::State::expire() {
  if (!options.expired) {
    std::signal(SIGALRM, SIG_DFL);
    alarm(last_resort);
  }
  // On a thread of its own: looking for names waits for a thread that hangs while it loads a library.
  std::thread([this] { tell(); }).detach();
  wait_until(answer_time, [this] {
    return std::ranges::all_of(ranks, [this](const WatchedRank& rank) {
      return rank.state != WatchedRank::State::watched || rank.told || (same_space(rank) && !can_run(rank.process));
    });
  });
  // Other hosts notice a little later, and the first rank to end ends them all.
  const Seconds grace{other_hosts ? std::clamp(limit / 10, 2.0, 10.0) : 0.0};
  WatchedRank& first = ranks.front();
  if (!first.has_reporter.exchange(true)) {
    const HangReport all = report();
    print(all.to_string());
    if (options.noticed) options.noticed(all.summary());
    std::this_thread::sleep_for(grace);
    first.reported = true;
  }
  wait_until(grace + answer_time, [&] { return first.reported.load(); });
  if (!options.expired) std::_Exit(static_cast<int>(ExitStatus::failed));
  options.expired();
}

void Watchdog::State::tell() const {
  std::string text;
  for (const ActivityRow& row : own().board.rows) {
    if (row.system_thread == 0 || row.depth == 0) continue;
    const std::string stack = fmt::format("{}\n{}\n", row.name(), stack_of(row.system_thread));
    if (text.size() + stack.size() < own().stacks.size()) text += stack;
  }
  std::memcpy(own().stacks.data(), text.c_str(), text.size() + 1);
  own().told = true;
}

HangReport Watchdog::State::report() const {
  HangReport report{.host = host,
                    .limit = fmt::format("{} = {:g} s", options.name, limit.load()),
                    .patience = limit,
                    .other_hosts = other_hosts,
                    .ranks = {}};
  for (std::size_t number = 0; number < ranks.size(); ++number) {
    const WatchedRank& rank = ranks[number];
    if (rank.state != WatchedRank::State::watched) continue;
    if (number == mine) report.noticed_by = report.ranks.size();
    RankReport& entry = report.ranks.emplace_back(RankReport{.rank = rank.rank, .process = rank.process});
    if (same_space(rank)) entry.trouble = trouble_of(rank.process);
    if (rank.told) entry.stacks = rank.stacks.data();
    for (std::size_t row = 0; row < rank.board.rows.size(); ++row) {
      const ActivityRow& at = rank.board.rows[row];
      if (at.system_thread == 0 || at.depth == 0) continue;
      entry.threads.push_back({at.name(), at.to_string(), at.waits(), stillness.of(number, row)});
    }
  }
  return report;
}

Watchdog::Watchdog(World& world, Options options) {
  if (options.limit <= 0) return;
  prepare_stacks();
  state_ = std::make_unique<State>(world, std::move(options));
  state_->enter(world);
  state_->thread = std::thread([this] { state_->run(); });
}

Watchdog::~Watchdog() {
  if (!state_) return;
  {
    const std::scoped_lock lock(state_->mutex);
    state_->closing = true;
  }
  state_->changed.notify_one();
  state_->thread.join();
  move_activities(*state_->before);
  state_->own().state = WatchedRank::State::left;
}

void Watchdog::set_limit(double seconds) { state_->limit = seconds; }

}  // namespace trireme
