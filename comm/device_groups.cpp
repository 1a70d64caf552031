#include "comm/device_groups.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <set>

#include "comm/self_communicator.h"
#include "comm/staged_communicator.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// A GpuPlace as communicators carry it.
struct PlaceMessage {
  std::int32_t gpu = 0;
  std::int32_t nccl = 0;
  std::array<char, 120> host{};  ///< cut where longer, with its end
};
constexpr std::int64_t message_words = sizeof(PlaceMessage) / sizeof(std::int32_t);

}  // namespace

std::vector<GpuPlace> gather_places(World& world, const GpuPlace& mine) {
  PlaceMessage message{mine.gpu, mine.nccl};
  mine.host.copy(message.host.data(), message.host.size() - 1);
  MemoryPool pool(make_host_memory());
  Tensor part(pool, {message_words}, DType::i32);
  Tensor all(pool, {world.size() * message_words}, DType::i32);
  std::memcpy(part.raw(), &message, sizeof(message));
  world.all().all_gather(part, all).wait();

  std::vector<GpuPlace> places;
  for (int rank = 0; rank < world.size(); ++rank) {
    std::memcpy(&message, all.view(rank * message_words, {message_words}).raw(), sizeof(message));
    places.push_back({message.host.data(), message.gpu, message.nccl != 0});
  }
  return places;
}

std::string why_staged(std::span<const GpuPlace> ranks) {
  const auto without = std::find_if(ranks.begin(), ranks.end(), [](const GpuPlace& place) { return !place.nccl; });
  if (without != ranks.end())
    return fmt::format(
        "NCCL cannot be loaded on host {}: device tensors travel through MPI and host memory, which is slow; "
        "install NCCL (libnccl2) on every host",
        without->host);
  std::map<std::string, std::pair<int, std::set<std::int32_t>>> hosts;  // ranks and GPUs
  for (const GpuPlace& place : ranks) {
    auto& [count, gpus] = hosts[place.host];
    ++count;
    gpus.insert(place.gpu);
  }
  for (const auto& [host, found] : hosts) {
    const auto& [count, gpus] = found;
    if (static_cast<std::size_t>(count) == gpus.size()) continue;
    return fmt::format(
        "{} ranks share {} GPU{} on host {}: device tensors travel through MPI and host memory, which is slow; "
        "give each rank a GPU of its own",
        count, gpus.size(), gpus.size() == 1 ? "" : "s", host);
  }
  return {};
}

DeviceGroups::DeviceGroups(World& world, Backend& backend, NcclPatience patience) : world_(world), backend_(backend) {
  if (backend.kind() == DeviceKind::cpu) return;
  transport_ = Transport::nccl;
  if (world.size() == 1) return;
  const std::vector<GpuPlace> places = gather_places(world, {world.host(), nccl_device(), why_no_nccl().empty()});
  why_staged_ = trireme::why_staged(places);
  if (why_staged_.empty())
    nccl_ = std::make_unique<NcclWorld>(backend, patience);
  else
    transport_ = Transport::staged;
}

DeviceGroups::~DeviceGroups() = default;

void DeviceGroups::abort() noexcept {
  if (nccl_) nccl_->abort();
}

std::unique_ptr<Communicator> DeviceGroups::group(const std::string& name, const std::vector<int>& ranks) {
  std::unique_ptr<Communicator> host = world_.group(name, ranks);
  if (transport_ == Transport::host) return host;
  if (host->size() == 1)
    return make_self_communicator(name, [&](const Tensor& from, Tensor to) { backend_.cast(from, std::move(to)); });
  if (transport_ == Transport::staged) return make_staged_communicator(std::move(host), backend_);
  return nccl_->group(std::move(host));
}

}  // namespace trireme
