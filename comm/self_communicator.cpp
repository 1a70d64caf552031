#include "comm/self_communicator.h"

#include <algorithm>
#include <cstring>

#include "comm/checks.h"
#include "kernels/error.h"

namespace trireme {
namespace {

class SelfCommunicator final : public Communicator {
 public:
  SelfCommunicator(std::string name, TensorCopy copy) : name_(std::move(name)), copy_(std::move(copy)) {}

  int rank() const override { return 0; }
  int size() const override { return 1; }
  const std::string& name() const override { return name_; }

  Request all_reduce(Tensor /*buffer*/, Reduction /*reduction*/) override { return {}; }
  Request reduce_scatter(Tensor input, Tensor output) override {
    check_parts(*this, "reduce_scatter", output, input);
    copy(input, output);
    return {};
  }
  Request all_gather(Tensor input, Tensor output) override {
    check_parts(*this, "all_gather", input, output);
    copy(input, output);
    return {};
  }
  Request broadcast(Tensor /*buffer*/, int root) override {
    check_rank(*this, "broadcast", root);
    return {};
  }
  Request all_to_all(Tensor input, Tensor output) override {
    check_halves(*this, input, output);
    copy(input, output);
    return {};
  }
  Exchange exchange(std::span<const Transfer> transfers) override;
  void barrier() override {}

 private:
  void copy(const Tensor& from, const Tensor& to) {
    if (from.bytes() != 0 && from.raw() != to.raw()) copy_(from, to);
  }

  std::string name_;
  TensorCopy copy_;
};

Exchange SelfCommunicator::exchange(std::span<const Transfer> transfers) {
  std::vector<const Transfer*> waiting;
  for (const Transfer& transfer : transfers) {
    check_rank(*this, "exchange", transfer.peer);
    if (transfer.direction == Transfer::Direction::receive) waiting.push_back(&transfer);
  }
  for (const Transfer& send : transfers) {
    if (send.direction == Transfer::Direction::receive) continue;
    const auto match = std::find_if(waiting.begin(), waiting.end(), [&](const Transfer* receive) {
      return receive->tag == send.tag && receive->tensor.bytes() == send.tensor.bytes();
    });
    if (match == waiting.end()) fail("{}: a message to itself with tag {} is not received", name_, send.tag);
    copy(send.tensor, (*match)->tensor);
    waiting.erase(match);
  }
  if (!waiting.empty()) fail("{}: a message from itself with tag {} is not sent", name_, waiting.front()->tag);
  return {};
}

}  // namespace

void copy_on_host(const Tensor& from, Tensor to) { std::memmove(to.raw(), from.raw(), from.bytes()); }

std::unique_ptr<Communicator> make_self_communicator(std::string name, TensorCopy copy) {
  return std::make_unique<SelfCommunicator>(std::move(name), std::move(copy));
}

}  // namespace trireme
