// Traditional Chinese to simplified, by OpenCC.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace trireme {

class ScriptConverter {
 public:
  virtual ~ScriptConverter() = default;
  virtual std::string convert(std::string_view text) const = 0;
};

/// Refuses where OpenCC, or its dictionary, is not there.
std::unique_ptr<ScriptConverter> make_simplifier();

}  // namespace trireme
