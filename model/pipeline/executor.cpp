#include "model/pipeline/executor.h"

#include <algorithm>
#include <utility>

#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
PipelineExecutor::PipelineExecutor(Backend& backend, const StageGroups& groups, const Stage& stage, DType type,
                                   Schedule schedule)
    : backend_(backend),
      groups_(groups),
      stage_(stage),
      type_(type),
      schedule_(std::move(schedule)),
      timeline_(backend.make_timeline()) {
  validate(schedule_);
}

PipelineExecutor::Slot& PipelineExecutor::slot_of(int microbatch) {
  for (const int wanted : {microbatch, no_microbatch})
    for (Slot& slot : slots_)
      if (slot.microbatch == wanted) {
        slot.microbatch = microbatch;
        return slot;
      }
  Slot& slot = slots_.emplace_back();  // only in the first step: afterwards there are as many as are ever in flight
  slot.microbatch = microbatch;
  slot.saved.resize(stage_.blocks.size());
  return slot;
}

void PipelineExecutor::release(Slot& slot) {
  for (Saved& saved : slot.saved) saved.clear();
  slot.input = slot.output = slot.output_gradient = slot.input_gradient = Tensor();
  slot.microbatch = no_microbatch;
}

Context PipelineExecutor::context_of(const StepContext& step, const Microbatch& microbatch) const {
  return {.backend = backend_,
          .tensor = groups_.tensor,
          .data = groups_.data,
          .type = type_,
          .training = step.training,
          .seed = step.seed,
          .loss_scale = step.loss_scale,
          .microbatches = step.microbatches,
          .microbatch = microbatch};
}

void PipelineExecutor::run(const StepContext& step, std::span<const Microbatch> microbatches, Tensor totals) {
  if (static_cast<int>(microbatches.size()) != schedule_.microbatches)
    fail("schedule {} is for {} microbatches, not {}", schedule_.name, schedule_.microbatches, microbatches.size());
  weights_done_ = 0;
  spent_on_.clear();
  timeline_->mark(0);

  const std::span<const Action> actions = schedule_.stages[static_cast<std::size_t>(stage_.index)];
  for (std::size_t i = 0; i < actions.size();) {
    const Action action = actions[i];
    const Activity number("microbatch", {}, action.microbatch);
    const Activity activity(name_of(action.kind));
    if (is_communication(action.kind)) {
      const std::size_t end = batch_end(schedule_.stages[static_cast<std::size_t>(stage_.index)], i);
      begin(Spent::waiting);
      communicate(actions.subspan(i, end - i), microbatches);
      if (!step.training && action.kind == ActionKind::send_activation) release(slot_of(action.microbatch));
      i = end;
      continue;
    }
    const Microbatch& microbatch = microbatches[static_cast<std::size_t>(action.microbatch)];
    Slot& slot = slot_of(action.microbatch);
    begin(Spent::computing);
    if (action.kind == ActionKind::forward) {
      forward(step, microbatch, slot, totals);
      ++i;
      continue;
    }
    // Where nothing happens between the two halves of a backward pass they run block by block, so that a block's
    // memory is free, and its gradients on their way, before the next block's begin.
    const bool input = action.kind == ActionKind::backward_input;
    const Action weight_action{ActionKind::backward_weight, action.microbatch};
    const bool weight = !input || (i + 1 < actions.size() && actions[i + 1] == weight_action);
    backward(step, microbatch, slot, input, weight);
    i += input && weight ? 2 : 1;
  }
  timeline_->mark(spent_on_.size());
  for (Request& send : sends_) send.wait();
  sends_.clear();
}

void PipelineExecutor::begin(Spent kind) {
  if (!spent_on_.empty() && spent_on_.back() == kind) return;
  if (!spent_on_.empty()) timeline_->mark(spent_on_.size());
  spent_on_.push_back(kind);
}

StageSeconds PipelineExecutor::seconds() const {
  StageSeconds sums;
  for (std::size_t i = 0; i < spent_on_.size(); ++i)
    (spent_on_[i] == Spent::waiting ? sums.waiting : sums.compute) += timeline_->seconds(i, i + 1);
  return sums;
}

void PipelineExecutor::communicate(std::span<const Action> batch, std::span<const Microbatch> microbatches) {
  std::vector<Transfer> transfers;
  for (const Action& action : batch) {
    Slot& slot = slot_of(action.microbatch);
    const bool forwards = action.kind == ActionKind::send_activation || action.kind == ActionKind::receive_gradient;
    const int peer = stage_.index + (forwards ? 1 : -1);
    const bool sends = action.kind == ActionKind::send_activation || action.kind == ActionKind::send_gradient;
    if (sends) {
      const bool activation = action.kind == ActionKind::send_activation;
      Tensor& tensor = activation ? slot.output : slot.input_gradient;
      transfers.push_back({Transfer::Direction::send, peer, action.microbatch, std::exchange(tensor, Tensor())});
    } else {
      const bool activation = action.kind == ActionKind::receive_activation;
      Tensor& tensor = activation ? slot.input : slot.output_gradient;
      const Shape& fields = microbatches[static_cast<std::size_t>(action.microbatch)].fields.front().shape();
      const auto& shape = activation ? stage_.input : stage_.output;
      tensor = backend_.allocate(shape(fields.sample()).batch(fields[0]), type_);
      transfers.push_back({Transfer::Direction::receive, peer, action.microbatch, tensor});
    }
  }
  Exchange exchange = groups_.pipeline.exchange(transfers);
  exchange.received.wait();
  std::erase_if(sends_, [](Request& send) { return send.test(); });
  sends_.push_back(std::move(exchange.sent));
}

void PipelineExecutor::forward(const StepContext& step, const Microbatch& microbatch, Slot& slot, Tensor& totals) {
  const Context context = context_of(step, microbatch);
  Tensor x = stage_.first() ? microbatch.fields.front() : std::exchange(slot.input, Tensor());
  for (std::size_t block = 0; block < stage_.blocks.size(); ++block) {
    const Activity activity("block", {}, static_cast<std::int64_t>(block));
    x = stage_.blocks[block]->forward(context, x, slot.saved[block]);
  }
  if (stage_.last()) {
    if (step.outcome)
      step.outcome(x);
    else
      backend_.add(totals, x, totals);
    if (!step.training) release(slot);
  } else {
    slot.output = x;
  }
}

void PipelineExecutor::backward(const StepContext& step, const Microbatch& microbatch, Slot& slot, bool input,
                                bool weight) {
  const Context context = context_of(step, microbatch);
  for (std::size_t left = stage_.blocks.size(); left > 0; --left) {
    const std::size_t block = left - 1;
    const Activity activity("block", {}, static_cast<std::int64_t>(block));
    if (input) {
      Tensor& gradient = slot.output_gradient;
      gradient = stage_.blocks[block]->backward_input(context, gradient, slot.saved[block]);
    }
    if (weight) {
      stage_.blocks[block]->backward_weight(context, slot.saved[block]);
      slot.saved[block].clear();
      if (weights_done_ + 1 == schedule_.microbatches && step.gradients_ready)
        step.gradients_ready(static_cast<int>(block));
    }
  }
  if (input) slot.input_gradient = std::exchange(slot.output_gradient, Tensor());
  if (weight) {
    ++weights_done_;
    release(slot);
  }
}

}  // namespace trireme
