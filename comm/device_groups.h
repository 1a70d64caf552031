// Groups of ranks whose tensors live where the backend computes.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "comm/mpi/world.h"
#include "comm/nccl/nccl_world.h"
#include "kernels/backend.h"

namespace trireme {

/// What tensors of the backend travel through, the same on all ranks of the world.
enum class Transport {
  host,    ///< CPU tensors: MPI
  nccl,    ///< every rank has a GPU of its own
  staged,  ///< GPUs that are shared, or cannot talk to each other: MPI, by way of host memory
};

/// Makes communicators for tensors of `backend`. Must outlive them, and be outlived by world and backend, whose
/// `on_wait` it takes. A request that is `staged` waits on the host, so its work cannot be recorded.
class DeviceGroups {
 public:
  /// Collective over the world.
  DeviceGroups(World& world, Backend& backend, NcclPatience patience = {});
  ~DeviceGroups();
  DeviceGroups(const DeviceGroups&) = delete;
  DeviceGroups& operator=(const DeviceGroups&) = delete;

  Transport transport() const { return transport_; }
  /// Why GPUs have to go through host memory, for people; empty where they do not.
  const std::string& why_staged() const { return why_staged_; }
  /// Collective over the world, as World::group. A group of one only copies.
  std::unique_ptr<Communicator> group(const std::string& name, const std::vector<int>& ranks);
  /// For a rank that fails: gives up all that is under way between GPUs, of which the driver would wait for the end
  /// before it took any memory back.
  void abort() noexcept;

 private:
  World& world_;
  Backend& backend_;
  Transport transport_ = Transport::host;
  std::string why_staged_;
  std::unique_ptr<NcclWorld> nccl_;
};

/// The GPU of a rank.
struct GpuPlace {
  std::string host;
  std::int32_t gpu = 0;  ///< place on the host's PCI bus
  bool nccl = false;     ///< NCCL can be loaded there
};

/// Collective over the world: every rank's place.
std::vector<GpuPlace> gather_places(World& world, const GpuPlace& mine);
/// Why ranks at these places cannot use NCCL, and what would help; empty where they can.
std::string why_staged(std::span<const GpuPlace> ranks);

}  // namespace trireme
