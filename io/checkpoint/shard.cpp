// Shard files: what one rank holds.
#include "io/checkpoint/format.h"
#include "io/checkpoint/sealed_file.h"
#include "kernels/error.h"

namespace trireme::checkpoint {
namespace {

void write_extents(const hdf5::Handle& dataset, const std::string& name, const std::int64_t* values, int axes) {
  hdf5::write_attribute(dataset, name, hdf5::native_type<std::int64_t>(), values, static_cast<std::size_t>(axes),
                        false);
}

/// The data set of an item, with a checksum that is still to come.
hdf5::Handle create_item(const hdf5::Handle& file, const CheckpointItem& item) {
  const Shape& extent = item.shard.extent;
  const Shape& global = item.shard.global;
  if (global.rank() == 0 || extent.rank() != global.rank()) {
    fail("{}: a box of shape {} of a tensor of shape {} cannot be saved", item.path, extent.to_string(),
         global.to_string());
  }
  hdf5::Handle dataset = hdf5::create_dataset<float>(file, item.path, extent);
  const hdf5::Offset shape = {global[0], global[1], global[2], global[3]};
  write_extents(dataset, "global", shape.data(), global.rank());
  write_extents(dataset, "offset", item.shard.offset.data(), global.rank());
  hdf5::write_number<std::uint64_t>(dataset, "xxh64", 0);
  return dataset;
}

void add_piece(const hdf5::Handle& file, const std::string& name, const std::string& path, Catalogue& catalogue) {
  const hdf5::Handle dataset = hdf5::open_object(file, path);
  const Shape extent = hdf5::shape_of(dataset);
  const auto axes = static_cast<std::size_t>(extent.rank());
  hdf5::Offset offset{};
  std::vector<std::int64_t> extents(axes);
  hdf5::read_attribute(dataset, "offset", hdf5::native_type<std::int64_t>(), offset.data(), axes);
  hdf5::read_attribute(dataset, "global", hdf5::native_type<std::int64_t>(), extents.data(), axes);
  const Shape global = hdf5::make_shape(extents, name);
  StoredTensor& tensor = catalogue[path];
  if (tensor.pieces.empty()) tensor.global = global;
  if (tensor.global != global) {
    fail("{}: its shape is {} in {} and {} in {}", path, tensor.global.to_string(), tensor.pieces[0].file,
         global.to_string(), name);
  }
  tensor.pieces.push_back({name, {offset, extent}});
}

}  // namespace

void add_shard(const hdf5::Handle& file, const std::string& name, Catalogue& catalogue) {
  for (const std::string& path : hdf5::dataset_paths(file)) add_piece(file, name, path, catalogue);
}

void write_shard(const std::filesystem::path& file, std::int64_t step, const std::vector<CheckpointItem>& items) {
  SealedFile out(file);
  hdf5::write_string(out.layout(), "format", shard_format);
  hdf5::write_number(out.layout(), "version", version);
  hdf5::write_number(out.layout(), "step", step);
  std::vector<hdf5::Handle> datasets;
  for (const CheckpointItem& item : items) datasets.push_back(create_item(out.layout(), item));
  const std::vector<std::int64_t> places = out.place(datasets);
  for (std::size_t number = 0; number < items.size(); ++number) {
    const CheckpointItem& item = items[number];
    const std::uint64_t sum = out.write(places[number], bytes_of(item.data, item.shard.extent.elements()));
    hdf5::overwrite_attribute(datasets[number], "xxh64", hdf5::native_type<std::uint64_t>(), &sum);
  }
  datasets.clear();
  out.finish();
}

Catalogue read_shards(const std::filesystem::path& folder, int shards) {
  Catalogue catalogue;
  for (int number = 0; number < shards; ++number) {
    const hdf5::Handle file = open_sealed(folder / shard_file(number));
    check_format(file, shard_format);
    add_shard(file, shard_file(number), catalogue);
  }
  return catalogue;
}

}  // namespace trireme::checkpoint
