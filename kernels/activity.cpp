#include "kernels/activity.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <span>

namespace trireme {
namespace {

ActivityBoard own_board{};
std::atomic<ActivityBoard*> board = &own_board;
std::mutex rows_mutex;
thread_local int row_index = -1;

ActivityRow* current_row() {
  return row_index < 0 ? nullptr : &board.load(std::memory_order_relaxed)->rows[static_cast<std::size_t>(row_index)];
}

template <std::size_t size>
void put(std::array<char, size>& to, std::string_view text) {
  to[text.copy(to.data(), size - 1)] = '\0';
}

template <std::size_t size>
void put_end(std::array<char, size>& to, std::string_view text) {
  put(to, text.substr(text.size() - std::min(text.size(), size - 1)));
}

template <std::size_t size>
std::string_view text_of(const std::array<char, size>& text) {
  return {text.data(), strnlen(text.data(), size)};
}

/// Only the row's own thread writes it, so that no locked instruction is needed.
void move_on(ActivityRow& row) {
  row.movements.store(row.movements.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

/// oneDNN's kernels point the stack pointer into heap memory, where a signal's frame would overwrite what lies below.
/// One stack a row: never freed, and no memory until it is used.
constexpr std::size_t stack_bytes = 65536;
alignas(64) std::array<std::array<std::byte, stack_bytes>, std::tuple_size_v<decltype(ActivityBoard::rows)>> stacks;

/// Leaves a stack that the thread has already.
void set_signal_stack(std::size_t row) {
  stack_t current{};
  if (sigaltstack(nullptr, &current) != 0 || (current.ss_flags & SS_DISABLE) == 0) return;
  const stack_t stack{.ss_sp = stacks[row].data(), .ss_flags = 0, .ss_size = stack_bytes};
  sigaltstack(&stack, nullptr);
}

void drop_signal_stack(std::size_t row) {
  stack_t current{};
  if (sigaltstack(nullptr, &current) != 0 || current.ss_sp != stacks[row].data()) return;
  const stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
  sigaltstack(&none, nullptr);
}

}  // namespace

std::string ActivityRow::name() const { return std::string(text_of(thread)); }

std::string ActivityRow::to_string() const {
  std::string text;
  const std::size_t count = std::min<std::size_t>(depth.load(std::memory_order_acquire), deepest);
  for (const Entry& entry : std::span(entries).first(count)) {
    text += fmt::format("{}{}", text.empty() ? "" : " > ", text_of(entry.what));
    if (entry.number >= 0) text += fmt::format(" {}", entry.number);
    if (entry.name[0] != '\0') text += fmt::format("{} {}", entry.number >= 0 ? " of" : "", text_of(entry.name));
  }
  return text;
}

Waits ActivityRow::waits() const {
  const std::size_t count = std::min<std::size_t>(depth.load(std::memory_order_acquire), deepest);
  return count == 0 ? Waits::no : entries[count - 1].waits;
}

ActivityBoard& activity_board() { return *board; }

void move_activities(ActivityBoard& memory) {
  const std::scoped_lock lock(rows_mutex);
  std::memcpy(static_cast<void*>(&memory), board, sizeof(memory));
  board = &memory;
}

ActivityThread::ActivityThread(std::string_view name) {
  const std::scoped_lock lock(rows_mutex);
  auto& rows = board.load()->rows;
  const auto free = std::ranges::find_if(rows, [](const ActivityRow& row) { return row.system_thread == 0; });
  if (row_index >= 0 || free == rows.end()) return;
  row_index = static_cast<int>(free - rows.begin());
  owner_ = true;
  free->depth = 0;
  put(free->thread, name);
  free->system_thread = gettid();
  set_signal_stack(static_cast<std::size_t>(row_index));
}

ActivityThread::~ActivityThread() {
  if (!owner_) return;
  const std::scoped_lock lock(rows_mutex);
  const auto row = static_cast<std::size_t>(row_index);
  drop_signal_stack(row);
  board.load()->rows[row].system_thread = 0;
  row_index = -1;
}

Activity::Activity(std::string_view what, std::string_view name, std::int64_t number, Waits waits) {
  ActivityRow* row = current_row();
  if (row == nullptr) return;
  const std::uint32_t depth = row->depth.load(std::memory_order_relaxed);
  if (depth < ActivityRow::deepest) {
    ActivityRow::Entry& entry = row->entries[depth];
    put(entry.what, what);
    put_end(entry.name, name);
    entry.number = number;
    entry.waits = waits;
  }
  depth_ = depth + 1;
  row->depth.store(depth_, std::memory_order_release);
  move_on(*row);
}

Activity::~Activity() {
  ActivityRow* row = depth_ == 0 ? nullptr : current_row();
  if (row == nullptr) return;
  row->depth.store(depth_ - 1, std::memory_order_relaxed);
  move_on(*row);
}

void Activity::at(std::int64_t number) {
  ActivityRow* row = depth_ == 0 ? nullptr : current_row();
  if (row == nullptr) return;
  if (depth_ <= ActivityRow::deepest) row->entries[depth_ - 1].number = number;
  move_on(*row);
}

void name_activity(std::string_view name, Waits waits) {
  ActivityRow* row = current_row();
  const std::uint32_t depth = row == nullptr ? 0 : row->depth.load(std::memory_order_relaxed);
  if (depth == 0 || depth > ActivityRow::deepest) return;
  put_end(row->entries[depth - 1].name, name);
  row->entries[depth - 1].waits = waits;
}

}  // namespace trireme
