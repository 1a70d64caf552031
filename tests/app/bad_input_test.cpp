// Bad input: one clear message from one rank that names what was found and what was expected, and status 2.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "io/hdf5.h"
#include "tests/app/training_support.h"

namespace trireme {
namespace {

using test::mpirun;
using test::ProcessResult;

class BadInput : public test::TrainingTest {
 protected:
  /// Runs on two ranks; expects status 2 and exactly one message that holds all of `words`.
  void expect_refused(const std::string& command, const std::vector<std::string>& words) const {
    const ProcessResult result = mpirun(2, command);
    EXPECT_EQ(result.status, 2) << result.err;
    std::istringstream text(result.err);
    std::vector<std::string> messages;
    for (std::string line; std::getline(text, line);)
      if (line.starts_with("trireme: ")) messages.push_back(line);
    ASSERT_EQ(messages.size(), 1U) << result.err;
    for (const std::string& word : words)
      EXPECT_NE(messages[0].find(word), std::string::npos) << "no '" << word << "' in: " << messages[0];
  }
  std::string command(const std::string& more) const { return arguments("--train.steps=2 " + more); }
  std::string with_data(const std::filesystem::path& file) const {
    return "train --train.steps=2 --model.hidden=32 --model.heads=4 --data.train=" + file.string();
  }
  /// A copy of the train set, changed.
  std::filesystem::path damaged(const std::function<void(const std::filesystem::path&)>& change) const {
    const auto copy = folder_ / "damaged.h5";
    std::filesystem::copy_file(*shared / "train.h5", copy);
    change(copy);
    return copy;
  }
};

TEST_F(BadInput, MissingFile) { expect_refused(with_data(folder_ / "none.h5"), {"none.h5"}); }

TEST_F(BadInput, NotHdf5) {
  test::write_text(folder_ / "text.h5", "this is no HDF5 file");
  expect_refused(with_data(folder_ / "text.h5"), {"text.h5", "HDF5"});
}

TEST_F(BadInput, TruncatedDataSet) {
  const auto file =
      damaged([](const auto& copy) { std::filesystem::resize_file(copy, std::filesystem::file_size(copy) / 2); });
  expect_refused(with_data(file), {"damaged.h5"});
}

TEST_F(BadInput, OtherVersion) {
  const auto file = damaged([](const auto& copy) {
    const hdf5::Handle handle(H5Fopen(copy.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    const hdf5::Handle version(H5Aopen(handle.get(), "version", H5P_DEFAULT), H5Aclose);
    const int wanted = 99;
    ASSERT_GE(H5Awrite(version.get(), H5T_NATIVE_INT, &wanted), 0);
  });
  expect_refused(with_data(file), {"damaged.h5", "99", "1"});
}

TEST_F(BadInput, TokenBeyondTheVocabulary) {
  const auto file = damaged([](const auto& copy) {
    const hdf5::Handle handle(H5Fopen(copy.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    const hdf5::Handle tokens(H5Dopen2(handle.get(), "tokens", H5P_DEFAULT), H5Dclose);
    const hdf5::Handle space(H5Dget_space(tokens.get()), H5Sclose);
    std::vector<std::uint16_t> values(static_cast<std::size_t>(H5Sget_simple_extent_npoints(space.get())), 60000);
    ASSERT_GE(H5Dwrite(tokens.get(), H5T_NATIVE_UINT16, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), 0);
  });
  const ProcessResult result = mpirun(2, with_data(file) + " --train.global_batch=8");
  EXPECT_EQ(result.status, 2) << result.err;
  EXPECT_NE(result.err.find("60000"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("damaged.h5"), std::string::npos) << result.err;
}

TEST_F(BadInput, UnknownKey) { expect_refused(command("--model.hiden=8"), {"model.hiden", "model.hidden"}); }

TEST_F(BadInput, WrongType) { expect_refused(command("--train.global_batch=many"), {"train.global_batch", "many"}); }

TEST_F(BadInput, ImpossibleLayout) {
  expect_refused(command("--parallel.tensor=3"), {"parallel.tensor", "3", "2"});
  expect_refused(command("--parallel.data=2 --parallel.pipeline=2"), {"2", "4", "nearest"});
}

TEST_F(BadInput, BatchThatDoesNotDivide) {
  expect_refused(command("--train.global_batch=9 --train.micro_batch=2"), {"train.global_batch", "9"});
}

TEST_F(BadInput, UnwritableCheckpointDirectory) {
  test::write_text(folder_ / "file", "");  // a folder below a file cannot be made, not even by root
  expect_refused(command("--checkpoint.directory=" + (folder_ / "file" / "run").string()), {"checkpoint.directory"});
}

TEST_F(BadInput, CheckpointOfAnotherModelSeedOrBatch) {
  const std::string run = checkpoints("run");
  ASSERT_EQ(mpirun(1, command(run)).status, 0);
  expect_refused(command(run + "--model.hidden=64"), {"model.hidden=64", "32"});
  // All that follows would load.
  expect_refused(command(run + "--model.heads=2"), {"model.heads=2", "made with 4"});
  expect_refused(command(run + "--model.layers=1"), {"model.layers=1", "made with 2"});
  expect_refused(command(run + "--optimizer.name=lamb"), {"optimizer.name=lamb", "made with adamw"});
  expect_refused(command(run + "--train.seed=4"), {"train.seed"});
  expect_refused(command(run + "--train.global_batch=16"), {"train.global_batch", "16", "8"});
  expect_refused(command(run + "--checkpoint.resume=7"), {"checkpoint.resume", "7", "2"});
}

TEST_F(BadInput, CheckpointOfAnotherTokenizer) {
  const std::string run = checkpoints("run");
  ASSERT_EQ(mpirun(1, command(run)).status, 0);
  test::write_text(folder_ / "other.txt", test::learnable_text(12000) + "#");
  const std::string other = (folder_ / "other.h5").string();
  const ProcessResult packed = test::run_trireme("pack text --tokenizer=characters --vocabulary=100 --input=" +
                                                 (folder_ / "other.txt").string() + " --output=" + other);
  ASSERT_EQ(packed.status, 0) << packed.err;
  expect_refused(command(run + "--data.train=" + other),
                 {"data.train has another tokenizer (characters, ", "step-00000002", "go on with"});
}

TEST_F(BadInput, AnErrorLeavesOldFilesAlone) {
  train({1, 1, 1}, 2, "run", checkpoints("run"));
  const std::string before = test::read_text(folder_ / "run.jsonl");
  expect_refused(command("--train.seed=4 --log.metrics=" + (folder_ / "run.jsonl").string() + checkpoints("run")),
                 {"train.seed"});
  EXPECT_EQ(test::read_text(folder_ / "run.jsonl"), before);
}

}  // namespace
}  // namespace trireme
