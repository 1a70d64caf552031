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

/// Where the first element of row `row` of this rank's box stands in the whole.
std::int64_t global_position(const ShardSpec& shard, std::int64_t row) {
  const int last = shard.global.rank() - 1;
  std::int64_t position = shard.offset[static_cast<std::size_t>(last)];
  std::int64_t stride = shard.global.columns();
  for (int axis = last - 1; axis >= 0; --axis) {
    position += (shard.offset[static_cast<std::size_t>(axis)] + row % shard.extent[axis]) * stride;
    row /= shard.extent[axis];
    stride *= shard.global[axis];
  }
  return position;
}

/// Fills this rank's box, row by row, from the global positions of its elements.
void fill_normal(const ParameterDeclaration& declaration, std::uint64_t seed, float* out) {
  const Shape& extent = declaration.shard.extent;
  const std::uint64_t stream = stream_of(declaration.name);
  for (std::int64_t row = 0; row < extent.rows(); ++row) {
    const std::int64_t start = global_position(declaration.shard, row);
    std::array<float, 4> group{};
    for (std::int64_t column = 0; column < extent.columns(); ++column) {
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
  parameter.shape_ = declarations.front().shard.extent.with(0, rows);
  parameter.declarations_ = std::move(declarations);
  std::int64_t& end = parameter.trained() ? elements_ : tracked_elements_;
  parameter.first_ = end;
  end += (parameter.elements() + alignment - 1) / alignment * alignment;
  return &parameter;
}

void ParameterStore::allocate(Backend& backend, DType working_type, std::uint64_t seed, TrainingState state) {
  const auto arena = [&](std::int64_t elements, DType type) {
    Tensor made = backend.allocate({elements}, type);
    backend.zero(made);
    return made;
  };
  values = arena(elements_, DType::f32);
  if (working_type != DType::f32) working = arena(elements_, working_type);
  if (state >= TrainingState::gradients) gradients = arena(elements_, DType::f32);
  if (state >= TrainingState::first_moments) first_moments = arena(elements_, DType::f32);
  if (state >= TrainingState::second_moments) second_moments = arena(elements_, DType::f32);
  if (tracked_elements_ > 0) {
    tracked_values = arena(tracked_elements_, DType::f32);
    if (state >= TrainingState::gradients) tracked_gradients = arena(tracked_elements_, DType::f32);
  }
  for (Parameter& parameter : parameters_) {
    const auto view = [&](const Tensor& whole) {
      return whole.empty() ? Tensor() : whole.view(parameter.first_, parameter.shape_);
    };
    parameter.value = view(parameter.trained() ? values : tracked_values);
    parameter.gradient = view(parameter.trained() ? gradients : tracked_gradients);
    parameter.working = working.empty() || !parameter.trained() ? parameter.value : view(working);
    std::int64_t first = 0;
    for (const auto& part : parameter.declarations_) {
      const auto initial = initial_values(part, seed);
      backend.upload(initial.data(), parameter.value.view(first, part.shard.extent));
      first += part.shard.extent.elements();
    }
  }
  refresh_working(backend);
}

void ParameterStore::update_tracked(Backend& backend) {
  if (tracked_gradients.empty()) return;
  backend.add(tracked_values, tracked_gradients, tracked_values);
  backend.zero(tracked_gradients);
}

void ParameterStore::refresh_working(Backend& backend) {
  if (!working.empty()) backend.cast(values, working);
}

std::vector<ParameterStore::Range> ParameterStore::ranges() const {
  std::vector<Range> result;
  for (const Parameter& parameter : parameters_) {
    if (!parameter.trained()) continue;
    const bool decay = parameter.parts().front().decay;
    const bool counted = parameter.parts().front().shard.replica == 0;
    if (result.empty() || result.back().decay != decay || result.back().counted != counted) {
      if (!result.empty()) result.back().count = parameter.first() - result.back().first;
      result.push_back({parameter.first(), 0, decay, counted});
    }
  }
  // Padding stays zero in every arena, so a range may run over it.
  if (!result.empty()) result.back().count = elements_ - result.back().first;
  return result;
}

}  // namespace trireme
