// The functions of cuDNN's backend interface that the backend calls, on host memory: a graph's operations are carried
// out one after the other, in f32, as their definitions say. Three engines are on offer: one that is not deterministic
// and gives NaN, one that rounds f32 operands of convolutions to tf32, and a faithful one. What is misused ends the
// process; which graphs the real library accepts is checked by tests/cudnn/plan_test.cpp.
#include <cudnn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "tests/emulation/cudnn_descriptor.h"
#include "tests/emulation/emulation.h"

namespace trireme::emulation {
namespace {

using namespace cudnn_program;

constexpr std::size_t workspace_bytes = 256;
constexpr std::int64_t faulty_engine = 0, rounding_engine = 1, engines = 3;

/// A gradient of attention whose sums are in any order. As in the real library, no engine is noted for that.
bool is_free_of_order(const Program& program) {
  return std::any_of(program.begin(), program.end(),
                     [](const Operation& o) { return o.mode == CUDNN_POINTWISE_IDENTITY; });
}

/// What the real library has no engine for, of what our graphs ask.
bool is_supported(const Program& program) {
  for (const Operation& o : program) {
    if (o.kind == Kind::matmul && !o.x.is_inner && o.x.extents[3] > 128) return false;  // such heads, as on an A100
    if (o.kind != Kind::filter_gradient || o.x.type == CUDNN_DATA_FLOAT) continue;
    if (program.size() == 1) return o.b.type == o.x.type;
    return o.x.extents[1] % 8 == 0 && o.out.extents[1] % 8 == 0 && o.x.extents[1] == o.b.extents[1];
  }
  return true;
}

const Descriptor& configured(const Descriptor& plan) {
  const Descriptor& configuration = final_part(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  static_cast<void>(real(const_cast<Descriptor*>(configuration.graph)));
  return configuration;
}

template <typename T>
void give(const std::vector<T>& values, std::int64_t most, std::int64_t* count, void* to) {
  *count = static_cast<std::int64_t>(values.size());
  std::memcpy(to, values.data(), sizeof(T) * static_cast<std::size_t>(std::min(*count, most)));
}

/// Makes a descriptor that the caller created into one that cuDNN hands out.
void hand_out(cudnnBackendDescriptor_t opaque, cudnnBackendDescriptorType_t type, const Descriptor* graph,
              std::int64_t engine) {
  Descriptor& descriptor = real(opaque);
  demand(descriptor.type == type && !descriptor.is_final, "a descriptor to be filled is of another kind");
  descriptor.is_final = true;
  descriptor.graph = graph;
  descriptor.engine = engine;
}

void get(const Descriptor& d, cudnnBackendAttributeName_t name, std::int64_t most, std::int64_t* count, void* to) {
  auto* const descriptors = static_cast<cudnnBackendDescriptor_t*>(to);
  switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS: {
      const Descriptor& graph = final_part(d, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
      const Program program = program_of(graph);
      const std::int64_t first = is_free_of_order(program) ? rounding_engine : faulty_engine;
      *count = is_supported(program) ? engines - first : 0;
      for (std::int64_t i = 0; i < std::min(*count, most); ++i)
        hand_out(descriptors[i], CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &graph, first + i);
      return;
    }
    case CUDNN_ATTR_ENGINECFG_ENGINE:
      *count = 1;
      if (most > 0) hand_out(descriptors[0], CUDNN_BACKEND_ENGINE_DESCRIPTOR, d.graph, d.engine);
      return;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE: {
      std::vector<cudnnBackendNumericalNote_t> notes;
      if (d.engine == faulty_engine) notes = {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC};
      if (d.engine == rounding_engine) notes = {CUDNN_NUMERICAL_NOTE_TENSOR_CORE};
      return give(notes, most, count, to);
    }
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
      return give(std::vector<std::int64_t>{d.engine}, most, count, to);
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
      return give(std::vector<std::int64_t>{workspace_bytes}, most, count, to);
    default:
      demand(false, "an attribute was asked for that no test needed so far");
  }
}

}  // namespace
}  // namespace trireme::emulation

struct cudnnContext {
  cudaStream_t stream = nullptr;
};

using trireme::emulation::Descriptor;
using trireme::emulation::real;
namespace emulation = trireme::emulation;
using namespace emulation::cudnn_program;  // NOLINT: the functions below are C's

// NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): cuDNN has names of its own
extern "C" {

size_t cudnnGetVersion() { return CUDNN_VERSION; }
const char* cudnnGetErrorString(cudnnStatus_t) { return "emulated"; }
void cudnnGetLastErrorString(char* message, size_t bytes) { std::snprintf(message, bytes, "nothing is wrong"); }

cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
  *handle = new cudnnContext;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
  delete handle;
  return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
  handle->stream = stream;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
  *descriptor = make(type);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
  destroy(real(descriptor));
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void* values) {
  demand(!real(descriptor).is_final, "an attribute is set after finalization");
  set(real(descriptor), name, type, count, values);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
  Descriptor& d = real(descriptor);
  demand(!d.is_final, "a descriptor is finalized twice");
  d.is_final = true;
  if (d.type == CUDNN_BACKEND_TENSOR_DESCRIPTOR) static_cast<void>(tensor_of(d));
  if (d.type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) check(program_of(d));
  if (d.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
    const Descriptor& configuration = emulation::configured(d);
    d.engine = configuration.engine;
    d.program = std::make_shared<Program>(program_of(*configuration.graph));
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t most, int64_t* count, void* values) {
  demand(real(descriptor).is_final, "an attribute is read before finalization");
  emulation::get(real(descriptor), name, most, count, values);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
  const Descriptor& d = real(plan);
  static_cast<void>(emulation::configured(d));
  const auto ids = real(pack).all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto addresses = real(pack).all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  auto* const workspace = real(pack).one<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  demand(ids.size() == addresses.size() && workspace != nullptr, "a pack of tensors is not whole");
  std::map<std::int64_t, void*> memory;
  for (std::size_t i = 0; i < ids.size(); ++i) memory[ids[i]] = addresses[i];
  const auto precision = d.engine == emulation::faulty_engine     ? Precision::none
                         : d.engine == emulation::rounding_engine ? Precision::tf32
                                                                  : Precision::full;
  emulation::enqueue(handle->stream, [run = bound(d.program, memory, precision), workspace] {
    std::memset(workspace, 0xff, emulation::workspace_bytes);
    run();
  });
  return CUDNN_STATUS_SUCCESS;
}

}  // extern "C"
// NOLINTEND(readability-inconsistent-declaration-parameter-name)
