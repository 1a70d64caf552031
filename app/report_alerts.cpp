#include "app/report_alerts.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <limits>
#include <map>

#include "kernels/error.h"

namespace trireme {
namespace {

using Json = nlohmann::ordered_json;

/// Of RFC 3339, as Alertmanager writes it: 2026-11-27T09:31:09.123Z, or +08:00 at the end.
std::optional<double> seconds_of(const std::string& text) {
  std::tm parts{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (rest == nullptr) return {};
  auto seconds = static_cast<double>(::timegm(&parts));
  if (*rest == '.') {
    char* end = nullptr;
    seconds += std::strtod(rest, &end);
    rest = end;
  }
  if (*rest == 'Z') return seconds;
  const bool east = *rest == '+';
  std::tm offset{};
  if ((!east && *rest != '-') || ::strptime(rest + 1, "%H:%M", &offset) == nullptr) return {};
  const double shift = 3600.0 * offset.tm_hour + 60.0 * offset.tm_min;
  return east ? seconds - shift : seconds + shift;
}

std::string text_in(const Json& object, const char* group, const char* key) {
  const Json found = object.value(group, Json::object()).value(key, Json());
  return found.is_string() ? found.get<std::string>() : "";
}

/// Empty where the line is none of Alertmanager's.
std::optional<OutsideAlert> alert_of(const Json& told) {
  const auto begin = seconds_of(told.value("startsAt", ""));
  if (!begin) return {};
  OutsideAlert alert{.begin = *begin,
                     .end = {},
                     .name = text_in(told, "labels", "alertname"),
                     .what = text_in(told, "annotations", "summary"),
                     .job = text_in(told, "labels", "run")};
  if (told.value("status", "") == "resolved") alert.end = seconds_of(told.value("endsAt", ""));
  return alert;
}

OutsideAlert idle_release_of(const Json& line) {
  const std::string action = line["action"];
  const std::string gpus = line.value("gpus", Json()).dump();
  const std::string what = action == "warned"     ? "all " + gpus + " GPUs idle: its users were warned"
                           : action == "released" ? gpus + " GPUs given back: it was made to save and is held"
                                                  : "it was asked to give back " + gpus + " GPUs and has not left";
  return {.begin = line["time"], .end = {}, .name = "idle release", .what = what, .job = line.value("job", "")};
}

}  // namespace

std::vector<Json> read_json_lines(const std::filesystem::path& file, const char* expected) {
  std::ifstream stream(file);
  if (!stream) refuse("report: '{}' cannot be read; expected {}", file.string(), expected);
  std::vector<Json> lines;
  for (std::string text; std::getline(stream, text);) {
    Json line = Json::parse(text, nullptr, false);
    if (stream.eof() && line.is_discarded()) break;  // being written, or cut short by a crash
    if (!line.is_object())
      refuse("{}:{}: found '{}', expected {}", file.string(), lines.size() + 1, text.substr(0, 40), expected);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::vector<OutsideAlert> read_alerts(const std::filesystem::path& file) {
  constexpr const char* expected =
      "messages of Alertmanager's webhook, or the log of idle_release.py, a JSON object a line";
  std::vector<OutsideAlert> alerts;
  std::map<std::string, std::size_t> places;  // by labels and time
  int number = 0;
  for (const Json& line : read_json_lines(file, expected)) {
    ++number;
    try {
      if (line.contains("action")) {
        alerts.push_back(idle_release_of(line));
        continue;
      }
      for (const Json& told : line.at("alerts")) {
        const auto alert = alert_of(told);
        if (!alert) refuse("no time");
        const auto [place, is_new] =
            places.emplace(told.value("labels", Json()).dump() + told.value("startsAt", ""), alerts.size());
        if (is_new)
          alerts.push_back(*alert);
        else
          alerts[place->second] = *alert;
      }
    } catch (const std::exception&) {
      refuse("{}:{}: found '{}', expected {}", file.string(), number, line.dump().substr(0, 40), expected);
    }
  }
  return alerts;
}

StepTimes::StepTimes(const std::vector<Json>& metrics, const std::vector<Json>& events) {
  const auto is = [](const Json& event, const char* kind) { return event.value("event", "") == kind; };
  for (std::size_t number = 0; number < events.size(); ++number) {
    const Json& begin = events[number];
    if (!is(begin, "begin") || !begin.contains("time")) continue;
    const double start = begin["time"];
    const std::int64_t from = begin["step"];
    // This life of the run: until it says that it ends, or the next one begins, which may go back.
    std::int64_t until = std::numeric_limits<std::int64_t>::max();
    double latest = std::numeric_limits<double>::infinity();
    std::optional<std::pair<double, std::int64_t>> last;
    for (std::size_t next = number + 1; next < events.size() && !last; ++next) {
      const Json& event = events[next];
      if (!event.contains("time")) continue;
      const bool ends = is(event, "stopped") || is(event, "done");
      if (!ends && !is(event, "begin")) continue;
      latest = event["time"];
      until = event["step"];
      if (!ends) break;
      last.emplace(latest, until);
    }
    double sum = 0;
    std::vector<std::pair<double, std::int64_t>> steps;
    for (const Json& line : metrics) {
      const std::int64_t step = line["step"];
      if (step <= from || step > until) continue;
      sum += line.value("step_seconds", 0.0) + line.value("checkpoint_stall_seconds", 0.0);
      steps.emplace_back(sum, step);
    }
    // What is between steps, validations above all, is spread over them.
    const double scale = last && sum > 0 ? (last->first - start) / sum : 1;
    add(start, from);
    for (const auto& [seconds, step] : steps) add(std::min(start + scale * seconds, latest), step);
    end_ = last ? std::optional(last->first) : std::nullopt;
  }
}

void StepTimes::add(double time, std::int64_t step) {
  points_.emplace_back(points_.empty() ? time : std::max(time, points_.back().first), step);
}

std::int64_t StepTimes::nearest(double time) const {
  const auto after = std::ranges::upper_bound(points_, time, {}, [](const auto& point) { return point.first; });
  if (points_.empty()) return 0;
  return after == points_.begin() ? points_.front().second : std::prev(after)->second;
}

std::optional<std::int64_t> StepTimes::step_at(double time) const {
  if (points_.empty() || time < points_.front().first || (end_ && time > *end_)) return {};
  return nearest(time);
}

}  // namespace trireme
