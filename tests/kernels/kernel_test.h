// One test body for every device and working type: a test fixture parameterised by KernelCase, reproducible random
// tensors, and comparison against plain float64 references.
//
//   class Softmax : public KernelTest {};
//   TRIREME_KERNEL_CASES(Softmax);
//   TEST_P(Softmax, RowsSumToOne) {
//     const Tensor x = random({3, 5}, 1);
//     Tensor y = empty({3, 5});
//     backend().softmax(x, y);
//     expect_close(y, softmax_reference(values(x)));
//   }
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "kernels/backend.h"
#include "kernels/error.h"
#include "kernels/philox.h"

namespace trireme {

/// Elements of a tensor in row-major order, in the type of the references.
using Values = std::vector<double>;

/// Where and in which working type a test runs, and how close results must be (see `expect_values_close`).
struct KernelCase {
  DeviceKind device = DeviceKind::cpu;
  DType type = DType::f32;
  double tolerance = 0.0;
};

inline std::string name_of_case(const KernelCase& kernel_case) {
  return std::string(kernel_case.device == DeviceKind::cpu ? "cpu_" : "cuda_") + name_of(kernel_case.type);
}

inline std::string name_of_parameter(const testing::TestParamInfo<KernelCase>& parameter) {
  return name_of_case(parameter.param);
}

// Its name is GoogleTest's. NOLINTNEXTLINE(readability-identifier-naming)
inline void PrintTo(const KernelCase& kernel_case, std::ostream* out) { *out << name_of_case(kernel_case); }

/// bf16 keeps 8 bits of precision: half a unit in the last place is 2^-9, and a few roundings meet in one result.
inline std::vector<KernelCase> every_case() {
  return {{DeviceKind::cpu, DType::f32, 1e-5},
          {DeviceKind::cpu, DType::bf16, 1e-2},
          {DeviceKind::cuda, DType::f32, 1e-5},
          {DeviceKind::cuda, DType::bf16, 1e-2}};
}

/// Every |actual - wanted| <= tolerance * (|wanted| + root mean square of all wanted values). NaN is never close.
inline void expect_values_close(const Values& actual, const Values& wanted, double tolerance) {
  ASSERT_EQ(actual.size(), wanted.size());
  double squares = 0.0;
  for (const double value : wanted) squares += value * value;
  const double typical = wanted.empty() ? 0.0 : std::sqrt(squares / static_cast<double>(wanted.size()));
  int reported = 0;
  for (std::size_t i = 0; i < wanted.size() && reported < 5; ++i) {
    const double bound = tolerance * (std::abs(wanted[i]) + typical);
    if (std::abs(actual[i] - wanted[i]) <= bound) continue;
    ++reported;
    ADD_FAILURE() << "element " << i << " of " << wanted.size() << " is " << actual[i] << ", wanted " << wanted[i]
                  << " within " << bound;
  }
}

/// One backend a device for the whole test program; 2 threads on the CPU so that threads meet on any machine.
inline Backend& backend_of(DeviceKind device) {
  // Never destroyed: a vendor's library may be gone by then.
  static auto& backends = *new std::map<DeviceKind, std::unique_ptr<Backend>>;
  auto& backend = backends[device];
  if (!backend) backend = device == DeviceKind::cpu ? make_cpu_backend(2) : make_cuda_backend(0);
  return *backend;
}

template <typename T, typename Convert>
Tensor uploaded(Backend& backend, const Shape& shape, const Values& values, Convert convert) {
  std::vector<T> host(values.size());
  std::transform(values.begin(), values.end(), host.begin(), convert);
  Tensor tensor = backend.allocate(shape, dtype_of<T>::value);
  if (!host.empty()) backend.upload(host.data(), tensor);
  return tensor;
}

/// A tensor with these elements, rounded to `type`.
inline Tensor from_double(Backend& backend, const Shape& shape, DType type, const Values& values) {
  if (static_cast<std::size_t>(shape.elements()) != values.size())
    fail("{} does not hold {} values", shape.to_string(), values.size());
  switch (type) {
    case DType::f32:
      return uploaded<float>(backend, shape, values, [](double value) { return static_cast<float>(value); });
    case DType::bf16:
      return uploaded<bfloat16>(backend, shape, values,
                                [](double value) { return to_bfloat16(static_cast<float>(value)); });
    case DType::f64:
      return uploaded<double>(backend, shape, values, [](double value) { return value; });
    case DType::i32:
      return uploaded<std::int32_t>(backend, shape, values,
                                    [](double value) { return static_cast<std::int32_t>(value); });
    case DType::u8:
      return uploaded<std::uint8_t>(backend, shape, values,
                                    [](double value) { return static_cast<std::uint8_t>(value); });
  }
  fail("unknown element type");
}

template <typename T, typename Convert>
Values downloaded(Backend& backend, const Tensor& tensor, Convert convert) {
  std::vector<T> host(static_cast<std::size_t>(tensor.elements()));
  if (!host.empty()) backend.download(tensor, host.data());
  backend.synchronize();
  Values values(host.size());
  std::transform(host.begin(), host.end(), values.begin(), convert);
  return values;
}

inline Values to_double(Backend& backend, const Tensor& tensor) {
  switch (tensor.dtype()) {
    case DType::f32:
      return downloaded<float>(backend, tensor, [](float value) { return static_cast<double>(value); });
    case DType::bf16:
      return downloaded<bfloat16>(backend, tensor, [](bfloat16 value) { return static_cast<double>(to_float(value)); });
    case DType::f64:
      return downloaded<double>(backend, tensor, [](double value) { return value; });
    case DType::i32:
      return downloaded<std::int32_t>(backend, tensor, [](std::int32_t value) { return static_cast<double>(value); });
    case DType::u8:
      return downloaded<std::uint8_t>(backend, tensor, [](std::uint8_t value) { return static_cast<double>(value); });
  }
  fail("unknown element type");
}

/// Standard normal values times `scale`; the same for the same seed.
inline Values random_values(std::int64_t count, std::uint64_t seed, double scale = 1.0) {
  Values values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto word = philox(seed, 0x7e57, i);
    const double radius = std::sqrt(-2.0 * std::log((word[0] + 0.5) * 0x1p-32));
    values[i] = scale * radius * std::cos(2.0 * std::numbers::pi * word[1] * 0x1p-32);
  }
  return values;
}

