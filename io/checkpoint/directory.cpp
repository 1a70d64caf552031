// The folder of checkpoints: what is in it, and what is to go.
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "io/checkpoint/checkpoint.h"
#include "io/checkpoint/file_operations.h"
#include "io/checkpoint/format.h"
#include "kernels/error.h"

namespace trireme {

using namespace checkpoint;

namespace {

/// "step-00000100" -> 100; nothing for any other name.
std::optional<std::int64_t> step_of(std::string_view name) {
  constexpr std::string_view prefix = "step-";
  if (!name.starts_with(prefix)) return {};
  std::int64_t step = 0;
  std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
  if (step < 0 || fmt::format("step-{:08}", step) != name) return {};
  return step;
}

/// Checkpoint folders whose names have this suffix, by their paths without it.
std::vector<std::filesystem::path> folders_with(const std::filesystem::path& directory, std::string_view suffix) {
  std::vector<std::filesystem::path> folders;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(suffix)) continue;
    const std::string stem = name.substr(0, name.size() - suffix.size());
    if (step_of(stem) && entry.is_directory()) folders.push_back(directory / stem);
  }
  return folders;
}

/// What an interrupted replacement left: the old folder goes back where the new one did not come.
void restore_replaced(const std::filesystem::path& directory) {
  for (const auto& folder : folders_with(directory, ".replaced")) {
    if (std::filesystem::exists(folder)) {
      files::sync(directory);  // or a power cut could undo the renaming and not the removal
      files::remove(replaced_path(folder));
    } else {
      files::rename(replaced_path(folder), folder);
    }
  }
}

}  // namespace

std::filesystem::path checkpoint_path(const std::filesystem::path& directory, std::int64_t step) {
  return directory / fmt::format("step-{:08}", step);
}

std::vector<std::int64_t> list_checkpoints(const std::filesystem::path& directory) {
  std::vector<std::int64_t> steps;
  for (const auto& folder : folders_with(directory, "")) steps.push_back(*step_of(folder.filename().string()));
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::filesystem::path newest_checkpoint(const std::filesystem::path& path, std::string_view key) {
  if (std::filesystem::exists(path / model_file)) return path;
  const std::vector<std::int64_t> steps = list_checkpoints(path);
  if (steps.empty()) refuse("{}: {}: found no checkpoint there, expected one or a folder of them", key, path.string());
  return checkpoint_path(path, steps.back());
}

bool has_damaged(const std::filesystem::path& directory) { return !folders_with(directory, ".damaged").empty(); }

void check_checkpoint_directory(const std::filesystem::path& directory) {
  try {
    files::make_directory(directory);
    const std::filesystem::path probe = directory / fmt::format(".probe-{}", getpid());
    files::Output file(probe);
    file.write(0, "tried");
    file.finish();
    files::remove(probe);
    restore_replaced(directory);
  } catch (const Error& error) {
    refuse("checkpoint.directory={}: cannot be written: {}", directory.string(), error.what());
  }
}

std::vector<std::int64_t> steps_to_prune(std::vector<std::int64_t> steps, int keep, std::int64_t keep_every) {
  const auto newest = static_cast<std::size_t>(std::max(keep, 0));
  steps.resize(keep <= 0 || steps.size() <= newest ? 0 : steps.size() - newest);
  std::erase_if(steps, [&](std::int64_t step) { return keep_every > 0 && step % keep_every == 0; });
  return steps;
}

void prune_checkpoints(const std::filesystem::path& directory, int keep, std::int64_t keep_every, std::int64_t last,
                       std::int64_t in_use) {
  restore_replaced(directory);
  for (const auto& folder : folders_with(directory, ".partial")) files::remove(partial_path(folder));
  std::vector<std::int64_t> steps = list_checkpoints(directory);
  std::erase_if(steps, [&](std::int64_t step) {
    return step > last || !std::filesystem::exists(checkpoint_path(directory, step) / model_file);
  });
  for (const std::int64_t step : steps_to_prune(steps, keep, keep_every)) {
    if (step == in_use) continue;
    // Renamed first, and for good: a folder that lost only some of its files must not pass for a checkpoint.
    const std::filesystem::path folder = checkpoint_path(directory, step);
    files::rename(folder, partial_path(folder));
    files::sync(directory);
    files::remove(partial_path(folder));
  }
}

void set_aside(const std::filesystem::path& folder) {
  files::remove(damaged_path(folder));
  files::rename(folder, damaged_path(folder));
  files::sync(folder.parent_path());
}

}  // namespace trireme
