#include "app/option_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <concepts>
#include <limits>
#include <utility>

#include "app/edit_distance.h"

namespace trireme {
namespace {

constexpr std::uint32_t bit(Command command) { return 1U << static_cast<unsigned>(command); }
constexpr std::uint32_t for_train = bit(Command::train);
constexpr std::uint32_t for_eval = bit(Command::eval);
constexpr std::uint32_t for_sample = bit(Command::sample);
constexpr std::uint32_t for_pack = bit(Command::pack);
constexpr std::uint32_t for_inspect = bit(Command::inspect);

template <typename T>
struct Range {
  T low{};
  T high = std::numeric_limits<T>::max();
  bool above = false;  ///< low itself is outside
  bool below = false;  ///< high itself is outside

  bool contains(T value) const {
    return (above ? value > low : value >= low) && (below ? value < high : value <= high);
  }
  std::string describe() const {
    const bool open_ended = high == std::numeric_limits<T>::max() && !std::same_as<T, int>;
    return fmt::format("{} {} {}", std::integral<T> ? "an integer" : "a number", above ? ">" : ">=", low) +
           (open_ended ? "" : fmt::format(" and {} {}", below ? "<" : "<=", high));
  }
};

const Range<double> share{.low = 0, .high = 1, .below = true};

template <typename T>
bool read_number(const std::string& text, T& value) {
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, value);
  return result.ec == std::errc{} && result.ptr == end;
}

template <typename Enum>
using Choices = std::vector<std::pair<std::string, Enum>>;

template <typename T>
std::string join_choices(const Choices<T>& choices, std::string_view separator) {
  std::string joined;
  for (const auto& [name, value] : choices) joined.append(joined.empty() ? "" : separator).append(name);
  return joined;
}

/// The struct of a section, or the configuration itself for keys that live outside the sections' structs.
template <typename Section, typename AnyConfiguration>
auto& section_of(AnyConfiguration& configuration, Section Configuration::*section) {
  if constexpr (std::same_as<Section, Configuration>) {
    return configuration;
  } else {
    return configuration.*section;
  }
}

/// Declares the keys of one section, which live in one struct of the configuration.
template <typename Section>
class SectionTable {
 public:
  SectionTable(std::vector<Option>& options, std::string name, Section Configuration::*section)
      : options_(options), name_(std::move(name)), section_(section) {}

  /// The keys declared after this are used by these commands.
  SectionTable& used_by(std::uint32_t commands) {
    commands_ = commands;
    return *this;
  }

  template <typename T>
  SectionTable& number(const std::string& key, T Section::*field, const std::string& help, Range<T> range = {}) {
    return add(
        key, std::integral<T> ? "integer" : "number", range.describe(), help,
        [field, range](Section& section, const std::string& text) {
          T value{};
          if (!read_number(text, value) || !range.contains(value)) return false;
          section.*field = value;
          return true;
        },
        [field](const Section& section) { return fmt::format("{}", section.*field); });
  }

  template <typename T>
  SectionTable& choice(const std::string& key, T Section::*field, const std::string& help, const Choices<T>& choices) {
    return add(
        key, join_choices(choices, "|"), "one of " + join_choices(choices, ", "), help,
        [field, choices](Section& section, const std::string& text) {
          const auto found = std::ranges::find(choices, text, &Choices<T>::value_type::first);
          if (found == choices.end()) return false;
          section.*field = found->second;
          return true;
        },
        [field, choices](const Section& section) {
          const auto found = std::ranges::find(choices, section.*field, &Choices<T>::value_type::second);
          return found == choices.end() ? std::string{} : found->first;
        });
  }

  SectionTable& choice(const std::string& key, std::string Section::*field, const std::string& help,
                       const std::vector<std::string>& names) {
    Choices<std::string> choices;
    for (const std::string& name : names) choices.emplace_back(name, name);
    return choice(key, field, help, choices);
  }

  SectionTable& flag(const std::string& key, bool Section::*field, const std::string& help) {
    choice(key, field, help, {{"true", true}, {"false", false}});
    options_.back().is_flag = true;
    return *this;
  }

  /// Free text; `matches` says whether a value will do, `expected` tells what will.
  SectionTable& text(const std::string& key, std::string Section::*field, const std::string& help,
                     const std::string& expected = "text", bool (*matches)(const std::string&) = nullptr) {
    return add(
        key, "text", expected, help,
        [field, matches](Section& section, const std::string& value) {
          if (matches != nullptr && !matches(value)) return false;
          section.*field = value;
          return true;
        },
        [field](const Section& section) { return section.*field; });
  }

  SectionTable& path(const std::string& key, std::filesystem::path Section::*field, const std::string& help) {
    return add(
        key, "path", "a path", help,
        [field](Section& section, const std::string& text) {
          section.*field = text;
          return true;
        },
        [field](const Section& section) { return (section.*field).string(); });
  }

