// The emulated cuBLASLt: what it did, and how it is to behave.
#pragma once

#include <map>

namespace trireme::emulation {

/// The algorithms that every search names, best guess first. They belong to one family but for BGRADB on request.
enum class LtAlgorithm {
  guess,        ///< takes 3 ms, sums in order
  other_order,  ///< takes 1 ms, sums backwards: other bits
  refusing,     ///< is named by the search and then refuses to run
  same_bits,    ///< takes 2 ms, sums in order, needs a workspace
  in_place,     ///< takes no time; named only where the search allows sums to meet in the output
};

struct CublasLt {
  long long searches = 0;
  std::map<LtAlgorithm, long long> products;  ///< enqueued, by algorithm
  std::map<unsigned, long long> epilogues;    ///< enqueued, by epilogue
  bool bias_gradient_is_of_another_family = false;
  bool is_out_of_epilogues = false;  ///< searches find nothing but plain products
};
CublasLt& cublaslt();

}  // namespace trireme::emulation
