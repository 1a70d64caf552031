// Tensors: a shape and a type over reference-counted memory from a pool.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "kernels/pool.h"

namespace trireme {

/// Element types. f64 exists for reductions that are read by people (loss, norms), not for layers; u8 for pixels.
enum class DType : std::uint8_t { f32, bf16, f64, i32, u8 };

std::size_t size_of(DType type);
const char* name_of(DType type);

/// Extents of a tensor, slowest axis first; at most `max_rank` axes, no heap memory.
class Shape {
 public:
  static constexpr int max_rank = 4;

  Shape() = default;
  Shape(std::initializer_list<std::int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}
  explicit Shape(std::span<const std::int64_t> extents);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
  std::int64_t elements() const;
  /// Product of all extents but the last: rows of the matrix that a layer sees.
  std::int64_t rows() const;
  /// The last extent.
  std::int64_t columns() const;
  /// The same shape with another extent of one axis.
  Shape with(int axis, std::int64_t extent) const;
  /// This shape behind a new slowest axis: a batch of such samples.
  Shape batch(std::int64_t samples) const;
  /// This shape without its slowest axis: one sample of such a batch.
  Shape sample() const;
  bool operator==(const Shape&) const = default;
  std::string to_string() const;  ///< "[4, 256, 768]"

 private:
  std::array<std::int64_t, max_rank> extents_{};
  int rank_ = 0;
};

/// bfloat16: the upper half of a float. Conversion rounds to nearest, ties to even.
struct bfloat16 {
  std::uint16_t bits = 0;
};
float to_float(bfloat16 value);
bfloat16 to_bfloat16(float value);

template <typename T>
struct dtype_of;
template <>
struct dtype_of<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct dtype_of<bfloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct dtype_of<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct dtype_of<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct dtype_of<std::uint8_t> {
  static constexpr DType value = DType::u8;
};

/// A dense row-major tensor. Copying a Tensor copies the handle, never the elements; the memory returns to its pool
/// with the last handle. The elements may live on a device: only `data()` of a CPU tensor may be dereferenced.
class Tensor {
 public:
  Tensor() = default;
  Tensor(MemoryPool& pool, const Shape& shape, DType type);

  bool empty() const { return !block_; }
  const Shape& shape() const { return shape_; }
  DType dtype() const { return type_; }
  std::int64_t elements() const { return shape_.elements(); }
  std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(type_); }

  void* raw() { return static_cast<std::byte*>(block_.data()) + offset_; }
  const void* raw() const { return static_cast<const std::byte*>(block_.data()) + offset_; }

  /// Typed pointer to the first element; throws when T is not the tensor's type.
  template <typename T>
  T* data() {
    check_type(dtype_of<T>::value);
    return static_cast<T*>(raw());
  }
  template <typename T>
  const T* data() const {
    check_type(dtype_of<T>::value);
    return static_cast<const T*>(raw());
  }
  template <typename T>
  std::span<T> values() {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }
  template <typename T>
  std::span<const T> values() const {
    return {data<T>(), static_cast<std::size_t>(elements())};
  }

  /// The same elements under another shape of equal size.
  Tensor reshape(const Shape& shape) const;
  /// `count` elements from `first` on (in row-major order), under `shape`.
  Tensor view(std::int64_t first, const Shape& shape) const;

 private:
  void check_type(DType wanted) const;

  PoolBlock block_;
  std::size_t offset_ = 0;
  Shape shape_;
  DType type_ = DType::f32;
};

}  // namespace trireme