  SectionTable& paths(const std::string& key, std::vector<std::filesystem::path> Section::*field,
                      const std::string& help) {
    Option& option = declare(key, "path...", "paths", help);
    option.is_list = true;
    option.read = [field, section = section_](Configuration& configuration, std::span<const std::string> values) {
      (section_of(configuration, section).*field).assign(values.begin(), values.end());
      return true;
    };
    option.write = [field, section = section_](const Configuration& configuration) {
      std::vector<std::string> values;
      for (const auto& path : section_of(configuration, section).*field) values.push_back(path.string());
      return values;
    };
    return *this;
  }

 private:
  Option& declare(const std::string& key, std::string type, std::string expected, std::string help) {
    Option& option = options_.emplace_back();
    option.key = name_ + "." + key;
    option.type = std::move(type);
    option.expected = std::move(expected);
    option.help = std::move(help);
    option.commands = commands_;
    return option;
  }

  template <typename Read, typename Write>
  SectionTable& add(const std::string& key, std::string type, std::string expected, std::string help, Read read,
                    Write write) {
    Option& option = declare(key, std::move(type), std::move(expected), std::move(help));
    option.read = [read, section = section_](Configuration& configuration, std::span<const std::string> values) {
      return values.size() == 1 && read(section_of(configuration, section), values.front());
    };
    option.write = [write, section = section_](const Configuration& configuration) {
      return std::vector<std::string>{write(section_of(configuration, section))};
    };
    return *this;
  }