class KernelTest : public testing::TestWithParam<KernelCase> {
 protected:
  void SetUp() override {
    if (GetParam().device == DeviceKind::cuda && cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  }

  static Backend& backend() { return backend_of(GetParam().device); }
  /// The working type, "f" of kernels/backend.h.
  static DType type() { return GetParam().type; }
  static double tolerance() { return GetParam().tolerance; }

  static Tensor random_tensor(const Shape& shape, DType element_type, std::uint64_t seed, double scale = 1.0) {
    return from_double(backend(), shape, element_type, random_values(shape.elements(), seed, scale));
  }
  /// Random tensor of the working type.
  static Tensor random(const Shape& shape, std::uint64_t seed, double scale = 1.0) {
    return random_tensor(shape, type(), seed, scale);
  }
  static Tensor tensor_of(const Shape& shape, DType element_type, const Values& values) {
    return from_double(backend(), shape, element_type, values);
  }
  /// Tensor of the working type for an operation to write: NaN everywhere, so that an unwritten element is noticed.
  static Tensor empty(const Shape& shape) { return empty(shape, type()); }
  static Tensor empty(const Shape& shape, DType element_type) {
    return tensor_of(shape, element_type, Values(static_cast<std::size_t>(shape.elements()), std::nan("")));
  }
  static Values values(const Tensor& tensor) { return to_double(backend(), tensor); }

  static void expect_close(const Tensor& actual, const Values& wanted, double within) {
    expect_values_close(values(actual), wanted, within);
  }
  static void expect_close(const Tensor& actual, const Values& wanted) { expect_close(actual, wanted, tolerance()); }
  /// For results that are f32 whatever the working type: only inputs were rounded, and the reference saw them rounded.
  static void expect_close_f32(const Tensor& actual, const Values& wanted) { expect_close(actual, wanted, 1e-5); }
};

}  // namespace trireme

/// Runs every TEST_P of the suite on every device and working type, under names such as `cpu_bf16`.
#define TRIREME_KERNEL_CASES(suite) \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(trireme::every_case()), trireme::name_of_parameter)
