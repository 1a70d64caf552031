#include "io/images/pack_images.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <map>
#include <memory>
#include <optional>

#include "io/images/idx.h"
#include "io/images/image_dataset.h"
#include "io/parallel.h"
#include "kernels/error.h"
#include "kernels/philox.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t files_at_a_time = 256;
constexpr std::uintmax_t largest_file = std::uintmax_t{1} << 28;
constexpr std::size_t most_told = 100;

struct LabelledFile {
  fs::path path;
  std::string class_name;
};

bool is_image(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char c) { return std::tolower(c); });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

/// All images below a folder, each with the class that its first folder names; sorted.
std::vector<LabelledFile> files_below(const fs::path& folder) {
  std::vector<LabelledFile> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder, fs::directory_options::follow_directory_symlink)) {
    if (!entry.is_regular_file() || !is_image(entry.path())) continue;
    const fs::path inside = entry.path().lexically_relative(folder);
    if (!inside.has_parent_path())
      refuse("{}: an image without a label; expected it in a folder that names its class", entry.path().string());
    files.push_back({entry.path(), inside.begin()->string()});
  }
  std::ranges::sort(files, {}, &LabelledFile::path);
  if (files.empty()) refuse("{}: holds no JPEG or PNG file in folders that name classes", folder.string());
  return files;
}

fs::path labels_of(const fs::path& images) {
  std::string name = images.filename().string();
  const auto replace = [&](std::string_view from, std::string_view to) {
    const auto at = name.find(from);
    if (at != std::string::npos) name.replace(at, from.size(), to);
    return at != std::string::npos;
  };
  if (!replace("images", "labels"))
    refuse("{}: neither a folder of images nor an IDX file with \"images\" in its name", images.string());
  if (!replace("idx3", "idx1")) replace("idx4", "idx1");
  return images.parent_path() / name;
}

std::vector<std::byte> read_file(const fs::path& path) {
  const std::uintmax_t size = fs::file_size(path);
  if (size > largest_file) refuse("{}: {} bytes, expected at most {}", path.string(), size, largest_file);
  std::vector<std::byte> bytes(size);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(size));
  if (!file) refuse("{}: cannot be read", path.string());
  return bytes;
}

/// From 0 to 1, by the bytes alone: equal images come to one side.
double place_of(std::span<const std::byte> bytes) {
  const std::uint64_t hash = stream_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return static_cast<double>(philox(hash, 0, 0)[0]) * 0x1p-32;
}

/// Where images go.
class Packer {
 public:
  Packer(const PackImagesOptions& options, const PackImagesProgress& progress) : options_(options), told_(progress) {}

  PackImagesResult pack() {
    const bool idx = !fs::is_directory(options_.inputs.front());
    for (const auto* inputs : {&options_.inputs, &options_.validation_inputs}) {
      for (const fs::path& input : *inputs) {
        if (!fs::exists(input)) refuse("{}: found nothing there, expected images", input.string());
        if (fs::is_directory(input) == idx)
          refuse("{}: folders and IDX files cannot be packed together", input.string());
      }
    }
    idx ? open_idx() : open_folders();
    idx ? pack_idx(options_.inputs, true) : pack_folders(options_.inputs, true);
    idx ? pack_idx(options_.validation_inputs, false) : pack_folders(options_.validation_inputs, false);
    finish();
    return result_;
  }

 private:
  void open(std::vector<std::string> classes, int channels, int height, int width) {
    result_.classes = std::move(classes);
    result_.channels = channels;
    images_of_class_.resize(result_.classes.size());
    const TokenizerBlob blob = classes_blob(result_.classes, channels);
    train_.emplace(options_.output, blob, height, width);
    if (!options_.validation_output.empty()) validation_.emplace(options_.validation_output, blob, height, width);
  }
  void append(std::span<const std::byte> image, std::int32_t label, bool training) {
    if (training && validation_ && options_.validation_inputs.empty() && place_of(image) < options_.validation_share) {
      training = false;
    }
    if (training) ++images_of_class_[static_cast<std::size_t>(label)];
    (training ? *train_ : *validation_).append(image, label);
  }

