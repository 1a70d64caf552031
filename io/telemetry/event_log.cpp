#include "io/telemetry/event_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>
#include <system_error>

#include "kernels/error.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

/// A protocol buffer message under construction.
class Message {
 public:
  Message& integer(int field, std::uint64_t value) {
    key(field, 0);
    varint(value);
    return *this;
  }
  Message& real(int field, double value) { return fixed<std::uint64_t>(field, 1, std::bit_cast<std::uint64_t>(value)); }
  Message& real(int field, float value) { return fixed<std::uint32_t>(field, 5, std::bit_cast<std::uint32_t>(value)); }
  Message& bytes(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    text_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return bytes(field, value.text_); }
  Message& packed(int field, std::span<const double> values) {
    Message inner;
    for (const double value : values) inner.little_endian(std::bit_cast<std::uint64_t>(value));
    return message(field, inner);
  }
  template <typename Word>
  Message& little_endian(Word value) {
    for (std::size_t i = 0; i < sizeof(Word); ++i) text_ += static_cast<char>(value >> (8 * i) & 0xff);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  template <typename Word>
  Message& fixed(int field, int wire_type, Word value) {
    key(field, wire_type);
    return little_endian(value);
  }
  void key(int field, int wire_type) {
    varint(static_cast<std::uint64_t>(field) << 3 | static_cast<unsigned>(wire_type));
  }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) text_ += static_cast<char>(value | 0x80);
    text_ += static_cast<char>(value);
  }
  std::string text_;
};

std::string word(std::uint64_t value) { return Message().little_endian(value).text(); }
std::string word(std::uint32_t value) { return Message().little_endian(value).text(); }

double now() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

/// A file that grows, written with few system calls.
class EventFile {
 public:
  EventFile(const fs::path& folder, std::string_view key, const std::string& name) : path_(folder / name) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (!error) {
      descriptor_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);  // less the umask
      if (descriptor_ < 0) error.assign(errno, std::generic_category());
    }
    if (error) refuse("{}={}: no file can be written there: {}", key, folder.string(), error.message());
  }
  ~EventFile() { ::close(descriptor_); }
  EventFile(const EventFile&) = delete;
  EventFile& operator=(const EventFile&) = delete;

  const fs::path& path() const { return path_; }
  void add(std::string_view bytes) { waiting_ += bytes; }
  void flush() {
    for (std::string_view left = waiting_; !left.empty();) {
      const ssize_t written = ::write(descriptor_, left.data(), left.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail("writing '{}': {}", path_.string(), std::generic_category().message(errno));
      left.remove_prefix(static_cast<std::size_t>(written));
    }
    waiting_.clear();
  }

 private:
  fs::path path_;
  int descriptor_ = -1;
  std::string waiting_;
};

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "host";
}

std::string png_of(const Image& image) {
  const std::vector<std::byte> bytes = encode_png(image);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// TensorBoard takes texts for Markdown, in which this is text that stays as it is.
std::string verbatim(std::string_view text) {
  std::string result = "    ";
  for (const char character : text) {
    result += character;
    if (character == '\n') result += "    ";
  }
  return result;
}

/// Field numbers are those of tensorflow's event.proto and summary.proto.
class TensorBoardLog : public EventLog {
 public:
  TensorBoardLog(const fs::path& folder, std::string_view key, std::int64_t first_step)
      : file_(folder, key, fmt::format("events.out.tfevents.{:010.0f}.{}.{}", now(), host_name(), ::getpid())) {
    add(Message().real(1, now()).bytes(3, "brain.Event:2"));
    constexpr std::uint64_t session_starts = 1;
    add(Message()
            .real(1, now())
            .integer(2, static_cast<std::uint64_t>(first_step))
            .message(7, Message().integer(1, session_starts)));
  }
  void scalar(const std::string& tag, std::int64_t step, double time, double value) override {
    add(step, time, Message().bytes(1, tag).real(2, static_cast<float>(value)));
  }
  void histogram(const std::string& tag, std::int64_t step, double time, const Histogram& histogram) override {
    const Message figures = Message()
                                .real(1, histogram.edges.front())
                                .real(2, histogram.edges.back())
                                .real(3, histogram.count)
                                .real(4, histogram.sum)
                                .real(5, histogram.sum_of_squares)
                                .packed(6, std::span(histogram.edges).subspan(1))
                                .packed(7, histogram.counts);
    add(step, time, Message().bytes(1, tag).message(5, figures));
  }
  void text(const std::string& tag, std::int64_t step, double time, const std::string& text) override {
    constexpr std::uint64_t strings = 7;
    const Message one_dimension = Message().message(2, Message().integer(1, 1));
    const Message tensor = Message().integer(1, strings).message(2, one_dimension).bytes(8, verbatim(text));
    const Message metadata = Message().message(1, Message().bytes(1, "text"));
    add(step, time, Message().bytes(1, tag).message(8, tensor).message(9, metadata));
  }
  void image(const std::string& tag, std::int64_t step, double time, const Image& image) override {
    Message picture;
    picture.integer(1, static_cast<std::uint64_t>(image.height)).integer(2, static_cast<std::uint64_t>(image.width));
    picture.integer(3, static_cast<std::uint64_t>(image.channels)).bytes(4, png_of(image));
    add(step, time, Message().bytes(1, tag).message(4, picture));
  }
  void flush() override { file_.flush(); }

 private:
  void add(std::int64_t step, double time, const Message& value) {
    add(Message().real(1, time).integer(2, static_cast<std::uint64_t>(step)).message(5, Message().message(1, value)));
  }
  void add(const Message& event) {
    const std::string length = word(std::uint64_t{event.text().size()});
    file_.add(length + word(masked_crc32c(length)) + event.text() + word(masked_crc32c(event.text())));
  }
  EventFile file_;
};

/// How much of a file of ours comes before `first_step`, in whole records.
std::uintmax_t length_before(const fs::path& path, std::int64_t first_step) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  std::size_t at = 0;
  for (std::size_t next = at; next + 8 < text.size();) {
    const auto number_at = [&](std::size_t& from, int bits_a_byte) {
      std::uint64_t value = 0;
      for (int shift = 0; from < text.size() && shift < 64; shift += bits_a_byte) {
        const auto byte = static_cast<unsigned char>(text[from++]);
        if (bits_a_byte == 8) {
          value |= std::uint64_t{byte} << shift;
        } else {
          value |= std::uint64_t{byte & 0x7fU} << shift;
          if (byte < 0x80) break;
        }
      }
      return value;
    };
    const std::uint64_t length = number_at(next, 8);
    std::size_t inside = next + 1;  // behind the key of the record's one value
    number_at(inside, 7);           // its length
    ++inside;                       // the key of its step
    const auto step = static_cast<std::int64_t>(number_at(inside, 7));
    if (length > text.size() - next || step >= first_step) break;
    next += length;
    at = next;
  }
  return at;
}

