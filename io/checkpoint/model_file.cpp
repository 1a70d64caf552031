// model.h5: the checkpoint as a whole.
#include <limits>

#include "io/checkpoint/format.h"
#include "io/checkpoint/sealed_file.h"
#include "kernels/error.h"

namespace trireme::checkpoint {
namespace {

void write_info(const hdf5::Handle& file, const CheckpointInfo& info, int shards) {
  hdf5::write_string(file, "format", model_format);
  hdf5::write_number(file, "version", version);
  hdf5::write_number(file, "step", info.step);
  hdf5::write_number(file, "samples", info.samples);
  hdf5::write_number(file, "seed", info.seed);
  hdf5::write_string(file, "configuration", info.configuration);
  hdf5::write_number(file, "shards", shards);
  const hdf5::Handle tokenizer = hdf5::create_group(file, "tokenizer");
  hdf5::write_string(tokenizer, "kind", info.tokenizer_kind);
  hdf5::write_number(tokenizer, "vocabulary", info.tokenizer_vocabulary);
  hdf5::write_number(tokenizer, "end_of_text", info.tokenizer_end_of_text);
  hdf5::write_bytes(tokenizer, "model", info.tokenizer_model);
  hdf5::write_number(hdf5::open_object(tokenizer, "model"), "xxh64", checksum(info.tokenizer_model));
}

/// One data set that shows the boxes of all shards in their places.
void write_virtual_dataset(const hdf5::Handle& file, const std::string& path, const StoredTensor& tensor) {
  const hdf5::Lock lock(hdf5::library_mutex());
  const hdf5::Handle properties(TRIREME_HDF5(H5Pcreate(H5P_DATASET_CREATE)), H5Pclose);
  const float missing = std::numeric_limits<float>::quiet_NaN();
  TRIREME_HDF5(H5Pset_fill_value(properties.get(), H5T_NATIVE_FLOAT, &missing));
  const hdf5::Handle whole = hdf5::make_space(tensor.global);
  for (const Piece& piece : tensor.pieces) {
    hdf5::select_box(whole, piece.box.offset, piece.box.extent);
    const hdf5::Handle source = hdf5::make_space(piece.box.extent);
    TRIREME_HDF5(H5Pset_virtual(properties.get(), whole.get(), piece.file.c_str(), path.c_str(), source.get()));
  }
  hdf5::create_dataset(file, path, H5T_NATIVE_FLOAT, whole, properties);
}

}  // namespace

void write_model(const std::filesystem::path& folder, const CheckpointInfo& info, int shards,
                 const Catalogue& catalogue) {
  for (const auto& [path, tensor] : catalogue) check_tiling(path, tensor);
  SealedFile out(folder / model_file);
  write_info(out.layout(), info, shards);
  for (const auto& [path, tensor] : catalogue) write_virtual_dataset(out.layout(), path, tensor);
  hdf5::write_number(out.layout(), "complete", 1);
  out.finish();
}

}  // namespace trireme::checkpoint
