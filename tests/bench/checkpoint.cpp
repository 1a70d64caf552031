// Bandwidth of writing and of reading a checkpoint in one process, beside dd with fsync to the same place, in
// alternating pairs. Reading is from the disk: the system forgets the files before.
#include "io/checkpoint/checkpoint.h"

#include <fcntl.h>

#include <chrono>
#include <filesystem>
#include <random>

#include "comm/self_communicator.h"
#include "io/checkpoint/file_operations.h"
#include "tests/bench/benchmark.h"

namespace trireme::bench {
namespace {

namespace fs = std::filesystem;
namespace options = boost::program_options;

constexpr std::int64_t tensor_megabytes = 16;
const Shape tensor_shape = {1024, 4096};

template <typename Work>
double seconds_of(Work work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void dd(const std::string& operands) {
  if (std::system(("dd bs=8M status=none " + operands).c_str()) != 0) fail("dd {} failed", operands);
}

/// What is read next comes from the disk.
void forget(const fs::path& file) {
  const files::Descriptor open_file(open(file.c_str(), O_RDONLY | O_CLOEXEC));
  if (const int error = posix_fadvise(open_file.get(), 0, 0, POSIX_FADV_DONTNEED)) {
    fail("{}: the system keeps it in memory: {}", file.string(), std::strerror(error));
  }
}

/// Seconds of each round, and their medians side by side.
struct Pairs {
  std::vector<double> ours, dd;

  nlohmann::ordered_json summary(std::int64_t megabytes) const {
    std::vector<double> ratios;
    for (std::size_t round = 0; round < ours.size(); ++round) ratios.push_back(dd[round] / ours[round]);
    const auto rate = [&](const std::vector<double>& seconds) {
      return static_cast<double>(megabytes) / median(seconds);
    };
    return {{"mib_per_second", rate(ours)}, {"dd_mib_per_second", rate(dd)}, {"median_ratio", median(ratios)}};
  }
};

nlohmann::ordered_json measure(const fs::path& directory, std::int64_t megabytes, int rounds) {
  const std::int64_t count = std::max<std::int64_t>(1, megabytes / tensor_megabytes);
  megabytes = count * tensor_megabytes;
  std::vector<float> values(static_cast<std::size_t>(megabytes) << 18);
  std::mt19937 random(1);
  for (float& value : values) value = static_cast<float>(random());
  std::vector<CheckpointItem> items;
  for (std::int64_t number = 0; number < count; ++number) {
    items.push_back({fmt::format("parameters/blocks.{}.weight", number),
                     {.global = tensor_shape, .offset = {}, .extent = tensor_shape},
                     values.data() + number * tensor_shape.elements()});
  }
  const auto world = make_self_communicator("world");
  const fs::path plain = directory / "dd";
  Pairs writes;
  Pairs reads;
  for (int round = 0; round < rounds; ++round) {
    fs::path folder;
    const CheckpointInfo info{.step = round + 1};
    writes.ours.push_back(seconds_of([&] { folder = save_checkpoint(directory, info, items, *world); }));
    writes.dd.push_back(seconds_of(
        [&] { dd(fmt::format("if=/dev/zero of='{}' count={} conv=fsync", plain.string(), megabytes / 8)); }));
    for (const auto& entry : fs::directory_iterator(folder)) forget(entry.path());
    forget(plain);
    reads.ours.push_back(seconds_of([&] {
      CheckpointReader reader(folder);
      for (const CheckpointItem& item : items) reader.read(item);
    }));
    reads.dd.push_back(seconds_of([&] { dd(fmt::format("if='{}' of=/dev/null", plain.string())); }));
    fs::remove_all(folder);
    fs::remove(plain);
  }
  return {{"directory", directory.string()},
          {"mib", megabytes},
          {"rounds", rounds},
          {"write", writes.summary(megabytes)},
          {"read", reads.summary(megabytes)}};
}

nlohmann::ordered_json measure_with(int argc, char** argv) {
  std::string directory;
  std::int64_t megabytes = 0;
  int rounds = 0;
  options::options_description known("bench_checkpoint DIRECTORY");
  known.add_options()("directory", options::value(&directory)->required(), "where to write")(
      "megabytes", options::value(&megabytes)->default_value(1024), "of tensors, in MiB")(
      "rounds", options::value(&rounds)->default_value(5), "pairs of measurements");
  options::positional_options_description positional;
  positional.add("directory", 1);
  options::variables_map given;
  options::store(options::command_line_parser(argc, argv).options(known).positional(positional).run(), given);
  options::notify(given);
  files::make_directory(directory);
  return measure(directory, megabytes, rounds);
}

}  // namespace
}  // namespace trireme::bench

int main(int argc, char** argv) {
  return trireme::bench::print_result("bench_checkpoint", [&] { return trireme::bench::measure_with(argc, argv); });
}