/// Field numbers are those of VisualDL's record.proto. Of a folder it reads the one file with the greatest name, so a
/// run keeps to one.
class VisualDlLog : public EventLog {
 public:
  VisualDlLog(const fs::path& folder, std::string_view key, std::int64_t first_step)
      : file_(folder, key, "vdlrecords.0000000000.log") {
    const std::uintmax_t kept = length_before(file_.path(), first_step);
    fs::resize_file(file_.path(), kept);
    if (kept == 0) add("meta_data_tag", 0, now(), Message().message(10, Message().bytes(1, "")));
  }
  void scalar(const std::string& tag, std::int64_t step, double time, double value) override {
    add(tag, step, time, Message().real(4, static_cast<float>(value)));
  }
  void histogram(const std::string& tag, std::int64_t step, double time, const Histogram& histogram) override {
    add(tag, step, time, Message().message(8, Message().packed(1, histogram.counts).packed(2, histogram.edges)));
  }
  void text(const std::string& tag, std::int64_t step, double time, const std::string& text) override {
    add(tag, step, time, Message().message(12, Message().bytes(1, text)));
  }
  void image(const std::string& tag, std::int64_t step, double time, const Image& image) override {
    add(tag, step, time, Message().message(5, Message().bytes(4, png_of(image))));
  }
  void flush() override { file_.flush(); }

 private:
  void add(const std::string& tag, std::int64_t step, double time, const Message& value) {
    Message entry;
    entry.integer(1, static_cast<std::uint64_t>(step)).bytes(2, tag);
    entry.integer(3, static_cast<std::uint64_t>(std::llround(1000 * time)));
    // A message is the fields of its parts in a row.
    const std::string record = Message().bytes(1, entry.text() + value.text()).text();
    file_.add(word(std::uint64_t{record.size()}) + record);
  }
  EventFile file_;
};

}  // namespace

Histogram histogram_of(std::span<const float> values, int bins) {
  Histogram result;
  double low = std::numeric_limits<double>::infinity();
  double high = -low;
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    low = std::min<double>(low, value);
    high = std::max<double>(high, value);
    result.count += 1;
    result.sum += value;
    result.sum_of_squares += static_cast<double>(value) * value;
  }
  if (result.count == 0) return result;
  if (low == high) high = std::nextafter(static_cast<float>(low), std::numeric_limits<float>::infinity());
  result.counts.resize(static_cast<std::size_t>(bins));
  for (int i = 0; i <= bins; ++i) result.edges.push_back(i == bins ? high : low + (high - low) * i / bins);
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    const int bin = std::min(bins - 1, static_cast<int>((value - low) / (high - low) * bins));
    result.counts[static_cast<std::size_t>(bin)] += 1;
  }
  return result;
}

std::unique_ptr<EventLog> make_tensorboard_log(const fs::path& folder, std::string_view key, std::int64_t first_step) {
  return std::make_unique<TensorBoardLog>(folder, key, first_step);
}

std::unique_ptr<EventLog> make_visualdl_log(const fs::path& folder, std::string_view key, std::int64_t first_step) {
  return std::make_unique<VisualDlLog>(folder, key, first_step);
}

std::uint32_t masked_crc32c(std::string_view data) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
      std::uint32_t remainder = byte;
      for (int bit = 0; bit < 8; ++bit) remainder = remainder >> 1 ^ ((remainder & 1) != 0 ? 0x82f63b78U : 0U);
      entries[byte] = remainder;
    }
    return entries;
  }();
  std::uint32_t crc = ~0U;
  for (const char byte : data) crc = table[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ crc >> 8;
  return std::rotr(~crc, 15) + 0xa282ead8U;
}

}  // namespace trireme
