// The CUDA backend: cuBLASLt multiplies matrices, cuDNN does attention and convolution, our own kernels the rest. All
// operations are enqueued on one stream, in the order of the calls; nothing waits but synchronize and download. One
// source file a family of operations: .cu where there are kernels, .cpp elsewhere.
#pragma once

#include <functional>
#include <memory>

#include "kernels/backend.h"

namespace trireme {

class CudaBackend final : public Backend {
 public:
  CudaBackend(int device, const CudaOptions& options);
  ~CudaBackend() override;

  DeviceKind kind() const override { return DeviceKind::cuda; }
  std::string description() const override;
  MemoryPool& pool() override;
  MemoryPool& host_pool() override;
  void synchronize() override;
  void on_wait(std::function<void()> check) override;
  void* queue() override;
  void upload(const void* host, Tensor device) override;
  void upload_beside(const void* host, Tensor device) override;
  void download(const Tensor& device, void* host) override;
  std::unique_ptr<Recording> record(const std::function<void()>& work) override;
  std::unique_ptr<Timeline> make_timeline() override;

  void matmul(const MatmulArgs& args) override;
  void add_column_sums(const Tensor& x, Tensor out) override;
  void norm(const NormArgs& args) override;
  void norm_backward_input(const NormBackwardInputArgs& args) override;
  void norm_backward_weight(const NormBackwardWeightArgs& args) override;
  void activate(Activation activation, const Tensor& x, Tensor y) override;
  void activate_backward(Activation activation, const Tensor& x, const Tensor& dy, Tensor dx) override;
  void swiglu(const Tensor& x, Tensor y) override;
  void swiglu_backward(const Tensor& x, const Tensor& dy, Tensor dx) override;
  void softmax(const Tensor& x, Tensor y) override;
  void attention(const AttentionArgs& args) override;
  void attention_backward(const AttentionBackwardArgs& args) override;
  void rotary(const RotaryArgs& args) override;
  void embedding(const EmbeddingArgs& args) override;
  void embedding_backward(const EmbeddingBackwardArgs& args) override;
  void cross_entropy_statistics(const CrossEntropyStatisticsArgs& args) override;
  void cross_entropy_loss(const CrossEntropyLossArgs& args) override;
  void cross_entropy_gradient(const CrossEntropyGradientArgs& args) override;
  void target_places(const TargetPlacesArgs& args) override;
  void add_hits(const HitsArgs& args) override;
  void arg_max(const ArgMaxArgs& args) override;
  void ctc_loss(const CtcLossArgs& args) override;
  void ctc_gradient(const CtcGradientArgs& args) override;
  void lstm(const LstmArgs& args) override;
  void lstm_backward_input(const LstmBackwardInputArgs& args) override;
  void lstm_backward_weight(const LstmBackwardWeightArgs& args) override;
  void dropout(const DropoutArgs& args) override;
  void convolution(const ConvolutionArgs& args) override;
  void convolution_backward_data(const ConvolutionBackwardDataArgs& args) override;
  void convolution_backward_filter(const ConvolutionBackwardFilterArgs& args) override;
  void batch_norm_statistics(const BatchNormStatisticsArgs& args) override;
  void batch_norm_moments(const BatchNormMomentsArgs& args) override;
  void batch_norm(const BatchNormArgs& args) override;
  void batch_norm_backward_statistics(const BatchNormBackwardStatisticsArgs& args) override;
  void batch_norm_backward(const BatchNormBackwardArgs& args) override;
  void normalise_pixels(const PixelsArgs& args) override;
  void pooling(const PoolingArgs& args) override;
  void pooling_backward(const PoolingBackwardArgs& args) override;
  void add(const Tensor& x, const Tensor& y, Tensor out) override;
  void add_sum(const Tensor& x, double factor, Tensor out) override;
  void add_sum_of_squares(const Tensor& x, Tensor out) override;
  void add_count(const Tensor& targets, Tensor out) override;
  void add_segment_squares(const Tensor& x, const Tensor& tiles, Tensor out) override;
  void adamw(const AdamwArgs& args) override;
  void sgd(const SgdArgs& args) override;
  void cast(const Tensor& from, Tensor to) override;
  void zero(Tensor out) override;

 private:
  class EventTimeline;
  struct State;  ///< streams, pools, library handles and plans by shape
  std::unique_ptr<State> state_;
};

}  // namespace trireme
