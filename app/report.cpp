#include "app/report.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "app/commands.h"
#include "app/ini.h"
#include "app/report_alerts.h"
#include "app/report_page.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t most_points = 2000;  // of a curve

std::vector<Json> read_metrics(const fs::path& file) {
  constexpr const char* expected = "what log.metrics wrote: a JSON object with a step a line";
  std::vector<Json> lines = read_json_lines(file, expected);
  for (std::size_t number = 0; number < lines.size(); ++number)
    if (!lines[number].value("step", Json()).is_number_integer())
      refuse("{}:{}: found '{}', expected {}", file.string(), number + 1, lines[number].dump().substr(0, 40), expected);
  return lines;
}

std::vector<Json> read_events(const fs::path& file) {
  constexpr const char* expected = "what log.events wrote: a JSON object with an event a line";
  std::vector<Json> lines = read_json_lines(file, expected);
  for (std::size_t number = 0; number < lines.size(); ++number) {
    const Json& line = lines[number];
    const bool knows_time = line.value("time", Json()).is_number();
    const bool knows_step = line.value("step", Json()).is_number_integer();
    const Json kind = line.value("event", Json());
    // Who tells of an alert may not know the step.
    if (!kind.is_string() || (!knows_time && line.contains("time")) || !(knows_step || (kind == "alert" && knows_time)))
      refuse("{}:{}: found '{}', expected {}", file.string(), number + 1, line.dump().substr(0, 40), expected);
  }
  return lines;
}

/// Points of a curve, [step, value]: where there are many, the least and the greatest of each of many parts, so that
/// peaks stay.
Json thinned(const std::vector<std::pair<std::int64_t, double>>& points) {
  Json curve = Json::array();
  const auto add = [&](const auto& point) { curve.push_back({point.first, point.second}); };
  if (points.size() <= most_points) {
    std::ranges::for_each(points, add);
    return curve;
  }
  const std::size_t parts = most_points / 2;
  for (std::size_t part = 0; part < parts; ++part) {
    const auto begin = points.begin() + static_cast<std::ptrdiff_t>(part * points.size() / parts);
    const auto end = points.begin() + static_cast<std::ptrdiff_t>((part + 1) * points.size() / parts);
    const auto by_value = [](const auto& a, const auto& b) { return a.second < b.second; };
    auto [least, greatest] = std::minmax_element(begin, end, by_value);
    if (greatest < least) std::swap(least, greatest);
    add(*least);
    if (least != greatest) add(*greatest);
  }
  return curve;
}

/// One run: where its files are.
struct LoggedRun {
  explicit LoggedRun(const fs::path& path) : name(path.string()) {
    const bool folder = fs::is_directory(path);
    metrics = folder ? path / "metrics.jsonl" : path;
    events = (folder ? path : path.parent_path()) / "events.jsonl";
  }
  std::string name;
  fs::path metrics, events;
};

/// Operations of a step and of the devices in a second, by the step from which they hold.
using Capacities = std::map<std::int64_t, std::pair<double, double>>;

Capacities capacities_of(const std::vector<Json>& events) {
  Capacities found;
  for (const Json& event : events)
    if (event.value("event", "") == "begin" && event.value("flops_a_second", 0.0) > 0)
      found[event["step"]] = {event.value("flops_per_step", 0.0), event["flops_a_second"]};
  return found;
}

Json curves_of(const std::vector<Json>& lines, const Capacities& capacities) {
  std::map<std::string, std::vector<std::pair<std::int64_t, double>>> points;
  for (const Json& line : lines) {
    const std::int64_t step = line["step"];
    const double seconds = line.value("step_seconds", 0.0);
    for (const auto& [key, value] : line.items()) {
      if (!value.is_number() || key == "step" || key == "samples" || key == "tokens") continue;
      const bool wait = key == "data_wait_seconds" && seconds > 0;
      points[wait ? "data_wait_share" : key].emplace_back(step, value.get<double>() / (wait ? seconds : 1));
    }
    const auto after = capacities.upper_bound(step - 1);
    if (after == capacities.begin() || seconds <= 0) continue;
    const auto& [flops, flops_a_second] = std::prev(after)->second;
    points["flop_utilization"].emplace_back(step, flops / seconds / flops_a_second);
  }
  Json curves = Json::object();
  for (const auto& [key, values] : points) curves[key] = thinned(values);
  return curves;
}

