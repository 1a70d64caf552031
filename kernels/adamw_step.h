// What all elements of one AdamW step share, for every device.
#pragma once

#include <cmath>

#include "kernels/backend.h"

namespace trireme {

/// Constants in the precision of the loop, derived in double: bias corrections are 1 - beta^step.
struct AdamwStep {
  explicit AdamwStep(const AdamwArgs& args)
      : beta1(static_cast<float>(args.beta1)),
        beta2(static_cast<float>(args.beta2)),
        rest1(static_cast<float>(1.0 - args.beta1)),
        rest2(static_cast<float>(1.0 - args.beta2)),
        rate(static_cast<float>(args.learning_rate / (1.0 - std::pow(args.beta1, static_cast<double>(args.step))))),
        root_correction(
            static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(args.beta2, static_cast<double>(args.step))))),
        epsilon(static_cast<float>(args.epsilon)),
        decay(static_cast<float>(args.learning_rate * args.weight_decay)) {}
  float beta1, beta2, rest1, rest2, rate, root_correction, epsilon, decay;
};

}  // namespace trireme
