#include "model/layer.h"

namespace trireme {

const Tensor& Microbatch::field(std::size_t number) const {
  static const Tensor none;
  return number < fields.size() ? fields[number] : none;
}

Tensor& Saved::operator[](std::size_t index) {
  if (tensors_.size() <= index) tensors_.resize(index + 1);
  return tensors_[index];
}

Saved& Saved::child(std::size_t index) {
  if (children_.size() <= index) children_.resize(index + 1);
  return children_[index];
}

void Saved::clear() {
  for (Tensor& tensor : tensors_) tensor = Tensor();
  for (Saved& child : children_) child.clear();
}

}  // namespace trireme
