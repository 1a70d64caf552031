#include "io/checkpoint/agreement.h"

#include <algorithm>
#include <string>

#include "kernels/error.h"

namespace trireme {
namespace {

/// The failing rank's text on every rank.
std::string broadcast_text(Communicator& world, MemoryPool& pool, std::string text, int length, int root) {
  text.resize(static_cast<std::size_t>(length));
  Tensor letters(pool, {length}, DType::i32);
  std::copy(text.begin(), text.end(), letters.values<std::int32_t>().begin());
  world.broadcast(letters, root).wait();
  std::transform(letters.values<std::int32_t>().begin(), letters.values<std::int32_t>().end(), text.begin(),
                 [](std::int32_t letter) { return static_cast<char>(letter); });
  return text;
}

}  // namespace

std::vector<int> gather(Communicator& world, int value) {
  MemoryPool pool(make_host_memory());
  Tensor mine(pool, {1}, DType::i32);
  Tensor all(pool, {world.size()}, DType::i32);
  mine.values<std::int32_t>()[0] = value;
  world.all_gather(mine, all).wait();
  return {all.values<std::int32_t>().begin(), all.values<std::int32_t>().end()};
}

bool any_rank(Communicator& world, bool value) {
  const std::vector<int> values = gather(world, value ? 1 : 0);
  return std::ranges::find(values, 1) != values.end();
}

void together(Communicator& world, const std::function<void()>& work) {
  auto status = ExitStatus::done;
  std::string message;
  try {
    work();
  } catch (const Error& error) {
    status = error.status();
    message = error.what();
  } catch (const std::exception& error) {
    status = ExitStatus::failed;
    message = error.what();
  }
  if (world.size() > 1 && status != ExitStatus::done) message = fmt::format("rank {}: {}", world.rank(), message);

  const std::vector<int> statuses = gather(world, static_cast<int>(status));
  const auto failed = std::find_if(statuses.begin(), statuses.end(), [](int each) { return each != 0; });
  if (failed == statuses.end()) return;
  const auto root = static_cast<std::size_t>(failed - statuses.begin());
  const std::vector<int> lengths = gather(world, static_cast<int>(message.size()));
  MemoryPool pool(make_host_memory());
  throw Error(broadcast_text(world, pool, message, lengths[root], static_cast<int>(root)),
              static_cast<ExitStatus>(*failed));
}

}  // namespace trireme
