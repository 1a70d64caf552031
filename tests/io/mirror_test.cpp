#include "io/mirror/mirror.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <optional>

#include "comm/self_communicator.h"
#include "io/checkpoint/file_operations.h"
#include "io/checkpoint/format.h"
#include "io/mirror/background.h"
#include "io/mirror/s3_store.h"
#include "tests/io/checkpoint_support.h"
#include "tests/support/s3/server.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;
using mirror::MirroredFile;
using mirror::ObjectStore;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

/// A directory of checkpoints, of which one file is of several parts, and a server of which to store them in.
class Mirror : public testing::Test {
 protected:
  Mirror() : root_(fast_directory() / fmt::format("trireme-mirror-{}", getpid())), directory_(root_ / "run") {
    fs::remove_all(root_);
    for (const char* name : {"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
                             "AWS_ENDPOINT_URL_S3", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"})
      unsetenv(name);
    setenv("HOME", root_.c_str(), 1);
    setenv("AWS_ACCESS_KEY_ID", test::S3Server::key, 1);
    setenv("AWS_SECRET_ACCESS_KEY", test::S3Server::secret, 1);
  }
  ~Mirror() override {
    files::set_observer({});
    fs::remove_all(root_);
  }

  static constexpr std::int64_t rows = 5 << 9;  // of 4 KiB: 10 MiB, two parts
  static Holding tensors(bool filled, std::uint64_t seed, std::int64_t big_rows) {
    Holding holding;
    holding.add("parameters/big", whole({big_rows, 1024}), filled, seed);
    holding.add("parameters/small", whole({6}), filled, seed);
    return holding;
  }
  void save(std::int64_t step, std::uint64_t seed = 0, std::int64_t big_rows = 1) {
    save_checkpoint(directory_, example_info(step), tensors(true, seed, big_rows).items(), *world_);
  }
  void expect_restored(CheckpointMirror& mirror, std::int64_t step, std::uint64_t seed = 0, std::int64_t big_rows = 1) {
    const fs::path empty = root_ / "empty";
    const fs::path folder = mirror.restore(step, empty);
    EXPECT_EQ(folder, checkpoint_path(empty, step));
    verify_checkpoint(folder);
    CheckpointReader reader(folder);
    const Holding read = tensors(false, seed, big_rows);
    read.read_from(reader);
    read.expect_right(seed);
    fs::remove_all(empty);
  }

  const test::S3Server& server() {
    if (!server_) {
      server_.emplace();
      setenv("AWS_ENDPOINT_URL", server_->endpoint().c_str(), 1);
    }
    return *server_;
  }
  /// A bucket whose failed requests are tried again soon.
  CheckpointMirror bucket(int attempts = 4) {
    server();
    return {std::make_unique<mirror::S3Store>("bucket", "team/run", mirror::find_s3_access(), std::stop_token{},
                                              mirror::Persistence{attempts, std::chrono::milliseconds(1)}),
            {}};
  }
  std::vector<std::string> objects() {
    std::vector<std::string> names;
    const auto state = server().state();
    for (const auto& [name, bytes] : state["objects"].items()) names.push_back(name);
    return names;
  }

  fs::path root_, directory_;
  std::unique_ptr<Communicator> world_ = make_self_communicator("world");
  std::optional<test::S3Server> server_;
};

TEST_F(Mirror, InAFolderComesBackWithTheSameBits) {
  CheckpointMirror mirror((root_ / "mirror").string());
  EXPECT_THAT(mirror.steps(), IsEmpty());
  save(7, 3, rows);
  mirror.copy(directory_, 7);
  EXPECT_THAT(mirror.steps(), ElementsAre(7));
  expect_restored(mirror, 7, 3, rows);
}

TEST_F(Mirror, InABucketComesBackWithTheSameBits) {
  auto mirror = bucket();
  EXPECT_THAT(mirror.steps(), IsEmpty());
  save(7, 3, rows);
  mirror.copy(directory_, 7);
  EXPECT_THAT(mirror.steps(), ElementsAre(7));
  EXPECT_EQ(server().count("PUT /bucket/team/run/step-00000007." + mirror.manifest(7).identity +
                           "/shard-00000.h5?partNumber="),
            2);
  expect_restored(mirror, 7, 3, rows);
}

TEST_F(Mirror, IsCompleteWithItsLastObject) {
  save(7, 3, rows);
  bucket().copy(directory_, 7);
  const auto requests = server().state()["requests"];
  EXPECT_EQ(requests.back(), "PUT /bucket/team/run/step-00000007.json");

  fs::path last;
  files::set_observer([&](files::Operation operation, const fs::path& path) {
    if (operation == files::Operation::rename) last = path;
    return 0;
  });
  CheckpointMirror((root_ / "mirror").string()).copy(directory_, 7);
  EXPECT_EQ(last, root_ / "mirror" / "step-00000007.json.partial");
}

/// What happens on the way, and the least number of requests that it must have met.
struct Trouble {
  const char* name;
  const char* fault;
};
class TroubledMirror : public Mirror, public testing::WithParamInterface<Trouble> {};

TEST_P(TroubledMirror, TriesAgainUntilAllIsThere) {
  auto mirror = bucket();
  server().add_fault(GetParam().fault);
  save(7, 3, rows);
  mirror.copy(directory_, 7);
  expect_restored(mirror, 7, 3, rows);
  EXPECT_EQ(server().state()["faults"], 0) << "the fault was not met";
  EXPECT_THAT(server().state()["uploads"], IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(
    Each, TroubledMirror,
    testing::Values(Trouble{"NotNow", "503 3 0 partNumber=2"}, Trouble{"SlowDown", "slow 2 0 PUT .*model"},
                    Trouble{"CutBeforeTheAnswer", "cut 2 1 partNumber"}, Trouble{"NoManifestYet", "cut 3 0 PUT .*json"},
                    Trouble{"DamagedUpload", "damage-upload 2 0 partNumber"},
                    Trouble{"DamagedManifest", "damage-upload 1 0 PUT .*json"},
                    Trouble{"NotCompleted", "error-200 2 0 POST .*uploadId"},
                    Trouble{"NotBegun", "503 2 0 POST .*uploads="}, Trouble{"CutDownload", "cut-body 2 0 GET .*shard"},
                    Trouble{"LateDownload", "503 2 1 GET .*shard"},
                    Trouble{"DamagedDownload", "damage-download 2 0 GET .*shard"}),
    [](const auto& each) { return each.param.name; });

TEST_F(Mirror, GivesUpWithTheServersWordsAndLeavesNothingBehind) {
  auto mirror = bucket(2);
  server().add_fault("503 1000 0 partNumber=2");
  save(7, 3, rows);
  const Error error = error_of([&] { mirror.copy(directory_, 7); });
  EXPECT_EQ(error.status(), ExitStatus::failed);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("s3://bucket/team/run/step-00000007."), HasSubstr("/shard-00000.h5"),
                                  HasSubstr("HTTP 503 ServiceUnavailable: not now")));
  EXPECT_THAT(error.what(), Not(HasSubstr(test::S3Server::key)));
  EXPECT_THAT(mirror.steps(), IsEmpty());
  EXPECT_THAT(server().state()["uploads"], IsEmpty());
}

TEST_F(Mirror, OfSomeoneElseIsRefusedAtOnce) {
  auto mirror = bucket(10);
  setenv("AWS_SECRET_ACCESS_KEY", "wrong", 1);
  auto wrong = bucket(10);
  const Error error = error_of([&] { wrong.steps(); });
  EXPECT_THAT(error.what(), HasSubstr("HTTP 403 SignatureDoesNotMatch"));
  EXPECT_EQ(server().state()["requests"].size(), 1U);
  EXPECT_THAT(mirror.steps(), IsEmpty());
}

/// As a process that was killed in the midst of a copy leaves it.
TEST_F(Mirror, RetentionRemovesWhatInterruptedCopiesLeft) {
  auto mirror = bucket(1);
  save(7, 3, rows);
  server().add_fault("503 1000 0 (POST|DELETE) .*uploadId");
  server().add_fault("503 1000 0 PUT .*json");
  EXPECT_EQ(error_of([&] { mirror.copy(directory_, 7); }).status(), ExitStatus::failed);
  EXPECT_EQ(server().state()["uploads"].size(), 1U);
  EXPECT_THAT(mirror.steps(), IsEmpty());

  server_.reset();  // as if all that can go wrong had gone away
  auto again = bucket();
  server().add_fault("503 2 0 PUT .*json");
  auto impatient = bucket(1);
  EXPECT_EQ(error_of([&] { impatient.copy(directory_, 7); }).status(), ExitStatus::failed);
  EXPECT_EQ(objects().size(), 2U) << "model.h5 and a shard";
  again.prune({.newest = 3}, 100);
  EXPECT_THAT(objects(), IsEmpty());
}

TEST_F(Mirror, UnfinishedUploadsAreRemoved) {
  auto mirror = bucket(1);
  save(7, 3, rows);
  server().add_fault("503 1 0 DELETE .*uploadId");
  server().add_fault("503 1 0 POST .*uploadId");
  EXPECT_EQ(error_of([&] { mirror.copy(directory_, 7); }).status(), ExitStatus::failed);
  EXPECT_EQ(server().state()["uploads"].size(), 1U);
  mirror.prune({.newest = 3}, 100);
  EXPECT_THAT(server().state()["uploads"], IsEmpty());
  EXPECT_THAT(objects(), IsEmpty());
}

TEST_F(Mirror, KeepsWhatTheDirectoryKeeps) {
  CheckpointMirror folder((root_ / "mirror").string());
  auto in_bucket = bucket();
  for (std::int64_t step = 1; step <= 7; ++step) {
    save(step);
    folder.copy(directory_, step);
    in_bucket.copy(directory_, step);
  }
  prune_checkpoints(directory_, 2, 3, 6);
  const auto wanted = list_checkpoints(directory_);
  EXPECT_THAT(wanted, ElementsAre(3, 5, 6, 7));
  for (CheckpointMirror* mirror : {&folder, &in_bucket}) {
    mirror->prune({.newest = 2, .every = 3}, 6);
    EXPECT_EQ(mirror->steps(), wanted);
    for (const std::int64_t step : wanted) expect_restored(*mirror, step);
    mirror->prune({.newest = 0}, 7);
    EXPECT_EQ(mirror->steps(), wanted);
  }
  EXPECT_EQ(objects().size(), 3 * wanted.size()) << "manifest, model and shard of each";
}

TEST_F(Mirror, AnotherCheckpointOfTheSameStepTakesItsPlace) {
  auto mirror = bucket();
  save(7, 1);
  const auto first = mirror.copy(directory_, 7);
  save(7, 2);
  const auto second = mirror.copy(directory_, 7);
  EXPECT_NE(first.identity, second.identity);
  expect_restored(mirror, 7, 2);
  mirror.prune({.newest = 1}, 7);
  expect_restored(mirror, 7, 2);
  EXPECT_EQ(objects().size(), 3U);
}

TEST_F(Mirror, WhatTheStoreDamagedIsNamedAndNotTaken) {
  auto mirror = bucket(1);
  server().add_fault("store-damaged 1 1 partNumber");
  save(7, 3, rows);
  mirror.copy(directory_, 7);
  const auto expect_damaged = [&](std::int64_t step, const std::string& why) {
    try {
      mirror.restore(step, root_ / "empty");
      ADD_FAILURE() << "restored; expected: " << why;
    } catch (const DamagedCheckpoint& damage) {
      EXPECT_THAT(damage.what(),
                  AllOf(HasSubstr(fmt::format("s3://bucket/team/run/step-{:08}", step)), HasSubstr(why)));
    }
    EXPECT_TRUE(fs::is_empty(root_ / "empty"));
  };
  expect_damaged(7, "fails its checksum");
  mirror::S3Store store("bucket", "team/run", mirror::find_s3_access(), {}, {.attempts = 1, .first_wait = {}});
  save(8, 3, rows);
  mirror.copy(directory_, 8);
  store.remove(mirror.manifest(8).folder() + "/model.h5");
  expect_damaged(8, "there is no such object");
  store.write("step-00000008.json", "{}");
  expect_damaged(8, "not the manifest of a mirrored checkpoint");
}

TEST_F(Mirror, ManifestsThatLeadElsewhereAreRefused) {
  const mirror::Manifest good{
      .step = 7,
      .identity = "0123456789abcdef",
      .files = {
          {.name = "model.h5", .bytes = 3, .part_bytes = 2, .sha256 = {std::string(64, 'a'), std::string(64, 'b')}}}};
  EXPECT_EQ(mirror::parse_manifest(to_json(good), "m").files.front().sha256, good.files.front().sha256);
  const auto expect_refused = [&](const std::function<void(mirror::Manifest&)>& change) {
    mirror::Manifest bad = good;
    change(bad);
    EXPECT_THROW(mirror::parse_manifest(to_json(bad), "m"), DamagedCheckpoint) << to_json(bad);
  };
  for (const char* name : {"../model.h5", "/etc/passwd", "", ".", "..", "a/b"})
    expect_refused([&](auto& bad) { bad.files[0].name = name; });
  for (const std::int64_t bytes : {std::int64_t{-1}, std::int64_t{0}, std::int64_t{5}, std::int64_t{1} << 62})
    expect_refused([&](auto& bad) { bad.files[0].bytes = bytes; });
  for (const std::int64_t bytes : {std::int64_t{0}, std::int64_t{-2}, std::int64_t{1} << 40})
    expect_refused([&](auto& bad) { bad.files[0].part_bytes = bytes; });
  expect_refused([](auto& bad) { bad.files[0].sha256.pop_back(); });
  expect_refused([](auto& bad) { bad.files[0].sha256[1] = "no"; });
  expect_refused([](auto& bad) { bad.identity = "../../../../../.."; });
  expect_refused([](auto& bad) { bad.step = -1; });
  for (const char* text : {"", "[]", "{", "null", "{\"format\": \"trireme-mirror\", \"version\": 2}"})
    EXPECT_THROW(mirror::parse_manifest(text, "m"), DamagedCheckpoint) << text;
}

TEST_F(Mirror, WhatTheDiskHasNoRoomForIsRefusedBeforeItIsFetched) {
  const fs::path mirror = root_ / "mirror";
  mirror::Manifest large{.step = 7, .identity = "0123456789abcdef", .files = {}};
  const std::int64_t part = std::int64_t{1} << 30;
  large.files.push_back({.name = "model.h5",
                         .bytes = 1000 * part,
                         .part_bytes = part,
                         .sha256 = std::vector<std::string>(1000, std::string(64, '0'))});
  fs::create_directories(mirror);
  std::ofstream(mirror / "step-00000007.json") << to_json(large);
  const Error error = error_of([&] { CheckpointMirror(mirror.string()).restore(7, directory_); });
  EXPECT_EQ(error.status(), ExitStatus::invalid_input);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("checkpoint.directory=" + directory_.string()), HasSubstr("has room for")));
}

