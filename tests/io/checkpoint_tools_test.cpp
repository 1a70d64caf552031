// A checkpoint as other people's HDF5 programs see it: h5dump (hdf5-tools) and h5py.
#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstdlib>

#include "comm/self_communicator.h"
#include "io/checkpoint/format.h"
#include "tests/io/checkpoint_support.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class CheckpointTools : public testing::Test {
 protected:
  CheckpointTools() : directory_(fs::temp_directory_path() / fmt::format("trireme-checkpoint-tools-{}", getpid())) {
    // Two shards and a folder that was moved since, the tools started elsewhere.
    Holding upper;
    upper.add("parameters/head.weight", shard_of({4, 6}, 0, 0, 2), false);
    upper.values(0) = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    Holding lower;
    lower.add("parameters/head.weight", shard_of({4, 6}, 0, 1, 2), false);
    lower.add("optimizer/second_moment/bias", whole({3}), false);
    lower.values(0) = {12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23.5};
    lower.values(1) = {-1, 0.25, 3e-30F};
    const fs::path written = directory_ / "written";
    fs::create_directories(written);
    checkpoint::write_shard(written / checkpoint::shard_file(0), 100, upper.items());
    checkpoint::write_shard(written / checkpoint::shard_file(1), 100, lower.items());
    checkpoint::write_model(written, example_info(), 2, checkpoint::read_shards(written, 2));
    fs::rename(written, directory_ / "moved");
  }
  ~CheckpointTools() override { fs::remove_all(directory_); }

  std::string model() const { return (directory_ / "moved" / "model.h5").string(); }

  /// Output of a shell command that must succeed.
  std::string run(const std::string& command) const {
    const fs::path output = directory_ / "output";
    const int status = std::system(fmt::format("cd / && {} > {} 2>&1", command, output.string()).c_str());
    const std::string text = bytes_of(output);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << command << "\n" << text;
    return text;
  }
  static bool works(const std::string& command) { return std::system((command + " > /dev/null 2>&1").c_str()) == 0; }

 private:
  fs::path directory_;
};

TEST_F(CheckpointTools, H5dumpShowsTensorsWhole) {
  if (!works("h5dump --version")) GTEST_SKIP() << "h5dump (package hdf5-tools) is not installed";
  const std::string text = run(fmt::format("h5dump -d /parameters/head.weight {}", model()));
  EXPECT_THAT(text, HasSubstr("SIMPLE { ( 4, 6 ) / ( 4, 6 ) }"));
  EXPECT_THAT(text, HasSubstr("(0,0): 0, 1, 2, 3, 4, 5,"));
  EXPECT_THAT(text, HasSubstr("(3,0): 18, 19, 20, 21, 22, 23.5"));
  EXPECT_THAT(run(fmt::format("h5dump -a /samples -a /complete {}", model())), HasSubstr("(0): 3200"));
}

TEST_F(CheckpointTools, H5pyShowsTensorsAndAttributes) {
  if (!works("/usr/bin/python3 -c 'import h5py'")) {
    GTEST_SKIP() << "h5py (package python3-h5py) is not installed for /usr/bin/python3";
  }
  const std::string script = R"(
import h5py, numpy, sys
model = h5py.File(sys.argv[1], "r")
tensors = {}
model.visititems(lambda name, item: tensors.update({name: item}) if isinstance(item, h5py.Dataset) else None)
assert sorted(tensors) == ["optimizer/second_moment/bias", "parameters/head.weight", "tokenizer/model"], tensors
head = tensors["parameters/head.weight"]
assert head.is_virtual and head.shape == (4, 6) and head.dtype == numpy.float32, head
expected = numpy.arange(24, dtype=numpy.float32).reshape(4, 6)
expected[3, 5] = 23.5
assert numpy.array_equal(head[...], expected), head[...]
assert numpy.array_equal(head[1:3, 2:4], expected[1:3, 2:4])
assert tensors["optimizer/second_moment/bias"][...].tolist() == numpy.float32([-1, 0.25, 3e-30]).tolist()
assert model.attrs["step"] == 100 and model.attrs["seed"] == 0xfedcba9876543210 and model.attrs["shards"] == 2
assert model.attrs["configuration"].decode() == "[model]\narch=gpt\n; 注释\n\n", model.attrs["configuration"]
assert bytes(tensors["tokenizer/model"][:10]) == b"\0\xff model \n"
)";
  const fs::path file = fs::path(model()).replace_filename("script.py");
  std::ofstream(file) << script;
  run(fmt::format("/usr/bin/python3 {} {}", file.string(), model()));
}

}  // namespace
}  // namespace trireme
