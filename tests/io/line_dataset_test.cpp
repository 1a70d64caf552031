// Data sets of text lines, and what batches are made of them.
#include "io/lines/line_dataset.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <set>

#include "io/lines/key_set.h"
#include "io/lines/line_source.h"
#include "tests/app/support.h"
#include "tests/support/error_of.h"

namespace trireme {
namespace {

/// What a call says that refuses.
template <typename Call>
std::string refusal_of(Call call) {
  const Error error = error_of(call);
  EXPECT_EQ(error.status(), ExitStatus::invalid_input) << error.what();
  return error.what();
}

constexpr int height = 8;

/// Line i says character i % 3 + 1, i + 1 times at most 4, on pixels that tell i.
Line line_of(int number, int width) {
  Line line{.width = width, .pixels = std::vector<std::uint8_t>(static_cast<std::size_t>(width * height))};
  for (auto& pixel : line.pixels) pixel = static_cast<std::uint8_t>(number);
  line.pixels.back() = 255;
  line.labels.assign(static_cast<std::size_t>(std::min(number + 1, 4)), number % 3 + 1);
  return line;
}

class LineData : public ::testing::Test {
 protected:
  std::filesystem::path write(const std::string& name, const std::vector<int>& widths) const {
    const KeySet keys("天地人", "test");
    LineDatasetWriter writer(folder_ / name, height, keys.blob());
    for (std::size_t i = 0; i < widths.size(); ++i) writer.append(line_of(static_cast<int>(i), widths[i]));
    writer.commit();
    return folder_ / name;
  }
  /// Lines of each batch, told by their pixels, with whether they count.
  static std::vector<std::vector<int>> batches_of(LineSource& source, std::int64_t count, int size) {
    std::vector<std::vector<int>> batches;
    for (std::int64_t batch = 0; batch < count; ++batch) {
      const auto fields = source.fields(batch);
      std::vector<std::vector<std::byte>> room;
      std::vector<std::byte*> pointers;
      for (const Field& field : fields) pointers.push_back(room.emplace_back(field.bytes()).data());
      batches.emplace_back();
      for (int index = 0; index < size; ++index) {
        source.read(batch, index, pointers);
        const float first = *reinterpret_cast<const float*>(pointers[0]);
        const bool counts = *reinterpret_cast<const std::int32_t*>(pointers[1]) != -2;
        if (counts) batches.back().push_back(static_cast<int>(std::lround((first + 1) * 127.5)));
      }
    }
    return batches;
  }

  test::TemporaryFolder folder_;
};

TEST_F(LineData, ReadsWhatWasWritten) {
  LineDataset dataset({write("a.h5", {20, 9}), write("b.h5", {33})});
  EXPECT_EQ(dataset.lines(), 3);
  EXPECT_EQ(dataset.height(), height);
  for (const auto& [number, of_file, width] : {std::array{0, 0, 20}, std::array{1, 1, 9}, std::array{2, 0, 33}}) {
    Line line;
    dataset.read(number, line);
    const Line wanted = line_of(of_file, width);
    EXPECT_EQ(line.width, width);
    EXPECT_EQ(line.pixels, wanted.pixels);
    EXPECT_EQ(line.labels, wanted.labels);
    EXPECT_EQ(dataset.width(number), width);
    EXPECT_EQ(dataset.labels(number), static_cast<int>(wanted.labels.size()));
  }
}

TEST_F(LineData, RefusesWhatIsNone) {
  EXPECT_NE(refusal_of([&] { LineDataset({folder_ / "none.h5"}); }).find("none.h5"), std::string::npos);
  const auto whole = write("whole.h5", {20, 9, 30});
  std::filesystem::resize_file(whole, std::filesystem::file_size(whole) / 2);
  EXPECT_NE(refusal_of([&] { LineDataset({whole}); }).find("whole.h5"), std::string::npos);
  const auto first = write("first.h5", {20});
  LineDatasetWriter other(folder_ / "other.h5", height, KeySet("天地", "test").blob());
  other.append(line_of(0, 5));
  other.commit();
  EXPECT_NE(refusal_of([&] { LineDataset({first, folder_ / "other.h5"}); }).find("other.h5"), std::string::npos);
}

TEST_F(LineData, AFileWithoutCommitIsNotThere) {
  { LineDatasetWriter writer(folder_ / "gone.h5", height, KeySet("天", "test").blob()); }
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path()));
}

TEST(PaddedWidth, IsAMultipleAndNeverMuchMore) {
  EXPECT_EQ(padded_width(1), 32);
  EXPECT_EQ(padded_width(32), 32);
  EXPECT_EQ(padded_width(33), 64);
  EXPECT_EQ(padded_width(513), 576);
  std::set<int> widths;
  for (int width = 256; width <= 2048; ++width) {
    EXPECT_GE(padded_width(width), width);
    EXPECT_LT(padded_width(width), width * 9 / 8 + 1);
    widths.insert(padded_width(width));
  }
  EXPECT_LE(widths.size(), 26U);
}

TEST(WritePixels, RepeatsTheLastColumn) {
  const Line line{.width = 2, .pixels = {0, 255, 255, 0}};
  std::vector<float> out(8, 9.0F);
  write_pixels(line, 2, 4, out.data());
  EXPECT_EQ(out, (std::vector<float>{-1, 1, 1, 1, 1, -1, -1, -1}));
}

