// Named spans from the labels of tokens, and how well two sets of them agree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace trireme {

/// What the name of a label says: "O" is no span; "B-ns", "I-ns", "E-ns" and "S-ns" are the beginning, the inside, the
/// end and the whole of a span of "ns" (BIO, BIOES); any other name is that of a span's tokens, one beside the other.
struct SpanLabel {
  enum class Role : std::uint8_t { outside, begin, inside, end, single };
  Role role = Role::outside;
  std::string type;
};

SpanLabel span_label(std::string_view name);
std::vector<SpanLabel> span_labels(const std::vector<std::string>& names);

/// Tokens [first, first + count), of a type of spans.
struct LabelSpan {
  std::string_view type;  ///< the label's
  std::size_t first = 0, count = 0;
  bool operator==(const LabelSpan&) const = default;
};

/// The spans that a run of labels tells, in their order, as CoNLL's evaluation reads them: one begins at B and S, and
/// where I or E follows nothing, an end or another type; one ends at E and S, and before what is not of its inside. So
/// runs of labels that no annotator would write have a meaning too.
std::vector<LabelSpan> spans_of(std::span<const std::int32_t> labels, const std::vector<SpanLabel>& names);

/// Spans that were found, of those that are there. A hit has the same tokens and the same type.
struct SpanCounts {
  std::int64_t hits = 0, found = 0, wanted = 0;
};

/// Adds those of one text. The same tokens are labelled in both.
void count_spans(std::span<const std::int32_t> found, std::span<const std::int32_t> wanted,
                 const std::vector<SpanLabel>& names, SpanCounts& counts);

}  // namespace trireme