/// Takes parts and forgets them, and knows how many bytes it was given at once.
class WeighingStore : public ObjectStore {
 public:
  struct Weight {
    std::atomic<std::int64_t> now = 0, most = 0, parts = 0;
  };
  explicit WeighingStore(Weight& weight) : weight_(weight) {}

  std::string describe(const std::string& name) const override { return name; }
  std::vector<mirror::StoredEntry> list(const std::string&) override { return {}; }
  std::string read(const std::string&, std::int64_t, std::int64_t) override { return {}; }
  void write(const std::string&, std::string_view) override {}
  std::int64_t part_bytes(std::int64_t) const override { return 1 << 20; }
  std::unique_ptr<mirror::Upload> upload(const std::string&, std::int64_t) override {
    struct Weigh : mirror::Upload {
      explicit Weigh(Weight& where) : weight(where) {}
      void part(int, std::int64_t, std::string_view bytes, const std::string&) override {
        const std::int64_t now = weight.now += std::ssize(bytes);
        for (std::int64_t most = weight.most; most < now && !weight.most.compare_exchange_weak(most, now);) {
        }
        ++weight.parts;
        weight.now -= std::ssize(bytes);
      }
      void finish() override {}
      Weight& weight;
    };
    return std::make_unique<Weigh>(weight_);
  }
  void remove(const std::string&) override {}
  void remove_folder(const std::string&) override {}

