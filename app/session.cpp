#include "app/session.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <map>
#include <set>

#include "app/options.h"
#include "app/workload.h"
#include "io/checkpoint/agreement.h"
#include "io/mirror/mirror.h"
#include "io/wordpiece_tokenizer.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {

namespace {

const std::string parameters_path = "parameters/";  ///< of checkpoints

}  // namespace

std::unique_ptr<Backend> make_backend(const TrainOptions& options, const World& world) {
  const int gpus = options.device == DeviceChoice::cpu ? 0 : cuda_device_count();
  const bool cuda = gpus > 0 || options.device == DeviceChoice::cuda;
  // More ranks than GPUs share them; without any, the backend says what it looked for.
  if (cuda)
    return make_cuda_backend(world.local_rank() % std::max(1, gpus),
                             {.deterministic = options.deterministic, .tf32 = options.tf32});
  return make_cpu_backend(threads_per_rank(world));
}

namespace {

/// The watchdog comes first: it tells where all ranks are.
NcclPatience nccl_patience(const TrainOptions& options) {
  constexpr double for_ever = 1e9;
  return {.operation = std::chrono::duration<double>(options.watchdog > 0 ? 1.5 * options.watchdog : for_ever)};
}

/// A checkpoint to go on from.
struct Candidate {
  std::int64_t step = -1;
  bool mirrored = false;  ///< it has to be brought from the mirror first
};

/// Steps that the mirror has. Where the directory has checkpoints, a mirror that does not answer is no reason to wait.
std::vector<std::int64_t> mirrored_steps(const CheckpointOptions& options, bool has_others) {
  if (options.mirror.empty()) return {};
  try {
    return CheckpointMirror(options.mirror).steps();
  } catch (const Error& error) {
    if (!has_others || error.status() == ExitStatus::invalid_input) throw;
    std::cerr << fmt::format("trireme: warning: checkpoint.mirror: {}; only {} is looked at\n", error.what(),
                             options.directory.string());
    return {};
  }
}

/// What to go on from, the best last. Refuses where the step that was asked for is not there.
std::vector<Candidate> candidates(const CheckpointOptions& options, Damaged then) {
  const auto local = list_checkpoints(options.directory);
  const auto mirrored = mirrored_steps(options, !local.empty());
  std::vector<Candidate> found;
  for (const std::int64_t step : mirrored)
    if (then == Damaged::set_aside || std::ranges::find(local, step) == local.end()) found.push_back({step, true});
  for (const std::int64_t step : local) found.push_back({step, false});
  std::ranges::stable_sort(found, {}, &Candidate::step);
  if (options.resume == "auto") return found;
  std::int64_t wanted = -1;
  std::from_chars(options.resume.data(), options.resume.data() + options.resume.size(), wanted);
  if (std::ranges::find(found, wanted, &Candidate::step) == found.end())
    refuse("checkpoint.resume={}: {} holds no checkpoint of that step; found: {}", options.resume,
           options.mirror.empty() ? options.directory.string()
                                  : fmt::format("neither {} nor {}", options.directory.string(), options.mirror),
           local.empty() ? "none" : fmt::format("{}", fmt::join(local, ", ")));
  std::erase_if(found, [&](const Candidate& each) { return each.step != wanted; });
  return found;
}

/// For rank 0: brings a checkpoint from the mirror, into the place of a damaged one.
void bring(const CheckpointOptions& options, std::int64_t step) {
  const Activity activity("restoring from the mirror", options.mirror, step);
  const auto folder = checkpoint_path(options.directory, step);
  CheckpointMirror mirror(options.mirror);
  if (std::filesystem::exists(folder)) set_aside(folder);
  mirror.restore(step, options.directory);
  std::cerr << fmt::format("trireme: {} is restored from {}\n", folder.string(), mirror.describe(step));
}

/// What some rank found damaged in a checkpoint that the ranks read together; empty where it is whole. Collective.
std::string damage_of(const Candidate& candidate, const CheckpointOptions& options, World& world) {
  std::string damage;
  // Each rank's part of the work; that it is damaged is no failure yet.
  const auto noting_damage = [&](const auto& work) {
    together(world.all(), [&] {
      try {
        work();
      } catch (const DamagedCheckpoint& error) {
        damage = error.what();
      }
    });
    try {
      together(world.all(), [&] {
        if (!damage.empty()) refuse("{}", damage);
      });
    } catch (const Error& error) {
      damage = error.what();
    }
  };
  if (candidate.mirrored) {
    noting_damage([&] {
      if (world.rank() == 0) bring(options, candidate.step);
    });
    if (!damage.empty()) return damage;
  }
  noting_damage(
      [&] { verify_checkpoint(checkpoint_path(options.directory, candidate.step), world.rank(), world.size()); });
  return damage;
}

/// For rank 0, when a good one was found: the others must not be counted among the newest any more.
void set_all_aside(const std::filesystem::path& directory, const std::vector<std::int64_t>& damaged) {
  for (const std::int64_t step : damaged) {
    const auto folder = checkpoint_path(directory, step);
    try {
      set_aside(folder);
      std::cerr << fmt::format("trireme: {} is set aside as {}.damaged\n", folder.string(), folder.filename().string());
    } catch (const Error& error) {
      std::cerr << fmt::format("trireme: {} cannot be set aside: {}\n", folder.string(), error.what());
    }
  }
}

}  // namespace

