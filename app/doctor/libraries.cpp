#include "app/doctor/libraries.h"

#include <elf.h>
#include <fmt/format.h>
#include <link.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string_view>

namespace trireme {
namespace {

/// Notes and their names are padded to whole words.
std::size_t padded(std::size_t bytes) { return (bytes + 3) / 4 * 4; }

/// The build ID among the notes of a segment; empty where there is none.
std::string build_in(const char* notes, std::size_t bytes) {
  std::size_t at = 0;
  while (at + sizeof(ElfW(Nhdr)) <= bytes) {
    ElfW(Nhdr) note;
    std::memcpy(&note, notes + at, sizeof(note));
    const char* name = notes + at + sizeof(note);
    const char* content = name + padded(note.n_namesz);
    at += sizeof(note) + padded(note.n_namesz) + padded(note.n_descsz);
    if (at > bytes) break;
    if (note.n_type != NT_GNU_BUILD_ID ||
        std::string_view(name, note.n_namesz) != std::string_view(ELF_NOTE_GNU, sizeof(ELF_NOTE_GNU)))
      continue;
    std::string build;
    for (const char byte : std::string_view(content, note.n_descsz))
      build += fmt::format("{:02x}", static_cast<unsigned char>(byte));
    return build;
  }
  return {};
}

std::string build_of(const dl_phdr_info& info) {
  for (int i = 0; i < info.dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = info.dlpi_phdr[i];
    if (segment.p_type != PT_NOTE) continue;
    // NOLINTNEXTLINE(performance-no-int-to-ptr): this is how the loader tells addresses
    const auto* notes = reinterpret_cast<const char*>(info.dlpi_addr + segment.p_vaddr);
    const std::string build = build_in(notes, segment.p_memsz);
    if (!build.empty()) return build;
  }
  return {};
}

int add_library(dl_phdr_info* info, std::size_t /*size*/, void* list) {
  auto& libraries = *static_cast<std::vector<LoadedLibrary>*>(list);
  const bool program = libraries.empty();
  const std::filesystem::path path = program ? "/proc/self/exe" : info->dlpi_name;
  if (!path.has_parent_path()) return 0;  // the kernel's own
  std::error_code ignored;
  const auto file = std::filesystem::canonical(path, ignored);
  std::string build = build_of(*info);
  if (build.empty()) build = fmt::format("{} bytes", std::filesystem::file_size(file, ignored));
  libraries.push_back({program ? "trireme" : path.filename().string(),
                       program ? TRIREME_VERSION : file.filename().string(), std::move(build)});
  return 0;
}

}  // namespace

std::vector<LoadedLibrary> loaded_libraries() {
  std::vector<LoadedLibrary> libraries;
  dl_iterate_phdr(add_library, &libraries);
  return libraries;
}

std::vector<LoadedLibrary> differing(const std::vector<LoadedLibrary>& mine, const std::vector<LoadedLibrary>& others) {
  std::vector<LoadedLibrary> result;
  for (const LoadedLibrary& library : mine) {
    const auto other = std::ranges::find(others, library.name, &LoadedLibrary::name);
    if (other != others.end() && *other != library) result.push_back(library);
  }
  return result;
}

}  // namespace trireme