  std::vector<Option>& options_;
  std::string name_;
  Section Configuration::*section_;
  std::uint32_t commands_ = 0;
};

void declare_model(std::vector<Option>& options) {
  SectionTable<Configuration>{options, "model", nullptr}.used_by(for_train).choice("arch", &Configuration::arch,
                                                                                   "architecture", {"gpt"});
  SectionTable{options, "model", &Configuration::model}
      .used_by(for_train)
      .number("layers", &GptConfig::layers, "transformer blocks", {.low = 1})
      .number("hidden", &GptConfig::hidden, "width of the residual stream", {.low = 1})
      .number("heads", &GptConfig::heads, "attention heads; must divide hidden", {.low = 1})
      .number("key_value_heads", &GptConfig::key_value_heads, "heads of keys and values; 0: as many as heads")
      .number("context", &GptConfig::context, "length of a sample, in tokens", {.low = 1})
      .number("feed_forward", &GptConfig::feed_forward,
              "inner width of the feed-forward layers; 0: 4 hidden for gelu, 8/3 hidden rounded up to 64 for swiglu")
      .number("vocabulary", &GptConfig::vocabulary, "tokens known; 0: as the data set has it")
      .choice<NormKind>("norm", &GptConfig::norm, "normalisation", {{"layer", NormKind::layer}, {"rms", NormKind::rms}})
      .choice<FeedForwardKind>("activation", &GptConfig::activation, "feed-forward layers",
                               {{"gelu", FeedForwardKind::gelu}, {"swiglu", FeedForwardKind::swiglu}})
      .choice<PositionKind>("positions", &GptConfig::positions, "how positions are told apart",
                            {{"learned", PositionKind::learned}, {"rotary", PositionKind::rotary}})
      .flag("bias", &GptConfig::bias, "linear layers and layer norms have biases")
      .flag("tie_embeddings", &GptConfig::tie_embeddings, "input and output share one embedding matrix")
      .number("dropout", &GptConfig::dropout, "share of activations dropped in training", share);
}

void declare_training(std::vector<Option>& options) {
  SectionTable{options, "data", &Configuration::data}
      .used_by(for_train)
      .paths("train", &DataOptions::train, "packed files to train on")
      .used_by(for_train | for_eval)
      .paths("validation", &DataOptions::validation, "packed files to validate on");

  SectionTable{options, "train", &Configuration::train}
      .used_by(for_train)
      .number("steps", &TrainOptions::steps, "length of the run, in steps", {.low = 1})
      .used_by(for_train | for_eval)
      .number("global_batch", &TrainOptions::global_batch, "samples of a step, over all ranks", {.low = 1})
      .number("micro_batch", &TrainOptions::micro_batch, "samples that a stage works on at a time", {.low = 1})
      .number("seed", &TrainOptions::seed, "of initial values, sample order and dropout")
      .used_by(for_train | for_eval | for_sample)
      .choice<DeviceChoice>(
          "device", &TrainOptions::device, "where to compute",
          {{"auto", DeviceChoice::automatic}, {"cpu", DeviceChoice::cpu}, {"cuda", DeviceChoice::cuda}})
      .choice<DType>("precision", &TrainOptions::precision, "of activations and products",
                     {{"fp32", DType::f32}, {"bf16", DType::bf16}})
      .used_by(for_train)
      .number("validate_every", &TrainOptions::validate_every, "steps between validations; 0: only at the end")
      .used_by(for_train | for_eval)
      .number("validation_batches", &TrainOptions::validation_batches,
              "batches of global_batch samples a validation takes; 0: the whole set");

  SectionTable{options, "optimizer", &Configuration::optimizer}
      .used_by(for_train)
      .choice("name", &OptimizerOptions::name, "optimizer", {"adamw"})
      .number("learning_rate", &OptimizerOptions::learning_rate, "highest learning rate")
      .number("min_learning_rate", &OptimizerOptions::min_learning_rate, "learning rate at the end of the decay")
      .number("warmup_steps", &OptimizerOptions::warmup_steps, "steps until the highest learning rate")
      .choice<DecayKind>(
          "decay", &OptimizerOptions::decay, "learning rate after the warm-up",
          {{"constant", DecayKind::constant}, {"linear", DecayKind::linear}, {"cosine", DecayKind::cosine}})
      .number("weight_decay", &OptimizerOptions::weight_decay, "of matrices, not of biases and norms")
      .number("beta1", &OptimizerOptions::beta1, "decay of the first moment", share)
      .number("beta2", &OptimizerOptions::beta2, "decay of the second moment", share)
      .number("epsilon", &OptimizerOptions::epsilon, "added to the denominator", {.low = 0, .above = true})
      .number("clip_norm", &OptimizerOptions::clip_norm, "largest norm of the gradient; 0: no clipping");
}

void declare_running(std::vector<Option>& options) {
  SectionTable{options, "parallel", &Configuration::parallel}
      .used_by(for_train | for_eval)
      .number("data", &ParallelOptions::data, "ranks that share a batch; 0: what the other axes leave of the world")
      .used_by(for_train | for_eval | for_sample)
      .number("tensor", &ParallelOptions::tensor, "ranks that share each matrix", {.low = 1})
      .number("pipeline", &ParallelOptions::pipeline, "pipeline stages", {.low = 1})
      .used_by(for_train)
      .choice<ScheduleKind>("schedule", &ParallelOptions::schedule, "order of the pipeline's work",
                            {{"gpipe", ScheduleKind::gpipe}, {"1f1b", ScheduleKind::one_f_one_b}});

  SectionTable{options, "checkpoint", &Configuration::checkpoint}
      .used_by(for_train | for_eval | for_sample)
      .path("directory", &CheckpointOptions::directory, "where checkpoints are; empty: none are written")
      .used_by(for_train)
      .number("every", &CheckpointOptions::every, "steps between checkpoints; 0: only at the end or when stopped")
      .number("keep", &CheckpointOptions::keep, "newest checkpoints kept; 0: all")
      .used_by(for_train | for_eval | for_sample)
      .text("resume", &CheckpointOptions::resume, "auto: the newest checkpoint; never; or a step",
            "auto, never or a step", [](const std::string& value) {
              std::int64_t step = 0;
              return value == "auto" || value == "never" || (read_number(value, step) && step >= 0);
            });

  SectionTable{options, "log", &Configuration::log}
      .used_by(for_train | for_eval)
      .path("metrics", &LogOptions::metrics, "JSON-lines file, one object a step; empty: none")
      .used_by(for_train)
      .number("every", &LogOptions::every, "steps between plain progress lines", {.low = 1})
      .choice<ProgressKind>("progress", &LogOptions::progress, "auto: a bar on a terminal, plain lines elsewhere",
                            {{"auto", ProgressKind::automatic},
                             {"bar", ProgressKind::bar},
                             {"plain", ProgressKind::plain},
                             {"none", ProgressKind::none}});
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

  SectionTable<Configuration>{options, "pack", nullptr}.used_by(for_pack).choice(
      "kind", &Configuration::pack_kind, "what the input is; the first argument", {"text"});
  SectionTable{options, "pack", &Configuration::pack_text}
      .used_by(for_pack)
      .paths("input", &PackTextOptions::inputs, "text files, and folders whose *.txt are taken at any depth")
      .path("output", &PackTextOptions::output, "data set to write")
      .path("validation_output", &PackTextOptions::validation_output, "validation set to split off; empty: none")
      .number("validation_share", &PackTextOptions::validation_share, "share of the text for validation", share)
      .choice("tokenizer", &PackTextOptions::tokenizer, "how text becomes tokens", {"bpe", "unigram", "characters"})
      .number("vocabulary", &PackTextOptions::vocabulary, "most tokens in the vocabulary", {.low = 1})
      .choice("encoding", &PackTextOptions::encoding, "of the input", {"utf-8", "gb18030"})
      .number("tokenizer_megabytes", &PackTextOptions::tokenizer_megabytes,
              "most text that the tokenizer is trained on, in MB", {.low = 1});

  SectionTable{options, "inspect", &Configuration::inspect}
      .used_by(for_inspect)
      .path("path", &InspectOptions::path, "data set, checkpoint, shard or folder of checkpoints; the argument")
      .flag("statistics", &InspectOptions::statistics, "also read all tokens of a data set for its entropies");
}

}  // namespace

const std::vector<Option>& option_table() {
  static const std::vector<Option> table = [] {
    std::vector<Option> options;
    declare_model(options);
    declare_training(options);
    declare_running(options);
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
