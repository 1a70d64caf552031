// The reader of data sets, and the tokenizers in them. An input tells which seed is damaged, and how.
#include <algorithm>
#include <array>

#include "io/dataset.h"
#include "io/hdf5.h"
#include "io/tokenizer.h"
#include "tests/fuzz/hdf5_damage.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

const std::string text =
    "the quick brown fox jumps over the lazy dog\nand 学而时习之，不亦说乎\n"
    "when the fox is quicker than the dogs, the laziest of dogs is jumped over by the brownest of foxes\n";

/// Puts the tokens of a small file into chunks far smaller than the writer's.
void spread(const fs::path& file) {
  const hdf5::Lock lock(hdf5::library_mutex());
  const hdf5::Handle opened(TRIREME_HDF5(H5Fopen(file.c_str(), H5F_ACC_RDWR, H5P_DEFAULT)), H5Fclose);
  const hdf5::Handle old = hdf5::open_object(opened, "tokens");
  const Shape shape = hdf5::shape_of(old);
  std::vector<std::uint16_t> tokens(static_cast<std::size_t>(shape.elements()));
  hdf5::read(old, {}, shape, tokens.data());
  TRIREME_HDF5(H5Ldelete(opened.get(), "tokens", H5P_DEFAULT));
  hdf5::write(hdf5::create_dataset<std::uint16_t>(opened, "tokens", shape, 20), {}, shape, tokens.data());
}

/// A set whose tokens lie in chunks, as large ones do, or else in one piece.
fuzz::SeedFile make_seed(const fs::path& folder, const std::string& kind, int vocabulary, bool in_chunks) {
  const auto tokenizer = Tokenizer::train(kind, vocabulary, {text});
  const std::vector<std::int32_t> document = tokenizer->encode(text);
  const fs::path file = folder / (kind + ".h5");
  TokenDatasetWriter writer(file, tokenizer->blob());
  writer.append_document(document);
  writer.commit();
  if (in_chunks) spread(file);
  return fuzz::SeedFile(file);
}

struct Seeds {
  fuzz::Folder folder;
  std::array<fuzz::SeedFile, 3> files = {make_seed(folder.path(), "characters", 100, false),
                                         make_seed(folder.path(), "bpe", 300, false),
                                         make_seed(folder.path(), "unigram", 296, true)};
};

void read_everything(const std::vector<fs::path>& files) {
  TokenDataset dataset(files);
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(std::min<std::int64_t>(dataset.tokens(), 1000)));
  fuzz::succeeds([&] { dataset.read(0, tokens); });
  fuzz::succeeds([&] { dataset.read(dataset.tokens() - static_cast<std::int64_t>(tokens.size()), tokens); });
  const auto tokenizer = Tokenizer::load(dataset.tokenizer());
  fuzz::succeeds([&] { tokenizer->decode(tokens); });
  fuzz::succeeds([&] { tokenizer->encode(text); });
}

}  // namespace
}  // namespace trireme

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  using namespace trireme;
  static const Seeds seeds;
  fuzz::Input input(data, size);
  const auto choice = input.take<std::uint8_t>();
  const fuzz::SeedFile& seed = seeds.files[choice % 3U];
  const fs::path damaged = seeds.folder.path() / "damaged.h5";
  fuzz::write_damaged(seed, damaged, input);
  fuzz::succeeds([&] { read_everything({damaged}); });
  if (choice >= 128) fuzz::succeeds([&] { read_everything({seeds.folder.path() / "characters.h5", damaged}); });
  return 0;
}
