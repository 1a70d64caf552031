#include "app/run_events.h"

#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <system_error>

#include "app/options.h"

namespace trireme {

bool RunEvents::add(nlohmann::ordered_json event, std::int64_t step) const {
  if (file_.empty()) return true;
  if (step != unknown) event["step"] = step;
  event["time"] = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  const std::string line = event.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  std::error_code ignored;
  if (file_.has_parent_path()) std::filesystem::create_directories(file_.parent_path(), ignored);
  const int descriptor = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);  // less the umask
  if (descriptor < 0) return false;
  const ssize_t written = ::write(descriptor, line.data(), line.size());  // one write: several ranks may have an alert
  return ::close(descriptor) == 0 && written == static_cast<ssize_t>(line.size());
}

bool RunEvents::begin(std::int64_t step, int ranks, const RunFacts& facts, const Configuration& configuration) const {
  nlohmann::ordered_json event = {{"event", "begin"},
                                  {"ranks", ranks},
                                  {"layout", facts.layout},
                                  {"device", facts.device},
                                  {"flops_per_step", facts.flops_per_step},
                                  {"flops_a_second", facts.flops_a_second.value_or(0)}};
  if (const char* job = std::getenv("SLURM_JOB_ID")) event["job"] = job;
  event["configuration"] = to_ini(configuration);
  return add(std::move(event), step);
}

bool RunEvents::stopped(std::int64_t step, const std::string& why) const {
  return add({{"event", "stopped"}, {"why", why}}, step);
}

bool RunEvents::done(std::int64_t step) const { return add({{"event", "done"}}, step); }

bool RunEvents::alert(const std::string& what, std::int64_t step) const {
  return add({{"event", "alert"}, {"what", what}}, step);
}

}  // namespace trireme
