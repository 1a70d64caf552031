// What others can see, reach and make us do: the defaults that jobs/SECURITY.md promises.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include "io/checkpoint/sealed_file.h"
#include "io/hdf5.h"
#include "tests/app/job.h"
#include "tests/app/training_support.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class Safety : public test::TrainingTest {
 protected:
  /// Modes of all that is in a folder, those of folders and of files apart; the folder itself counts.
  static std::pair<std::set<std::string>, std::set<std::string>> modes_in(const fs::path& root) {
    std::pair<std::set<std::string>, std::set<std::string>> modes;
    const auto add = [&](const fs::path& path) {
      struct stat status {};
      EXPECT_EQ(::stat(path.c_str(), &status), 0);
      (S_ISDIR(status.st_mode) ? modes.first : modes.second).insert(fmt::format("{:o}", status.st_mode & 07777));
    };
    add(root);
    for (const auto& entry : fs::recursive_directory_iterator(root)) add(entry.path());
    return modes;
  }
  /// Packs, trains and mirrors below a new folder.
  fs::path write_all(const std::string& name, const std::string& before) const {
    const fs::path root = folder_ / name;
    const std::string in = root.string();
    const auto result = test::run_shell(
        before + "mkdir " + in + "; " + test::trireme_executable() +
        " pack text --tokenizer=characters --vocabulary=100 --input=" + (*shared / "text.txt").string() +
        " --output=" + in + "/train.h5 && " + test::mpirun_script() + " 2 " + test::trireme_executable() + " " +
        arguments("--train.steps=2 --log.metrics=" + in + "/log/run.jsonl --log.events=" + in + "/log/events.jsonl " +
                  "--log.tensorboard=" + in + "/log/pictures --checkpoint.directory=" + in +
                  "/run/checkpoints --checkpoint.mirror=" + in + "/mirror/run"));
    EXPECT_EQ(result.status, 0) << result.err;
    return root;
  }
};

TEST_F(Safety, FilesAreForTheirOwnerAndReadableForTheGroup) {
  const auto [folders, files] = modes_in(write_all("usual", "umask 022; "));
  EXPECT_THAT(files, testing::ElementsAre("640"));
  EXPECT_THAT(folders, testing::IsSubsetOf({"750", "755"}));
  for (const char* made : {"log", "log/pictures", "run", "run/checkpoints", "mirror", "mirror/run"}) {
    struct stat status {};
    ASSERT_EQ(::stat((folder_ / "usual" / made).c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, mode_t{0750}) << made;
  }
}

TEST_F(Safety, AStricterUmaskStaysAndAnotherIsConfigured) {
  EXPECT_THAT(modes_in(write_all("strict", "umask 077; ")).second, testing::ElementsAre("600"));
  const std::string shared_by_group = "umask 022; export TRIREME_UMASK=002; ";
  EXPECT_THAT(modes_in(write_all("group", shared_by_group)).second, testing::ElementsAre("664"));
  const auto wrong = test::run_shell("TRIREME_UMASK=999 " + test::trireme_executable() + " --version");
  EXPECT_EQ(wrong.status, 2);
  EXPECT_THAT(wrong.err, AllOf(HasSubstr("TRIREME_UMASK"), HasSubstr("999")));
}

/// A file of a few KB that claims to hold hundreds of GB is refused by a process that cannot have them.
TEST_F(Safety, SizesInFilesAreTestedBeforeMemoryIsReserved) {
  fs::copy_file(*shared / "train.h5", folder_ / "large.h5");
  {
    const hdf5::Handle file(H5Fopen((folder_ / "large.h5").c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
    ASSERT_GE(file.get(), 0);
    ASSERT_GE(H5Ldelete(file.get(), "tokenizer/model", H5P_DEFAULT), 0);
    hdf5::create_dataset<std::uint8_t>(file, "tokenizer/model", Shape{std::int64_t{1} << 38});  // nothing is written
  }
  ASSERT_LT(fs::file_size(folder_ / "large.h5"), std::uintmax_t{1} << 20);
  const auto refused = test::run_shell("ulimit -v 8000000; " + test::trireme_executable() + " inspect " +
                                       (folder_ / "large.h5").string());
  EXPECT_EQ(refused.status, 2) << refused.err;
  EXPECT_THAT(refused.err,
              AllOf(HasSubstr("large.h5"), HasSubstr("/tokenizer/model"), HasSubstr("more than its file of")));
}

/// A checkpoint with a right seal, whose configuration names a model of terabytes.
TEST_F(Safety, AModelThatItsTensorsAreNotOfIsRefusedBeforeMemoryIsReserved) {
  train({}, 1, "run", checkpoints("run"));
  const fs::path file = folder_ / "run" / "step-00000001" / "model.h5";
  const auto forge = [&](const std::string& from, const std::string& to) {
    {
      const hdf5::Handle model(H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT), H5Fclose);
      ASSERT_GE(model.get(), 0);
      std::string configuration = hdf5::read_string(model, "configuration");
      ASSERT_THAT(configuration, HasSubstr(from));
      configuration.replace(configuration.find(from), from.size(), to);
      ASSERT_GE(H5Adelete(model.get(), "configuration"), 0);
      hdf5::write_string(model, "configuration", configuration);
    }
    constexpr std::size_t seal_bytes = 512;
    const std::string bytes = test::read_text(file);
    const std::string structure = bytes.substr(seal_bytes);
    test::write_text(file, checkpoint::make_seal(std::ssize(bytes), structure) + structure);
  };
  const auto sample = [&] {
    return test::run_shell("ulimit -v 8000000; " + test::trireme_executable() +
                           " sample --sample.tokens=1 --checkpoint.directory=" + (folder_ / "run").string());
  };
  forge("hidden = 32", "hidden = 32");
  EXPECT_EQ(sample().status, 0) << sample().err;
  forge("hidden = 32", "hidden = 65536");
  const auto wide = sample();
  EXPECT_EQ(wide.status, 2);
  EXPECT_THAT(wide.err, AllOf(HasSubstr("embedding.token.weight of shape ["), HasSubstr(", 65536], found [")));
  forge("hidden = 65536", "hidden = 32");
  forge("layers = 2", "layers = 90000");
  const auto deep = sample();
  EXPECT_EQ(deep.status, 2);
  EXPECT_THAT(deep.err, AllOf(HasSubstr("blocks.2."), HasSubstr("found no such tensor")));
}

}  // namespace
}  // namespace trireme
