#include <nlohmann/json.hpp>

#include "app/doctor/directory.h"
#include "app/doctor/exchange.h"

namespace trireme {
namespace {

using nlohmann::json;

/// How long a network file system may take to show one host what another wrote.
constexpr std::chrono::seconds delay{3};

struct HostReport {
  std::string error;
  bool sees = false;
  double speed = 0;  ///< bytes a second; 0: not measured
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(HostReport, error, sees, speed)

std::string message_of(const std::exception& error) { return error.what(); }

/// What one host finds at the meeting place.
HostReport visit(const std::filesystem::path& place, int rank, bool with_speed, Patience patience) {
  auto report = std::make_shared<HostReport>();  // its thread may stay behind
  try {
    within(std::chrono::duration<double>(patience.seconds), place, [=] {
      report->sees = sees_sign(place, 0, delay);
      if (!report->sees) return;
      leave_sign(place, rank);
      if (with_speed) report->speed = write_speed(place / fmt::format("speed-{}", rank));
    });
  } catch (const std::exception& error) {
    return {.error = message_of(error)};
  }
  return *report;
}

Finding judge_reports(const std::filesystem::path& directory, const std::filesystem::path& place,
                      const std::vector<std::pair<int, HostReport>>& reports, const std::vector<std::string>& hosts,
                      const std::optional<Demand>& demand) {
  const std::string name = "checkpoint.directory=" + directory.string();
  double speed = 0;
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const auto& [rank, report] = reports[i];
    if (!report.error.empty())
      return {Verdict::fail, "directory",
              fmt::format("{}: on {}: {}; choose another, or mend it", name, hosts[i], report.error)};
    if (!report.sees || !sees_sign(place, rank, delay))
      return {
          Verdict::fail, "directory",
          fmt::format("{}: {} does not see what {} writes there; it has to be on a file system that all hosts share "
                      "(NFS, Lustre...)",
                      name, hosts[i], hosts[0])};
    speed += report.speed;
  }
  std::string found = directory.string();
  if (!std::filesystem::exists(directory)) found += " (train will make it)";
  if (reports.size() > 1) found += fmt::format(" is shared by all {} hosts", reports.size());
  if (speed <= 0) return {Verdict::ok, "directory", found};
  found += fmt::format("{} {}/s written, fsync included", reports.size() > 1 ? "," : ":", format_bytes(speed));
  const double seconds = demand ? demand->checkpoint_bytes / speed : 0;
  if (seconds > 120)
    return {Verdict::warn, "directory",
            fmt::format("{}: a checkpoint takes {:.0f} s; use a faster disk, or a larger checkpoint.every", found,
                        seconds)};
  return {Verdict::ok, "directory",
          demand ? fmt::format("{}: a checkpoint takes {}", found, format_seconds(seconds)) : found};
}

}  // namespace

Findings check_directory(World& world, const std::vector<int>& firsts, const std::filesystem::path& directory,
                         bool with_speed, const std::optional<Demand>& demand, Patience patience) {
  // Making the place, and removing it, are file operations that may never end too.
  std::shared_ptr<MeetingPlace> place;
  json invitation = {{"place", ""}, {"error", ""}};
  if (world.rank() == 0) try {
      auto made = std::make_shared<std::shared_ptr<MeetingPlace>>();
      within(std::chrono::duration<double>(patience.seconds), directory, [=] {
        *made = std::make_shared<MeetingPlace>(directory);
        leave_sign((*made)->path(), 0);
      });
      place = *made;
      invitation["place"] = place->path().string();
    } catch (const std::exception& error) {
      invitation["error"] = message_of(error);
    }
  const auto dump = [](const json& value) { return value.dump(-1, ' ', false, json::error_handler_t::replace); };
  invitation = json::parse(broadcast_text(world.all(), dump(invitation), patience.of(world)));
  if (const std::string error = invitation["error"]; !error.empty())
    return {{Verdict::fail, "directory", error + "; choose another, or mend it"}};

  const bool visitor = world.local_rank() == 0;
  json answer = HostReport{};
  if (visitor) answer = visit(invitation["place"].get<std::string>(), world.rank(), with_speed, patience);
  answer["host"] = world.host();
  Patience longer = patience;
  longer.seconds *= 2;  // a visit may take all its time
  std::vector<std::pair<int, HostReport>> reports;
  std::vector<std::string> hosts;
  const auto answers = gather_all(world, dump(answer), longer);
  if (world.rank() != 0) return {};
  for (const int first : firsts) {
    const json each = json::parse(answers[static_cast<std::size_t>(first)]);
    reports.emplace_back(first, each.get<HostReport>());
    hosts.push_back(each["host"]);
  }
  return {judge_reports(directory, place->path(), reports, hosts, demand)};
}

}  // namespace trireme
