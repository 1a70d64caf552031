#include "comm/layout.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <optional>
#include <set>
#include <vector>

#include "kernels/error.h"

namespace trireme {
namespace {

/// The first thing that is wrong with a tensor size.
std::optional<std::string> tensor_problem(int tensor, const LayoutLimits& limits) {
  if (tensor < 1) return fmt::format("parallel.tensor = {}: expected at least 1", tensor);
  if (tensor > 1 && limits.vocabulary == 1)
    return fmt::format("parallel.tensor = {}: this model has no matrices that ranks share, expected 1", tensor);
  const struct {
    const char* key;
    int value;
  } divided[] = {{"model.heads", limits.heads},
                 {"model.key_value_heads", limits.key_value_heads},
                 {"model.feed_forward", limits.feed_forward}};
  for (const auto& [key, value] : divided)
    if (value % tensor != 0) return fmt::format("parallel.tensor = {}: does not divide {} = {}", tensor, key, value);
  if (tensor > limits.vocabulary)
    return fmt::format("parallel.tensor = {}: more than the vocabulary of {}", tensor, limits.vocabulary);
  return std::nullopt;
}

std::optional<std::string> pipeline_problem(int pipeline, const LayoutLimits& limits) {
  if (pipeline < 1) return fmt::format("parallel.pipeline = {}: expected at least 1", pipeline);
  if (pipeline > limits.blocks)
    return fmt::format("parallel.pipeline = {}: the model has {} blocks, expected at most one stage for each", pipeline,
                       limits.blocks);
  return std::nullopt;
}

bool data_fits(int data, const LayoutLimits& limits) {
  return limits.global_batch % (std::int64_t{data} * limits.micro_batch) == 0;
}

/// Every layout of a world of `world` ranks that fits.
std::vector<Layout> layouts_of(int world, const LayoutLimits& limits) {
  std::vector<Layout> found;
  for (int tensor = 1; tensor <= world; ++tensor) {
    if (world % tensor != 0 || tensor_problem(tensor, limits)) continue;
    for (int pipeline = 1; pipeline <= std::min(limits.blocks, world / tensor); ++pipeline)
      if (world / tensor % pipeline == 0 && data_fits(world / tensor / pipeline, limits))
        found.push_back({.data = world / tensor / pipeline, .tensor = tensor, .pipeline = pipeline});
  }
  return found;
}

/// Sum over the axes of how many doublings lie between two layouts; an axis left open by the request counts nothing.
double distance(const Layout& requested, const Layout& other) {
  const auto doublings = [](int from, int to) { return from < 1 ? 0.0 : std::abs(std::log2(double(to) / from)); };
  return doublings(requested.data, other.data) + doublings(requested.tensor, other.tensor) +
         doublings(requested.pipeline, other.pipeline);
}

/// World sizes near `world` that have a layout: at most three smaller and three larger.
std::vector<int> worlds_near(int world, const LayoutLimits& limits) {
  std::set<int> worlds;
  const int heads = std::gcd(std::gcd(limits.heads, limits.key_value_heads), limits.feed_forward);
  for (int data = 1; data <= limits.global_batch; ++data) {
    if (!data_fits(data, limits)) continue;
    for (int tensor = 1; tensor <= heads; ++tensor) {
      if (tensor_problem(tensor, limits)) continue;
      for (int pipeline = 1; pipeline <= limits.blocks; ++pipeline) worlds.insert(data * tensor * pipeline);
    }
  }
  const std::vector<int> sorted(worlds.begin(), worlds.end());
  const auto here = std::lower_bound(sorted.begin(), sorted.end(), world);
  return {here - std::min<std::ptrdiff_t>(3, here - sorted.begin()),
          here + std::min<std::ptrdiff_t>(3, sorted.end() - here)};
}

/// Every layout of the whole world that fits, the nearest first.
std::vector<Layout> nearest_layouts(const Layout& requested, const LayoutLimits& limits) {
  std::vector<Layout> layouts = layouts_of(limits.world, limits);
  std::stable_sort(layouts.begin(), layouts.end(), [&](const Layout& a, const Layout& b) {
    return distance(requested, a) < distance(requested, b) - 1e-9;
  });
  return layouts;
}

std::string advice(const Layout& requested, const LayoutLimits& limits) {
  std::vector<Layout> layouts = nearest_layouts(requested, limits);
  if (layouts.empty())
    return fmt::format("no layout fits {} ranks; world sizes that have one: {}", limits.world,
                       fmt::join(worlds_near(limits.world, limits), ", "));
  layouts.resize(std::min<std::size_t>(3, layouts.size()));
  std::string text = "nearest: ";
  for (const Layout& layout : layouts) text += (&layout == layouts.data() ? "" : "; ") + layout.to_string();
  return text;
}

std::string batch_problem(int data, const LayoutLimits& limits) {
  return fmt::format("parallel.data = {}: train.global_batch = {} is not a multiple of {} x train.micro_batch = {}",
                     data, limits.global_batch, data, limits.micro_batch);
}

std::string negative_data(int data) {
  return fmt::format("parallel.data = {}: expected at least 1, or 0 for what is left", data);
}

/// The first thing that is wrong with how the ranks are shared out; fills in `layout.data`.
std::optional<std::string> data_problem(Layout& layout, const LayoutLimits& limits) {
  if (layout.data < 0) return negative_data(layout.data);
  const std::int64_t others = std::int64_t{layout.tensor} * layout.pipeline;
  if (layout.data != 0 && layout.data * others != limits.world)
    return fmt::format(
        "parallel.data = {} x parallel.tensor = {} x parallel.pipeline = {} is {} ranks: expected the {} of the job",
        layout.data, layout.tensor, layout.pipeline, layout.data * others, limits.world);
  if (limits.world % others != 0)
    return fmt::format("parallel.tensor = {} x parallel.pipeline = {}: does not divide the {} ranks of the job",
                       layout.tensor, layout.pipeline, limits.world);
  layout.data = static_cast<int>(limits.world / others);
  if (!data_fits(layout.data, limits)) return batch_problem(layout.data, limits);
  return std::nullopt;
}

void check_batch(const LayoutLimits& limits) {
  if (limits.micro_batch < 1 || limits.global_batch < 1 || limits.global_batch % limits.micro_batch != 0)
    refuse("train.global_batch = {}: expected a positive multiple of train.micro_batch = {}", limits.global_batch,
           limits.micro_batch);
}

}  // namespace

std::string Layout::to_string() const {
  return fmt::format("data {} x tensor {} x pipeline {}", data, tensor, pipeline);
}

Layout resolve_layout(const Layout& requested, const LayoutLimits& limits) {
  check_batch(limits);
  Layout layout = requested;
  auto problem = tensor_problem(layout.tensor, limits);
  if (!problem) problem = pipeline_problem(layout.pipeline, limits);
  if (!problem) problem = data_problem(layout, limits);
  if (problem) refuse("{}; {}", *problem, advice(requested, limits));
  return layout;
}

Layout fit_layout(const Layout& requested, const LayoutLimits& limits) {
  check_batch(limits);
  auto problem = tensor_problem(requested.tensor, limits);
  if (!problem) problem = pipeline_problem(requested.pipeline, limits);
  if (!problem && requested.data < 0) problem = negative_data(requested.data);
  if (!problem && requested.data > 0 && !data_fits(requested.data, limits))
    problem = batch_problem(requested.data, limits);
  if (problem) refuse("{}; {}", *problem, advice(requested, limits));

  const std::int64_t room = limits.world / (std::int64_t{requested.tensor} * requested.pipeline);
  for (auto data = static_cast<int>(requested.data > 0 ? std::min<std::int64_t>(room, requested.data) : room); data > 0;
       --data)
    if (data_fits(data, limits)) return {data, requested.tensor, requested.pipeline};
  for (LayoutLimits fewer = limits;; --fewer.world)  // one rank always has a layout
    if (const auto layouts = nearest_layouts(requested, fewer); !layouts.empty()) return layouts.front();
}

}  // namespace trireme
