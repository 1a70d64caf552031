// HDF5 as this program uses it: handles that close themselves, calls that check themselves, one lock, because
// Debian's library is not thread-safe. The only header of ours through which HDF5's is seen.
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/tensor.h"

namespace trireme::hdf5 {

/// Held around every use of the library; the loader's thread and the checkpoint writer meet here.
std::recursive_mutex& library_mutex();

/// Owns one HDF5 identifier of any kind.
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept;
  Handle& operator=(Handle&& other) noexcept;
  ~Handle();
  hid_t get() const { return id_; }

 private:
  hid_t id_ = H5I_INVALID_HID;
  herr_t (*close_)(hid_t) = nullptr;
};

}  // namespace trireme::hdf5
