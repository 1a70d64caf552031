// Philox4x32-10, a counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11): any
// number of the stream without those before it, so that values depend on a global position and not on the layout.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace trireme {

/// Four words of stream `stream` of `seed` at position `counter` (which counts groups of four words).
constexpr std::array<std::uint32_t, 4> philox(std::uint64_t seed, std::uint64_t stream, std::uint64_t counter) {
  std::array<std::uint32_t, 4> word = {static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32),
                                       static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32)};
  auto key0 = static_cast<std::uint32_t>(seed);
  auto key1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t product0 = std::uint64_t{0xD2511F53U} * word[0];
    const std::uint64_t product1 = std::uint64_t{0xCD9E8D57U} * word[2];
    word = {static_cast<std::uint32_t>(product1 >> 32) ^ word[1] ^ key0, static_cast<std::uint32_t>(product1),
            static_cast<std::uint32_t>(product0 >> 32) ^ word[3] ^ key1, static_cast<std::uint32_t>(product0)};
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return word;
}

/// Uniform in [0, 1) with 24 bits, exact in f32.
constexpr float uniform_float(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24F; }

/// FNV-1a: the stream of a named thing (a parameter, a layer's dropout).
constexpr std::uint64_t stream_of(std::string_view name) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char letter : name) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace trireme
