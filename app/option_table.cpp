#include "app/option_table.h"

#include <algorithm>

#include "app/edit_distance.h"
#include "app/monitor/listen_address.h"
#include "app/section_table.h"
#include "app/workload.h"
#include "io/utf8.h"

namespace trireme {
namespace {

constexpr std::uint32_t bit(Command command) { return 1U << static_cast<unsigned>(command); }
constexpr std::uint32_t for_train = bit(Command::train);
constexpr std::uint32_t for_eval = bit(Command::eval);
constexpr std::uint32_t for_sample = bit(Command::sample);
constexpr std::uint32_t for_recognize = bit(Command::recognize);
constexpr std::uint32_t for_predict = bit(Command::predict);
constexpr std::uint32_t for_pack = bit(Command::pack);
constexpr std::uint32_t for_inspect = bit(Command::inspect);
constexpr std::uint32_t for_layout = bit(Command::layout);
constexpr std::uint32_t for_report = bit(Command::report);
constexpr std::uint32_t for_doctor = bit(Command::doctor);

constexpr Range<double> share{.low = 0, .high = 1, .below = true};

void declare_resnet(std::vector<Option>& options) {
  SectionTable{options, "model", &Configuration::resnet}
      .used_by(for_train | for_layout | for_doctor)
      .number("depth", &ResnetConfig::depth, "resnet: 10, 18, 34, 50 or 101 layers with weights", {.low = 1})
      .fixed()
      .number("base_width", &ResnetConfig::width, "resnet: channels of the first stage's 3x3 convolutions", {.low = 1})
      .fixed()
      .choice<StemKind>("stem", &ResnetConfig::stem,
                        "resnet: large: 7x7 with stride 2 and a maximum over 3x3; small: 3x3, for images of 28 or 32",
                        {{"large", StemKind::large}, {"small", StemKind::small}})
      .fixed()
      .number("image_size", &ResnetConfig::image_size, "resnet: height and width of what the model sees, in pixels",
              {.low = 8, .high = 8192})
      .number("image_classes", &ResnetConfig::classes, "resnet: classes; 0: as the data set has it")
      .number("image_channels", &ResnetConfig::channels, "resnet: 1 grey, 3 colours; 0: as the data set has it",
              {.low = 0, .high = 3})
      .choice<BatchNormScope>("batch_norm", &ResnetConfig::batch_norm,
                              "resnet: statistics over a rank's microbatch, or over those of all data-parallel ranks",
                              {{"local", BatchNormScope::local}, {"sync", BatchNormScope::synchronised}})
      .number("batch_norm_momentum", &ResnetConfig::batch_norm_momentum,
              "resnet: share of a step's statistics in the running ones", {.low = 0, .high = 1, .above = true})
      .flag("zero_scale", &ResnetConfig::zero_scale, "resnet: residual branches begin as 0, by their last norm's scale")
      .number("label_smoothing", &ResnetConfig::label_smoothing,
              "resnet: share of a target that all classes share, in training", share);
}

void declare_augmentation(std::vector<Option>& options) {
  SectionTable{options, "data", &Configuration::augmentation}
      .used_by(for_train | for_eval)
      .choice<CropKind>("crop", &Augmentation::crop,
                        "images: a box of random size and shape; all of it, moved inside a frame; or the middle square",
                        {{"resized", CropKind::resized}, {"padded", CropKind::padded}, {"whole", CropKind::whole}})
      .used_by(for_train)
      .number("smallest_area", &Augmentation::smallest_area, "images: least share of an image in a resized crop",
              {.low = 0, .high = 1, .above = true})
      .number("padding", &Augmentation::padding, "images: pixels that a padded crop may move by",
              {.low = 0, .high = 4096})
      .flag("flip", &Augmentation::flip, "images: swap left and right in half of the samples")
      .number("colour_jitter", &Augmentation::colour_jitter,
              "images: largest change of brightness, contrast and saturation, as a share", share);
}

void declare_model(std::vector<Option>& options) {
  SectionTable<Configuration>{options, "model", nullptr}
      .used_by(for_train | for_layout | for_doctor)
      .choice("arch", &Configuration::arch, "architecture", architectures())
      .fixed();
  SectionTable{options, "model", &Configuration::model}
      .used_by(for_train | for_layout | for_doctor)
      .number("layers", &GptConfig::layers, "transformer blocks", {.low = 1, .high = 100000})
      .fixed()
      .number("hidden", &GptConfig::hidden, "width of the residual stream", {.low = 1})
      .fixed()
      .number("heads", &GptConfig::heads, "attention heads; must divide hidden", {.low = 1})
      .fixed()
      .number("key_value_heads", &GptConfig::key_value_heads, "heads of keys and values; 0: as many as heads")
      .number("context", &GptConfig::context, "length of a sample, in tokens", {.low = 1})
      .number("feed_forward", &GptConfig::feed_forward,
              "inner width of the feed-forward layers; 0: 4 hidden for gelu, 8/3 hidden rounded up to 64 for swiglu")
      .number("vocabulary", &GptConfig::vocabulary, "tokens known; 0: as the data set has it")
      .choice<NormKind>("norm", &GptConfig::norm, "normalisation", {{"layer", NormKind::layer}, {"rms", NormKind::rms}})
      .fixed()
      .choice<FeedForwardKind>("activation", &GptConfig::activation, "feed-forward layers",
                               {{"gelu", FeedForwardKind::gelu}, {"swiglu", FeedForwardKind::swiglu}})
      .fixed()
      .choice<PositionKind>("positions", &GptConfig::positions, "how positions are told apart",
                            {{"learned", PositionKind::learned}, {"rotary", PositionKind::rotary}})
      .fixed()
      .flag("bias", &GptConfig::bias, "linear layers and layer norms have biases")
      .fixed()
      .flag("tie_embeddings", &GptConfig::tie_embeddings, "input and output share one embedding matrix")
      .fixed()
      .number("dropout", &GptConfig::dropout, "share of activations dropped in training", share);
  declare_resnet(options);
  SectionTable{options, "model", &Configuration::ernie}
      .used_by(for_train | for_layout | for_doctor)
      .flag("pre_norm", &ErnieOptions::pre_norm, "ernie: norms before attention and feed-forward layers, not after")
      .fixed()
      .number("order_weight", &ErnieOptions::order_weight,
              "ernie: of the loss of telling whether two parts of a text have changed places; 0: not asked", {.low = 0})
      .number("mask_share", &ErnieOptions::mask_share, "ernie: share of a text's tokens to guess",
              {.low = 0, .high = 1, .above = true, .below = true})
      .number("mask_characters", &ErnieOptions::mask_characters,
              "ernie: how often, beside the two below, a text's characters are masked one by one", {.low = 0})
      .number("mask_words", &ErnieOptions::mask_words, "ernie: how often whole words are masked", {.low = 0})
      .number("mask_entities", &ErnieOptions::mask_entities, "ernie: how often entities are masked before words",
              {.low = 0});
  SectionTable{options, "model", &Configuration::line}
      .used_by(for_train | for_layout | for_doctor)
      .number("height", &LineConfig::height, "crnn, svtr: pixels of a line", {.low = 8, .high = 256})
      .fixed()
      .number("channels", &LineConfig::channels, "crnn, svtr: of the first convolution", {.low = 1})
      .fixed()
      .number("width", &LineConfig::width, "crnn, svtr: of a line, in pixels, to expect when costs are balanced",
              {.low = 1});
}

void declare_training(std::vector<Option>& options) {
  SectionTable{options, "data", &Configuration::data}
      .used_by(for_train | for_layout | for_doctor)
      .paths("train", &DataOptions::train, "packed files to train on")
      .used_by(for_train | for_eval)
      .paths("validation", &DataOptions::validation, "packed files to validate on")
      .number("workers", &DataOptions::workers, "threads that prepare samples, on each rank", {.low = 1, .high = 256});

  declare_augmentation(options);

  SectionTable{options, "train", &Configuration::train}
      .used_by(for_train)
      .number("steps", &TrainOptions::steps, "length of the run, in steps", {.low = 1})
      .path("init", &TrainOptions::init,
            "checkpoint to start from (or a folder of them): parameters of the same name; empty: none")
      .used_by(for_train | for_eval | for_layout | for_doctor)
      .number("global_batch", &TrainOptions::global_batch, "samples of a step, over all ranks", {.low = 1})
      .fixed()
      .number("micro_batch", &TrainOptions::micro_batch, "samples that a stage works on at a time", {.low = 1})
      .used_by(for_train | for_eval)
      .number("seed", &TrainOptions::seed, "of initial values, sample order and dropout")
      .fixed()
      .used_by(for_train | for_eval | for_sample | for_recognize | for_predict | for_doctor)
      .choice<DeviceChoice>(
          "device", &TrainOptions::device, "where to compute",
          {{"auto", DeviceChoice::automatic}, {"cpu", DeviceChoice::cpu}, {"cuda", DeviceChoice::cuda}})
      .choice<DType>("precision", &TrainOptions::precision, "of activations and products",
                     {{"fp32", DType::f32}, {"bf16", DType::bf16}})
      .used_by(for_train)
      .flag("deterministic", &TrainOptions::deterministic,
            "false: faster gradients of attention on a GPU, in any order")
      .flag("tf32", &TrainOptions::tf32, "on a GPU: fp32 products keep 10 bits of their operands' fractions")
      .flag("cuda_graph", &TrainOptions::cuda_graph,
            "on a GPU: record the step of each shape once and replay it (not with dropout)")
      .number("validate_every", &TrainOptions::validate_every, "steps between validations; 0: only at the end")
      .number("time_limit", &TrainOptions::time_limit,
              "seconds after which to save and stop (status 75); 0: none, or Slurm's")
      .used_by(for_train | for_eval)
      .number("watchdog", &TrainOptions::watchdog,
              "seconds without progress after which every rank tells where it is and the job ends; 0: never")
      .number("validation_batches", &TrainOptions::validation_batches,
              "batches of global_batch samples a validation takes; 0: the whole set");

  SectionTable{options, "optimizer", &Configuration::optimizer}
      .used_by(for_train)
      .choice<OptimizerKind>("name", &OptimizerOptions::name, "optimizer; lars and lamb are for large batches",
                             {{"adamw", OptimizerKind::adamw},
                              {"sgd", OptimizerKind::sgd},
                              {"lars", OptimizerKind::lars},
                              {"lamb", OptimizerKind::lamb}})
      .fixed()
      .number("learning_rate", &OptimizerOptions::learning_rate, "highest learning rate")
      .number("min_learning_rate", &OptimizerOptions::min_learning_rate, "learning rate at the end of the decay")
      .number("warmup_steps", &OptimizerOptions::warmup_steps, "steps until the highest learning rate")
      .choice<DecayKind>(
          "decay", &OptimizerOptions::decay, "learning rate after the warm-up",
          {{"constant", DecayKind::constant}, {"linear", DecayKind::linear}, {"cosine", DecayKind::cosine}})
      .number("weight_decay", &OptimizerOptions::weight_decay, "of matrices, not of biases and norms")
      .number("beta1", &OptimizerOptions::beta1, "adamw, lamb: decay of the first moment", share)
      .number("beta2", &OptimizerOptions::beta2, "adamw, lamb: decay of the second moment", share)
      .number("epsilon", &OptimizerOptions::epsilon, "adamw, lamb: added to the denominator", {.low = 0, .above = true})
      .number("momentum", &OptimizerOptions::momentum, "sgd, lars: of the velocity", share)
      .flag("nesterov", &OptimizerOptions::nesterov, "sgd, lars: look ahead along the velocity")
      .number("trust_coefficient", &OptimizerOptions::trust_coefficient,
              "lars: step of a layer, as a share of its norm", {.low = 0, .above = true})
      .number("clip_norm", &OptimizerOptions::clip_norm, "largest norm of the gradient; 0: no clipping");
}

void declare_running(std::vector<Option>& options) {
  SectionTable{options, "parallel", &Configuration::parallel}
      .used_by(for_train | for_eval | for_layout | for_doctor)
      .number("data", &ParallelOptions::data, "ranks that share a batch; 0: what the other axes leave of the world")
      .used_by(for_train | for_eval | for_sample | for_layout | for_doctor)
      .number("tensor", &ParallelOptions::tensor, "ranks that share each matrix", {.low = 1})
      .number("pipeline", &ParallelOptions::pipeline, "pipeline stages", {.low = 1})
      .used_by(for_train | for_doctor)
      .choice<ScheduleKind>("schedule", &ParallelOptions::schedule, "order of the pipeline's work",
                            {{"gpipe", ScheduleKind::gpipe}, {"1f1b", ScheduleKind::one_f_one_b}});

  SectionTable{options, "checkpoint", &Configuration::checkpoint}
      .used_by(for_train | for_eval | for_sample | for_recognize | for_predict | for_layout | for_doctor)
      .path("directory", &CheckpointOptions::directory, "where checkpoints are; empty: none are written")
      .used_by(for_train)
      .number("every", &CheckpointOptions::every, "steps between checkpoints; 0: only at the end or when stopped")
      .used_by(for_train | for_doctor)
      .number("keep", &CheckpointOptions::keep, "newest checkpoints kept; 0: all")
      .used_by(for_train)
      .number("keep_every", &CheckpointOptions::keep_every, "also keep those of steps that this divides; 0: none")
      .used_by(for_train | for_doctor)
      .flag("background", &CheckpointOptions::background, "write from a copy in memory while training goes on")
      .used_by(for_train | for_eval | for_sample | for_recognize | for_predict)
      .text("mirror", &CheckpointOptions::mirror,
            "s3://BUCKET/PREFIX or a path: complete checkpoints are copied there and restored from there; empty: none")
      .text("resume", &CheckpointOptions::resume, "auto: the newest checkpoint; never; or a step",
            "auto, never or a step", [](const std::string& value) {
              std::int64_t step = 0;
              return value == "auto" || value == "never" || (read_number(value, step) && step >= 0);
            });

  SectionTable{options, "log", &Configuration::log}
      .used_by(for_train)
      .path("metrics", &LogOptions::metrics, "JSON-lines file, one object a step; empty: none")
      .path("events", &LogOptions::events, "JSON-lines file, one object whenever the run begins, goes on or stops")
      .path("tensorboard", &LogOptions::tensorboard, "folder for files that TensorBoard draws; empty: none")
      .path("visualdl", &LogOptions::visualdl, "folder for files that VisualDL draws; empty: none")
      .number("scalars_every", &LogOptions::scalars_every, "steps between the scalars of both", {.low = 1})
      .number("histograms_every", &LogOptions::histograms_every,
              "steps between their histograms of weights and gradients; 0: none", {.low = 0})
      .number("samples", &LogOptions::samples,
              "validation samples in both, with what the model makes of them, at each validation; 0: none", {.low = 0})
      .number("sample_tokens", &LogOptions::sample_tokens, "gpt: tokens that it adds to one", {.low = 1})
      .text("prompt", &LogOptions::prompt, "gpt: text to go on from; empty: the beginnings of validation samples",
            "UTF-8 text", [](const std::string& value) { return valid_utf8_bytes(value) == value.size(); })
      .number("every", &LogOptions::every, "steps between plain progress lines", {.low = 1})
      .flag("timing", &LogOptions::timing, "false: metrics leave out times, so that equal runs write equal files")
      .choice<ProgressKind>("progress", &LogOptions::progress, "auto: a bar on a terminal, plain lines elsewhere",
                            {{"auto", ProgressKind::automatic},
                             {"bar", ProgressKind::bar},
                             {"plain", ProgressKind::plain},
                             {"none", ProgressKind::none}});
}

void declare_monitor(std::vector<Option>& options) {
  SectionTable{options, "monitor", &Configuration::monitor}
      .used_by(for_train)
      .text("listen", &MonitorOptions::listen,
            "where one rank of each host tells Prometheus of the run; empty: nowhere; a port alone is on 127.0.0.1",
            "PORT or ADDRESS:PORT, such as 9400 or 0.0.0.0:9400",
            [](const std::string& value) {
              ListenAddress address;
              return value.empty() || read_address(value, address);
            })
      .number("peak_flops", &MonitorOptions::peak_flops,
              "what the device of a rank can do, in FLOP/s, for the utilisation; 0: as the GPU's name tells in bf16",
              {.low = 0});
}

void declare_tools(std::vector<Option>& options) {
  SectionTable{options, "sample", &Configuration::sample}
      .used_by(for_sample)
      .text("prompt", &SampleOptions::prompt, "text to go on from")
      .number("tokens", &SampleOptions::tokens, "length of each text, in tokens", {.low = 1})
      .number("temperature", &SampleOptions::temperature, "0: always the likeliest token")
      .number("top_k", &SampleOptions::top_k, "likeliest tokens drawn from; 0: all")
      .number("count", &SampleOptions::count, "texts", {.low = 1})
      .number("seed", &SampleOptions::seed, "of the draws");

  SectionTable{options, "recognize", &Configuration::recognize}
      .used_by(for_recognize)
      .paths("images", &RecognizeOptions::images, "pictures of lines, JPEG or PNG; the arguments")
      .number("beam", &RecognizeOptions::beam, "texts that a beam search keeps; 0: the likeliest character each step",
              {.low = 0, .high = 1000})
      .flag("json", &RecognizeOptions::json, "one JSON object a line");

  SectionTable<Configuration>{options, "pack", nullptr}.used_by(for_pack).choice(
      "kind", &Configuration::pack_kind, "what the input is; the first argument", {"text", "labels", "images", "ocr"});
  SectionTable{options, "pack", &Configuration::pack_text}
      .used_by(for_pack)
      .paths("input", &PackTextOptions::inputs, "text files, and folders whose *.txt are taken at any depth")
      .path("output", &PackTextOptions::output, "data set to write")
      .path("validation_output", &PackTextOptions::validation_output, "validation set to split off; empty: none")
      .number("validation_share", &PackTextOptions::validation_share, "share of the text for validation", share)
      .choice("tokenizer", &PackTextOptions::tokenizer, "how text becomes tokens",
              {"bpe", "unigram", "characters", "wordpiece"})
      .number("vocabulary", &PackTextOptions::vocabulary, "most tokens in the vocabulary", {.low = 1})
      .choice("encoding", &PackTextOptions::encoding, "of the input; auto: looks at how each file begins",
              {"utf-8", "gb18030", "big5", "auto"})
      .choice("width", &PackTextOptions::width, "wordpiece: fold makes full-width letters, digits and signs ASCII",
              {"keep", "fold"})
      .choice("script", &PackTextOptions::script, "wordpiece: simplified turns traditional characters into simplified",
              {"keep", "simplified"})
      .path("dictionary", &PackTextOptions::dictionary,
            "wordpiece: words and entities to mask whole, as in jieba's dict.txt; empty: none")
      .number("tokenizer_megabytes", &PackTextOptions::tokenizer_megabytes,
              "most text that the tokenizer is trained on, in MB", {.low = 1});
  SectionTable{options, "pack", &Configuration::pack_lines}
      .used_by(for_pack)
      .choice("from", &PackLinesOptions::from, "ocr: receipts and text are drawn, images are lists of path<TAB>text",
              {"receipts", "text", "images"})
      .paths("fonts", &PackLinesOptions::fonts, "ocr: font files to draw with; FILE#1 is the second face in one")
      .paths("validation_fonts", &PackLinesOptions::validation_fonts, "ocr: of the validation set; none: the same")
      .number("lines", &PackLinesOptions::lines, "ocr: lines to draw", {.low = 1})
      .number("validation_lines", &PackLinesOptions::validation_lines, "ocr: lines to draw for validation", {.low = 1})
      .path("characters", &PackLinesOptions::characters,
            "ocr: key file, one character a line; empty: the characters that occur")
      .number("height", &PackLinesOptions::height, "ocr: pixels of a line", {.low = 8, .high = 256})
      .number("longest", &PackLinesOptions::longest, "ocr: most characters of a piece of text",
              {.low = 1, .high = 1000})
      .number("widest", &PackLinesOptions::widest, "ocr: pixels; wider lines are left out", {.low = 1, .high = 32768})
      .number("distortion", &PackLinesOptions::distortion, "ocr: of drawn lines; 0: none, 1: as scans have it",
              {.low = 0, .high = 3})
      .number("seed", &PackLinesOptions::seed, "ocr: of what is drawn")
      .number("threads", &PackLinesOptions::threads, "ocr: 0: one a core", {.low = 0, .high = 1024})
      .choice("faulty", &PackLinesOptions::faulty, "ocr: lines that cannot be packed", {"skip", "refuse"});

  SectionTable{options, "pack", &Configuration::pack_images}
      .used_by(for_pack)
      .paths("validation_input", &PackImagesOptions::validation_inputs,
             "images: what the validation set is made of; none: a share of the input")
      .choice("colour", &PackImagesOptions::colour, "images: what models see; auto: rgb, or as an IDX file has it",
              {"auto", "grey", "rgb"})
      .choice("broken", &PackImagesOptions::broken, "images: files that do not decode", {"skip", "refuse"})
      .number("decoders", &PackImagesOptions::threads, "images: threads that test files; 0: one a core",
              {.low = 0, .high = 1024});
  SectionTable{options, "pack", &Configuration::pack_labels}
      .used_by(for_pack)
      .path("tokenizer_from", &PackLabelsOptions::tokenizer_from,
            "labels: data set or checkpoint whose tokenizer (and, where it has them, labels) to use")
      .choice("of", &PackLabelsOptions::of, "labels: what has them; lines LABEL<TAB>TEXT or TOKEN<TAB>LABEL",
              {"texts", "tokens"})
      .text("labels", &PackLabelsOptions::labels, "labels: all there are, a,b,...; empty: those that occur");

  SectionTable{options, "predict", &Configuration::predict}
      .used_by(for_predict)
      .texts("items", &PredictOptions::items, "texts (a pair with a TAB between), or image files; the arguments")
      .path("input", &PredictOptions::input, "file of them, one a line; empty: none")
      .number("top", &PredictOptions::top, "likeliest labels to tell of a text or image", {.low = 1})
      .flag("json", &PredictOptions::json, "one JSON object a line");

  SectionTable{options, "inspect", &Configuration::inspect}
      .used_by(for_inspect)
      .path("path", &InspectOptions::path, "data set, checkpoint, shard or folder of checkpoints; the argument")
      .flag("statistics", &InspectOptions::statistics, "also read all tokens of a data set for its entropies")
      .flag("verify", &InspectOptions::verify, "also read all of a checkpoint and test its checksums");

  SectionTable{options, "report", &Configuration::report}
      .used_by(for_report)
      .paths("runs", &ReportOptions::runs,
             "metrics files, or folders with metrics.jsonl and events.jsonl; the arguments")
      .paths("alerts", &ReportOptions::alerts,
             "files of Alertmanager's webhook messages, or logs of idle_release.py, a JSON object a line")
      .path("output", &ReportOptions::output, "page to write");

  SectionTable{options, "layout", &Configuration::layout}
      .used_by(for_layout)
      .number("ranks", &LayoutOptions::ranks, "ranks at hand; as many of them are used as a layout fits");

  SectionTable{options, "doctor", &Configuration::doctor}
      .used_by(for_doctor)
      .number("timeout", &DoctorOptions::timeout, "seconds that ranks and file systems may take to answer",
              {.low = 0, .above = true});
}

}  // namespace

const std::vector<Option>& option_table() {
  static const std::vector<Option> table = [] {
    std::vector<Option> options;
    declare_model(options);
    declare_training(options);
    declare_running(options);
    declare_monitor(options);
    declare_tools(options);
    return options;
  }();
  return table;
}

const Option* find_option(std::string_view key) {
  const auto& table = option_table();
  const auto found = std::ranges::find(table, key, &Option::key);
  return found == table.end() ? nullptr : &*found;
}

const Option& nearest_option(std::string_view key) {
  const auto name_of_key = [](std::string_view whole) { return whole.substr(whole.find('.') + 1); };
  return *std::ranges::min_element(option_table(), {}, [&](const Option& option) {
    return std::min(edit_distance(key, option.key), 1 + edit_distance(name_of_key(key), name_of_key(option.key)));
  });
}

}  // namespace trireme