 private:
  Weight& weight_;
};

TEST_F(Mirror, HoldsFourPartsInMemoryHoweverLargeTheFile) {
  save(7);
  const fs::path shard = checkpoint_path(directory_, 7) / "shard-00000.h5";
  fs::resize_file(shard, 64 << 20);  // a hole in the file, which takes no room
  WeighingStore::Weight weight;
  CheckpointMirror(std::make_unique<WeighingStore>(weight), {}).copy(directory_, 7);
  EXPECT_GE(weight.parts, 65);
  EXPECT_LE(weight.most, 4 << 20);
}

TEST_F(Mirror, AFolderThatChangesMeanwhileIsNoCopy) {
  save(7, 1, rows);
  CheckpointMirror mirror((root_ / "mirror").string());
  std::atomic<bool> changed = false;
  const auto replace = [&](std::int64_t) {
    if (!changed.exchange(true)) save(7, 2, rows);
  };
  EXPECT_THAT(error_of([&] { mirror.copy(directory_, 7, replace); }).what(), HasSubstr("changed while it was copied"));
  EXPECT_THAT(mirror.steps(), IsEmpty());
}

TEST_F(Mirror, AFolderThatIsGoneIsNoCopyOfNothing) {
  CheckpointMirror mirror((root_ / "mirror").string());
  EXPECT_THAT(error_of([&] { mirror.copy(directory_, 7); }).what(), HasSubstr("expected a complete checkpoint"));
  EXPECT_THAT(mirror.steps(), IsEmpty());
}

