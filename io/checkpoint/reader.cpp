// Loading: any box of any tensor out of whatever shards hold it.
#include <algorithm>

#include "io/checkpoint/format.h"
#include "io/checkpoint/sealed_file.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {

using namespace checkpoint;

namespace {

constexpr std::int64_t slab_elements = std::int64_t{1} << 18;  // 1 MiB at a time: it stays in the cache

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
    fail("{}: damaged: its checksum is wrong", hdf5::describe(blob.get()));
  }
  return info;
}

/// The shards behind a virtual data set.
std::vector<Piece> pieces_of(const hdf5::Handle& dataset) {
  const hdf5::Lock lock(hdf5::library_mutex());
  const hdf5::Handle properties(TRIREME_HDF5(H5Dget_create_plist(dataset.get())), H5Pclose);
  if (H5Pget_layout(properties.get()) != H5D_VIRTUAL) {
    fail("{}: not a virtual data set", hdf5::describe(dataset.get()));
  }
  std::size_t count = 0;
  TRIREME_HDF5(H5Pget_virtual_count(properties.get(), &count));
  std::vector<Piece> pieces(count);
  for (std::size_t index = 0; index < count; ++index) {
    const hdf5::Handle space(TRIREME_HDF5(H5Pget_virtual_vspace(properties.get(), index)), H5Sclose);
    std::array<hsize_t, Shape::max_rank> first{};
    std::array<hsize_t, Shape::max_rank> last{};
    const int axes = TRIREME_HDF5(H5Sget_simple_extent_ndims(space.get()));
    std::vector<std::int64_t> extent(static_cast<std::size_t>(axes));
    if (axes < 1 || axes > Shape::max_rank) fail("{}: its mapping has {} axes", hdf5::describe(dataset.get()), axes);
    TRIREME_HDF5(H5Sget_select_bounds(space.get(), first.data(), last.data()));
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
  explicit State(const std::filesystem::path& where) : folder(where), model(open_sealed(where / model_file)) {
    check_format(model, model_format);
    or_damaged([&] { read_model(); });
  }

  void read_model() {
    if (!hdf5::has_attribute(model, "complete")) {
      fail("{}: not complete: it was not written to its end", (folder / model_file).string());
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
    hdf5::Handle file = open_sealed(folder / name);
    check_format(file, shard_format);
    const auto step = or_damaged([&] { return hdf5::read_number<std::int64_t>(file, "step"); });
    if (step != info.step) {
      throw DamagedCheckpoint(fmt::format("{}: is of step {}, expected {}", (folder / name).string(), step, info.step));
    }
    return open_shards.emplace(name, std::move(file)).first->second;
  }

  /// Boxes of all tensors, by the shard that holds them. Tests that they fill every tensor.
  std::map<std::string, Catalogue> mapping() const;
  /// Reads a shard's data set and tests its checksum. It comes in slabs, to `whole` where there is such a place for
  /// all of it, else into a buffer; visit(box, values) is called with each.
  template <typename Visit>
  void read_slabs(const Piece& piece, const std::string& path, float* whole, Visit visit);

  std::filesystem::path folder;
  hdf5::Handle model;
  CheckpointInfo info;
  int shards = 0;
  std::vector<CheckpointEntry> entries;
  std::map<std::string, hdf5::Handle> open_shards;
  std::vector<float> slab;
};

template <typename Visit>
void CheckpointReader::State::read_slabs(const Piece& piece, const std::string& path, float* whole, Visit visit) {
  const hdf5::Handle dataset = hdf5::open_object(shard(piece.file), path);
  const std::string name = hdf5::describe(dataset.get());
  const Shape& extent = piece.box.extent;
  const Shape found = hdf5::stored_shape_of(dataset);
  if (found != extent) fail("{}: its shape is {}, expected {}", name, found.to_string(), extent.to_string());
  hdf5::Offset offset{};
  hdf5::read_attribute(dataset, "offset", hdf5::native_type<std::int64_t>(), offset.data(),
                       static_cast<std::size_t>(extent.rank()));
  if (offset != piece.box.offset) fail("{}: its place in the tensor is not the one that {} says", name, model_file);

  const std::int64_t row = extent.elements() / extent[0];
  const std::int64_t rows = std::clamp<std::int64_t>(slab_elements / row, 1, extent[0]);
  if (whole == nullptr) slab.resize(std::max(slab.size(), static_cast<std::size_t>(rows * row)));
  Checksum sum;
  for (std::int64_t first = 0; first < extent[0]; first += rows) {
    const Activity activity("reading row", name, first);
    const Box box = slab_of(piece.box, first, std::min(rows, extent[0] - first));
    float* values = whole == nullptr ? slab.data() : whole + first * row;
    hdf5::read<float>(dataset, {first}, box.extent, values);
    sum.add(bytes_of(values, box.extent.elements()));
    visit(box, values);
  }
  if (sum.value() != hdf5::read_number<std::uint64_t>(dataset, "xxh64")) {
    fail("{}: damaged: its checksum is wrong", name);
  }
}

std::map<std::string, Catalogue> CheckpointReader::State::mapping() const {
  std::map<std::string, Catalogue> by_shard;
  for (int number = 0; number < shards; ++number) {
    const std::string name = shard_file(number);
    if (!std::filesystem::exists(folder / name)) fail("{}: no such file", (folder / name).string());
    by_shard[name];
  }
  for (const auto& [path, shape] : entries) {
    const StoredTensor tensor = {shape, pieces_of(hdf5::open_object(model, path))};
    check_tiling(path, tensor);
    for (const Piece& piece : tensor.pieces) {
      const auto shard = by_shard.find(piece.file);
      if (shard == by_shard.end()) fail("{}: {} is not one of the {} shards", path, piece.file, shards);
      StoredTensor& held = shard->second[path];
      held.global = shape;
      held.pieces.push_back(piece);
    }
  }
  return by_shard;
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
  const auto pieces = or_damaged([&] { return pieces_of(hdf5::open_object(state_->model, item.path)); });
  for (const Piece& piece : pieces) {
    if (!overlap(piece.box, wanted)) continue;
    state_->shard(piece.file);
    float* whole = piece.box == wanted ? item.data : nullptr;
    or_damaged([&] {
      state_->read_slabs(piece, item.path, whole, [&](const Box& box, const float* values) {
        copied += whole ? box.extent.elements() : copy_overlap(box, values, wanted, item.data);
      });
    });
  }
  if (copied != item.shard.extent.elements()) {
    fail("{}: {}: the shards hold {} of the {} elements wanted", file, item.path, copied, item.shard.extent.elements());
  }
}

void CheckpointReader::verify(int part, int parts) {
  const auto mapping = or_damaged([&] { return state_->mapping(); });
  for (int number = part; number < state_->shards; number += parts) {
    const std::string name = shard_file(number);
    const hdf5::Handle& shard = state_->shard(name);
    or_damaged([&] {
      Catalogue held;
      add_shard(shard, name, held);
      if (held != mapping.at(name)) {
        fail("{}: does not hold what {} says", (state_->folder / name).string(), model_file);
      }
      for (const auto& [path, tensor] : held) {
        for (const Piece& piece : tensor.pieces)
          state_->read_slabs(piece, path, nullptr, [](const Box&, const float*) {});
      }
    });
    state_->open_shards.erase(name);
  }
}

void verify_checkpoint(const std::filesystem::path& folder, int part, int parts) {
  CheckpointReader(folder).verify(part, parts);
}

}  // namespace trireme
