#include "kernels/segments.h"

#include "thread_invariance.h"

namespace trireme {
namespace {

class Segments : public KernelTest {
 protected:
  static std::vector<SegmentTile> tiles_of(const std::vector<Segment>& segments) {
    const Tensor table = make_tiles(backend(), segments);
    std::vector<SegmentTile> tiles(static_cast<std::size_t>(table.shape()[0]));
    if (!tiles.empty()) backend().download(table, tiles.data());
    backend().synchronize();
    return tiles;
  }
};
// Arenas are f32 whatever the working type.
INSTANTIATE_TEST_SUITE_P(, Segments,
                         testing::Values(KernelCase{DeviceKind::cpu, DType::f32, 1e-13},
                                         KernelCase{DeviceKind::cuda, DType::f32, 1e-13}),
                         name_of_parameter);

TEST_P(Segments, TilesCoverEachSegmentInOrder) {
  const std::int64_t most = SegmentTile::most_elements;
  const std::vector<Segment> segments = {{5, 3}, {8, 0}, {std::int64_t{1} << 40, 2 * most + 1}, {8, most}};
  std::vector<Segment> covered(segments.size());
  std::int32_t last = 0;
  for (const SegmentTile& tile : tiles_of(segments)) {
    EXPECT_GE(tile.segment, last);
    EXPECT_GT(tile.count, 0);
    EXPECT_LE(tile.count, most);
    last = tile.segment;
    Segment& segment = covered.at(static_cast<std::size_t>(tile.segment));
    EXPECT_EQ(tile.first, segments[static_cast<std::size_t>(tile.segment)].first + segment.count);
    segment.count += tile.count;
  }
  for (std::size_t i = 0; i < segments.size(); ++i) EXPECT_EQ(covered[i].count, segments[i].count) << i;
}

TEST_P(Segments, SumsOfSquaresAreAddedToEachSegment) {
  const std::vector<Segment> segments = {{1, 6}, {7, 0}, {7, 30000}, {30016, 2}, {30024, 4101}};
  const Tensor x = random_tensor({40000}, DType::f32, 1);
  const Values at = values(x);
  Values wanted = {1.0, 2.0, 3.0, 4.0, 5.0};
  for (std::size_t i = 0; i < segments.size(); ++i)
    for (std::int64_t j = 0; j < segments[i].count; ++j)
      wanted[i] += std::pow(at[static_cast<std::size_t>(segments[i].first + j)], 2);
  const Tensor sums = tensor_of({5}, DType::f64, {1.0, 2.0, 3.0, 4.0, 5.0});
  backend().add_segment_squares(x, make_tiles(backend(), segments), sums);
  const Values found = values(sums);
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], wanted[i], 1e-12 * wanted[i]) << i;
}

TEST_P(Segments, ASegmentsSumHasTheSameBitsWhereverItLies) {
  const Tensor x = random_tensor({60000}, DType::f32, 1);
  const Values at = values(x);
  const auto sum_at = [&](std::int64_t first) {
    Values moved(70000, 7.0);
    std::copy(at.begin(), at.end(), moved.begin() + first);
    const Tensor sums = tensor_of({3}, DType::f64, Values(3, 0.0));
    const std::vector<Segment> segments = {{0, first}, {first, 60000}, {first + 60000, 64}};
    backend().add_segment_squares(tensor_of({70000}, DType::f32, moved), make_tiles(backend(), segments), sums);
    return values(sums)[1];
  };
  EXPECT_EQ(sum_at(9008), sum_at(16));
}

TEST_P(Segments, WithoutTilesNothingHappens) {
  const Tensor sums = tensor_of({2}, DType::f64, {1.0, 2.0});
  const std::vector<Segment> segments = {{0, 0}, {16, 0}};
  backend().add_segment_squares(random_tensor({32}, DType::f32, 1), make_tiles(backend(), segments), sums);
  EXPECT_EQ(values(sums), (Values{1.0, 2.0}));
  EXPECT_THROW(backend().add_segment_squares(random_tensor({32}, DType::f32, 1), sums, sums), Error);
}

TEST(SegmentsThreads, ChangeNoBit) {
  expect_same_for_any_thread_count([](Backend& cpu) {
    const std::vector<Segment> segments = {{0, 50001}, {50001, 49999}};
    const Tensor x = from_double(cpu, {100000}, DType::f32, random_values(100000, 1));
    const Tensor sums = from_double(cpu, {2}, DType::f64, {0.0, 0.0});
    cpu.add_segment_squares(x, make_tiles(cpu, segments), sums);
    return to_double(cpu, sums);
  });
}

}  // namespace
}  // namespace trireme
