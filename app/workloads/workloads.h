// All workloads, for the list in app/workload.cpp.
#pragma once

#include "app/workload.h"

namespace trireme {

const Workload& gpt_workload();
const Workload& resnet_workload();
const Workload& ernie_workload();
const Workload& crnn_workload();
const Workload& svtr_workload();

}  // namespace trireme
