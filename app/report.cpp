#include "app/report.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

#include "app/commands.h"
#include "app/ini.h"
#include "app/report_page.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::size_t most_points = 2000;  // of a curve

std::vector<Json> read_lines(const fs::path& file) {
  std::ifstream stream(file);
  if (!stream) refuse("report: '{}' cannot be read; expected what log.metrics or log.events wrote", file.string());
  std::vector<Json> lines;
  for (std::string text; std::getline(stream, text);) {
    Json line = Json::parse(text, nullptr, false);
    if (stream.eof() && line.is_discarded()) break;  // being written, or cut short by a crash
    if (!line.is_object() || !line.contains("step") || !line["step"].is_number_integer())
      refuse("{}:{}: found '{}', expected a JSON object with a step", file.string(), lines.size() + 1,
             text.substr(0, 40));
    lines.push_back(std::move(line));
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

}  // namespace

std::string report_page(const ReportOptions& options) {
  if (options.runs.empty())
    refuse("report: found no run, expected files of log.metrics, or folders with a metrics.jsonl");
  Json page = {{"runs", Json::array()}};
  std::vector<std::map<std::string, std::string>> settings;
  for (const fs::path& path : options.runs) {
    const LoggedRun run(path);
    const std::vector<Json> lines = read_lines(run.metrics);
    std::vector<Json> events;
    if (fs::exists(run.events)) events = read_lines(run.events);
    settings.push_back(settings_of(events, run.events));
    Json told = Json::array();
    for (Json event : events) {
      event.erase("configuration");
      told.push_back(std::move(event));
    }
    page["runs"].push_back({{"name", run.name},
                            {"steps", lines.empty() ? 0 : lines.back()["step"].get<std::int64_t>()},
                            {"curves", curves_of(lines, capacities_of(events))},
                            {"events", std::move(told)}});
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
