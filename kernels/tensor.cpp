#include "kernels/tensor.h"

#include <algorithm>
#include <bit>

#include "kernels/error.h"

namespace trireme {

std::size_t size_of(DType type) {
  switch (type) {
    case DType::f32:
    case DType::i32:
      return 4;
    case DType::bf16:
      return 2;
    case DType::f64:
      return 8;
    case DType::u8:
      return 1;
  }
  fail("unknown element type {}", static_cast<int>(type));
}

const char* name_of(DType type) {
  switch (type) {
    case DType::f32:
      return "fp32";
    case DType::bf16:
      return "bf16";
    case DType::f64:
      return "fp64";
    case DType::i32:
      return "int32";
    case DType::u8:
      return "uint8";
  }
  fail("unknown element type {}", static_cast<int>(type));
}

Shape::Shape(std::span<const std::int64_t> extents) {
  if (extents.size() > max_rank) fail("a shape has at most {} axes, not {}", max_rank, extents.size());
  for (const std::int64_t extent : extents) extents_[static_cast<std::size_t>(rank_++)] = extent;
}

Shape Shape::with(int axis, std::int64_t extent) const {
  Shape result = *this;
  result.extents_.at(static_cast<std::size_t>(axis)) = extent;
  return result;
}

Shape Shape::batch(std::int64_t samples) const {
  if (rank_ == max_rank) fail("a batch of {} would have more than {} axes", to_string(), max_rank);
  Shape result;
  result.rank_ = rank_ + 1;
  result.extents_[0] = samples;
  std::copy_n(extents_.begin(), rank_, result.extents_.begin() + 1);
  return result;
}

Shape Shape::sample() const {
  if (rank_ == 0) fail("a shape of no axes is no batch");
  return Shape(std::span(extents_).subspan(1, static_cast<std::size_t>(rank_ - 1)));
}

std::int64_t Shape::elements() const {
  if (rank_ == 0) return 0;
  std::int64_t product = 1;
  for (int axis = 0; axis < rank_; ++axis) product *= (*this)[axis];
  return product;
}

std::int64_t Shape::rows() const { return rank_ == 0 || columns() == 0 ? 0 : elements() / columns(); }

std::int64_t Shape::columns() const { return rank_ == 0 ? 0 : (*this)[rank_ - 1]; }

std::string Shape::to_string() const {
  std::string text = "[";
  for (int axis = 0; axis < rank_; ++axis) text += (axis ? ", " : "") + std::to_string((*this)[axis]);
  return text + "]";
}

float to_float(bfloat16 value) { return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16); }

bfloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return {static_cast<std::uint16_t>((bits >> 16) | 0x40U)};  // stays NaN
  return {static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16)};
}

Tensor::Tensor(MemoryPool& pool, const Shape& shape, DType type) : shape_(shape), type_(type) {
  block_ = pool.allocate(static_cast<std::size_t>(shape.elements()) * size_of(type));
}

Tensor Tensor::reshape(const Shape& shape) const {
  if (shape.elements() != elements()) fail("cannot reshape {} to {}", shape_.to_string(), shape.to_string());
  return view(0, shape);
}

Tensor Tensor::view(std::int64_t first, const Shape& shape) const {
  if (first < 0 || first + shape.elements() > elements())
    fail("a view of {} elements at {} is outside {}", shape.elements(), first, shape_.to_string());
  Tensor result = *this;
  result.offset_ += static_cast<std::size_t>(first) * size_of(type_);
  result.shape_ = shape;
  return result;
}

void Tensor::check_type(DType wanted) const {
  if (type_ != wanted) fail("tensor of {} used as {}", name_of(type_), name_of(wanted));
}

}  // namespace trireme
