// Our ResNet with the weights of another implementation, which tests/peers/ writes into a folder: a file of float32 for
// each parameter, the images' pixels and the logits that they came to.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "comm/self_communicator.h"
#include "kernels/backend.h"
#include "kernels/error.h"
#include "model/arch/resnet.h"

namespace trireme {
namespace {

template <typename T>
std::vector<T> read_file(const std::filesystem::path& file, std::int64_t elements) {
  std::vector<T> values(static_cast<std::size_t>(elements));
  std::ifstream stream(file, std::ios::binary);
  stream.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(values.size() * sizeof(T)));
  if (!stream || stream.peek() != std::ifstream::traits_type::eof())
    fail("{}: found another number of elements, expected {}", file.string(), elements);
  return values;
}

TEST(ResnetPeer, LogitsAgree) {
  const char* folder_name = std::getenv("TRIREME_RESNET_FOLDER");
  if (folder_name == nullptr) GTEST_SKIP() << "tests/peers/resnet_torchvision.py starts this";
  const std::filesystem::path folder = folder_name;
  const ResnetConfig config{.depth = std::atoi(std::getenv("TRIREME_RESNET_DEPTH")), .channels = 3, .classes = 1000};
  constexpr std::int64_t images = 2;

  const auto backend = make_cpu_backend(2);
  const auto self = make_self_communicator("self");
  ParameterStore store;
  std::vector<std::unique_ptr<Layer>> layers;
  for (const Block& block : make_resnet(config, DType::f32).blocks) layers.push_back(block.make({.store = store}));
  store.allocate(*backend, DType::f32, 1);
  for (Parameter& parameter : store.parameters())
    backend->upload(read_file<float>(folder / parameter.name(), parameter.elements()).data(), parameter.value);

  Tensor x = backend->allocate({images, config.image_size, config.image_size, config.channels}, DType::u8);
  backend->upload(read_file<std::uint8_t>(folder / "pixels", x.elements()).data(), x);
  const Microbatch microbatch{.fields = {x}};
  const Context context{*backend, *self, *self, DType::f32, false, 0, 1.0F, 1, microbatch};
  Saved nothing;
  for (const auto& layer : layers) x = layer->forward(context, x, nothing);

  const auto wanted = read_file<float>(folder / "logits", images * config.classes);
  ASSERT_EQ(x.elements(), std::ssize(wanted));
  double squares = 0, worst = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    squares += std::pow(static_cast<double>(wanted[i]), 2);
    worst = std::max(worst, static_cast<double>(std::abs(x.values<float>()[i] - wanted[i])));
  }
  EXPECT_LE(worst, 1e-4);
  std::cout << "ResNet-" << config.depth << ": logits of " << std::sqrt(squares / static_cast<double>(wanted.size()))
            << " (root mean square) differ by " << worst << " at most\n";
}

}  // namespace
}  // namespace trireme
