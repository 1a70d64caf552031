#include "io/mirror/mirror.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>

#include "io/checkpoint/file_operations.h"
#include "io/checkpoint/format.h"
#include "io/mirror/parts.h"
#include "io/mirror/sha256.h"
#include "kernels/error.h"

namespace trireme {

using namespace mirror;

namespace {

constexpr int reads_of_a_part = 3;

/// "step-00000100.3f2a90b17c55d6e8" -> 100; nothing for any other name.
std::optional<std::int64_t> step_of_folder(const std::string& name) {
  const auto point = name.find('.');
  return point == std::string::npos ? std::nullopt : step_of_manifest(name.substr(0, point) + ".json");
}

/// A file coming back, part by part.
struct Incoming {
  std::mutex mutex;
  std::unique_ptr<files::Output> output;
};

void check_room(const std::filesystem::path& directory, std::int64_t bytes) {
  std::error_code error;
  const auto space = std::filesystem::space(directory, error);
  if (!error && space.available < static_cast<std::uintmax_t>(bytes))
    refuse("checkpoint.directory={}: has room for {} bytes, the copy in the mirror has {}", directory.string(),
           space.available, bytes);
}

}  // namespace

CheckpointMirror::CheckpointMirror(const std::string& place, const std::stop_token& stop)
    : CheckpointMirror(make_object_store(place, stop), stop) {}

CheckpointMirror::CheckpointMirror(std::unique_ptr<ObjectStore> store, std::stop_token stop)
    : store_(std::move(store)), stop_(std::move(stop)) {}

std::vector<std::int64_t> CheckpointMirror::steps() {
  std::vector<std::int64_t> found;
  for (const StoredEntry& entry : store_->list(""))
    if (const auto step = step_of_manifest(entry.name); step && !entry.folder) found.push_back(*step);
  std::ranges::sort(found);
  return found;
}

std::string CheckpointMirror::describe(std::int64_t step) const { return store_->describe(manifest_name(step)); }

Manifest CheckpointMirror::manifest(std::int64_t step) {
  const std::string name = manifest_name(step);
  return parse_manifest(store_->read(name, 0, largest_manifest), store_->describe(name));
}

Manifest CheckpointMirror::copy(const std::filesystem::path& directory, std::int64_t step, const Progress& progress) {
  const auto folder = checkpoint_path(directory, step);
  Manifest copied{.step = step, .identity = {}, .files = files_of(folder)};
  // Retention may have taken it in this moment: nothing would be a copy of nothing.
  if (std::ranges::find(copied.files, checkpoint::model_file, &MirroredFile::name) == copied.files.end())
    fail("{}: found no {}, expected a complete checkpoint", folder.string(), checkpoint::model_file);
  copied.identity = identity_of(folder, copied.files);
  for (MirroredFile& file : copied.files) {
    file.part_bytes = store_->part_bytes(file.bytes);
    file.sha256.resize(static_cast<std::size_t>(file.parts()));
  }
  std::vector<std::unique_ptr<Upload>> uploads(copied.files.size());
  std::atomic<std::int64_t> done = 0;
  const PartWork work{.begin =
                          [&](std::size_t at) {
                            const MirroredFile& file = copied.files[at];
                            uploads[at] = store_->upload(copied.folder() + "/" + file.name, file.bytes);
                          },
                      .part =
                          [&](std::size_t at, std::int64_t part) {
                            MirroredFile& file = copied.files[at];
                            const std::int64_t offset = part * file.part_bytes;
                            const std::string bytes = files::read(folder / file.name, offset, file.part_bytes);
                            if (std::ssize(bytes) != std::min(file.part_bytes, file.bytes - offset))
                              fail("{}: changed while it was copied", (folder / file.name).string());
                            std::string& sum = file.sha256[static_cast<std::size_t>(part)];
                            sum = sha256(bytes);
                            uploads[at]->part(static_cast<int>(part), offset, bytes, sum);
                            if (progress) progress(done += std::ssize(bytes));
                          },
                      .end =
                          [&](std::size_t at) {
                            uploads[at]->finish();
                            uploads[at].reset();
                          }};
  work_on_parts(copied.files, work, stop_);
  if (identity_of(folder, files_of(folder)) != copied.identity)
    fail("{}: changed while it was copied", folder.string());
  store_->write(manifest_name(step), to_json(copied));
  return copied;
}

void CheckpointMirror::prune(const Retention& retention, std::int64_t last) {
  const std::vector<StoredEntry> entries = store_->list("");
  std::map<std::int64_t, std::vector<std::string>> folders;  // of each step that has any
  std::vector<std::int64_t> complete;
  for (const StoredEntry& entry : entries) {
    if (const auto step = step_of_folder(entry.name); step && entry.folder) folders[*step].push_back(entry.name);
    if (const auto step = step_of_manifest(entry.name); step && !entry.folder) complete.push_back(*step);
    if (!entry.folder && entry.name.ends_with(".json.partial") && entry.name.starts_with("step-"))
      store_->remove(entry.name);
  }
  std::ranges::sort(complete);
  std::vector<std::int64_t> counted;
  std::ranges::copy_if(complete, std::back_inserter(counted), [&](std::int64_t step) { return step <= last; });
  for (const std::int64_t step : steps_to_prune(counted, retention.newest, retention.every)) {
    store_->remove(manifest_name(step));  // first: what lost only some of its files must not pass for a copy
    std::erase(complete, step);
  }
  for (const auto& [step, names] : folders) {
    const bool is_complete = std::ranges::find(complete, step) != complete.end();
    if (is_complete && names.size() == 1) continue;
    const std::string kept = is_complete ? manifest(step).folder() : "";
    for (const std::string& name : names)
      if (name != kept) store_->remove_folder(name);
  }
}

std::string CheckpointMirror::read_part(const std::string& name, const MirroredFile& file, std::int64_t part) {
  const std::int64_t offset = part * file.part_bytes;
  const std::int64_t count = std::min(file.part_bytes, file.bytes - offset);
  for (int attempt = 1;; ++attempt) {
    std::string bytes = store_->read(name, offset, count);
    const bool whole = std::ssize(bytes) == count;
    if (whole && sha256(bytes) == file.sha256[static_cast<std::size_t>(part)]) return bytes;
    if (attempt == reads_of_a_part)
      throw DamagedCheckpoint(fmt::format("{}: {}", store_->describe(name),
                                          whole ? fmt::format("part {} fails its checksum", part + 1)
                                                : fmt::format("it has fewer than its {} bytes", file.bytes)));
  }
}

std::filesystem::path CheckpointMirror::restore(std::int64_t step, const std::filesystem::path& directory,
                                                const Progress& progress) {
  const Manifest stored = manifest(step);
  files::make_directory(directory);
  check_room(directory, stored.bytes());
  const auto folder = checkpoint_path(directory, step);
  const auto partial = checkpoint::partial_path(folder);
  files::remove(partial);
  files::make_directory(partial);
  std::vector<Incoming> incoming(stored.files.size());
  std::atomic<std::int64_t> done = 0;
  const PartWork work{.begin =
                          [&](std::size_t at) {
                            incoming[at].output = std::make_unique<files::Output>(partial / stored.files[at].name);
                          },
                      .part =
                          [&](std::size_t at, std::int64_t part) {
                            const MirroredFile& file = stored.files[at];
                            const std::string bytes = read_part(stored.folder() + "/" + file.name, file, part);
                            const std::lock_guard lock(incoming[at].mutex);
                            incoming[at].output->write(part * file.part_bytes, bytes);
                            if (progress) progress(done += std::ssize(bytes));
                          },
                      .end =
                          [&](std::size_t at) {
                            incoming[at].output->finish();
                            incoming[at].output.reset();
                          }};
  try {
    work_on_parts(stored.files, work, stop_);
    files::sync(partial);
    files::rename(partial, folder);
    files::sync(directory);
  } catch (...) {
    incoming.clear();
    std::error_code ignored;
    std::filesystem::remove_all(partial, ignored);
    throw;
  }
  return folder;
}

}  // namespace trireme
