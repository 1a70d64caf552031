// model.arch=resnet: images with classes.
#include "model/arch/resnet.h"

#include "app/workloads/workloads.h"
#include "io/images/image_source.h"
#include "kernels/error.h"

namespace trireme {
namespace {

class Images final : public DataSet {
 public:
  explicit Images(const std::vector<std::filesystem::path>& files) : data_(std::make_shared<ImageDataset>(files)) {}
  const TokenizerBlob& tokenizer() const override { return data_->classes(); }
  std::int64_t size() const override { return data_->images(); }
  std::string unit() const override { return "images"; }
  std::shared_ptr<Source> source(const Configuration& configuration, const SourceOptions& options) override {
    return std::make_shared<ImageSource>(data_, configuration.resnet.image_size, configuration.augmentation, options);
  }

 private:
  std::shared_ptr<const ImageDataset> data_;
};

void take_number(int& value, int found, const char* key, const char* what) {
  if (value != 0 && value != found)
    refuse("{}={}, but the data set has {} {}; leave the key out to take its number", key, value, found, what);
  value = found;
}

class ResnetWorkload final : public Workload {
 public:
  std::string arch() const override { return "resnet"; }
  std::shared_ptr<DataSet> open(const std::vector<std::filesystem::path>& files) const override {
    return std::make_shared<Images>(files);
  }
  void take(Configuration& configuration, const TokenizerBlob& classes) const override {
    take_number(configuration.resnet.classes, classes.vocabulary, "model.image_classes", "classes");
    take_number(configuration.resnet.channels, channels_of(classes, "the data set"), "model.image_channels",
                "channels");
  }
  bool is_complete(const Configuration& configuration) const override {
    return configuration.resnet.classes != 0 && configuration.resnet.channels != 0;
  }
  Architecture architecture(const Configuration& configuration, int, DType type) const override {
    return make_resnet(configuration.resnet, type);
  }
  void limit(const Configuration&, LayoutLimits&) const override {}  // no layer is divided: tensor must be 1
  int tokens_per_sample(const Configuration&) const override { return 0; }
};

}  // namespace

const Workload& resnet_workload() {
  static const ResnetWorkload workload;
  return workload;
}

}  // namespace trireme
