#include "io/hdf5.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <numeric>

#include "tests/support/error_of.h"

namespace trireme {
namespace {

using testing::HasSubstr;

/// A folder of its own for each test.
class Hdf5 : public testing::Test {
 protected:
  Hdf5() : folder_(std::filesystem::temp_directory_path() / fmt::format("trireme-hdf5-{}", getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~Hdf5() override { std::filesystem::remove_all(folder_); }
  std::filesystem::path file(const std::string& name) const { return folder_ / name; }

 private:
  std::filesystem::path folder_;
};

template <typename T>
void expect_round_trip(const hdf5::Handle& file, const std::string& path) {
  std::vector<T> values(60);
  std::iota(values.begin(), values.end(), T{1});
  values.back() = std::numeric_limits<T>::max();
  const Shape shape = {3, 4, 5};
  hdf5::write<T>(hdf5::create_dataset<T>(file, path, shape), {}, shape, values.data());
  const hdf5::Handle dataset = hdf5::open_object(file, path);
  EXPECT_EQ(hdf5::shape_of(dataset), shape);
  std::vector<T> read(60);
  hdf5::read<T>(dataset, {}, shape, read.data());
  EXPECT_EQ(read, values);
  std::vector<T> box(4);
  hdf5::read<T>(dataset, {1, 2, 3}, {1, 2, 2}, box.data());
  EXPECT_THAT(box, testing::ElementsAre(values[33], values[34], values[38], values[39]));
}

TEST_F(Hdf5, DatasetsOfEveryTypeComeBackWholeAndByBox) {
  const hdf5::Handle out = hdf5::create_file(file("types.h5"));
  expect_round_trip<float>(out, "a/f32");
  expect_round_trip<double>(out, "a/f64");
  expect_round_trip<std::uint8_t>(out, "a/u8");
  expect_round_trip<std::uint16_t>(out, "b/c/u16");
  expect_round_trip<std::int32_t>(out, "i32");
  expect_round_trip<std::uint32_t>(out, "u32");
  expect_round_trip<std::int64_t>(out, "i64");
  expect_round_trip<std::uint64_t>(out, "u64");
  EXPECT_TRUE(hdf5::has_type(hdf5::open_object(out, "b/c/u16"), H5T_INTEGER, 2));
  EXPECT_FALSE(hdf5::has_type(hdf5::open_object(out, "a/f64"), H5T_FLOAT, 4));
}

TEST_F(Hdf5, AttributesComeBackExactly) {
  const std::string text = "字 = \"é\"\nwith a zero: " + std::string(1, '\0') + "end";
  const std::string large(200'000, 'x');  // more than an attribute of the first format may hold
  {
    hdf5::Handle out = hdf5::create_file(file("attributes.h5"));
    hdf5::write_string(out, "text", text);
    hdf5::write_string(out, "empty", "");
    hdf5::write_string(out, "large", large);
    hdf5::write_number(out, "u64", std::numeric_limits<std::uint64_t>::max());
    hdf5::write_number(out, "i64", std::numeric_limits<std::int64_t>::min());
    hdf5::write_number(out, "f64", 0.1);
    out.close();
  }
  const hdf5::Handle in = hdf5::open_file(file("attributes.h5"));
  EXPECT_EQ(hdf5::read_string(in, "text"), text);
  EXPECT_EQ(hdf5::read_string(in, "empty"), "");
  EXPECT_EQ(hdf5::read_string(in, "large"), large);
  EXPECT_EQ(hdf5::read_number<std::uint64_t>(in, "u64"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(hdf5::read_number<std::int64_t>(in, "i64"), std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(hdf5::read_number<double>(in, "f64"), 0.1);
  EXPECT_TRUE(hdf5::has_attribute(in, "text"));
  EXPECT_FALSE(hdf5::has_attribute(in, "other"));
  const Error missing = error_of([&] { hdf5::read_number<int>(in, "other"); });
  EXPECT_EQ(missing.status(), ExitStatus::invalid_input);
  EXPECT_THAT(missing.what(), AllOf(HasSubstr("attributes.h5"), HasSubstr("other")));
  EXPECT_EQ(error_of([&] { hdf5::read_number<int>(in, "text"); }).status(), ExitStatus::invalid_input);
  EXPECT_EQ(error_of([&] { hdf5::read_string(in, "u64"); }).status(), ExitStatus::invalid_input);
}

TEST_F(Hdf5, ADatasetGrowsAndTakesBoxes) {
  const hdf5::Handle out = hdf5::create_file(file("growing.h5"));
  const hdf5::Handle dataset = hdf5::create_dataset<std::uint16_t>(out, "tokens", {0}, 4);
  for (std::int64_t first = 0; first < 12; first += 3) {
    hdf5::resize(dataset, {first + 3});
    const std::vector<std::uint16_t> part(3, static_cast<std::uint16_t>(first));
    hdf5::write<std::uint16_t>(dataset, {first}, {3}, part.data());
  }
  std::vector<std::uint16_t> read(12);
  hdf5::read<std::uint16_t>(hdf5::open_object(out, "tokens"), {}, {12}, read.data());
  EXPECT_THAT(read, testing::ElementsAre(0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9));
}

TEST_F(Hdf5, BytesAndExistence) {
  const hdf5::Handle out = hdf5::create_file(file("bytes.h5"));
  const std::string bytes(
      "\0\xff"
      "a\n",
      4);
  hdf5::write_bytes(out, "tokenizer/model", bytes);
  hdf5::write_bytes(out, "tokenizer/nothing", "");
  EXPECT_EQ(hdf5::read_bytes(out, "tokenizer/model"), bytes);
  EXPECT_EQ(hdf5::read_bytes(out, "tokenizer/nothing"), "");
  EXPECT_THAT(hdf5::dataset_paths(out), testing::ElementsAre("tokenizer/model", "tokenizer/nothing"));
  EXPECT_TRUE(hdf5::exists(out, "tokenizer"));
  EXPECT_TRUE(hdf5::exists(out, "/tokenizer/model"));
  EXPECT_FALSE(hdf5::exists(out, "absent"));
  EXPECT_FALSE(hdf5::exists(out, "absent/model"));
  const Error missing = error_of([&] { hdf5::open_object(out, "absent/model"); });
  EXPECT_EQ(missing.status(), ExitStatus::invalid_input);
  EXPECT_THAT(missing.what(), AllOf(HasSubstr("bytes.h5"), HasSubstr("absent/model")));
  EXPECT_EQ(error_of([&] { hdf5::shape_of(hdf5::open_object(out, "tokenizer")); }).status(), ExitStatus::invalid_input);
}

TEST_F(Hdf5, FilesThatAreNoFilesOfOursAreRefused) {
  const auto expect_refused = [](const std::filesystem::path& path, const std::string& why) {
    const Error error = error_of([&] { hdf5::open_file(path); });
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    EXPECT_THAT(error.what(), AllOf(HasSubstr(path.string()), HasSubstr(why)));
  };
  expect_refused(file("absent.h5"), "no such file");
  expect_refused(file(""), "not a file");
  std::ofstream(file("text.h5")) << "not HDF5, but long enough to hold a signature";
  expect_refused(file("text.h5"), "not an HDF5 file");
  std::ofstream(file("empty.h5")).close();
  expect_refused(file("empty.h5"), "not an HDF5 file");
  {
    const std::vector<float> values(1000);
    const hdf5::Handle out = hdf5::create_file(file("cut.h5"));
    hdf5::write<float>(hdf5::create_dataset<float>(out, "x", {1000}), {}, {1000}, values.data());
  }
  std::filesystem::resize_file(file("cut.h5"), 3000);
  expect_refused(file("cut.h5"), "truncated");
}

TEST_F(Hdf5, GroupsThatHoldThemselvesAreWalkedOnce) {
  const hdf5::Handle out = hdf5::create_file(file("circle.h5"));
  hdf5::write_bytes(out, "a/b/bytes", "x");
  const hdf5::Lock lock(hdf5::library_mutex());
  TRIREME_HDF5(H5Lcreate_hard(out.get(), "a", out.get(), "a/b/circle", H5P_DEFAULT, H5P_DEFAULT));
  TRIREME_HDF5(H5Lcreate_hard(out.get(), "a/b/bytes", out.get(), "z", H5P_DEFAULT, H5P_DEFAULT));
  TRIREME_HDF5(H5Lcreate_soft("/", out.get(), "a/top", H5P_DEFAULT, H5P_DEFAULT));
  EXPECT_THAT(hdf5::dataset_paths(out), testing::ElementsAre("a/b/bytes"));
}

/// What the error of stored_shape_of says about a data set of these properties, of which nothing was written.
std::string claim(const hdf5::Handle& file, const std::string& name, const std::vector<hsize_t>& extents,
                  herr_t (*set)(hid_t properties) = nullptr) {
  const hdf5::Lock lock(hdf5::library_mutex());
  const hdf5::Handle properties(TRIREME_HDF5(H5Pcreate(H5P_DATASET_CREATE)), H5Pclose);
  if (set != nullptr) TRIREME_HDF5(set(properties.get()));
  const std::vector<hsize_t> most(extents.size(), H5S_UNLIMITED);
  const bool grows = H5Pget_layout(properties.get()) == H5D_CHUNKED;
  const hdf5::Handle space(
      TRIREME_HDF5(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), grows ? most.data() : nullptr)),
      H5Sclose);
  const hdf5::Handle dataset = hdf5::create_dataset(file, name, H5T_NATIVE_UINT16, space, properties);
  const Error error = error_of([&] { hdf5::stored_shape_of(dataset); });
  EXPECT_EQ(error.status(), ExitStatus::invalid_input) << name;
  return error.what();
}

TEST_F(Hdf5, WhatADatasetClaimsIsTestedBeforeMemoryIsReserved) {
  const hdf5::Handle out = hdf5::create_file(file("claims.h5"));
  EXPECT_THAT(claim(out, "many", {1'000'000'000'000'000}), HasSubstr("claims 1000000000000000 elements"));
  EXPECT_THAT(claim(out, "overflow", {1ULL << 62, 4}), HasSubstr("beyond any file"));
  EXPECT_THAT(claim(out, "nothing", {0, 1ULL << 62, 1ULL << 62}), HasSubstr("beyond any file"));
  const auto large_chunk = [](hid_t properties) {
    const hsize_t chunk = 1'000'000'000;
    return H5Pset_chunk(properties, 1, &chunk);
  };
  EXPECT_THAT(claim(out, "chunk", {1}, large_chunk), HasSubstr("claims 1000000000 elements"));
  const auto external = [](hid_t properties) { return H5Pset_external(properties, "other", 0, 20); };
  EXPECT_THAT(claim(out, "external", {10}, external), HasSubstr("in other files"));
  const auto is_virtual = [](hid_t properties) {
    const hsize_t extent = 10;
    const hdf5::Handle space(H5Screate_simple(1, &extent, nullptr), H5Sclose);
    return H5Pset_virtual(properties, space.get(), "other.h5", "x", space.get());
  };
  EXPECT_THAT(claim(out, "virtual", {10}, is_virtual), HasSubstr("in other files"));
  hdf5::write_bytes(out, "bytes", std::string(1000, 'x'));
  EXPECT_EQ(hdf5::stored_shape_of(hdf5::open_object(out, "bytes")), Shape{1000});
}

TEST_F(Hdf5, AFailedCallIsNamedWithTheLibrarysReason) {
  const hdf5::Handle out = hdf5::create_file(file("box.h5"));
  const hdf5::Handle dataset = hdf5::create_dataset<float>(out, "group/x", {4});
  const std::vector<float> values(4);
  const Error beyond = error_of([&] { hdf5::write<float>(dataset, {2}, {4}, values.data()); });
  EXPECT_EQ(beyond.status(), ExitStatus::failed);
  EXPECT_THAT(beyond.what(), AllOf(HasSubstr("box.h5: /group/x"), HasSubstr("cannot be written: "),
                                   testing::Not(HasSubstr("no reason"))));
  const Error twice = error_of([&] { hdf5::create_dataset<float>(out, "group/x", {4}); });
  EXPECT_THAT(twice.what(), AllOf(HasSubstr("H5Dcreate2"), HasSubstr("already exists")));
  EXPECT_EQ(error_of([&] { hdf5::create_file(file("absent/x.h5")); }).status(), ExitStatus::failed);
}

TEST_F(Hdf5, AHandleMovesAndClosesOnce) {
  const hdf5::Lock lock(hdf5::library_mutex());
  const auto before = H5Fget_obj_count(static_cast<hid_t>(H5F_OBJ_ALL), H5F_OBJ_ALL);
  hdf5::Handle first = hdf5::create_file(file("moved.h5"));
  hdf5::Handle second = std::move(first);
  hdf5::Handle third;
  third = std::move(second);
  third.close();
  third.close();
  EXPECT_EQ(H5Fget_obj_count(static_cast<hid_t>(H5F_OBJ_ALL), H5F_OBJ_ALL), before);
}

}  // namespace
}  // namespace trireme
