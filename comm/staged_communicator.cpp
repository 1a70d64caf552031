#include "comm/staged_communicator.h"

#include <cstdio>
#include <cstdlib>
#include <exception>

#include "comm/checks.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// A tensor of the device and its stand-in on the host.
struct Staged {
  Tensor device, host;
};

/// An operation on stand-ins, and those that it fills.
class StagedOperation final : public Request::Operation {
 public:
  StagedOperation(Request inner, std::vector<Staged> results, Backend& backend)
      : backend_(backend), results_(std::move(results)), inner_(std::move(inner)) {}
  StagedOperation(const StagedOperation&) = delete;
  StagedOperation& operator=(const StagedOperation&) = delete;
  ~StagedOperation() override;

  void wait() override {
    inner_.wait();
    upload();
  }
  bool test() override {
    if (!inner_.test()) return false;
    upload();
    return true;
  }

 private:
  void upload() {
    for (const Staged& result : results_) backend_.upload(result.host.raw(), result.device);
    results_.clear();
  }

  Backend& backend_;
  std::vector<Staged> results_;
  Request inner_;  ///< goes first: it knows whether the network may still write to the stand-ins
  int exceptions_at_start_ = std::uncaught_exceptions();
};

StagedOperation::~StagedOperation() {
  if (std::uncaught_exceptions() > exceptions_at_start_) return;  // a failing rank waits for nobody
  try {
    wait();
  } catch (const Error& error) {
    // Going on would use what never came; the launcher ends the job when a rank exits like this.
    std::fprintf(stderr, "trireme: %s\n", error.what());
    std::_Exit(static_cast<int>(ExitStatus::failed));
  }
}

class StagedCommunicator final : public Communicator {
 public:
  StagedCommunicator(std::unique_ptr<Communicator> inner, Backend& backend)
      : inner_(std::move(inner)), backend_(backend) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  const std::string& name() const override { return inner_->name(); }

  Request all_reduce(Tensor buffer, Reduction reduction) override {
    const Tensor host = downloaded(buffer);
    return result(inner_->all_reduce(host, reduction), buffer, host);
  }
  Request reduce_scatter(Tensor input, Tensor output) override {
    check_parts(*this, "reduce_scatter", output, input);
    const Tensor host = like(output);
    return result(inner_->reduce_scatter(downloaded(input), host), output, host);
  }
  Request all_gather(Tensor input, Tensor output) override {
    check_parts(*this, "all_gather", input, output);
    const Tensor host = like(output);
    Tensor own_part = host.view(rank() * input.elements(), input.shape());
    download(input, own_part);
    return result(inner_->all_gather(own_part, host), output, host);
  }
  Request broadcast(Tensor buffer, int root) override {
    check_rank(*this, "broadcast", root);
    if (rank() == root) return inner_->broadcast(downloaded(buffer), root);
    const Tensor host = like(buffer);
    return result(inner_->broadcast(host, root), buffer, host);
  }
  Request all_to_all(Tensor input, Tensor output) override {
    check_halves(*this, input, output);
    const Tensor host = like(output);
    return result(inner_->all_to_all(downloaded(input), host), output, host);
  }
  Exchange exchange(std::span<const Transfer> transfers) override;
  void barrier() override { inner_->barrier(); }

 private:
  Tensor like(const Tensor& device) { return Tensor(backend_.host_pool(), device.shape(), device.dtype()); }
  void download(const Tensor& device, Tensor& host) {
    if (device.bytes() != 0) backend_.download(device, host.raw());
  }
  Tensor downloaded(const Tensor& device) {
    Tensor host = like(device);
    download(device, host);
    return host;
  }
  Request result(Request inner, const Tensor& device, const Tensor& host) {
    return results(std::move(inner), {{device, host}});
  }
  Request results(Request inner, std::vector<Staged> staged) {
    std::erase_if(staged, [](const Staged& each) { return each.device.bytes() == 0; });
    return Request(std::make_unique<StagedOperation>(std::move(inner), std::move(staged), backend_));
  }

  std::unique_ptr<Communicator> inner_;
  Backend& backend_;
};

Exchange StagedCommunicator::exchange(std::span<const Transfer> transfers) {
  std::vector<Transfer> host(transfers.begin(), transfers.end());
  std::vector<Staged> received;
  for (Transfer& transfer : host) {
    check_rank(*this, "exchange", transfer.peer);
    const Tensor device = transfer.tensor;
    const bool sends = transfer.direction == Transfer::Direction::send;
    transfer.tensor = sends ? downloaded(device) : like(device);
    if (!sends) received.push_back({device, transfer.tensor});
  }
  Exchange inner = inner_->exchange(host);
  return {results(std::move(inner.received), std::move(received)), std::move(inner.sent)};
}

}  // namespace

std::unique_ptr<Communicator> make_staged_communicator(std::unique_ptr<Communicator> inner, Backend& backend) {
  return std::make_unique<StagedCommunicator>(std::move(inner), backend);
}

}  // namespace trireme
