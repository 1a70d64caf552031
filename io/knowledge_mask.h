// What a masked language model has to guess: characters, words or entities, each taken out whole (Sun et al. 2019,
// "ERNIE: Enhanced representation through knowledge integration").
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace trireme {

struct MaskOptions {
  double share = 0.15;  ///< of the tokens of a sample
  /// How often a sample is masked at each level. character: any tokens. word: any units of the text, whole. entity:
  /// entities first, then other units.
  double character = 1, word = 1, entity = 1;
  int vocabulary = 0;
  std::uint64_t seed = 0;
};

/// A token to guess.
struct Masked {
  std::int32_t position = 0;
  std::int32_t token = 0;  ///< that was there
  std::int32_t level = 0;  ///< UnitLevel of what it was taken out with
};

/// The most tokens that are taken out of `tokens`.
int most_masked(double share, int tokens);

/// Takes units out of a sample: in random order, as long as they fit into `share` of the tokens (rounded at random to a
/// whole number, at least 1). Of the units eight in ten become [MASK], one in ten other tokens, and one stays. Special
/// tokens are never taken. Depends on options.seed and `sample` alone. Sorted by position.
std::vector<Masked> mask_units(std::span<std::int32_t> tokens, std::span<const std::uint8_t> units,
                               const MaskOptions& options, std::int64_t sample);

}  // namespace trireme
