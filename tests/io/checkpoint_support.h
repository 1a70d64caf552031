// What the tests of checkpoints share: tensors whose every element tells where it belongs.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <deque>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include "io/checkpoint/checkpoint.h"
#include "kernels/error.h"
#include "kernels/philox.h"
#include "tests/support/error_of.h"

namespace trireme {

/// The bits of element `index` (row-major) of the whole tensor: any bits at all, NaN and denormal numbers included.
inline std::uint32_t bits_at(const std::string& path, std::int64_t index, std::uint64_t seed = 0) {
  return philox(seed, stream_of(path), static_cast<std::uint64_t>(index))[0];
}

/// Boxes of tensors on one rank, with their memory.
class Holding {
 public:
  /// Adds a box, filled with what belongs there (or with nothing of the kind, to be read into).
  void add(const std::string& path, const ShardSpec& shard, bool filled, std::uint64_t seed = 0) {
    std::vector<float>& values = memory_.emplace_back(static_cast<std::size_t>(shard.extent.elements()), -1.0F);
    items_.push_back({path, shard, values.data()});
    if (!filled) return;
    std::size_t at = 0;
    for_each_index(shard, [&](std::int64_t index) { values[at++] = std::bit_cast<float>(bits_at(path, index, seed)); });
  }

  /// Tests every element of every box.
  void expect_right(std::uint64_t seed = 0) const {
    for (std::size_t number = 0; number < items_.size(); ++number) {
      const CheckpointItem& item = items_[number];
      std::size_t at = 0;
      std::int64_t wrong = 0;
      for_each_index(item.shard, [&](std::int64_t index) {
        wrong += std::bit_cast<std::uint32_t>(memory_[number][at++]) == bits_at(item.path, index, seed) ? 0 : 1;
      });
      EXPECT_EQ(wrong, 0) << item.path << " of " << item.shard.extent.elements();
    }
  }

  /// Whether a box has the same bits as that of another holding.
  bool same_bits(const Holding& other, std::size_t number) const {
    const std::vector<float>& mine = memory_[number];
    const std::vector<float>& theirs = other.memory_[number];
    return mine.size() == theirs.size() && std::memcmp(mine.data(), theirs.data(), mine.size() * sizeof(float)) == 0;
  }

  void read_from(CheckpointReader& reader) const {
    for (const CheckpointItem& item : items_) reader.read(item);
  }

  std::vector<CheckpointItem>& items() { return items_; }
  std::vector<float>& values(std::size_t number) { return memory_[number]; }

 private:
  template <typename Visit>
  static void for_each_index(const ShardSpec& shard, Visit visit) {
    const int rank = shard.global.rank();
    std::vector<std::int64_t> at(static_cast<std::size_t>(rank), 0);
    for (std::int64_t count = shard.extent.elements(); count > 0; --count) {
      std::int64_t index = 0;
      for (int axis = 0; axis < rank; ++axis) {
        const auto a = static_cast<std::size_t>(axis);
        index = index * shard.global[axis] + shard.offset[a] + at[a];
      }
      visit(index);
      for (int axis = rank - 1; axis >= 0 && ++at[static_cast<std::size_t>(axis)] == shard.extent[axis]; --axis) {
        at[static_cast<std::size_t>(axis)] = 0;
      }
    }
  }

  std::deque<std::vector<float>> memory_;
  std::vector<CheckpointItem> items_;
};

inline ShardSpec whole(const Shape& shape) { return {.global = shape, .offset = {}, .extent = shape, .replica = 0}; }

inline CheckpointInfo example_info(std::int64_t step = 100) {
  return {.step = step,
          .samples = step * 32,
          .seed = 0xfedcba9876543210ULL,
          .configuration = "[model]\narch=gpt\n; 注释\n\n",
          .tokenizer_kind = "bpe",
          .tokenizer_model = std::string("\0\xff model \n", 10) + std::string(100'000, 'm'),
          .tokenizer_vocabulary = 8000,
          .tokenizer_end_of_text = 2};
}

/// For tests that write much and need no disk: a place in memory where there is one.
inline std::filesystem::path fast_directory() {
  return access("/dev/shm", W_OK) == 0 ? "/dev/shm" : std::filesystem::temp_directory_path();
}

inline std::string bytes_of(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace trireme
