// Loading: any box of any tensor out of whatever shards hold it.
#include <xxhash.h>

#include <algorithm>

#include "io/checkpoint/format.h"
#include "kernels/error.h"

namespace trireme {

using namespace checkpoint;

namespace {

constexpr std::int64_t slab_elements = std::int64_t{1} << 22;  // 16 MiB at a time

using HashState = std::unique_ptr<XXH64_state_t, decltype(&XXH64_freeState)>;

CheckpointInfo read_info(const hdf5::Handle& model) {
  CheckpointInfo info;
  info.step = hdf5::read_number<std::int64_t>(model, "step");
  info.samples = hdf5::read_number<std::int64_t>(model, "samples");
  info.seed = hdf5::read_number<std::uint64_t>(model, "seed");
  info.configuration = hdf5::read_string(model, "configuration");
  const hdf5::Handle tokenizer = hdf5::open_object(model, "tokenizer");
  info.tokenizer_kind = hdf5::read_string(tokenizer, "kind");
  info.tokenizer_vocabulary = hdf5::read_number<int>(tokenizer, "vocabulary");
  info.tokenizer_end_of_text = hdf5::read_number<int>(tokenizer, "end_of_text");
  info.tokenizer_model = hdf5::read_bytes(tokenizer, "model");
  const hdf5::Handle blob = hdf5::open_object(tokenizer, "model");
  if (hdf5::read_number<std::uint64_t>(blob, "xxh64") != checksum(info.tokenizer_model)) {
    refuse("{}: damaged: its checksum is wrong", hdf5::describe(blob.get()));
  }
  return info;
}

/// The shards behind a virtual data set.
std::vector<Piece> pieces_of(const hdf5::Handle& dataset) {
  const hdf5::Lock lock(hdf5::library_mutex());
  const hdf5::Handle properties(TRIREME_HDF5(H5Dget_create_plist(dataset.get())), H5Pclose);
  if (H5Pget_layout(properties.get()) != H5D_VIRTUAL) {
    refuse("{}: not a virtual data set", hdf5::describe(dataset.get()));
  }
  std::size_t count = 0;
  TRIREME_HDF5(H5Pget_virtual_count(properties.get(), &count));
  std::vector<Piece> pieces(count);
  for (std::size_t index = 0; index < count; ++index) {
    const hdf5::Handle space(TRIREME_HDF5(H5Pget_virtual_vspace(properties.get(), index)), H5Sclose);
    std::array<hsize_t, Shape::max_rank> first{};
    std::array<hsize_t, Shape::max_rank> last{};
    TRIREME_HDF5(H5Sget_select_bounds(space.get(), first.data(), last.data()));
    std::vector<std::int64_t> extent(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space.get())));
    for (std::size_t axis = 0; axis < extent.size(); ++axis) {
      pieces[index].box.offset[axis] = static_cast<std::int64_t>(first[axis]);
      extent[axis] = static_cast<std::int64_t>(last[axis] - first[axis]) + 1;
    }
    pieces[index].box.extent = hdf5::make_shape(extent, hdf5::describe(dataset.get()));
    std::string& file = pieces[index].file;
    file.resize(static_cast<std::size_t>(TRIREME_HDF5(H5Pget_virtual_filename(properties.get(), index, nullptr, 0))));
    TRIREME_HDF5(H5Pget_virtual_filename(properties.get(), index, file.data(), file.size() + 1));
  }
  return pieces;
}

/// The part [first, first + count) of a box along its first axis.
Box slab_of(Box box, std::int64_t first, std::int64_t count) {
  box.offset[0] += first;
  std::vector<std::int64_t> extent;
  for (int axis = 0; axis < box.extent.rank(); ++axis) extent.push_back(axis == 0 ? count : box.extent[axis]);
  box.extent = hdf5::make_shape(extent, "");
  return box;
}

}  // namespace

struct CheckpointReader::State {
  explicit State(const std::filesystem::path& where) : folder(where), model(hdf5::open_file(where / model_file)) {
    check_format(model, model_format);
    if (!hdf5::has_attribute(model, "complete")) {
      refuse("{}: not complete: it was not written to its end", (where / model_file).string());
    }
    info = read_info(model);
    shards = hdf5::read_number<int>(model, "shards");
    for (const std::string& path : hdf5::dataset_paths(model)) {
      if (path == "tokenizer/model") continue;
      entries.push_back({path, hdf5::shape_of(hdf5::open_object(model, path))});
    }
  }

