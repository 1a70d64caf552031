#include "model/label_spans.h"

#include <algorithm>

namespace trireme {

using Role = SpanLabel::Role;

SpanLabel span_label(std::string_view name) {
  if (name == "O") return {};
  constexpr std::string_view marks = "BIES";
  constexpr Role roles[] = {Role::begin, Role::inside, Role::end, Role::single};
  if (const auto mark = marks.find(name.substr(0, 1));
      name.size() > 2 && name[1] == '-' && mark != std::string_view::npos)
    return {roles[mark], std::string(name.substr(2))};
  return {Role::inside, std::string(name)};
}

std::vector<SpanLabel> span_labels(const std::vector<std::string>& names) {
  std::vector<SpanLabel> labels;
  for (const std::string& name : names) labels.push_back(span_label(name));
  return labels;
}

std::vector<LabelSpan> spans_of(std::span<const std::int32_t> labels, const std::vector<SpanLabel>& names) {
  std::vector<LabelSpan> spans;
  bool open = false;
  for (std::size_t at = 0; at < labels.size(); ++at) {
    const auto& [role, type] = names.at(static_cast<std::size_t>(labels[at]));
    if (role == Role::outside) {
      open = false;
      continue;
    }
    const bool goes_on = open && (role == Role::inside || role == Role::end) && spans.back().type == type;
    if (!goes_on) spans.push_back({type, at, 0});
    ++spans.back().count;
    open = role == Role::begin || role == Role::inside;
  }
  return spans;
}

void count_spans(std::span<const std::int32_t> found, std::span<const std::int32_t> wanted,
                 const std::vector<SpanLabel>& names, SpanCounts& counts) {
  const std::vector<LabelSpan> ours = spans_of(found, names);
  const std::vector<LabelSpan> theirs = spans_of(wanted, names);
  counts.found += std::ssize(ours);
  counts.wanted += std::ssize(theirs);
  counts.hits += std::ranges::count_if(
      ours, [&](const LabelSpan& span) { return std::ranges::find(theirs, span) != theirs.end(); });
}

}  // namespace trireme
