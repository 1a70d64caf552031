#include "app/session.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "app/options.h"
#include "io/checkpoint/agreement.h"
#include "kernels/error.h"
#include "model/arch/gpt.h"

namespace trireme {
namespace {

std::unique_ptr<Backend> make_backend(const TrainOptions& options, const World& world) {
  const int gpus = options.device == DeviceChoice::cpu ? 0 : cuda_device_count();
  const bool cuda = gpus > 0 || options.device == DeviceChoice::cuda;
  // More ranks than GPUs share them; without any, the backend says what it looked for.
  if (cuda)
    return make_cuda_backend(world.local_rank() % std::max(1, gpus),
                             {.deterministic = options.deterministic, .tf32 = options.tf32});
  return make_cpu_backend(threads_per_rank(world));
}

LayoutLimits limits_of(const Configuration& configuration, const Architecture& architecture, const World& world) {
  const GptConfig& model = configuration.model;
  return {.world = world.size(),
          .heads = model.heads,
          .key_value_heads = model.key_value_head_count(),
          .feed_forward = model.inner_size(),
          .vocabulary = model.vocabulary,
          .blocks = static_cast<int>(architecture.blocks.size()),
          .global_batch = configuration.train.global_batch,
          .micro_batch = configuration.train.micro_batch};
}

/// Step to go on from; -1: none.
std::int64_t look_for_checkpoint(const CheckpointOptions& options) {
  const auto steps = list_checkpoints(options.directory);
  if (options.resume == "auto") return steps.empty() ? -1 : steps.back();
  std::int64_t wanted = -1;
  std::from_chars(options.resume.data(), options.resume.data() + options.resume.size(), wanted);
  if (std::find(steps.begin(), steps.end(), wanted) == steps.end())
    refuse("checkpoint.resume={}: {} holds no complete checkpoint of that step; found: {}", options.resume,
           options.directory.string(), steps.empty() ? "none" : fmt::format("{}", fmt::join(steps, ", ")));
  return wanted;
}

}  // namespace

Session::Session(const Configuration& configuration, World& world, TokenizerBlob tokenizer, Purpose purpose)
    : configuration_(configuration), world_(world), tokenizer_(std::move(tokenizer)), purpose_(purpose) {
  int& vocabulary = configuration_.model.vocabulary;
  if (vocabulary != 0 && vocabulary != tokenizer_.vocabulary)
    refuse("model.vocabulary={}, but the tokenizer of the data set has {} tokens; leave the key out to take its number",
           vocabulary, tokenizer_.vocabulary);
  vocabulary = tokenizer_.vocabulary;
  const ParallelOptions& parallel = configuration_.parallel;
  architecture_ = make_gpt(configuration_.model, parallel.tensor, type());
  layout_ = resolve_layout({.data = parallel.data, .tensor = parallel.tensor, .pipeline = parallel.pipeline},
                           limits_of(configuration_, architecture_, world_));
  backend_ = make_backend(configuration_.train, world_);
  groups_ = std::make_unique<DeviceGroups>(world_, *backend_);
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
  store_.allocate(*backend_, type(), configuration_.train.seed, purpose_ == Purpose::training);
  arenas_.push_back({"parameters", store_.values, Tensor()});
  if (purpose_ == Purpose::training) {
    arenas_.push_back({"optimizer/first_moment", store_.first_moments, Tensor()});
    arenas_.push_back({"optimizer/second_moment", store_.second_moments, Tensor()});
  }
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
      if (part.shard.replica + data_->rank() == 0) count += static_cast<double>(part.shard.extent.elements());
  Tensor sum(host_memory_, {1}, DType::f64);
  sum.data<double>()[0] = count;
  world_.all().all_reduce(sum, Reduction::sum).wait();
  return static_cast<std::int64_t>(sum.data<double>()[0]);
}

void Session::reduce_shared_gradients() {
  for (SharedCopy& copy : shared_) copy.holders->all_reduce(copy.parameter->gradient, Reduction::sum).wait();
}

bool Session::can_record() const {
  // Dropout is another in every step: its mask comes from the number of the sample.
  return configuration_.train.cuda_graph && configuration_.model.dropout == 0.0 &&
         (groups_->transport() == Transport::nccl || world_.size() == 1);
}

std::vector<CheckpointItem> Session::checkpoint_items() {
  std::vector<CheckpointItem> items;
  for (Arena& arena : arenas_) {
    if (arena.host.empty() && backend_->kind() == DeviceKind::cpu) arena.host = arena.tensor;
    if (arena.host.empty()) {
      arena.host = Tensor(host_memory_, arena.tensor.shape(), DType::f32);
      std::ranges::fill(arena.host.values<float>(), 0.0F);  // what lies between parameters stays zero
    }
    for (const Parameter& parameter : store_.parameters()) {
      float* data = arena.host.data<float>() + parameter.first();
      for (const auto& part : parameter.parts()) {
        ShardSpec shard = part.shard;
        shard.replica += data_->rank();
        items.push_back({arena.kind + "/" + part.name, shard, data});
        data += shard.extent.elements();
      }
    }
  }
  return items;
}

std::filesystem::path Session::save(std::int64_t step, std::int64_t samples) {
  const CheckpointInfo info{.step = step,
                            .samples = samples,
                            .seed = configuration_.train.seed,
                            .configuration = to_ini(configuration_),
                            .tokenizer_kind = tokenizer_.kind,
                            .tokenizer_model = tokenizer_.model,
                            .tokenizer_vocabulary = tokenizer_.vocabulary,
                            .tokenizer_end_of_text = tokenizer_.end_of_text};
  const CheckpointOptions& options = configuration_.checkpoint;
  const auto items = checkpoint_items();
  for (Arena& arena : arenas_)
    if (arena.host.raw() != arena.tensor.raw()) backend_->download(arena.tensor, arena.host.raw());
  const auto folder = save_checkpoint(options.directory, info, items, world_.all());
  if (world_.rank() == 0 && options.keep > 0) prune_checkpoints(options.directory, options.keep);
  return folder;
}

void Session::load(CheckpointReader& reader) {
  for (const CheckpointItem& item : checkpoint_items()) reader.read(item);
  for (Arena& arena : arenas_)
    if (arena.host.raw() != arena.tensor.raw()) backend_->upload(arena.host.raw(), arena.tensor);
  store_.refresh_working(*backend_);
}

std::filesystem::path find_checkpoint(const CheckpointOptions& options, World& world) {
  if (options.directory.empty() || options.resume == "never") return {};
  // One rank looks, so that ranks cannot disagree while a file system settles.
  int found = -1;
  together(world.all(), [&] {
    if (world.rank() == 0) found = static_cast<int>(look_for_checkpoint(options));
  });
  const int step = gather(world.all(), found).front();
  return step < 0 ? std::filesystem::path() : checkpoint_path(options.directory, step);
}

Configuration with_model_of(const Configuration& configuration, const CheckpointInfo& info) {
  const Configuration stored = parse_ini(info.configuration, "configuration in the checkpoint");
  Configuration result = configuration;
  result.arch = stored.arch;
  result.model = stored.model;
  return result;
}

TokenizerBlob tokenizer_of(const CheckpointInfo& info) {
  return {info.tokenizer_kind, info.tokenizer_vocabulary, info.tokenizer_end_of_text, info.tokenizer_model};
}

}  // namespace trireme