Session::Session(const Configuration& configuration, World& world, TokenizerBlob tokenizer, Purpose purpose)
    : configuration_(configuration), world_(world), tokenizer_(std::move(tokenizer)), purpose_(purpose) {
  const Workload& workload = workload_of(configuration_);
  workload.take(configuration_, tokenizer_);
  const ParallelOptions& parallel = configuration_.parallel;
  architecture_ = workload.architecture(configuration_, parallel.tensor, type());
  layout_ = resolve_layout({.data = parallel.data, .tensor = parallel.tensor, .pipeline = parallel.pipeline},
                           limits_of(configuration_, architecture_.blocks.size(), world_.size()));
  backend_ = make_backend(configuration_.train, world_);
  groups_ = std::make_unique<DeviceGroups>(world_, *backend_, nccl_patience(configuration_.train));
  if (world_.rank() == 0 && !groups_->why_staged().empty())
    std::fprintf(stderr, "trireme: warning: %s\n", groups_->why_staged().c_str());
  make_groups();
  make_stage();
}

void Session::make_groups() {
  grid_ = std::make_unique<ProcessGrid>(
      std::vector<GridAxis>{{"tensor", layout_.tensor}, {"data", layout_.data}, {"pipeline", layout_.pipeline}});
  const auto group = [&](const std::string& axis) { return groups_->group(axis, grid_->group(world_.rank(), {axis})); };
  tensor_ = group("tensor");
  data_ = group("data");
  pipeline_ = group("pipeline");
}

void Session::make_stage() {
  std::vector<BlockCost> costs;
  for (const Block& block : architecture_.blocks) costs.push_back(block.cost);
  const std::vector<int> boundaries = partition(costs, layout_.pipeline);

  stage_.index = pipeline_->rank();
  stage_.count = pipeline_->size();
  const auto at = static_cast<std::size_t>(stage_.index);
  const auto first = static_cast<std::size_t>(boundaries[at]);
  const auto end = static_cast<std::size_t>(boundaries[at + 1]);
  const Build build{
      .store = store_, .tensor_rank = tensor_->rank(), .tensor_ranks = tensor_->size(), .first_stage = stage_.first()};
  for (std::size_t block = first; block < end; ++block) {
    block_first_.push_back(store_.elements());
    stage_.blocks.push_back(architecture_.blocks[block].make(build));
  }
  if (!stage_.first()) stage_.input = architecture_.blocks[first - 1].output;
  if (!stage_.last()) stage_.output = architecture_.blocks[end - 1].output;
  store_.allocate(
      *backend_, type(), configuration_.train.seed,
      purpose_ == Purpose::training ? training_state_of(configuration_.optimizer.rule()) : TrainingState::none);
  list_held();
  make_shared_copies(boundaries);
}

void Session::make_shared_copies(const std::vector<int>& boundaries) {
  const std::vector<int> column = grid_->group(world_.rank(), {"pipeline"});
  for (const SharedParameter& shared : architecture_.shared) {
    std::vector<int> holders;
    for (const int block : shared.blocks) {
      const auto after = std::upper_bound(boundaries.begin(), boundaries.end(), block);
      const int rank = column[static_cast<std::size_t>(after - boundaries.begin() - 1)];
      if (holders.empty() || holders.back() != rank) holders.push_back(rank);
    }
    const bool here = std::find(holders.begin(), holders.end(), world_.rank()) != holders.end();
    auto communicator = groups_->group("stages that share " + shared.name, here ? holders : std::vector{world_.rank()});
    if (!here || holders.size() == 1) continue;
    for (Parameter& parameter : store_.parameters())
      if (parameter.name() == shared.name) shared_.push_back({&parameter, std::move(communicator)});
  }
}

std::int64_t Session::parameter_count() {
  double count = 0.0;
  for (const Parameter& parameter : store_.parameters())
    for (const auto& part : parameter.parts())
      if (parameter.trained() && part.shard.replica + data_->rank() == 0)
        count += static_cast<double>(part.shard.extent.elements());
  MemoryPool host_memory(make_host_memory());
  Tensor sum(host_memory, {1}, DType::f64);
  sum.data<double>()[0] = count;
  world_.all().all_reduce(sum, Reduction::sum).wait();
  return static_cast<std::int64_t>(sum.data<double>()[0]);
}

