// How our kernels that work on rows share them between threads. For .cu files.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <type_traits>
#include <utility>

#include "kernels/cuda/device.h"

namespace trireme::cuda {

/// What one access reads or writes: a pack where rows allow it, one element elsewhere.
template <typename T, int width>
struct alignas(width * sizeof(T)) Piece {
  T values[width];
};

template <int width, typename T>
__device__ __forceinline__ Piece<T, width> load_piece(const T* address) {
  return *reinterpret_cast<const Piece<T, width>*>(address);
}
template <int width, typename T>
__device__ __forceinline__ void store_piece(T* address, const Piece<T, width>& piece) {
  *reinterpret_cast<Piece<T, width>*>(address) = piece;
}

/// body(0) ... body(count - 1) as straight code, so that arrays indexed by the argument stay in registers.
template <int count, typename Body>
__device__ __forceinline__ void unrolled(Body body) {
  [&]<int... i>(std::integer_sequence<int, i...>) { (body(i), ...); }
  (std::make_integer_sequence<int, count>{});
}

/// True where packs may be used on all these addresses (null ones do not count).
inline bool at_packs(std::initializer_list<const void*> addresses) {
  return std::all_of(addresses.begin(), addresses.end(),
                     [](const void* address) { return reinterpret_cast<std::uintptr_t>(address) % 16 == 0; });
}

/// Calls function(width) with the elements of an access, an integral constant: a pack's, or one where rows of n
/// elements do not begin at 16-byte addresses.
template <typename T, typename Function>
void for_width(std::int64_t n, bool packed, Function function) {
  if (packed && packs<T>(n)) return function(std::integral_constant<int, Pack<T>::size>{});
  function(std::integral_constant<int, 1>{});
}

/// Gives every row to `group_` threads, a warp or a block. Each thread holds up to `kept_` pieces of `width_` elements
/// in registers, all loaded before the first is used; with kept_ = 0 rows have any length and are read at every use.
template <int group_, int width_, int kept_>
struct RowShare {
  static constexpr int group = group_;
  static constexpr int width = width_;
  static constexpr int kept = kept_;
  static constexpr int threads = group == warp_size ? 128 : group;  ///< of a block
  static constexpr int rows = threads / group;                      ///< of a block
  static constexpr int least_blocks = 384 / threads;  ///< on a multiprocessor, so that memory always has work

  static unsigned blocks(std::int64_t all_rows) { return static_cast<unsigned>((all_rows + rows - 1) / rows); }
  /// This thread's row. Where it is past the last, the whole group may leave.
  __device__ __forceinline__ static std::int64_t row() {
    return std::int64_t{blockIdx.x} * rows + static_cast<int>(threadIdx.x) / group;
  }
  /// body(piece, its first column) for this thread's pieces of a row of n elements.
  template <typename Body>
  __device__ __forceinline__ static void for_each(std::int64_t n, Body body) {
    const int first = static_cast<int>(threadIdx.x) % group * width;
    if constexpr (kept > 0) {
      unrolled<kept>([&](int piece) {
        const int column = first + piece * (group * width);
        if (column < n) body(piece, column);
      });
    } else {
      for (std::int64_t column = first; column < n; column += group * width) body(0, column);
    }
  }
};

/// A thread's pieces of one row; all zero where there is no row (null).
template <typename Share, typename T>
class RowPart {
 public:
  using Values = Piece<T, Share::width>;

  __device__ __forceinline__ RowPart(const T* row, std::int64_t n) : row_(row) {
    if constexpr (Share::kept > 0)
      Share::for_each(n, [&](int piece, std::int64_t column) { kept_[piece] = read(column); });
  }
  __device__ __forceinline__ Values get(int piece, std::int64_t column) const {
    if constexpr (Share::kept > 0) return kept_[piece];
    return read(column);
  }
  /// Takes the place of a piece that was stored to the row `stored`, from which all pieces are read from now on.
  __device__ __forceinline__ void replace(int piece, const Values& values) {
    kept_[Share::kept > 0 ? piece : 0] = values;
  }
  __device__ __forceinline__ void move_to(const T* stored) { row_ = stored; }

 private:
  __device__ __forceinline__ Values read(std::int64_t column) const {
    return row_ != nullptr ? load_piece<Share::width>(row_ + column) : Values{};
  }

  const T* row_;
  Values kept_[Share::kept > 0 ? Share::kept : 1] = {};
};

/// Calls function(share) with the RowShare for rows of n elements of T; `packed`: they begin at 16-byte addresses.
template <typename T, typename Function>
void for_share(std::int64_t n, bool packed, Function function) {
  constexpr int width = Pack<T>::size;
  if (!packed || !packs<T>(n)) {
    if (n <= warp_size * 8) return function(RowShare<warp_size, 1, 8>{});
    return function(RowShare<256, 1, 0>{});
  }
  const std::int64_t pieces = n / width;
  if (pieces <= warp_size * 4) return function(RowShare<warp_size, width, 4>{});
  if (pieces <= 128 * 2) return function(RowShare<128, width, 2>{});
  if (pieces <= 128 * 4) return function(RowShare<128, width, 4>{});
  if (pieces <= 256 * 4) return function(RowShare<256, width, 4>{});
  function(RowShare<256, width, 0>{});
}

}  // namespace trireme::cuda
