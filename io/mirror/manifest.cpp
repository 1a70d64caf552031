#include "io/mirror/manifest.h"

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/file_operations.h"
#include "io/checkpoint/format.h"
#include "kernels/error.h"

namespace trireme::mirror {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* format_name = "trireme-mirror";
constexpr int version = 1;
constexpr std::int64_t seal_bytes = 512;
constexpr std::int64_t largest_file = std::int64_t{1} << 43;  // 8 TiB; S3 takes 5
constexpr std::size_t most_files = std::size_t{1} << 19;      // no sum overflows

bool is_hexadecimal(const std::string& text, std::size_t digits) {
  return text.size() == digits && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// A file's name, and not a way out of the folder.
bool is_plain(const std::string& name) {
  return !name.empty() && name.size() < 200 && name.front() != '.' && name.find('/') == std::string::npos &&
         name.find('\0') == std::string::npos;
}

MirroredFile parse_file(const Json& json) {
  MirroredFile file{.name = json.at("name").get<std::string>(),
                    .bytes = json.at("bytes").get<std::int64_t>(),
                    .part_bytes = json.at("part_bytes").get<std::int64_t>(),
                    .sha256 = json.at("sha256").get<std::vector<std::string>>()};
  const bool sound = is_plain(file.name) && file.bytes > 0 && file.bytes <= largest_file && file.part_bytes > 0 &&
                     file.part_bytes <= largest_part && std::ssize(file.sha256) == file.parts() &&
                     std::ranges::all_of(file.sha256, [](const auto& sum) { return is_hexadecimal(sum, 64); });
  if (!sound) fail("found something else than a file's name, size and checksums");
  return file;
}

}  // namespace

std::string Manifest::folder() const { return checkpoint_path({}, step).string() + "." + identity; }

std::int64_t Manifest::bytes() const {
  std::int64_t sum = 0;
  for (const MirroredFile& file : files) sum += file.bytes;
  return sum;
}

std::string manifest_name(std::int64_t step) { return checkpoint_path({}, step).string() + ".json"; }

std::optional<std::int64_t> step_of_manifest(std::string_view name) {
  constexpr std::string_view prefix = "step-";
  if (!name.starts_with(prefix)) return {};
  std::int64_t step = 0;
  std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
  if (step < 0 || manifest_name(step) != name) return {};
  return step;
}

std::string to_json(const Manifest& manifest) {
  Json files = Json::array();
  for (const MirroredFile& file : manifest.files)
    files.push_back(
        {{"name", file.name}, {"bytes", file.bytes}, {"part_bytes", file.part_bytes}, {"sha256", file.sha256}});
  const Json json = {{"format", format_name},
                     {"version", version},
                     {"step", manifest.step},
                     {"identity", manifest.identity},
                     {"files", files}};
  return json.dump(1) + "\n";
}

Manifest parse_manifest(const std::string& json, const std::string& name) {
  try {
    const Json root = Json::parse(json);
    if (root.at("format") != format_name || root.at("version") != version)
      fail("found format {} of version {}, expected {} of version {}", root.at("format").dump(),
           root.at("version").dump(), format_name, version);
    Manifest manifest{
        .step = root.at("step").get<std::int64_t>(), .identity = root.at("identity").get<std::string>(), .files = {}};
    if (manifest.step < 0 || !is_hexadecimal(manifest.identity, 16)) fail("found no step and identity");
    for (const Json& file : root.at("files")) {
      manifest.files.push_back(parse_file(file));
      if (manifest.files.size() > most_files) fail("found more than {} files", most_files);
    }
    return manifest;
  } catch (const std::exception& error) {
    throw DamagedCheckpoint(fmt::format("{}: not the manifest of a mirrored checkpoint: {}", name, error.what()));
  }
}

std::vector<MirroredFile> files_of(const std::filesystem::path& folder) {
  std::vector<MirroredFile> files;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const auto bytes = entry.is_regular_file(error) ? entry.file_size(error) : 0;
    if (error) return {};
    if (bytes > 0)
      files.push_back({.name = entry.path().filename().string(), .bytes = static_cast<std::int64_t>(bytes)});
  }
  std::ranges::sort(files, {}, &MirroredFile::name);
  return files;
}

std::string identity_of(const std::filesystem::path& folder, const std::vector<MirroredFile>& files) {
  checkpoint::Checksum sum;
  for (const MirroredFile& file : files) {
    sum.add(fmt::format("{} {}\n", file.name, file.bytes));
    sum.add(files::read(folder / file.name, 0, seal_bytes));
  }
  return fmt::format("{:016x}", sum.value());
}

}  // namespace trireme::mirror
