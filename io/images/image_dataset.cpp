#include "io/images/image_dataset.h"

#include <algorithm>

#include "io/hdf5.h"
#include "io/packed_file.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
namespace {

constexpr const char* grey_kind = "classes of grey images";
constexpr const char* colour_kind = "classes of colour images";

struct ImageFile {
  std::filesystem::path path;
  hdf5::Handle file, images;
  int height = 0, width = 0;
  TokenizerBlob classes;
  std::vector<std::uint64_t> ends;
  std::vector<std::uint32_t> labels;
  std::int64_t first = 0;  ///< of its images, in the whole set
  std::int64_t count() const { return static_cast<std::int64_t>(labels.size()); }
};

template <typename T>
std::vector<T> read_column(const ImageFile& file, const std::string& name) {
  const hdf5::Handle column = hdf5::open_object(file.file, name);
  const Shape shape = hdf5::stored_shape_of(column);
  if (shape.rank() != 1 || !hdf5::has_type(column, H5T_INTEGER, sizeof(T)))
    refuse("{}: /{} should be one axis of unsigned numbers of {} bytes", file.path.string(), name, sizeof(T));
  std::vector<T> values(static_cast<std::size_t>(shape[0]));
  hdf5::read(column, {0}, {shape[0]}, values.data());
  return values;
}

void read_classes(ImageFile& file) {
  const hdf5::Handle group = hdf5::open_object(file.file, "tokenizer");
  file.classes = {.kind = hdf5::read_string(group, "kind"),
                  .vocabulary = hdf5::read_number<std::int32_t>(group, "vocabulary"),
                  .end_of_text = hdf5::read_number<std::int32_t>(group, "end_of_text"),
                  .model = hdf5::read_bytes(file.file, "tokenizer/model")};
  channels_of(file.classes, file.path.string());
  if (static_cast<int>(class_names_of(file.classes).size()) != file.classes.vocabulary)
    refuse("{}: damaged: {} names of {} classes", file.path.string(), class_names_of(file.classes).size(),
           file.classes.vocabulary);
}

/// Offsets go up from 0 to the end, raw images are all of their size, labels are classes.
void check_contents(const ImageFile& file, std::uint64_t bytes) {
  const std::string path = file.path.string();
  if (file.ends.size() != file.labels.size() + 1 || file.labels.empty())
    refuse("{}: damaged: {} offsets and {} labels, expected one more of the former, and an image at least", path,
           file.ends.size(), file.labels.size());
  const auto raw = static_cast<std::uint64_t>(file.height) * static_cast<std::uint64_t>(file.width) *
                   static_cast<std::uint64_t>(channels_of(file.classes, path));
  bool good = file.ends.front() == 0 && file.ends.back() == bytes;
  for (std::size_t i = 1; good && i < file.ends.size(); ++i)
    good = file.ends[i] > file.ends[i - 1] && (raw == 0 || file.ends[i] - file.ends[i - 1] == raw);
  if (!good) refuse("{}: truncated or damaged: /ends does not fit /images", path);
  for (std::size_t i = 0; i < file.labels.size(); ++i)
    if (file.labels[i] >= static_cast<std::uint32_t>(file.classes.vocabulary))
      refuse("{}: image {} is of class {}, but there are {}", path, i, file.labels[i], file.classes.vocabulary);
}

void read_image_contents(ImageFile& file) {
  expect_format(file.file, file.path, {image_format, "images", "images", image_format_version, image_format_version});
  read_classes(file);
  file.height = hdf5::read_number<std::int32_t>(file.file, "height");
  file.width = hdf5::read_number<std::int32_t>(file.file, "width");
  if (file.height < 0 || file.width < 0 || (file.height == 0) != (file.width == 0) || file.height > 65535 ||
      file.width > 65535)
    refuse("{}: damaged: images of {} x {} pixels", file.path.string(), file.height, file.width);
  file.images = hdf5::open_object(file.file, "images");
  const Shape bytes = hdf5::stored_shape_of(file.images);
  if (bytes.rank() != 1 || !hdf5::has_type(file.images, H5T_INTEGER, 1))
    refuse("{}: /images should be uint8 [bytes]", file.path.string());
  file.ends = read_column<std::uint64_t>(file, "ends");
  file.labels = read_column<std::uint32_t>(file, "labels");
  check_contents(file, static_cast<std::uint64_t>(bytes[0]));
}

ImageFile open_image_file(const std::filesystem::path& path) {
  ImageFile file{.path = path, .file = hdf5::open_file(path)};
  try {
    read_image_contents(file);
  } catch (const Error& error) {
    if (error.status() == ExitStatus::invalid_input) throw;
    refuse("{}: damaged: {}", path.string(), error.what());
  }
  return file;
}

}  // namespace

