// A run's configuration: every `section.key` of the command line and the INI file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/images/image_source.h"
#include "io/images/pack_images.h"
#include "io/lines/pack_lines.h"
#include "io/pack_labels.h"
#include "io/pack_text.h"
#include "model/arch/ernie.h"
#include "model/arch/gpt.h"
#include "model/arch/line_config.h"
#include "model/arch/resnet.h"
#include "model/optim/learning_rate.h"
#include "model/optim/optimizer.h"
#include "model/pipeline/schedule.h"

namespace trireme {

/// What ernie has beside the keys that it shares with gpt, which are in the latter's struct.
struct ErnieOptions {
  bool pre_norm = false;
  double order_weight = 0;
  double mask_share = 0.15;
  double mask_characters = 1, mask_words = 1, mask_entities = 1;
  // Not keys: as the data set has it.
  ErnieTask task = ErnieTask::pretrain;
  std::vector<std::string> labels;
};

struct DataOptions {
  std::vector<std::filesystem::path> train;
  std::vector<std::filesystem::path> validation;
  int workers = 1;  ///< threads that prepare samples, on each rank
};

enum class DeviceChoice { automatic, cpu, cuda };

struct TrainOptions {
  std::int64_t steps = 1000;
  int global_batch = 32;  ///< samples of a step, over all ranks
  int micro_batch = 4;    ///< samples a pipeline stage works on at a time
  std::uint64_t seed = 1;
  std::filesystem::path init;  ///< checkpoint to take parameters from, where none of this run is there
  DeviceChoice device = DeviceChoice::automatic;
  DType precision = DType::f32;
  bool deterministic = true;   ///< on a GPU too, two runs have the same bits
  bool tf32 = false;           ///< on a GPU: fp32 products of shortened operands
  bool cuda_graph = true;      ///< on a GPU: record the step's work once and replay it, where nothing in it changes
  int validate_every = 0;      ///< steps; 0: only at the end
  int validation_batches = 0;  ///< batches of global_batch samples; 0: the whole validation set
  double time_limit = 0;       ///< seconds from the start after which to save and stop; 0: none
  double watchdog = 600;       ///< seconds without progress after which the job ends with a report; 0: never
};

struct OptimizerOptions {
  OptimizerKind name = OptimizerKind::adamw;
  double learning_rate = 6e-4;
  double min_learning_rate = 6e-5;
  std::int64_t warmup_steps = 100;
  DecayKind decay = DecayKind::cosine;
  double weight_decay = 0.1;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8;
  double momentum = 0.9;
  bool nesterov = false;
  double trust_coefficient = 0.001;
  double clip_norm = 1.0;  ///< 0: no clipping

  UpdateRule rule() const {
    return {.kind = name,
            .beta1 = beta1,
            .beta2 = beta2,
            .epsilon = epsilon,
            .weight_decay = weight_decay,
            .clip_norm = clip_norm,
            .momentum = momentum,
            .nesterov = nesterov,
            .trust_coefficient = trust_coefficient};
  }
};

struct ParallelOptions {
  int data = 0;  ///< 0: what the other axes leave of the world
  int tensor = 1;
  int pipeline = 1;
  ScheduleKind schedule = ScheduleKind::one_f_one_b;
};

struct CheckpointOptions {
  std::filesystem::path directory;  ///< empty: no checkpoints
  std::int64_t every = 0;           ///< steps; 0: only at the end or when stopped
  int keep = 3;                     ///< newest checkpoints kept; 0: all
  std::int64_t keep_every = 0;      ///< checkpoints of steps that this divides are kept for ever; 0: none
  std::string mirror;           ///< where complete checkpoints are copied to: s3://bucket/prefix or a path; or empty
  bool background = true;       ///< write from a copy in memory while training goes on
  std::string resume = "auto";  ///< "auto", "never" or a step
};

enum class ProgressKind { automatic, bar, plain, none };

struct LogOptions {
  std::filesystem::path metrics;
  std::filesystem::path events;
  std::filesystem::path tensorboard, visualdl;  ///< folders; empty: none
  int scalars_every = 1;                        ///< steps, of both
  int histograms_every = 100;                   ///< steps; 0: none
  int samples = 4;                              ///< with what the model makes of them, at each validation
  int sample_tokens = 32;                       ///< that a language model adds to one
  std::string prompt;                           ///< to what; empty: the beginnings of validation samples
  int every = 10;                               ///< steps between progress lines
  bool timing = true;                           ///< metrics tell times; without them equal runs write equal files
  ProgressKind progress = ProgressKind::automatic;
};

struct MonitorOptions {
  std::string listen;     ///< "PORT" or "ADDRESS:PORT"; empty: no endpoint
  double peak_flops = 0;  ///< of one rank's device, FLOP/s; 0: as the GPU's name tells
};

/// Options of `sample`.
struct SampleOptions {
  std::string prompt;
  int tokens = 200;
  double temperature = 0.8;
  int top_k = 40;  ///< 0: all
  int count = 1;
  std::uint64_t seed = 1;
};

/// Options of `recognize`.
struct RecognizeOptions {
  std::vector<std::filesystem::path> images;
  int beam = 0;  ///< prefixes kept; 0: greedy
  bool json = false;
};

/// Options of `predict`.
struct PredictOptions {
  std::vector<std::string> items;  ///< texts, or paths of images
  std::filesystem::path input;     ///< a file of them; or empty
  int top = 1;                     ///< labels told of each
  bool json = false;
};

/// Options of `inspect`.
struct InspectOptions {
  std::filesystem::path path;
  bool statistics = false;
  bool verify = false;
};

/// Options of `report`.
struct ReportOptions {
  std::vector<std::filesystem::path> runs;
  std::vector<std::filesystem::path> alerts;
  std::filesystem::path output = "report.html";
};

/// Options of `layout`.
struct LayoutOptions {
  int ranks = 0;  ///< at hand
};

/// Options of `doctor`.
struct DoctorOptions {
  double timeout = 10;  ///< seconds
};

struct Configuration {
  std::string arch = "gpt";
  GptConfig model;
  ResnetConfig resnet;
  Augmentation augmentation;
  ErnieOptions ernie;
  LineConfig line;
  DataOptions data;
  TrainOptions train;
  OptimizerOptions optimizer;
  ParallelOptions parallel;
  CheckpointOptions checkpoint;
  LogOptions log;
  MonitorOptions monitor;
  SampleOptions sample;
  std::string pack_kind = "text";  ///< what `pack` is given
  PackTextOptions pack_text;
  PackImagesOptions pack_images;
  PackLabelsOptions pack_labels;
  PackLinesOptions pack_lines;
  RecognizeOptions recognize;
  PredictOptions predict;
  InspectOptions inspect;
  ReportOptions report;
  LayoutOptions layout;
  DoctorOptions doctor;
};

}  // namespace trireme