TEST_F(LineData, AnEvaluationTakesEveryLineOnce) {
  const std::vector<int> widths = {20, 40, 21, 41, 22, 90, 42, 23, 24, 43};
  auto data = std::make_shared<LineDataset>(std::vector{write("a.h5", widths)});
  LineSource source(data, 4, {.global_batch = 4, .training = false});
  EXPECT_EQ(source.samples(), 10);
  EXPECT_EQ(source.batches(), 4);  // 5 lines of 32, 4 of 64, 1 of 96
  std::multiset<int> seen;
  for (const auto& batch : batches_of(source, source.batches(), 4)) {
    std::set<int> padded;
    for (const int line : batch) padded.insert(padded_width(widths[static_cast<std::size_t>(line)]));
    EXPECT_EQ(padded.size(), 1U) << "one width a batch";
    seen.insert(batch.begin(), batch.end());
  }
  EXPECT_EQ(seen, (std::multiset<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

/// What fills up a line's width is seen by the model, so it must be the line's own affair.
TEST_F(LineData, InAnEvaluationALineDoesNotDependOnItsNeighbours) {
  const std::vector<int> widths = {20, 40, 21, 41, 22, 90, 42, 23, 300, 330, 43};
  auto data = std::make_shared<LineDataset>(std::vector{write("a.h5", widths)});
  for (const int size : {1, 3, 4, 16}) {
    LineSource source(data, 4, {.global_batch = size, .training = false});
    std::set<int> seen;
    for (std::int64_t batch = 0; batch < source.batches(); ++batch) {
      const auto fields = source.fields(batch);
      std::vector<float> pixels(static_cast<std::size_t>(fields[0].elements()));
      std::vector<std::int32_t> labels(static_cast<std::size_t>(fields[1].elements()));
      std::int32_t steps = 0;
      const std::vector<std::byte*> room = {reinterpret_cast<std::byte*>(pixels.data()),
                                            reinterpret_cast<std::byte*>(labels.data()),
                                            reinterpret_cast<std::byte*>(&steps)};
      for (int index = 0; index < size; ++index) {
        source.read(batch, index, room);
        const int number = static_cast<int>(std::lround((pixels[0] + 1) * 127.5F));
        const int width = widths[static_cast<std::size_t>(number)];
        ASSERT_EQ(fields[0].shape[1], padded_width(width)) << "batches of " << size;
        std::vector<float> alone(pixels.size());
        write_pixels(line_of(number, width), height, padded_width(width), alone.data());
        EXPECT_EQ(pixels, alone) << "line " << number << " in batches of " << size;
        EXPECT_EQ(steps, (width + 3) / 4);
        seen.insert(number);
      }
    }
    EXPECT_EQ(seen.size(), widths.size());
  }
}

TEST_F(LineData, FieldsTellWidthLabelsAndSteps) {
  auto data = std::make_shared<LineDataset>(std::vector{write("a.h5", {20, 21, 37, 38, 39, 40})});
  LineSource source(data, 4, {.global_batch = 2, .training = false});
  const auto fields = source.fields(1);
  EXPECT_EQ(fields[0].shape, (Shape{height, 64, 1}));
  EXPECT_EQ(fields[1].shape, (Shape{4}));
  EXPECT_EQ(fields[2].shape.rank(), 0);
  std::vector<float> pixels(height * 64);
  std::vector<std::int32_t> labels(4);
  std::int32_t steps = 0;
  const std::vector<std::byte*> room = {reinterpret_cast<std::byte*>(pixels.data()),
                                        reinterpret_cast<std::byte*>(labels.data()),
                                        reinterpret_cast<std::byte*>(&steps)};
  source.read(1, 0, room);
  EXPECT_EQ(labels, (std::vector<std::int32_t>{3, 3, 3, -1}));
  EXPECT_EQ(steps, 10) << "37 pixels, 4 a step, rounded up";
}

TEST_F(LineData, TrainingIsAFunctionOfSeedAndBatch) {
  std::vector<int> widths;
  for (int i = 0; i < 61; ++i) widths.push_back(10 + i * 7 % 130);
  auto data = std::make_shared<LineDataset>(std::vector{write("a.h5", widths)});
  const auto run = [&](std::uint64_t seed) {
    LineSource source(data, 4, {.global_batch = 4, .seed = seed});
    return batches_of(source, 3 * source.batches(), 4);
  };
  const auto batches = run(5);
  EXPECT_EQ(run(5), batches);
  EXPECT_NE(run(6), batches);
  std::map<int, int> seen;
  for (const auto& batch : batches)
    for (const int line : batch) ++seen[line];
  EXPECT_EQ(seen.size(), 61U) << "no line is left out";
  for (const auto& [line, times] : seen) {
    EXPECT_GE(times, 2) << line;
    EXPECT_LE(times, 5) << line;
  }
}

TEST_F(LineData, RareWidthsJoinOthers) {
  auto data = std::make_shared<LineDataset>(std::vector{write("a.h5", {500, 20, 21, 22, 23, 60})});
  LineSource source(data, 4, {.global_batch = 4, .seed = 1});
  EXPECT_EQ(source.batches(), 2);  // four of 32; 64 and 512 are too few and join
  std::set<std::int64_t> widths;
  for (std::int64_t batch = 0; batch < 2; ++batch) widths.insert(source.fields(batch)[0].shape[1]);
  EXPECT_TRUE(widths.contains(512)) << "padded to the widest";
}

}  // namespace
}  // namespace trireme
