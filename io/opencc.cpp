#include "io/opencc.h"

#include <opencc/SimpleConverter.hpp>

#include "kernels/error.h"

namespace trireme {
namespace {

class OpenccSimplifier final : public ScriptConverter {
 public:
  std::string convert(std::string_view text) const override { return converter_.Convert(text.data(), text.size()); }

 private:
  opencc::SimpleConverter converter_{"t2s.json"};
};

}  // namespace

std::unique_ptr<ScriptConverter> make_simplifier() {
  try {
    return std::make_unique<OpenccSimplifier>();
  } catch (const std::exception& error) {
    refuse("script=simplified: OpenCC does not start: {}", error.what());
  }
}

}  // namespace trireme