void Session::reduce_shared_gradients() {
  for (SharedCopy& copy : shared_) copy.holders->all_reduce(copy.parameter->gradient, Reduction::sum).wait();
}

bool Session::can_record() const {
  return configuration_.train.cuda_graph && !architecture_.draws &&
         (groups_->transport() == Transport::nccl || world_.size() == 1);
}

void Session::list_held() {
  std::vector<std::pair<std::string, Tensor>> arenas = {{"parameters", store_.values}};
  if (!store_.first_moments.empty()) arenas.emplace_back("optimizer/first_moment", store_.first_moments);
  if (!store_.second_moments.empty()) arenas.emplace_back("optimizer/second_moment", store_.second_moments);
  // Data-parallel ranks hold the same: each box is written by the one that has least to write so far.
  const int ranks = data_->size();
  std::vector<std::int64_t> load(static_cast<std::size_t>(ranks));
  for (const auto& [kind, arena] : arenas) {
    for (const Parameter& parameter : store_.parameters()) {
      if (!parameter.trained() && kind != "parameters") continue;
      const Tensor& held = parameter.trained() ? arena : store_.tracked_values;
      std::int64_t first = parameter.first();
      for (const auto& part : parameter.parts()) {
        const std::int64_t elements = part.shard.extent.elements();
        const auto writer = std::ranges::min_element(load);
        const int distance = (data_->rank() - static_cast<int>(writer - load.begin()) + ranks) % ranks;
        if (part.shard.replica == 0) *writer += elements;
        ShardSpec shard = part.shard;
        shard.replica = shard.replica * ranks + distance;
        held_.push_back({kind + "/" + part.name, shard, held.view(first, {elements})});
        first += elements;
      }
    }
  }
}

CheckpointInfo Session::checkpoint_info(std::int64_t step, std::int64_t samples) const {
  return {.step = step,
          .samples = samples,
          .seed = configuration_.train.seed,
          .configuration = to_ini(configuration_),
          .tokenizer_kind = tokenizer_.kind,
          .tokenizer_model = tokenizer_.model,
          .tokenizer_vocabulary = tokenizer_.vocabulary,
          .tokenizer_end_of_text = tokenizer_.end_of_text};
}

std::int64_t Session::reserve_snapshot() {
  if (snapshot_.empty()) {
    std::int64_t elements = 0;
    for (const Held& held : held_) elements += held.shard.replica == 0 ? held.values.elements() : 0;
    snapshot_ = Tensor(backend_->host_pool(), {elements}, DType::f32);
    std::ranges::fill(snapshot_.values<float>(), 0.0F);  // the system gives memory when it is touched: now, not later
  }
  return static_cast<std::int64_t>(snapshot_.bytes());
}

std::vector<CheckpointItem> Session::snapshot() {
  reserve_snapshot();
  std::vector<CheckpointItem> items;
  float* next = snapshot_.data<float>();
  for (const Held& held : held_) {
    const bool writes = held.shard.replica == 0;
    items.push_back({held.path, held.shard, writes ? next : nullptr});
    if (!writes) continue;
    backend_->download(held.values, next);
    next += held.values.elements();
  }
  return items;
}

std::vector<CheckpointItem> Session::items_in_place() {
  std::vector<CheckpointItem> items;
  for (Held& held : held_) items.push_back({held.path, held.shard, held.values.data<float>()});
  return items;
}

void Session::read(CheckpointReader& reader, Held& held) {
  const bool on_host = backend_->kind() == DeviceKind::cpu;
  MemoryPool staging(make_host_memory());
  Tensor host = on_host ? held.values : Tensor(staging, held.values.shape(), DType::f32);
  reader.read({held.path, held.shard, host.data<float>()});
  if (!on_host) backend_->upload(host.raw(), held.values);
}

void Session::load(CheckpointReader& reader) {
  for (Held& held : held_) read(reader, held);
  store_.refresh_working(*backend_);
}

