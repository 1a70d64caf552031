// Lists of line images with their texts, as PaddleOCR has them: "path<TAB>text", one image a line.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace trireme {

struct ListedImage {
  std::filesystem::path path;
  std::string text;   ///< empty: the label is missing
  std::string place;  ///< list:line, or the image that no list names
};

/// Of lists, and of folders: the lists *.txt in them, and the pictures below them that none of those names, with no
/// text. Refuses what is missing, not of the encoding (as of TextReader), or holds no line.
std::vector<ListedImage> read_image_lists(const std::vector<std::filesystem::path>& inputs,
                                          const std::string& encoding = "utf-8");

}  // namespace trireme
