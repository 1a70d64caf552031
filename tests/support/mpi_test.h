// What tests that run under mpirun share. Every rank runs the same tests in the same order, in step: a test begins
// when all ranks have ended the one before. A failure on any rank fails the job.
#pragma once

#include "comm/mpi/world.h"

namespace trireme {

World& test_world();

}  // namespace trireme