TokenizerBlob classes_blob(const std::vector<std::string>& names, int channels) {
  TokenizerBlob blob{.kind = channels == 1 ? grey_kind : colour_kind, .vocabulary = static_cast<int>(names.size())};
  for (const std::string& name : names) blob.model += name + '\n';
  return blob;
}

int channels_of(const TokenizerBlob& classes, const std::string& owner) {
  if (classes.kind == grey_kind) return 1;
  if (classes.kind == colour_kind) return 3;
  refuse("{}: found '{}', expected classes of images, as 'trireme pack images' makes them", owner, classes.kind);
}

std::vector<std::string> class_names_of(const TokenizerBlob& classes) {
  std::vector<std::string> names;
  std::string_view rest = classes.model;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    names.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return names;
}

struct ImageDataset::State {
  std::vector<ImageFile> files;
  std::int64_t images = 0;

  const ImageFile& file_of(std::int64_t image) const {
    if (image < 0 || image >= images) fail("image {} of {}", image, images);
    return trireme::file_of(files, image);
  }
};

ImageDataset::ImageDataset(const std::vector<std::filesystem::path>& files) : state_(std::make_unique<State>()) {
  if (files.empty()) refuse("a data set of no files");
  for (const auto& path : files) {
    const Activity activity("opening", path.native());
    ImageFile file = open_image_file(path);
    if (!state_->files.empty()) {
      const ImageFile& first = state_->files.front();
      if (file.classes.kind != first.classes.kind || file.classes.model != first.classes.model)
        refuse("{}: its {} {} are not those of {} ({} {}); pack them together", path.string(), file.classes.vocabulary,
               file.classes.kind, first.path.string(), first.classes.vocabulary, first.classes.kind);
    }
    file.first = state_->images;
    state_->images += file.count();
    state_->files.push_back(std::move(file));
  }
}

ImageDataset::~ImageDataset() = default;
std::int64_t ImageDataset::images() const { return state_->images; }
const TokenizerBlob& ImageDataset::classes() const { return state_->files.front().classes; }
int ImageDataset::channels() const { return channels_of(classes(), state_->files.front().path.string()); }

std::int32_t ImageDataset::label(std::int64_t image) const {
  const ImageFile& file = state_->file_of(image);
  return static_cast<std::int32_t>(file.labels[static_cast<std::size_t>(image - file.first)]);
}

std::string ImageDataset::name(std::int64_t image) const {
  const ImageFile& file = state_->file_of(image);
  return fmt::format("{}: image {}", file.path.string(), image - file.first);
}

void ImageDataset::read(std::int64_t image, std::vector<std::byte>& bytes) const {
  const ImageFile& file = state_->file_of(image);
  const auto at = static_cast<std::size_t>(image - file.first);
  const auto begin = static_cast<std::int64_t>(file.ends[at]);
  const auto count = static_cast<std::int64_t>(file.ends[at + 1]) - begin;
  const Activity activity("reading image", file.path.native(), image - file.first);
  bytes.resize(static_cast<std::size_t>(count));
  hdf5::read(file.images, {begin}, {count}, reinterpret_cast<std::uint8_t*>(bytes.data()));
}

ImageHeader ImageDataset::raw_size(std::int64_t image) const {
  const ImageFile& file = state_->file_of(image);
  return {.width = file.width, .height = file.height};
}

ImageDatasetWriter::ImageDatasetWriter(const std::filesystem::path& file, const TokenizerBlob& classes, int height,
                                       int width)
    : file_(file), classes_(classes.vocabulary) {
  hdf5::write_string(file_.handle(), "format", image_format);
  hdf5::write_number(file_.handle(), "version", image_format_version);
  hdf5::write_number<std::int32_t>(file_.handle(), "height", height);
  hdf5::write_number<std::int32_t>(file_.handle(), "width", width);
  const hdf5::Handle group = hdf5::create_group(file_.handle(), "tokenizer");
  hdf5::write_string(group, "kind", classes.kind);
  hdf5::write_number<std::int32_t>(group, "vocabulary", classes.vocabulary);
  hdf5::write_number<std::int32_t>(group, "end_of_text", classes.end_of_text);
  hdf5::write_bytes(file_.handle(), "tokenizer/model", classes.model);
  ends_.push(file_.handle(), 0);
}

void ImageDatasetWriter::append(std::span<const std::byte> image, std::int32_t label) {
  if (label < 0 || label >= classes_) fail("an image of class {} of {}", label, classes_);
  images_.push(file_.handle(), {reinterpret_cast<const std::uint8_t*>(image.data()), image.size()});
  ends_.push(file_.handle(), static_cast<std::uint64_t>(images_.size()));
  labels_.push(file_.handle(), static_cast<std::uint32_t>(label));
}

void ImageDatasetWriter::commit() {
  images_.finish(file_.handle());
  ends_.finish(file_.handle());
  labels_.finish(file_.handle());
  file_.commit();
}

}  // namespace trireme