TEST_F(Mirror, CredentialsComeFromTheEnvironmentOrTheUsualFiles) {
  unsetenv("AWS_ENDPOINT_URL");
  setenv("AWS_SESSION_TOKEN", "token", 1);
  setenv("AWS_DEFAULT_REGION", "cn-north-1", 1);
  auto access = mirror::find_s3_access();
  EXPECT_EQ(access.token, "token");
  EXPECT_EQ(access.endpoint, "https://s3.cn-north-1.amazonaws.com");

  for (const char* name : {"AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION"}) unsetenv(name);
  const Error error = error_of([] { mirror::make_object_store("s3://bucket/a", {}); });
  EXPECT_EQ(error.status(), ExitStatus::invalid_input);
  EXPECT_THAT(error.what(), AllOf(HasSubstr("checkpoint.mirror"), HasSubstr("AWS_ACCESS_KEY_ID"),
                                  HasSubstr((root_ / ".aws" / "credentials").string())));
  fs::create_directories(root_ / ".aws");
  std::ofstream(root_ / ".aws" / "credentials")
      << "[default]\naws_access_key_id = a\naws_secret_access_key=b=\n# aws_session_token = no\n"
         "[ other ]\naws_access_key_id = c\naws_secret_access_key = d\naws_session_token = e\n";
  std::ofstream(root_ / ".aws" / "config") << "[profile other]\nregion = eu-west-1\n";
  access = mirror::find_s3_access();
  EXPECT_EQ(access.key + access.secret + access.token + access.region, "ab=us-east-1");
  setenv("AWS_PROFILE", "other", 1);
  access = mirror::find_s3_access();
  EXPECT_EQ(access.key + access.secret + access.token + access.region, "cdeeu-west-1");
}

