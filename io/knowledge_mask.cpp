#include "io/knowledge_mask.h"

#include <algorithm>
#include <cmath>

#include "io/dataset.h"
#include "io/segmenter.h"
#include "io/wordpiece_tokenizer.h"
#include "kernels/philox.h"

namespace trireme {
namespace {

/// Random numbers of one sample.
class MaskDraws {
 public:
  MaskDraws(std::uint64_t seed, std::int64_t sample) : seed_(seed), next_(static_cast<std::uint64_t>(sample) << 20) {}
  std::uint32_t word() { return philox(seed_, stream_of("knowledge mask"), next_++)[0]; }
  double uniform() { return uniform_float(word()); }

 private:
  std::uint64_t seed_, next_;
};

struct Unit {
  std::size_t first = 0, count = 0;
  UnitLevel level = UnitLevel::character;
  std::uint64_t rank = 0;  ///< the least is taken first
};

bool can_be_masked(std::int32_t token) { return token >= WordpieceTokenizer::specials; }

std::vector<Unit> units_of(std::span<const std::int32_t> tokens, std::span<const std::uint8_t> units, bool whole) {
  std::vector<Unit> found;
  bool goes_on = false;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (!can_be_masked(tokens[i])) {
      goes_on = false;
      continue;
    }
    const auto level = static_cast<UnitLevel>(units[i] >> TokenUnit::level_shift);
    if (!whole || !goes_on || (units[i] & TokenUnit::begins) != 0)
      found.push_back({i, 0, whole ? level : UnitLevel::character, 0});
    ++found.back().count;
    goes_on = true;
  }
  return found;
}

UnitLevel draw_level(const MaskOptions& options, double uniform) {
  const double at = uniform * (options.character + options.word + options.entity);
  if (at < options.character) return UnitLevel::character;
  return at < options.character + options.word ? UnitLevel::word : UnitLevel::entity;
}

void replace(std::span<std::int32_t> unit, int vocabulary, MaskDraws& draws) {
  const double how = draws.uniform();
  if (how >= 0.9) return;
  for (std::int32_t& token : unit) {
    const auto others = static_cast<std::uint64_t>(vocabulary - WordpieceTokenizer::specials);
    token = how < 0.8 ? WordpieceTokenizer::mask
                      : WordpieceTokenizer::specials + static_cast<std::int32_t>(draws.word() * others >> 32);
  }
}

}  // namespace

int most_masked(double share, int tokens) { return std::max(1, static_cast<int>(std::ceil(share * tokens))); }

std::vector<Masked> mask_units(std::span<std::int32_t> tokens, std::span<const std::uint8_t> units,
                               const MaskOptions& options, std::int64_t sample) {
  MaskDraws draws(options.seed, sample);
  const UnitLevel level = draw_level(options, draws.uniform());
  std::vector<Unit> candidates = units_of(tokens, units, level != UnitLevel::character);
  const auto all = std::count_if(tokens.begin(), tokens.end(), can_be_masked);
  const double wanted = options.share * static_cast<double>(all);
  auto left = static_cast<std::size_t>(std::max(1.0, std::floor(wanted + draws.uniform())));
  for (Unit& unit : candidates) {
    constexpr std::uint64_t later = std::uint64_t{1} << 32;
    unit.rank = draws.word() + (level == UnitLevel::entity && unit.level != UnitLevel::entity ? later : 0);
  }
  std::ranges::stable_sort(candidates, {}, &Unit::rank);

  std::vector<Masked> masked;
  for (const Unit& unit : candidates) {
    if (unit.count > left) continue;
    left -= unit.count;
    const auto part = tokens.subspan(unit.first, unit.count);
    for (std::size_t i = 0; i < part.size(); ++i)
      masked.push_back({static_cast<std::int32_t>(unit.first + i), part[i], static_cast<std::int32_t>(unit.level)});
    replace(part, options.vocabulary, draws);
    if (left == 0) break;
  }
  std::ranges::sort(masked, {}, &Masked::position);
  return masked;
}

}  // namespace trireme
