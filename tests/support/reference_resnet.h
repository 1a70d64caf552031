// A ResNet written a second time, plainly and in float64, to hold the real one against. Shares no code with it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/arch/resnet.h"

namespace trireme::testing {

/// Logits [batch, classes] of `images` [batch, size, size, channels]. Parameters by global name, row-major. In training
/// norms go by the statistics of the batch, else by the running ones.
std::vector<double> reference_resnet_logits(const ResnetConfig& config,
                                            const std::map<std::string, std::vector<double>>& parameters,
                                            const std::vector<double>& images, int batch, bool training);

/// Mean cross-entropy with label smoothing.
double reference_smoothed_loss(const std::vector<double>& logits, const std::vector<std::int32_t>& targets, int classes,
                               double smoothing);

}  // namespace trireme::testing