TEST_F(Mirror, RefusesPlacesThatAreNoneWithoutRepeatingSecrets) {
  for (const char* place :
       {"s3://", "s3://b", "s3://Bucket/a", "s3://bucket/a b", "s3://bucket/%41", "http://bucket/a", ""}) {
    const Error error = error_of([&] { mirror::make_object_store(place, {}); });
    EXPECT_EQ(error.status(), ExitStatus::invalid_input) << place;
    EXPECT_THAT(error.what(), HasSubstr("checkpoint.mirror: found")) << place;
  }
  for (const char* place : {"s3://key:hidden@bucket/a", "https://key:hidden@host/a"}) {
    const Error error = error_of([&] { mirror::make_object_store(place, {}); });
    EXPECT_EQ(error.status(), ExitStatus::invalid_input);
    EXPECT_THAT(error.what(), Not(HasSubstr("hidden")));
  }
  setenv("AWS_ENDPOINT_URL", "http://key:hidden@host", 1);
  const Error error = error_of([&] { mirror::make_object_store("s3://bucket/a", {}); });
  EXPECT_THAT(error.what(), AllOf(HasSubstr("AWS_ENDPOINT_URL"), Not(HasSubstr("hidden"))));
}

TEST_F(Mirror, SessionTokensAreSigned) {
  setenv("AWS_SESSION_TOKEN", "session/token+=", 1);
  EXPECT_THAT(bucket(1).steps(), IsEmpty());
}

