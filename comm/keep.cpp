#include "comm/keep.h"

namespace trireme {

void keep_for_ever(std::vector<Tensor> tensors) {
  static auto& kept = *new std::vector<std::vector<Tensor>>;
  kept.push_back(std::move(tensors));
}

}  // namespace trireme
