#include "kernels/cross_entropy_shape.h"

#include "kernels/error.h"
#include "kernels/expect.h"

namespace trireme {
namespace {

void expect_smoothing(const LabelSmoothing& smoothing) {
  const bool is_share = smoothing.amount >= 0.0F && smoothing.amount < 1.0F;  // not a number is none
  if (!is_share || smoothing.classes < 1)
    fail("cross_entropy smoothing {} over {} classes; expected at least 0, less than 1", smoothing.amount,
         smoothing.classes);
}

CrossEntropySizes sizes_of_statistics(const Tensor& statistics, std::int64_t rows) {
  CrossEntropySizes sizes{.rows = rows, .parts = 0, .kinds = kinds_of(statistics)};
  if (rows > 0) sizes.parts = statistics.elements() / (sizes.kinds * rows);
  expect_elements("cross_entropy statistics", statistics, sizes.parts * sizes.kinds * rows, DType::f32);
  return sizes;
}

}  // namespace

std::int64_t kinds_of(const Tensor& statistics) {
  const Shape& shape = statistics.shape();
  const std::int64_t kinds = shape.rank() < 2 ? 0 : shape[shape.rank() - 2];
  if (kinds != 3 && kinds != 4) fail("cross_entropy statistics {}: expected 3 or 4 for each row", shape.to_string());
  return kinds;
}

CrossEntropySizes sizes_of(const CrossEntropyStatisticsArgs& args) {
  const CrossEntropySizes sizes{
      .rows = args.logits.shape().rows(), .columns = args.logits.shape().columns(), .kinds = kinds_of(args.statistics)};
  expect_elements("cross_entropy targets", args.targets, sizes.rows, DType::i32);
  expect_elements("cross_entropy statistics", args.statistics, sizes.kinds * sizes.rows, DType::f32);
  return sizes;
}

CrossEntropySizes sizes_of(const CrossEntropyLossArgs& args) {
  const CrossEntropySizes sizes = sizes_of_statistics(args.statistics, args.targets.elements());
  expect_elements("cross_entropy targets", args.targets, sizes.rows, DType::i32);
  expect_elements("cross_entropy log_sum_exp", args.log_sum_exp, sizes.rows, DType::f32);
  expect_elements("cross_entropy losses", args.losses, sizes.rows, DType::f32);
  expect_smoothing(args.smoothing);
  if (args.smoothing.amount > 0.0F && sizes.kinds != 4)
    fail("cross_entropy: smoothing needs the sums of the logits, statistics {} have none",
         args.statistics.shape().to_string());
  return sizes;
}

CrossEntropySizes sizes_of(const CrossEntropyGradientArgs& args) {
  const CrossEntropySizes sizes{.rows = args.logits.shape().rows(), .columns = args.logits.shape().columns()};
  expect_elements("cross_entropy targets", args.targets, sizes.rows, DType::i32);
  expect_elements("cross_entropy log_sum_exp", args.log_sum_exp, sizes.rows, DType::f32);
  expect_smoothing(args.smoothing);
  return sizes;
}

CrossEntropySizes sizes_of(const TargetPlacesArgs& args) {
  CrossEntropySizes sizes = sizes_of_statistics(args.statistics, args.logits.shape().rows());
  sizes.columns = args.logits.shape().columns();
  expect_elements("target_places targets", args.targets, sizes.rows, DType::i32);
  expect_elements("target_places places", args.places, sizes.rows, DType::i32);
  return sizes;
}

CrossEntropySizes sizes_of(const ArgMaxArgs& args) {
  expect_working_type("arg_max x", args.x);
  const CrossEntropySizes sizes{.rows = args.x.shape().rows(), .columns = args.x.shape().columns()};
  if (sizes.columns < 1) fail("arg_max x {}: expected at least one column", args.x.shape().to_string());
  expect_elements("arg_max places", args.places, sizes.rows, DType::i32);
  if (!args.probabilities.empty()) expect_elements("arg_max probabilities", args.probabilities, sizes.rows, DType::f32);
  return sizes;
}

std::int64_t groups_of(const HitsArgs& args) {
  const std::int64_t rows = args.places.elements();
  expect_elements("hits places", args.places, rows, DType::i32);
  expect_elements("hits targets", args.targets, rows, DType::i32);
  if (!args.groups.empty()) expect_elements("hits groups", args.groups, rows, DType::i32);
  const std::int64_t groups = args.hits.elements() / 2;
  expect_elements("hits", args.hits, 2 * groups, DType::f64);
  return groups;
}

}  // namespace trireme
