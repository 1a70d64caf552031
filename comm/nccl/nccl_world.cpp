#include "comm/nccl/nccl_world.h"

#include <nccl.h>

#include "comm/nccl/nccl_communicator.h"
#include "kernels/cuda/runtime.h"
#include "kernels/error.h"

namespace trireme {

struct NcclWorld::State {
  Backend& backend;
  NcclPatience patience;
  std::shared_ptr<NcclCommunicator::Alive> alive = std::make_shared<NcclCommunicator::Alive>();
};

NcclWorld::NcclWorld(Backend& backend, NcclPatience patience)
    : state_(std::make_unique<State>(State{backend, patience})) {
  backend.on_wait([this] { check(); });
}

NcclWorld::~NcclWorld() { state_->backend.on_wait({}); }

std::unique_ptr<Communicator> NcclWorld::group(std::unique_ptr<Communicator> host) {
  return std::make_unique<NcclCommunicator>(std::move(host), state_->backend, state_->patience, state_->alive);
}

void NcclWorld::check() {
  for (NcclCommunicator* communicator : *state_->alive) communicator->check();
}

void NcclWorld::abort() noexcept {
  for (NcclCommunicator* communicator : *state_->alive) communicator->abort("this rank failed");
}

std::string why_no_nccl() {
  constexpr int oldest = NCCL_VERSION(2, 18, 1);  // groups of calls on non-blocking communicators
  try {
    int version = 0;
    if (ncclGetVersion(&version) != ncclSuccess) return "NCCL does not tell its version";
    if (version >= oldest) return {};
    return fmt::format("NCCL is of version {}, which is too old: install {} or newer", version, oldest);
  } catch (const Error& error) {
    return error.what();
  }
}

std::int32_t nccl_device() {
  int device = 0;
  TRIREME_CUDA(cudaGetDevice(&device));
  const auto attribute = [&](cudaDeviceAttr which) {
    int value = 0;
    TRIREME_CUDA(cudaDeviceGetAttribute(&value, which, device));
    return static_cast<std::uint32_t>(value);
  };
  return static_cast<std::int32_t>(attribute(cudaDevAttrPciDomainId) << 16U | attribute(cudaDevAttrPciBusId) << 8U |
                                   attribute(cudaDevAttrPciDeviceId));
}

}  // namespace trireme
