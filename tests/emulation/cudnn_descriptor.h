// The descriptors of cuDNN's backend interface, as the emulation keeps them.
#pragma once

#include <cudnn.h>

#include <cstddef>
#include <map>
#include <memory>
#include <vector>

#include "tests/emulation/cudnn_program.h"

namespace trireme::emulation::cudnn_program {

struct Attribute {
  cudnnBackendAttributeType_t type;
  std::int64_t count;
  std::vector<std::byte> bytes;
};

struct Descriptor {
  cudnnBackendDescriptorType_t type;
  bool is_final = false;
  std::map<cudnnBackendAttributeName_t, Attribute> attributes;
  std::int64_t engine = 0;  ///< of an engine or a configuration
  const Descriptor* graph = nullptr;
  std::shared_ptr<Program> program;  ///< of a plan

  template <typename T>
  std::vector<T> all(cudnnBackendAttributeName_t name) const {
    const auto found = attributes.find(name);
    demand(found != attributes.end(), "an attribute was not set");
    const Attribute& attribute = found->second;
    demand(static_cast<std::size_t>(attribute.count) * sizeof(T) == attribute.bytes.size(),
           "an attribute has another type");
    const auto* const values = reinterpret_cast<const T*>(attribute.bytes.data());
    return std::vector<T>(values, values + attribute.count);
  }
  template <typename T>
  T one(cudnnBackendAttributeName_t name) const {
    const auto values = all<T>(name);
    demand(values.size() == 1, "an attribute is no single value");
    return values.front();
  }
};

Descriptor* make(cudnnBackendDescriptorType_t type);
void destroy(Descriptor& descriptor);
/// The descriptor; ends the process where it was destroyed.
Descriptor& real(cudnnBackendDescriptor_t opaque);
/// A finalized descriptor that is an attribute of another.
const Descriptor& final_part(const Descriptor& whole, cudnnBackendAttributeName_t name);
void set(Descriptor& descriptor, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
         const void* values);

TensorInfo tensor_of(const Descriptor& descriptor);
/// The operations of a graph.
Program program_of(const Descriptor& graph);

}  // namespace trireme::emulation::cudnn_program