TEST_F(Mirror, InTheBackgroundBringsTheNewestFirstThenTheRest) {
  server();
  for (const std::int64_t step : {1, 2, 3, 4, 6}) save(step);
  BackgroundMirror background("s3://bucket/team/run", directory_, {.newest = 2, .every = 3});
  background.wake(4);
  EXPECT_TRUE(background.wait(std::chrono::minutes(1), 1, [](std::int64_t) {}));
  const auto news = background.take_news();
  ASSERT_EQ(news.size(), 2U) << "1 and 2 would not stay";
  EXPECT_THAT(news[0].text, AllOf(HasSubstr("mirrored"), HasSubstr("s3://bucket/team/run/step-00000004.json")));
  EXPECT_THAT(bucket().steps(), ElementsAre(3, 4));
}

TEST_F(Mirror, InTheBackgroundTellsOfTroubleAndGoesOnWhenItIsOver) {
  server().add_fault("503 6 0 PUT .*model");  // one more than it is asked for in an attempt
  server().add_fault("503 1 6 PUT .*model");
  save(4);
  BackgroundMirror background("s3://bucket/team/run", directory_, {.newest = 2});
  background.wake(4);
  EXPECT_TRUE(background.wait(std::chrono::minutes(1), 3, [](std::int64_t) {}));
  const auto news = background.take_news();
  ASSERT_EQ(news.size(), 2U);
  EXPECT_TRUE(news[0].trouble);
  EXPECT_THAT(news[0].text, AllOf(HasSubstr("NOT MIRRORED s3://bucket/team/run/"), HasSubstr("HTTP 503"),
                                  HasSubstr("next attempt is in 1 s")));
  EXPECT_FALSE(news[1].trouble);
  EXPECT_THAT(bucket().steps(), ElementsAre(4));
}

TEST_F(Mirror, InTheBackgroundEndsAtOnceWhileTheServerHangs) {
  server().add_fault("hang 100 0 PUT");
  save(4);
  const auto begun = std::chrono::steady_clock::now();
  {
    BackgroundMirror background("s3://bucket/team/run", directory_, {.newest = 2});
    background.wake(4);
    while (server().count("PUT ") == 0) std::this_thread::yield();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(20));
}

}  // namespace
}  // namespace trireme