  void open_folders() {
    std::map<std::string, int> names;
    for (const fs::path& input : options_.inputs)
      for (const LabelledFile& file : files_below(input)) names.try_emplace(file.class_name);
    std::vector<std::string> classes;
    for (auto& [name, number] : names) {
      number = static_cast<int>(classes.size());
      classes.push_back(name);
    }
    numbers_ = std::move(names);
    open(std::move(classes), options_.colour == "grey" ? 1 : 3, 0, 0);
  }
  void pack_folders(const std::vector<fs::path>& inputs, bool training) {
    for (const fs::path& input : inputs) {
      const std::vector<LabelledFile> files = files_below(input);
      for (std::size_t first = 0; first < files.size(); first += files_at_a_time)
        pack_files(std::span(files).subspan(first, std::min(files_at_a_time, files.size() - first)), training);
    }
  }
  void pack_files(std::span<const LabelledFile> files, bool training) {
    std::vector<std::vector<std::byte>> contents(files.size());
    std::vector<std::string> faults(files.size());
    parallel_for(thread_count(options_.threads), static_cast<std::int64_t>(files.size()), [&](int, std::int64_t turn) {
      const auto i = static_cast<std::size_t>(turn);
      try {
        contents[i] = read_file(files[i].path);
        decode_image(contents[i], result_.channels, files[i].path.string());
      } catch (const Error& error) {
        if (options_.broken == "refuse" || error.status() != ExitStatus::invalid_input) throw;
        faults[i] = error.what();
      }
    });
    for (std::size_t i = 0; i < files.size(); ++i) {
      const auto known = numbers_.find(files[i].class_name);
      if (known == numbers_.end())
        refuse("{}: its class '{}' is none of the {} of the training set", files[i].path.string(), files[i].class_name,
               numbers_.size());
      if (faults[i].empty()) {
        append(contents[i], known->second, training);
      } else {
        ++result_.skipped_count;
        if (result_.skipped.size() < most_told) result_.skipped.push_back(faults[i]);
      }
    }
    tell();
  }

  void open_idx() {
    const IdxFile images(options_.inputs.front());
    const auto& shape = images.shape();
    const int channels = shape.size() == 4 ? static_cast<int>(shape[3]) : 1;
    if (shape.size() < 3 || (channels != 1 && channels != 3))
      refuse("{}: an IDX file of {} axes; expected [images, height, width] or [images, height, width, 3]",
             options_.inputs.front().string(), shape.size());
    if (options_.colour != "auto" && (options_.colour == "grey") != (channels == 1))
      refuse("--colour={}: {} holds images of {} channels", options_.colour, options_.inputs.front().string(),
             channels);
    // The labels that occur tell how many classes there are.
    int classes = 0;
    for (const fs::path& input : options_.inputs) {
      IdxFile labels(labels_of(input));
      std::byte label{};
      for (std::int64_t i = 0; i < labels.shape().front(); ++i) {
        labels.read({&label, 1});
        classes = std::max(classes, static_cast<int>(label) + 1);
      }
    }
    std::vector<std::string> names;
    for (int i = 0; i < classes; ++i) names.push_back(std::to_string(i));
    shape_ = {shape.begin() + 1, shape.end()};
    open(std::move(names), channels, static_cast<int>(shape[1]), static_cast<int>(shape[2]));
  }
  void pack_idx(const std::vector<fs::path>& inputs, bool training) {
    for (const fs::path& input : inputs) {
      IdxFile images(input);
      const fs::path labels_path = labels_of(input);
      IdxFile labels(labels_path);
      const auto& shape = images.shape();
      if (!std::equal(shape.begin() + 1, shape.end(), shape_.begin(), shape_.end()))
        refuse("{}: its images are of another size than those of {}", input.string(), options_.inputs.front().string());
      if (labels.shape().size() != 1 || labels.shape().front() != shape.front())
        refuse("{}: {} labels for the {} images of {}", labels_path.string(), labels.shape().front(), shape.front(),
               input.string());
      std::vector<std::byte> image(static_cast<std::size_t>(images.item_bytes()));
      std::byte label{};
      for (std::int64_t i = 0; i < shape.front(); ++i) {
        images.read(image);
        labels.read({&label, 1});
        if (static_cast<std::size_t>(label) >= result_.classes.size())
          refuse("{}: image {} has label {}, but the training set has {} classes", labels_path.string(), i,
                 static_cast<int>(label), result_.classes.size());
        append(image, static_cast<std::int32_t>(label), training);
        if (i % 4096 == 0) tell();
      }
    }
  }

  void tell() const {
    if (told_) told_(train_->images() + (validation_ ? validation_->images() : 0));
  }
  void finish() {
    for (std::size_t i = 0; i < images_of_class_.size(); ++i)
      if (images_of_class_[i] == 0)
        refuse("class '{}': not one image of the training set is of it", result_.classes[i]);
    if (validation_ && validation_->images() == 0)
      refuse("--validation-output: not one image came into the validation set; expected a larger --validation-share");
    result_.train = train_->images();
    train_->commit();
    if (!validation_) return;
    result_.validation = validation_->images();
    validation_->commit();
  }

  const PackImagesOptions& options_;
  const PackImagesProgress& told_;
  PackImagesResult result_;
  std::map<std::string, int> numbers_;
  std::vector<std::int64_t> shape_;  ///< of an IDX image
  std::vector<std::int64_t> images_of_class_;
  std::optional<ImageDatasetWriter> train_, validation_;
};

}  // namespace

PackImagesResult pack_images(const PackImagesOptions& options, const PackImagesProgress& progress) {
  const auto start = std::chrono::steady_clock::now();
  if (options.inputs.empty()) refuse("--input: found nothing, expected folders of images or IDX files");
  if (options.output.empty()) refuse("--output: found nothing, expected the data set to write");
  if (!options.validation_inputs.empty() && options.validation_output.empty())
    refuse("--validation-input is given, but no --validation-output to write it to");
  PackImagesResult result = Packer(options, progress).pack();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace trireme
