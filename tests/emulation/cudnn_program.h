// A graph of cuDNN in the form that the emulation carries out.
#pragma once

#include <cudnn.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

namespace trireme::emulation::cudnn_program {

/// Ends the process with the message unless `holds`.
void demand(bool holds, const char* what);

using Index = std::array<std::int64_t, 4>;

struct TensorInfo {
  std::int64_t id = 0;  ///< 0: there is none
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  bool is_inner = false, is_value = false;
  Index extents{}, strides{};
};

enum class Kind { matmul, pointwise, reduction, reshape, convolution, data_gradient, filter_gradient };

/// out = what the kind says of x and b. Convolutions: x is the image, b the filter, out the result of the forward
/// pass, whichever is computed.
struct Operation {
  Kind kind{};
  TensorInfo x{}, b{}, condition{}, out{};
  TensorInfo rows{}, columns{}, terms{};  ///< i32 [batch, 1, 1, 1]: how much of a product there is
  cudnnPointwiseMode_t mode{};
  std::int64_t axis = 0;
  cudnnReduceTensorOp_t reduction{};
  // NOLINTNEXTLINE(readability-redundant-member-init): GCC warns of members that an initializer leaves out
  std::vector<std::int64_t> strides{}, paddings{}, dilations{};
};

using Program = std::vector<Operation>;

/// Ends the process where shapes do not fit or a tensor is read before it is written.
void check(const Program& program);

enum class Precision { none, tf32, full };  ///< none: results are NaN

/// What carries the program out. Values of by-value tensors are read now, memory when it runs.
std::function<void()> bound(const std::shared_ptr<const Program>& program, const std::map<std::int64_t, void*>& memory,
                            Precision precision);

}  // namespace trireme::emulation::cudnn_program
