// Reads the files that runs write for TensorBoard and VisualDL, without either's packages: the texts and images in
// them. Field numbers are those of tensorflow's event.proto and summary.proto, and of VisualDL's record.proto.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/telemetry/event_log.h"

namespace trireme::test {

/// A field of a protocol buffer message.
struct ProtoField {
  std::uint64_t integer = 0;  ///< or the bits of a number
  std::string bytes;
};
using ProtoFields = std::multimap<int, ProtoField>;

inline ProtoFields fields_of(std::string_view message) {
  ProtoFields fields;
  std::size_t at = 0;
  const auto take = [&](std::size_t count) {
    if (count > message.size() - at) throw std::runtime_error("a message ends within a field");
    return message.substr(std::exchange(at, at + count), count);
  };
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(take(1).front());
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.size()) {
    const std::uint64_t key = varint();
    ProtoField field;
    switch (key & 7) {
      case 0:
        field.integer = varint();
        break;
      case 1:
        std::memcpy(&field.integer, take(8).data(), 8);
        break;
      case 2:
        field.bytes = take(varint());
        break;
      case 5:
        std::memcpy(&field.integer, take(4).data(), 4);
        break;
      default:
        throw std::runtime_error("no such wire type");
    }
    fields.emplace(static_cast<int>(key >> 3), std::move(field));
  }
  return fields;
}

/// Its first field of that number; an empty one where it has none.
inline ProtoField field_of(const ProtoFields& fields, int number) {
  const auto found = fields.find(number);
  return found == fields.end() ? ProtoField{} : found->second;
}

/// What files say under a tag, by step. A picture is an encoded image.
struct Told {
  using BySteps = std::map<std::int64_t, std::string>;
  std::map<std::string, BySteps> texts, pictures;
};

/// Calls `take` with what each record of a file holds; `sums` says whether CRCs stand around it.
template <typename Take>
void for_each_record(const std::filesystem::path& file, bool sums, const Take& take) {
  std::ifstream stream(file, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(stream), {}};
  const std::size_t frame = sums ? 4 : 0;
  for (std::size_t at = 0; at < text.size();) {
    std::uint64_t length = 0;
    if (text.size() - at < 8 + 2 * frame) throw std::runtime_error("a record ends within its length");
    std::memcpy(&length, text.data() + at, 8);
    if (length > text.size() - at - 8 - 2 * frame) throw std::runtime_error("a record is cut off");
    const std::string_view head(text.data() + at, 8), data(text.data() + at + 8 + frame, length);
    for (const std::string_view part : {head, data}) {
      std::uint32_t sum = masked_crc32c(part);
      if (sums) std::memcpy(&sum, part.data() + part.size(), 4);
      if (sum != masked_crc32c(part)) throw std::runtime_error("a record has a wrong checksum");
    }
    take(fields_of(data));
    at += 8 + length + 2 * frame;
  }
}

inline Told read_tensorboard(const std::filesystem::path& folder) {
  Told told;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (!file.is_regular_file()) continue;
    for_each_record(file, true, [&](const ProtoFields& event) {
      const ProtoFields value = fields_of(field_of(fields_of(field_of(event, 5).bytes), 1).bytes);
      const std::string tag = field_of(value, 1).bytes;
      const auto step = static_cast<std::int64_t>(field_of(event, 2).integer);
      if (value.contains(8)) told.texts[tag][step] = field_of(fields_of(field_of(value, 8).bytes), 8).bytes;
      if (value.contains(4)) told.pictures[tag][step] = field_of(fields_of(field_of(value, 4).bytes), 4).bytes;
    });
  }
  return told;
}

inline Told read_visualdl(const std::filesystem::path& folder) {
  Told told;
  for (const auto& file : std::filesystem::directory_iterator(folder)) {
    if (!file.is_regular_file()) continue;
    for_each_record(file, false, [&](const ProtoFields& record) {
      const ProtoFields value = fields_of(field_of(record, 1).bytes);
      const std::string tag = field_of(value, 2).bytes;
      const auto step = static_cast<std::int64_t>(field_of(value, 1).integer);
      if (value.contains(12)) told.texts[tag][step] = field_of(fields_of(field_of(value, 12).bytes), 1).bytes;
      if (value.contains(5)) told.pictures[tag][step] = field_of(fields_of(field_of(value, 5).bytes), 4).bytes;
    });
  }
  return told;
}

}  // namespace trireme::test
