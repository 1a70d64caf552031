#include "app/workload.h"

#include <algorithm>
#include <array>

#include "app/workloads/workloads.h"
#include "kernels/error.h"

namespace trireme {
namespace {

const std::vector<const Workload*>& workloads() {
  static const std::vector<const Workload*> all = {&gpt_workload(), &ernie_workload(), &resnet_workload(),
                                                   &crnn_workload(), &svtr_workload()};
  return all;
}

}  // namespace

std::optional<Example> Workload::example(Inference&, const Batch&) const { return {}; }

std::vector<std::string> architectures() {
  std::vector<std::string> names;
  for (const Workload* workload : workloads()) names.push_back(workload->arch());
  return names;
}

const Workload& workload_of(const Configuration& configuration) {
  for (const Workload* workload : workloads())
    if (workload->arch() == configuration.arch) return *workload;
  fail("model.arch={} has no workload", configuration.arch);
}

std::shared_ptr<DataSet> open_data(const Configuration& configuration, const std::vector<std::filesystem::path>& files,
                                   const char* key) {
  if (files.empty()) refuse("{} is not set; it names the data sets that 'trireme pack' made", key);
  return workload_of(configuration).open(files);
}

LayoutLimits limits_of(const Configuration& configuration, std::size_t blocks, int world) {
  LayoutLimits limits{.world = world,
                      .blocks = static_cast<int>(blocks),
                      .global_batch = configuration.train.global_batch,
                      .micro_batch = configuration.train.micro_batch};
  workload_of(configuration).limit(configuration, limits);
  return limits;
}

}  // namespace trireme
