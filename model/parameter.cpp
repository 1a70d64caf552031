#include "model/parameter.h"

#include <cmath>
#include <numbers>

#include "kernels/error.h"
#include "kernels/philox.h"

namespace trireme {
namespace {

constexpr std::int64_t alignment = 16;  ///< elements: every parameter starts on a cache line

/// Four normal deviates from four uniform words (Box and Muller 1958).
std::array<float, 4> normals(std::uint64_t seed, std::uint64_t stream, std::uint64_t group) {
  const auto words = philox(seed, stream, group);
  std::array<float, 4> result{};
  for (std::size_t pair = 0; pair < 4; pair += 2) {
    const double radius = std::sqrt(-2.0 * std::log((words[pair] + 0.5) * 0x1p-32));
    const double angle = 2.0 * std::numbers::pi * (words[pair + 1] * 0x1p-32);
    result[pair] = static_cast<float>(radius * std::cos(angle));
    result[pair + 1] = static_cast<float>(radius * std::sin(angle));
  }
  return result;
}

/// Fills this rank's box, row by row, from the global positions of its elements.
void fill_normal(const ParameterDeclaration& declaration, std::uint64_t seed, float* out) {
  const ShardSpec& shard = declaration.shard;
  const bool matrix = shard.global.rank() == 2;
  const std::int64_t rows = matrix ? shard.extent[0] : 1;
  const std::int64_t columns = shard.extent.columns();
  const std::uint64_t stream = stream_of(declaration.name);
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t start =
        matrix ? (shard.offset[0] + row) * shard.global.columns() + shard.offset[1] : shard.offset[0];
    std::array<float, 4> group{};
    for (std::int64_t column = 0; column < columns; ++column) {
      const auto position = static_cast<std::uint64_t>(start + column);
      if (column == 0 || position % 4 == 0) group = normals(seed, stream, position / 4);
      *out++ = static_cast<float>(declaration.initial.deviation) * group[position % 4];
    }
  }
}

std::vector<float> initial_values(const ParameterDeclaration& declaration, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(declaration.shard.extent.elements()),
                            declaration.initial.kind == Initial::Kind::one ? 1.0F : 0.0F);
  if (declaration.initial.kind == Initial::Kind::normal) fill_normal(declaration, seed, values.data());
  return values;
}

}  // namespace

Parameter* ParameterStore::declare(ParameterDeclaration declaration) {
  return declare_joined({std::move(declaration)});
}

Parameter* ParameterStore::declare_joined(std::vector<ParameterDeclaration> declarations) {
  for (Parameter& known : parameters_)
    if (known.name() == declarations.front().name) return &known;
  Parameter& parameter = parameters_.emplace_back();
  std::int64_t rows = 0;
  for (const auto& part : declarations) rows += part.shard.extent[0];
  const Shape& first = declarations.front().shard.extent;
  parameter.shape_ = first.rank() == 2 ? Shape{rows, first[1]} : Shape{rows};
  parameter.first_ = elements_;
  parameter.declarations_ = std::move(declarations);
  elements_ += (parameter.elements() + alignment - 1) / alignment * alignment;
  return &parameter;
}

void ParameterStore::allocate(Backend& backend, DType working_type, std::uint64_t seed, bool with_training_state) {
  const auto arena = [&](DType type) {
    Tensor made = backend.allocate({elements_}, type);
    backend.zero(made);
    return made;
  };
  values = arena(DType::f32);
  if (working_type != DType::f32) working = arena(working_type);
  if (with_training_state) {
    gradients = arena(DType::f32);
    first_moments = arena(DType::f32);
    second_moments = arena(DType::f32);
  }
  for (Parameter& parameter : parameters_) {
    parameter.value = values.view(parameter.first_, parameter.shape_);
    parameter.working = working.empty() ? parameter.value : working.view(parameter.first_, parameter.shape_);
    if (with_training_state) parameter.gradient = gradients.view(parameter.first_, parameter.shape_);
    std::int64_t first = parameter.first_;
    for (const auto& part : parameter.declarations_) {
      const auto initial = initial_values(part, seed);
      backend.upload(initial.data(), values.view(first, part.shard.extent));
      first += part.shard.extent.elements();
    }
  }
  refresh_working(backend);
}

void ParameterStore::refresh_working(Backend& backend) {
  if (!working.empty()) backend.cast(values, working);
}

std::vector<ParameterStore::Range> ParameterStore::ranges() const {
  std::vector<Range> result;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    const Parameter& parameter = parameters_[i];
    const bool decay = parameter.parts().front().decay;
    const bool counted = parameter.parts().front().shard.replica == 0;
    // Padding stays zero in every arena, so a range may run over it.
    const std::int64_t end = i + 1 < parameters_.size() ? parameters_[i + 1].first() : elements_;
    if (!result.empty() && result.back().decay == decay && result.back().counted == counted)
      result.back().count = end - result.back().first;
    else
      result.push_back({parameter.first(), end - parameter.first(), decay, counted});
  }
  return result;
}

}  // namespace trireme