Session::Initialized Session::initialize(CheckpointReader& reader) {
  if (!reads_alike(tokenizer_of(reader.info()), tokenizer_))
    refuse("train.init={}: its tokenizer ({}, {} tokens) is not that of the data set ({}, {} tokens)",
           configuration_.train.init.string(), reader.info().tokenizer_kind, reader.info().tokenizer_vocabulary,
           tokenizer_.kind, tokenizer_.vocabulary);
  // The whole model's parameters, by the paths that checkpoints have for them: nothing is allocated for it.
  ParameterStore whole;
  for (const Block& block : architecture_.blocks) block.make(Build{.store = whole});
  std::map<std::string, Shape> wanted;
  for (const Parameter& parameter : whole.parameters())
    for (const auto& part : parameter.parts()) wanted[parameters_path + part.name] = part.shard.global;

  Initialized result;
  std::set<std::string> shared;
  for (const auto& [path, shape] : reader.entries()) {
    if (!path.starts_with(parameters_path)) continue;
    const auto found = wanted.find(path);
    if (found == wanted.end()) {
      result.left_over.push_back(path.substr(parameters_path.size()));
      continue;
    }
    if (found->second != shape)
      refuse("train.init={}: {} is {} there, but {} in this model", configuration_.train.init.string(),
             path.substr(parameters_path.size()), shape.to_string(), found->second.to_string());
    shared.insert(path);
  }
  for (const auto& [path, shape] : wanted)
    if (!shared.contains(path)) result.fresh.push_back(path.substr(parameters_path.size()));
  if (shared.empty())
    refuse("train.init={}: it has none of this model's parameters", configuration_.train.init.string());
  result.taken = static_cast<std::int64_t>(shared.size());
  for (Held& held : held_)
    if (shared.contains(held.path)) read(reader, held);
  store_.refresh_working(*backend_);
  return result;
}

std::filesystem::path find_checkpoint(const CheckpointOptions& options, World& world, Damaged then,
                                      const std::function<void(std::int64_t step, const std::string&)>& tell) {
  if (options.directory.empty() || options.resume == "never") return {};
  // One rank looks, so that ranks cannot disagree while a file system settles.
  std::vector<Candidate> left;
  together(world.all(), [&] {
    if (world.rank() == 0) left = candidates(options, then);
  });
  std::vector<std::int64_t> damaged;
  std::string damage;
  while (true) {
    Candidate next = left.empty() ? Candidate{} : left.back();
    if (!left.empty()) left.pop_back();
    next = {gather(world.all(), static_cast<int>(next.step)).front(), gather(world.all(), next.mirrored).front() != 0};
    if (next.step < 0) break;
    const auto folder = checkpoint_path(options.directory, next.step);
    damage = damage_of(next, options, world);
    if (next.mirrored) std::erase(damaged, next.step);  // set aside already
    if (damage.empty()) {
      if (world.rank() == 0 && then == Damaged::set_aside) set_all_aside(options.directory, damaged);
      return folder;
    }
    if (world.rank() == 0) {
      const std::string told =
          fmt::format("{} is damaged: {}", next.mirrored ? options.mirror : folder.string(), damage);
      std::cerr << "trireme: " + told + "\n";
      if (tell) tell(next.step, told);
    }
    if (!next.mirrored || std::filesystem::exists(folder)) damaged.push_back(next.step);
  }
  if (options.resume != "auto") refuse("checkpoint.resume={}: {}", options.resume, damage);
  if (!damage.empty() || has_damaged(options.directory))
    refuse(
        "checkpoint.directory={}: found only damaged checkpoints, expected a whole one or none. Nothing is begun anew "
        "without your word: move them away, or say checkpoint.resume=never",
        options.directory.string());
  return {};
}

namespace {

/// A checkpoint of strangers could name a model of any size: it must be the one that its tensors are of.
void expect_model_of(Configuration configuration, const CheckpointReader& reader) {
  std::map<std::string, Shape> stored;
  for (const CheckpointEntry& entry : reader.entries()) stored.emplace(entry.path, entry.shape);
  const Workload& workload = workload_of(configuration);
  workload.take(configuration, tokenizer_of(reader.info()));
  ParameterStore declared;  // takes no memory for values
  std::size_t known = 0;
  for (const Block& block : workload.architecture(configuration, 1, DType::f32).blocks) {
    block.make({.store = declared});
    for (; known < declared.parameters().size(); ++known)
      for (const auto& part : declared.parameters()[known].parts()) {
        const auto found = stored.find(parameters_path + part.name);
        if (found == stored.end() || !(found->second == part.shard.global))
          refuse("configuration in the checkpoint: its model has {} of shape {}, found {}", part.name,
                 part.shard.global.to_string(), found == stored.end() ? "no such tensor" : found->second.to_string());
      }
  }
}

}  // namespace

Configuration with_model_of(const Configuration& configuration, const CheckpointReader& reader) {
  const Configuration stored = parse_ini(reader.info().configuration, "configuration in the checkpoint");
  Configuration result = configuration;
  result.arch = stored.arch;
  result.model = stored.model;
  result.resnet = stored.resnet;
  result.ernie = stored.ernie;
  result.line = stored.line;
  expect_model_of(result, reader);
  return result;
}

TokenizerBlob tokenizer_of(const CheckpointInfo& info) {
  return {info.tokenizer_kind, info.tokenizer_vocabulary, info.tokenizer_end_of_text, info.tokenizer_model};
}

}  // namespace trireme
