// Where a training run begins: at the newest checkpoint, with the parameters of another run, or from nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/run_events.h"
#include "app/session.h"

namespace trireme {

struct Beginning {
  std::int64_t step = 0;  ///< the last one done
  bool resumed = false;
  std::vector<std::string> notes;  ///< for the user
};

/// Loads what checkpoint.resume and train.init ask for into the session. Collective. Refuses a checkpoint of another
/// model, tokenizer, optimizer, seed or global batch, and to begin anew where an earlier life of the run must have
/// saved some. Tells of damaged checkpoints.
Beginning begin_or_go_on(Session& session, const RunEvents& events);

}  // namespace trireme
