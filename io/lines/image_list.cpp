#include "io/lines/image_list.h"

#include <algorithm>
#include <set>

#include "io/text_reader.h"
#include "kernels/error.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

bool is_picture(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(), [](unsigned char letter) { return std::tolower(letter); });
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

void read_list(const fs::path& list, const std::string& encoding, std::vector<ListedImage>& images) {
  TextReader reader(list, encoding, std::size_t{1} << 20);
  int number = 0;
  for (std::string_view line = reader.next_line(); !line.empty(); line = reader.next_line()) {
    ++number;
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.empty()) continue;
    const auto tab = line.find('\t');
    const std::string_view text = tab == std::string_view::npos ? std::string_view() : line.substr(tab + 1);
    images.push_back({list.parent_path() / fs::path(line.substr(0, tab)), std::string(text),
                      fmt::format("{}:{}", list.string(), number)});
  }
}

void read_folder(const fs::path& folder, const std::string& encoding, std::vector<ListedImage>& images) {
  std::vector<fs::path> lists, pictures;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.is_regular_file() && entry.path().extension() == ".txt") lists.push_back(entry.path());
  if (lists.empty()) refuse("{}: found no *.txt, expected lists of lines \"path<TAB>text\"", folder.string());
  std::ranges::sort(lists);
  const std::size_t first = images.size();
  for (const fs::path& list : lists) read_list(list, encoding, images);
  std::set<fs::path> named;
  for (std::size_t i = first; i < images.size(); ++i) named.insert(images[i].path.lexically_normal());
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (entry.is_regular_file() && is_picture(entry.path()) && !named.contains(entry.path().lexically_normal()))
      pictures.push_back(entry.path());
  std::ranges::sort(pictures);
  for (const fs::path& picture : pictures) images.push_back({picture, "", picture.string()});
}

}  // namespace

std::vector<ListedImage> read_image_lists(const std::vector<fs::path>& inputs, const std::string& encoding) {
  std::vector<ListedImage> images;
  for (const fs::path& input : inputs) {
    if (!fs::exists(input)) refuse("pack.input: {}: found no such file or folder", input.string());
    if (fs::is_directory(input))
      read_folder(input, encoding, images);
    else
      read_list(input, encoding, images);
  }
  if (images.empty()) refuse("pack.input: found no line in it, expected lists of lines \"path<TAB>text\"");
  return images;
}

}  // namespace trireme
