// Spans against what CoNLL's evaluation says of the same labels, and counts against a plain double.
#include "model/label_spans.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <sstream>
#include <tuple>

namespace trireme {
namespace {

const std::vector<std::string> names = {"O", "B-x", "I-x", "E-x", "S-x", "B-y", "I-y", "price"};

std::vector<std::int32_t> numbers_of(const std::string& text) {
  std::vector<std::int32_t> numbers;
  std::istringstream words(text);
  for (std::string word; words >> word;)
    numbers.push_back(static_cast<std::int32_t>(std::ranges::find(names, word) - names.begin()));
  return numbers;
}

/// "x 0-2 y 3-4": types with first token and end.
std::string spans(const std::string& labels) {
  const std::vector<SpanLabel> meanings = span_labels(names);
  std::string text;
  for (const auto& [type, first, count] : spans_of(numbers_of(labels), meanings))
    text += (text.empty() ? "" : " ") + std::string(type) + " " + std::to_string(first) + "-" +
            std::to_string(first + count);
  return text;
}

TEST(LabelSpans, BeginEndAndGoOn) {
  EXPECT_EQ(spans("O B-x I-x O B-y O"), "x 1-3 y 4-5");
  EXPECT_EQ(spans("B-x B-x I-x"), "x 0-1 x 1-3") << "neighbours of a type";
  EXPECT_EQ(spans("B-x E-x S-x S-x"), "x 0-2 x 2-3 x 3-4");
  EXPECT_EQ(spans("price price O price"), "price 0-2 price 3-4") << "names without a mark";
  EXPECT_EQ(spans("O O"), "");
  EXPECT_EQ(spans(""), "");
}

TEST(LabelSpans, LabelsThatDoNotFitHaveAMeaning) {
  EXPECT_EQ(spans("I-x I-x O I-x"), "x 0-2 x 3-4") << "an inside without a beginning";
  EXPECT_EQ(spans("B-x I-y I-y"), "x 0-1 y 1-3") << "another type goes on";
  EXPECT_EQ(spans("B-x E-x I-x"), "x 0-2 x 2-3") << "after an end";
  EXPECT_EQ(spans("S-x I-x"), "x 0-1 x 1-2");
  EXPECT_EQ(spans("E-x E-x"), "x 0-1 x 1-2");
}

TEST(LabelSpans, NamesOfOneLetterAreTypes) {
  EXPECT_EQ(span_label("B").type, "B");
  EXPECT_EQ(span_label("B-").type, "B-");
  EXPECT_EQ(span_label("B-B-x").type, "B-x");
  EXPECT_EQ(span_label("O-x").type, "O-x");
}

/// One tag a token and no thought of speed: a span is what cannot be made longer on either side.
std::set<std::tuple<std::string, std::size_t, std::size_t>> plain_spans(const std::vector<std::int32_t>& labels) {
  const auto type = [&](std::size_t at) {
    const std::string& name = names[static_cast<std::size_t>(labels[at])];
    return name == "O" ? "" : name == "price" ? name : name.substr(2);
  };
  const auto mark = [&](std::size_t at) {
    const std::string& name = names[static_cast<std::size_t>(labels[at])];
    return name == "price" ? 'I' : name[0];
  };
  const auto joined = [&](std::size_t at) {  // with the token before it
    return at > 0 && type(at) == type(at - 1) && (mark(at) == 'I' || mark(at) == 'E') &&
           (mark(at - 1) == 'B' || mark(at - 1) == 'I');
  };
  std::set<std::tuple<std::string, std::size_t, std::size_t>> found;
  for (std::size_t first = 0; first < labels.size(); ++first) {
    if (type(first).empty() || joined(first)) continue;
    std::size_t end = first + 1;
    while (end < labels.size() && joined(end)) ++end;
    found.emplace(type(first), first, end);
  }
  return found;
}

TEST(LabelSpans, CountsAreThoseOfAPlainDouble) {
  std::mt19937 random(4);
  const std::vector<SpanLabel> meanings = span_labels(names);
  SpanCounts counts, wanted;
  for (int text = 0; text < 300; ++text) {
    std::vector<std::int32_t> truth(random() % 12), guess;
    for (auto& label : truth) label = static_cast<std::int32_t>(random() % names.size());
    for (const auto label : truth)
      guess.push_back(random() % 3 > 0 ? label : static_cast<std::int32_t>(random() % names.size()));
    count_spans(guess, truth, meanings, counts);
    const auto ours = plain_spans(guess), theirs = plain_spans(truth);
    wanted.found += std::ssize(ours);
    wanted.wanted += std::ssize(theirs);
    for (const auto& span : ours) wanted.hits += theirs.contains(span) ? 1 : 0;
  }
  EXPECT_GT(wanted.hits, 300);
  EXPECT_LT(wanted.hits, wanted.found);
  EXPECT_EQ(counts.hits, wanted.hits);
  EXPECT_EQ(counts.found, wanted.found);
  EXPECT_EQ(counts.wanted, wanted.wanted);
}

}  // namespace
}  // namespace trireme
