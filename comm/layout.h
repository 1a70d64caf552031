// How the ranks of a run are divided between data, tensor and pipeline parallelism. Pure arithmetic.
#pragma once

#include <string>

namespace trireme {

struct Layout {
  int data = 0;  ///< 0: what the other two leave of the world
  int tensor = 1;
  int pipeline = 1;

  bool operator==(const Layout&) const = default;
  std::string to_string() const;  ///< "data 2 x tensor 1 x pipeline 2"
};

/// What a layout must fit; all at least 1.
struct LayoutLimits {
  int world = 1;            ///< ranks of the job
  int heads = 1;            ///< tensor divides it
  int key_value_heads = 1;  ///< tensor divides it
  int feed_forward = 1;     ///< tensor divides it
  int vocabulary = 1;       ///< padded to a multiple of tensor; every tensor rank needs a row; 1: tensor must be 1
  int blocks = 1;           ///< pipeline stages at most
  int global_batch = 1;     ///< a multiple of data * micro_batch
  int micro_batch = 1;
};

/// The requested layout with `data` filled in. Refuses one that does not fit, naming the key, the numbers found, what
/// is expected, and the nearest layouts (at most three) that work on this world, or else the nearest worlds that have
/// a layout at all.
Layout resolve_layout(const Layout& requested, const LayoutLimits& limits);

/// The layout for a job that may use up to `limits.world` ranks: the requested one, with fewer data ranks where ranks
/// are short, or any number of them where `requested.data` is 0. Where not even one data rank finds room, the nearest
/// of the layouts that use most ranks. Refuses a request that no number of ranks could serve, as above.
Layout fit_layout(const Layout& requested, const LayoutLimits& limits);

}  // namespace trireme
