// What every thread of this process is doing at this moment, for the watchdog's report.
//
// Threads with a name write it into a board of fixed size, without locks or allocation (some 10 ns an activity); the
// board may lie in memory that the ranks of a host share, so that even a stopped process's place can be read. A reader
// may see an entry half-written: it is for people.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

namespace trireme {

/// Whom an activity waits for, so that a report can tell those who wait from those they wait for.
enum class Waits : std::uint8_t { no, for_thread, for_ranks };

/// One thread's row of the board: plain data, all zero is empty.
struct ActivityRow {
  static constexpr std::size_t deepest = 8;
  struct Entry {
    std::array<char, 32> what;   ///< "all-reduce"; ends with a zero, as all texts here
    std::array<char, 160> name;  ///< of the group, file, or whatever it is done to; empty: nothing
    std::int64_t number;         ///< of the step, microbatch, element...; negative: none
    Waits waits;
  };

  std::array<char, 32> thread;              ///< "main"
  std::atomic<std::int32_t> system_thread;  ///< its number for the system; 0: the row is free
  std::atomic<std::uint32_t> depth;         ///< entries in use; those beyond `deepest` are counted, not kept
  std::atomic<std::uint64_t> movements;     ///< changes whenever an activity begins, ends or tells of progress
  std::array<Entry, deepest> entries;

  std::string name() const;
  /// "training > step 17 > all-reduce in gradients"; empty while the thread is idle.
  std::string to_string() const;
  /// Of the innermost activity.
  Waits waits() const;
};

struct ActivityBoard {
  std::array<ActivityRow, 16> rows;
};

/// This process's board.
ActivityBoard& activity_board();
/// `memory` lives as long as the process. Rows in use are copied: only the calling thread may be at work on one.
void move_activities(ActivityBoard& memory);

/// Gives the thread that makes it a row of the board while it lives, and a stack of its own for signal handlers.
/// Nothing happens where the thread has a row, or none is free. A thread that moves for ever without the ranks' doing,
/// such as one that answers a port, takes no row: nothing is thought to hang while any row moves.
class ActivityThread {
 public:
  explicit ActivityThread(std::string_view name);
  ~ActivityThread();
  ActivityThread(const ActivityThread&) = delete;
  ActivityThread& operator=(const ActivityThread&) = delete;

 private:
  bool owner_ = false;
};

/// The current thread is at this while the object lives; activities nest. Nothing happens on threads without a row.
class Activity {
 public:
  /// Of a text that is too long, `what` keeps the beginning, `name` the end.
  explicit Activity(std::string_view what, std::string_view name = {}, std::int64_t number = -1,
                    Waits waits = Waits::no);
  ~Activity();
  Activity(const Activity&) = delete;
  Activity& operator=(const Activity&) = delete;
  /// Progress within a long activity.
  void at(std::int64_t number);

 private:
  std::uint32_t depth_ = 0;  ///< in the row, from 1; 0: nowhere
};

/// Says more of the current thread's innermost activity. No progress: a loop that waits may call it.
void name_activity(std::string_view name, Waits waits);

}  // namespace trireme
