// Matrix products by oneDNN. Everything that knows oneDNN, and the difference between its versions 2 and 3, is in
// onednn.cpp and onednn_convolution.cpp.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>

#include "kernels/backend.h"

namespace trireme {

/// out [m, n] (+)= activation(a' [m, k] b' [k, n] + bias [n]); dense row-major operands, stored transposed where the
/// flags say so.
struct Product {
  std::int64_t m = 0, n = 0, k = 0;
  bool transpose_a = false, transpose_b = false, accumulate = false, bias = false;
  DType input = DType::f32, output = DType::f32;
  Activation activation = Activation::none;
  auto operator<=>(const Product&) const = default;  // NOLINT(modernize-use-nullptr): takes <=> for a pointer
};

class OneDnn {
 public:
  OneDnn();
  ~OneDnn();

  /// Whether products of bf16 inputs run as vector code on this processor.
  bool multiplies_bf16() const { return multiplies_bf16_; }
  /// The widest instruction set that oneDNN uses here, for people.
  static std::string instruction_set();

  /// Runs a product on as many threads as OpenMP would start here. Primitives are made once a product and kept, their
  /// scratch memory comes from the pool. bias may be null.
  void multiply(const Product& product, const void* a, const void* b, const void* bias, void* out, MemoryPool& pool);
  /// A product of f32 without bias or activation. Faster than `multiply`, but has a little working memory of its own.
  static void multiply_f32(const Product& product, const float* a, const float* b, float* out);

 private:
  struct State;
  std::unique_ptr<State> state_;
  bool multiplies_bf16_ = false;
};

}  // namespace trireme
