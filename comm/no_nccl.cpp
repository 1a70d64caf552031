// Stands in for comm/nccl where the program is built without CUDA.
#include "comm/nccl/nccl_world.h"
#include "kernels/error.h"

namespace trireme {

struct NcclWorld::State {};

NcclWorld::NcclWorld(Backend& /*backend*/, NcclPatience /*patience*/) { fail("{}", why_no_nccl()); }
NcclWorld::~NcclWorld() = default;
std::unique_ptr<Communicator> NcclWorld::group(std::unique_ptr<Communicator> /*host*/) { fail("{}", why_no_nccl()); }
void NcclWorld::check() {}
void NcclWorld::abort() noexcept {}

std::string why_no_nccl() { return "this program was built without CUDA"; }
std::int32_t nccl_device() { fail("{}", why_no_nccl()); }

}  // namespace trireme