/// The last configuration that the events tell, by key.
std::map<std::string, std::string> settings_of(const std::vector<Json>& events, const fs::path& file) {
  std::map<std::string, std::string> settings;
  for (const Json& event : events) {
    if (!event.contains("configuration")) continue;
    settings.clear();
    for (const auto& [key, value, line] : read_ini(event["configuration"].get<std::string>(), file.string()))
      settings[key] = value;
  }
  return settings;
}

/// Rows of what is not the same in all runs: key and a value for each.
Json differences_of(const std::vector<std::map<std::string, std::string>>& all) {
  std::set<std::string> keys;
  for (const auto& settings : all)
    for (const auto& [key, value] : settings) keys.insert(key);
  Json rows = Json::array();
  for (const std::string& key : keys) {
    Json row = {key};
    std::set<std::string> values;
    for (const auto& settings : all) {
      const auto found = settings.find(key);
      row.push_back(found == settings.end() ? "" : found->second);
      values.insert(row.back().get<std::string>());
    }
    if (values.size() > 1) rows.push_back(std::move(row));
  }
  return rows;
}

/// The events as the page takes them, with a step each, and what was told from outside in between.
Json events_of(const std::vector<Json>& metrics, const std::vector<Json>& events,
               const std::vector<OutsideAlert>& alerts) {
  const StepTimes times(metrics, events);
  std::string job;
  Json told = Json::array();
  for (Json event : events) {
    job = event.value("job", job);
    event.erase("configuration");
    if (!event.contains("step")) event["step"] = times.nearest(event["time"]);
    told.push_back(std::move(event));
  }
  for (const OutsideAlert& alert : alerts) {
    if (!job.empty() && !alert.job.empty() && alert.job != job) continue;
    const auto step = times.step_at(alert.begin);
    if (!step) continue;
    Json event = {{"event", "alert"}, {"name", alert.name}, {"what", alert.what}, {"step", *step}};
    event["time"] = alert.begin;
    if (alert.end) event.update({{"end_step", times.nearest(*alert.end)}, {"end_time", *alert.end}});
    const auto later = [&](const Json& other) { return other.value("time", 0.0) > alert.begin; };
    told.insert(std::ranges::find_if(told, later), std::move(event));
  }
  return told;
}

}  // namespace

std::string report_page(const ReportOptions& options) {
  if (options.runs.empty())
    refuse("report: found no run, expected files of log.metrics, or folders with a metrics.jsonl");
  std::vector<OutsideAlert> alerts;
  for (const fs::path& file : options.alerts) std::ranges::move(read_alerts(file), std::back_inserter(alerts));
  Json page = {{"runs", Json::array()}};
  std::vector<std::map<std::string, std::string>> settings;
  for (const fs::path& path : options.runs) {
    const LoggedRun run(path);
    const std::vector<Json> lines = read_metrics(run.metrics);
    std::vector<Json> events;
    if (fs::exists(run.events)) events = read_events(run.events);
    settings.push_back(settings_of(events, run.events));
    page["runs"].push_back({{"name", run.name},
                            {"steps", lines.empty() ? 0 : lines.back()["step"].get<std::int64_t>()},
                            {"curves", curves_of(lines, capacities_of(events))},
                            {"events", events_of(lines, events, alerts)}});
  }
  page["differences"] = differences_of(settings);
  std::string data = page.dump();
  // Nothing in it ends the script element that holds it.
  for (std::size_t at = 0; (at = data.find('<', at)) != std::string::npos;) data.replace(at, 1, "\\u003c");
  std::string text(report_template);
  constexpr std::string_view place = "@DATA@";
  return text.replace(text.find(place), place.size(), data);
}

ExitStatus run_report(const Configuration& configuration) {
  const fs::path& output = configuration.report.output;
  const std::string page = report_page(configuration.report);
  std::ofstream file(output, std::ios::binary);
  if (!(file << page) || !file.flush()) refuse("report.output: '{}' cannot be written", output.string());
  std::cout << fmt::format("wrote {}: {} runs\n", output.string(), configuration.report.runs.size());
  return ExitStatus::done;
}

}  // namespace trireme
