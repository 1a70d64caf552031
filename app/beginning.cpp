#include "app/beginning.h"

#include <fmt/ranges.h>

#include <chrono>

#include "app/metrics.h"
#include "app/option_table.h"
#include "app/options.h"
#include "io/checkpoint/agreement.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// There is no checkpoint. Where an earlier life of the run must have saved some, their file system may be missing.
void expect_new_run(Session& session) {
  const CheckpointOptions& options = session.configuration().checkpoint;
  const auto& metrics = session.configuration().log.metrics;
  if (options.directory.empty() || options.resume != "auto" || options.every == 0 || metrics.empty()) return;
  together(session.world().all(), [&] {
    const std::int64_t told = session.world().rank() == 0 ? last_step_in(metrics) : 0;
    if (told <= 2 * options.every) return;  // the second save waits for the first
    refuse(
        "checkpoint.directory={}: found no checkpoint, but log.metrics={} tells of {} steps, one due every {}. Is its "
        "file system mounted? Nothing is begun anew without your word: move the metrics away, or say "
        "checkpoint.resume=never",
        options.directory.string(), metrics.string(), told, options.every);
  });
}

struct Difference {
  std::string key, found, made;
};

/// Keys that a run keeps, where the session has them otherwise than the run that made the checkpoint.
std::vector<Difference> differences(const Session& session, const CheckpointInfo& info) {
  const Configuration made = parse_ini(info.configuration, "configuration in the checkpoint");
  const auto value = [](const Option& option, const Configuration& configuration) {
    return fmt::format("{}", fmt::join(option.write(configuration), " "));
  };
  std::vector<Difference> result;
  for (const Option& option : option_table()) {
    Difference each = {option.key, value(option, session.configuration()), value(option, made)};
    if (option.is_fixed && each.found != each.made) result.push_back(std::move(each));
  }
  return result;
}

/// A checkpoint of another model may well load (with fewer layers, other heads or another tokenizer) and learn anew.
void expect_same_run(const Session& session, const CheckpointInfo& info, const std::string& checkpoint) {
  for (const auto& [key, found, made] : differences(session, info))
    refuse("{}={}, but {} was made with {}: go on with that, or start anew with checkpoint.resume=never", key, found,
           checkpoint, made);
  const TokenizerBlob& found = session.tokenizer();
  const TokenizerBlob expected = tokenizer_of(info);
  if (found.kind != expected.kind || found.model != expected.model)
    refuse(
        "data.train has another tokenizer ({}, {} tokens) than {} ({}, {} tokens): go on with data sets of that one, "
        "or start anew with checkpoint.resume=never",
        found.kind, found.vocabulary, checkpoint, expected.kind, expected.vocabulary);
}

/// Begins with the parameters of another run; returns what is to be told of it.
std::vector<std::string> initialize(Session& session) {
  const auto& init = session.configuration().train.init;
  if (init.empty()) return {};
  const auto folder = newest_checkpoint(init, "train.init");
  CheckpointReader reader(folder);
  const Session::Initialized found = session.initialize(reader);
  std::vector<std::string> notes = {fmt::format("init        {} parameters from {}", found.taken, folder.string())};
  const auto add = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) notes.push_back(fmt::format("  {:<10}{}", what, fmt::join(names, ", ")));
  };
  add("new", found.fresh);
  add("left over", found.left_over);
  std::vector<std::string> otherwise;
  for (const auto& [key, here, there] : differences(session, reader.info()))
    if (key.starts_with("model.")) otherwise.push_back(fmt::format("{}={}, not {}", key, here, there));
  add("otherwise", otherwise);
  return notes;
}

}  // namespace

Beginning begin_or_go_on(Session& session, const RunEvents& events) {
  const auto start = std::chrono::steady_clock::now();
  const Configuration& configuration = session.configuration();
  const auto folder =
      find_checkpoint(configuration.checkpoint, session.world(), Damaged::set_aside,
                      [&](std::int64_t step, const std::string& damage) { events.alert(damage, step); });
  if (folder.empty()) {
    expect_new_run(session);
    return {.notes = initialize(session)};
  }
  CheckpointReader reader(folder);
  const CheckpointInfo& info = reader.info();
  expect_same_run(session, info, folder.string());
  session.load(reader);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return {.step = info.step,
          .resumed = true,
          .notes = {fmt::format("resumed     step {} from {} in {:.2f} s", info.step, folder.string(), seconds)}};
}

}  // namespace trireme
