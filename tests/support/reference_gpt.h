// A GPT written a second time, plainly and in float64, to hold the real one against. Shares no code with it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "model/arch/gpt.h"

namespace trireme::testing {

/// Parameters by global name, row-major.
using ReferenceParameters = std::map<std::string, std::vector<double>>;

/// Mean cross-entropy in nats of `targets` given `tokens`, both [batch, time]; dropout off.
double reference_gpt_loss(const GptConfig& config, const ReferenceParameters& parameters,
                          const std::vector<std::int32_t>& tokens, const std::vector<std::int32_t>& targets, int time);

}  // namespace trireme::testing