  /// Opened on first use and kept.
  const hdf5::Handle& shard(const std::string& name) {
    const auto known = open_shards.find(name);
    if (known != open_shards.end()) return known->second;
    hdf5::Handle file = hdf5::open_file(folder / name);
    check_format(file, shard_format);
    const auto step = hdf5::read_number<std::int64_t>(file, "step");
    if (step != info.step) refuse("{}: is of step {}, expected {}", (folder / name).string(), step, info.step);
    return open_shards.emplace(name, std::move(file)).first->second;
  }

  std::int64_t read_piece(const Piece& piece, const CheckpointItem& item);

  std::filesystem::path folder;
  hdf5::Handle model;
  CheckpointInfo info;
  int shards = 0;
  std::vector<CheckpointEntry> entries;
  std::map<std::string, hdf5::Handle> open_shards;
  std::vector<float> slab;
};

/// Reads a shard's data set in slabs, copies from each what the item wants, and tests the checksum of the whole.
std::int64_t CheckpointReader::State::read_piece(const Piece& piece, const CheckpointItem& item) {
  const hdf5::Handle dataset = hdf5::open_object(shard(piece.file), item.path);
  const std::string name = hdf5::describe(dataset.get());
  const Shape& extent = piece.box.extent;
  const Shape found = hdf5::shape_of(dataset);
  if (found != extent) refuse("{}: its shape is {}, expected {}", name, found.to_string(), extent.to_string());
  const std::int64_t row = extent.elements() / extent[0];
  const std::int64_t rows = std::max<std::int64_t>(1, slab_elements / row);
  slab.resize(std::max(slab.size(), static_cast<std::size_t>(std::min(rows, extent[0]) * row)));

  const HashState hash(XXH64_createState(), XXH64_freeState);
  XXH64_reset(hash.get(), 0);
  std::int64_t copied = 0;
  for (std::int64_t first = 0; first < extent[0]; first += rows) {
    const Box box = slab_of(piece.box, first, std::min(rows, extent[0] - first));
    hdf5::read<float>(dataset, {first}, box.extent, slab.data());
    XXH64_update(hash.get(), slab.data(), static_cast<std::size_t>(box.extent.elements()) * sizeof(float));
    copied += copy_overlap(box, slab.data(), {item.shard.offset, item.shard.extent}, item.data);
  }
  if (XXH64_digest(hash.get()) != hdf5::read_number<std::uint64_t>(dataset, "xxh64")) {
    refuse("{}: damaged: its checksum is wrong", name);
  }
  return copied;
}

CheckpointReader::CheckpointReader(const std::filesystem::path& folder) : state_(std::make_unique<State>(folder)) {}
CheckpointReader::~CheckpointReader() = default;

const CheckpointInfo& CheckpointReader::info() const { return state_->info; }
const std::vector<CheckpointEntry>& CheckpointReader::entries() const { return state_->entries; }
int CheckpointReader::shards() const { return state_->shards; }

void CheckpointReader::read(const CheckpointItem& item) {
  const std::string file = (state_->folder / model_file).string();
  const auto entry = std::find_if(state_->entries.begin(), state_->entries.end(),
                                  [&](const CheckpointEntry& each) { return each.path == item.path; });
  if (entry == state_->entries.end()) refuse("{}: there is no \"{}\"", file, item.path);
  if (entry->shape != item.shard.global) {
    refuse("{}: {} has shape {}, expected {}", file, item.path, entry->shape.to_string(),
           item.shard.global.to_string());
  }
  const Box wanted = {item.shard.offset, item.shard.extent};
  std::int64_t copied = 0;
  for (const Piece& piece : pieces_of(hdf5::open_object(state_->model, item.path))) {
    if (overlap(piece.box, wanted)) copied += state_->read_piece(piece, item);
  }
  if (copied != item.shard.extent.elements()) {
    fail("{}: {}: the shards hold {} of the {} elements wanted", file, item.path, copied, item.shard.extent.elements());
  }
}

}  // namespace trireme
