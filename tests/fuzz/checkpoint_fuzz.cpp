// The reader of checkpoints. An input tells how model.h5 and the shard are damaged.
#include <algorithm>
#include <deque>

#include "comm/self_communicator.h"
#include "io/checkpoint/checkpoint.h"
#include "tests/fuzz/hdf5_damage.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

fs::path save(const fs::path& directory) {
  std::vector<float> values(24 * 6, 0.5F);
  const auto whole = [&](const std::string& path, const Shape& shape) {
    return CheckpointItem{path, {.global = shape, .offset = {}, .extent = shape}, values.data()};
  };
  const std::vector<CheckpointItem> items = {whole("parameters/embedding", {24, 6}), whole("parameters/norm", {6}),
                                             whole("optimizer/first_moment/embedding", {24, 6})};
  const CheckpointInfo info = {.step = 100,
                               .samples = 3200,
                               .seed = 7,
                               .configuration = "[model]\narch = gpt\n",
                               .tokenizer_kind = "characters",
                               .tokenizer_model = "abc",
                               .tokenizer_vocabulary = 5,
                               .tokenizer_end_of_text = 0};
  return save_checkpoint(directory, info, items, *make_self_communicator("world"));
}

struct Seeds {
  fuzz::Folder folder;
  fs::path checkpoint = save(folder.path());
  fuzz::SeedFile model{checkpoint / "model.h5"};
  fuzz::SeedFile shard{checkpoint / "shard-00000.h5"};
};

/// As inspect and a restart do: what the checkpoint says it holds, and the tensors of the run.
void read_everything(const fs::path& folder) {
  CheckpointReader reader(folder);
  std::vector<float> values(24 * 6);
  for (const CheckpointEntry& entry : reader.entries()) {
    const bool fits = entry.shape == Shape{24, 6} || entry.shape == Shape{6};
    // A tensor of any other shape would not be asked for; a box of it must still be found or refused.
    Shape box = entry.shape;
    for (int axis = 0; !fits && axis < box.rank(); ++axis) box = box.with(axis, std::min<std::int64_t>(box[axis], 2));
    fuzz::succeeds([&] {
      reader.read({entry.path, {.global = entry.shape, .offset = {}, .extent = box}, values.data()});
    });
  }
}

}  // namespace
}  // namespace trireme

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  using namespace trireme;
  static const Seeds seeds;
  fuzz::Input input(data, size);
  fuzz::Input nothing(nullptr, 0);
  const bool shard_first = input.take<std::uint8_t>() % 2 == 1;
  fuzz::write_damaged(seeds.shard, seeds.checkpoint / "shard-00000.h5", shard_first ? input : nothing);
  fuzz::write_damaged(seeds.model, seeds.checkpoint / "model.h5", input);
  fuzz::succeeds([&] { read_everything(seeds.checkpoint); });
  fuzz::succeeds([&] { verify_checkpoint(seeds.checkpoint); });
  return 0;
}
