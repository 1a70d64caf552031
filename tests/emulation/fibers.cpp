// The threads of a block: fibers that take turns, switching where they meet a barrier.
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

#include "tests/emulation/device.h"
#include "tests/emulation/emulation.h"

namespace trireme::emulation {

ThreadContext current;

namespace {

constexpr std::size_t stack_bytes = 64 << 10;
constexpr unsigned warp = 32;

[[noreturn]] void broken(const char* what) {
  std::fprintf(stderr, "emulation: block (%u, %u, %u), thread %u: %s\n", current.block.x, current.block.y,
               current.block.z, current.thread.x, what);
  std::abort();
}

enum class State { running, at_block_barrier, at_warp_barrier, ended };

struct Fiber {
  ucontext_t context{};
  std::unique_ptr<std::byte[]> stack = std::make_unique_for_overwrite<std::byte[]>(stack_bytes);
  uint3 thread{};
  State state = State::ended;
  unsigned mask = 0;
};

struct Warp {
  std::uint64_t slots[warp] = {};
  unsigned arrived = 0;
};

// Kept from block to block, and for as long as the process lives.
auto& fibers = *new std::vector<std::unique_ptr<Fiber>>;
auto& warps = *new std::vector<Warp>;
unsigned live = 0;
unsigned running = 0;  ///< number of the fiber that runs
ucontext_t scheduler;
const std::function<void()>* kernel_body = nullptr;

void enter() {
  (*kernel_body)();
  fibers[running]->state = State::ended;
}

void yield(State state) {
  Fiber& fiber = *fibers[running];
  fiber.state = state;
  swapcontext(&fiber.context, &scheduler);
}

void prepare(Fiber& fiber, unsigned number, dim3 size) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.get();
  fiber.context.uc_stack.ss_size = stack_bytes;
  fiber.context.uc_link = &scheduler;
  makecontext(&fiber.context, enter, 0);
  fiber.thread = {number % size.x, number / size.x % size.y, number / (size.x * size.y)};
  fiber.state = State::running;
}

/// One turn for every fiber that can go on; true if there was any.
bool take_turns(unsigned threads) {
  bool any = false;
  for (unsigned i = 0; i < threads; ++i) {
    if (fibers[i]->state != State::running) continue;
    any = true;
    running = i;
    current.thread = fibers[i]->thread;
    swapcontext(&scheduler, &fibers[i]->context);
    if (fibers[i]->state == State::ended) --live;
  }
  return any;
}

void run_block(unsigned threads) {
  live = threads;
  while (live > 0) {
    if (take_turns(threads)) continue;
    unsigned waiting = 0;
    for (unsigned i = 0; i < threads; ++i) waiting += fibers[i]->state == State::at_block_barrier ? 1 : 0;
    if (waiting != live) broken("the threads of the block do not all reach the same barrier");
    for (unsigned i = 0; i < threads; ++i)
      if (fibers[i]->state == State::at_block_barrier) fibers[i]->state = State::running;
  }
}

}  // namespace

int lane() { return static_cast<int>(running % warp); }
std::uint64_t* warp_slots() { return warps[running / warp].slots; }

void block_barrier() { yield(State::at_block_barrier); }

void warp_barrier(unsigned mask) {
  const unsigned first = running / warp * warp;
  Warp& group = warps[running / warp];
  const unsigned own = 1U << (running % warp);
  if ((mask & own) == 0) broken("a warp operation's mask does not name the calling lane");
  fibers[running]->mask = mask;
  group.arrived |= own;
  if ((group.arrived & mask) != mask) return yield(State::at_warp_barrier);
  group.arrived &= ~mask;  // the last one lets the others go
  for (unsigned i = 0; i < warp; ++i) {
    if ((mask >> i & 1U) == 0 || first + i == running) continue;
    Fiber& other = *fibers[first + i];
    if (other.mask != mask) broken("lanes of one warp operation name different masks");
    other.state = State::running;
  }
}

void run_grid(dim3 grid, dim3 block, const std::function<void()>& body) {
  const unsigned threads = block.x * block.y * block.z;
  if (threads == 0 || threads > 1024 || grid.x == 0 || grid.y == 0 || grid.z == 0 || grid.y > 65535 || grid.z > 65535)
    broken("a grid or block of a size that no GPU takes");
  if (threads % warp != 0) broken("a block that is no multiple of a warp");
  while (fibers.size() < threads) fibers.push_back(std::make_unique<Fiber>());
  kernel_body = &body;
  current.block_size = block;
  current.grid_size = grid;
  for (unsigned z = 0; z < grid.z; ++z) {
    for (unsigned y = 0; y < grid.y; ++y) {
      for (unsigned x = 0; x < grid.x; ++x) {
        current.block = {x, y, z};
        warps.assign(threads / warp, Warp());
        for (unsigned i = 0; i < threads; ++i) prepare(*fibers[i], i, block);
        run_block(threads);
      }
    }
  }
}

}  // namespace trireme::emulation
