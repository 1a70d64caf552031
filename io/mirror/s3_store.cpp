#include "io/mirror/s3_store.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <condition_variable>
#include <random>
#include <set>

#include "io/checkpoint/checkpoint.h"
#include "kernels/error.h"

namespace trireme::mirror {
namespace {

constexpr std::int64_t smallest_part = std::int64_t{8} << 20;
constexpr std::int64_t most_parts = 10'000;

/// What stands between <tag> and </tag>, each time.
std::vector<std::string> elements(const std::string& xml, const std::string& tag) {
  std::vector<std::string> found;
  const std::string begin = "<" + tag + ">";
  const std::string end = "</" + tag + ">";
  for (auto at = xml.find(begin); at != std::string::npos; at = xml.find(begin, at)) {
    at += begin.size();
    const auto after = xml.find(end, at);
    if (after == std::string::npos) break;
    found.push_back(xml.substr(at, after - at));
    at = after;
  }
  return found;
}

std::string unescaped(std::string text) {
  constexpr std::array<std::pair<std::string_view, char>, 5> entities{
      {{"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}, {"&amp;", '&'}}};
  for (const auto& [entity, letter] : entities)
    for (auto at = text.find(entity); at != std::string::npos; at = text.find(entity, at + 1))
      text.replace(at, entity.size(), 1, letter);
  return text;
}

std::string element(const std::string& xml, const std::string& tag) {
  const auto found = elements(xml, tag);
  return found.empty() ? "" : unescaped(found.front());
}

std::string encoded(const std::string& text) {
  std::string result;
  for (const char letter : text) {
    const bool plain = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                       (letter >= '0' && letter <= '9') || std::string_view("-_.~").find(letter) != std::string::npos;
    result += plain ? std::string(1, letter) : fmt::format("%{:02X}", static_cast<unsigned char>(letter));
  }
  return result;
}

std::string query_of(const std::map<std::string, std::string>& arguments) {
  std::string query;
  for (const auto& [name, value] : arguments)
    query += fmt::format("{}{}={}", query.empty() ? "" : "&", name, encoded(value));
  return query;
}

/// What the server said, in a line; of its page only code and message, which tell no secrets.
std::string said(const HttpAnswer& answer) {
  const std::string code = element(answer.body, "Code");
  const std::string message = element(answer.body, "Message");
  return fmt::format("HTTP {}{}{}{}{}", answer.status, code.empty() ? "" : " ", code, message.empty() ? "" : ": ",
                     message.substr(0, 300));
}

bool may_pass(const HttpAnswer& answer) {
  constexpr std::array codes{
      "BadDigest", "XAmzContentSHA256Mismatch", "RequestTimeout", "IncompleteBody", "InternalError", "SlowDown"};
  if (answer.status >= 500 || answer.status == 429 || answer.status == 408) return true;
  return std::ranges::find(codes, element(answer.body, "Code")) != codes.end();
}

bool is_success(const HttpAnswer& answer) {
  // What takes the server long begins with 200, and may yet end with an error.
  return answer.status / 100 == 2 && answer.body.substr(0, 200).find("<Error>") == std::string::npos;
}

class S3Upload : public Upload {
 public:
  S3Upload(S3Store& store, std::string name, std::int64_t file_bytes) : store_(store), name_(std::move(name)) {
    const auto parts = (file_bytes + store.part_bytes(file_bytes) - 1) / store.part_bytes(file_bytes);
    if (parts <= 1) return;
    tags_.resize(static_cast<std::size_t>(parts));
    const auto begun = store_.ask({.method = "POST", .path = {}, .query = "uploads=", .headers = {}}, name_);
    id_ = element(begun.body, "UploadId");
    if (id_.empty()) fail("{}: the server gave the upload no id", store_.describe(name_));
  }
  ~S3Upload() override {
    if (id_.empty() || finished_) return;
    try {
      store_.ask({.method = "DELETE", .path = {}, .query = query_of({{"uploadId", id_}}), .headers = {}}, name_, {404});
    } catch (const std::exception&) {  // NOLINT(bugprone-empty-catch): the next retention removes it
    }
  }
  S3Upload(const S3Upload&) = delete;
  S3Upload& operator=(const S3Upload&) = delete;

  void part(int number, std::int64_t /*offset*/, std::string_view bytes, const std::string& sha256) override {
    HttpRequest request{.method = "PUT", .path = {}, .query = {}, .headers = {}, .body = bytes, .sha256 = sha256};
    if (!id_.empty()) request.query = query_of({{"partNumber", std::to_string(number + 1)}, {"uploadId", id_}});
    const HttpAnswer answer = store_.ask(request, name_);
    if (id_.empty()) return;
    const auto tag = answer.headers.find("etag");
    if (tag == answer.headers.end()) fail("{}: the server gave part {} no tag", store_.describe(name_), number + 1);
    tags_.at(static_cast<std::size_t>(number)) = tag->second;
  }

  void finish() override {
    if (!id_.empty()) {
      std::string list = "<CompleteMultipartUpload>";
      for (std::size_t i = 0; i < tags_.size(); ++i)
        list += fmt::format("<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>", i + 1, tags_[i]);
      list += "</CompleteMultipartUpload>";
      store_.ask({.method = "POST", .path = {}, .query = query_of({{"uploadId", id_}}), .headers = {}, .body = list},
                 name_);
    }
    finished_ = true;
  }

 private:
  S3Store& store_;
  const std::string name_;
  std::string id_;  ///< empty: one request is all
  std::vector<std::string> tags_;
  bool finished_ = false;
};

}  // namespace

S3Store::S3Store(std::string bucket, std::string prefix, S3Access access, std::stop_token stop, Persistence persistence)
    : bucket_(std::move(bucket)),
      prefix_(std::move(prefix)),
      stop_(stop),
      persistence_(persistence),
      http_(std::move(access), std::move(stop)) {}

std::string S3Store::key(const std::string& name) const {
  return prefix_.empty() || name.empty() ? prefix_ + name : prefix_ + "/" + name;
}

std::string S3Store::describe(const std::string& name) const { return fmt::format("s3://{}/{}", bucket_, key(name)); }

void S3Store::wait_before(int attempt) const {
  if (attempt == 1) return;
  thread_local std::minstd_rand random{std::random_device{}()};
  const double share = std::uniform_real_distribution(0.5, 1.0)(random);
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_for(lock, stop_, share * persistence_.first_wait * (1 << std::min(attempt - 2, 10)), [] { return false; });
}

HttpAnswer S3Store::ask(HttpRequest request, const std::string& name, std::initializer_list<int> also) {
  request.path = "/" + bucket_ + (name.empty() ? "" : "/" + key(name));
  std::string problem;
  for (int attempt = 1; attempt <= persistence_.attempts && (attempt == 1 || !stop_.stop_requested()); ++attempt) {
    wait_before(attempt);
    try {
      HttpAnswer answer = http_.send(request);
      if (is_success(answer) || std::ranges::find(also, answer.status) != also.end()) return answer;
      problem = said(answer);
      if (!may_pass(answer)) break;
    } catch (const NoAnswer& error) {
      problem = error.what();
    }
  }
  fail("{}: {} failed: {}", describe(name), request.method, problem);
}

void S3Store::for_pages(const std::string& folder, std::map<std::string, std::string> arguments,
                        const std::map<std::string, std::string>& next,
                        const std::function<void(const std::string&)>& take) {
  const std::string whole = key(folder);
  arguments["prefix"] = whole.empty() ? "" : whole + "/";
  while (true) {
    const HttpAnswer page = ask({.method = "GET", .path = {}, .query = query_of(arguments), .headers = {}}, "");
    take(page.body);
    if (element(page.body, "IsTruncated") != "true") return;
    for (const auto& [argument, tag] : next) arguments[argument] = element(page.body, tag);
  }
}

std::vector<std::pair<std::string, std::string>> S3Store::unfinished_uploads(const std::string& folder) {
  std::vector<std::pair<std::string, std::string>> uploads;
  const auto own = prefix_.empty() ? 0 : prefix_.size() + 1;
  for_pages(folder, {{"uploads", ""}}, {{"key-marker", "NextKeyMarker"}, {"upload-id-marker", "NextUploadIdMarker"}},
            [&](const std::string& page) {
              for (const std::string& upload : elements(page, "Upload"))
                uploads.emplace_back(element(upload, "Key").substr(own), element(upload, "UploadId"));
            });
  return uploads;
}

std::vector<StoredEntry> S3Store::list(const std::string& folder) {
  std::vector<StoredEntry> objects;
  std::set<std::string> folders;
  const std::string whole = key(folder);
  const auto above = whole.empty() ? 0 : whole.size() + 1;
  for_pages(folder, {{"list-type", "2"}, {"delimiter", "/"}}, {{"continuation-token", "NextContinuationToken"}},
            [&](const std::string& page) {
              for (const std::string& object : elements(page, "Contents")) {
                std::int64_t bytes = 0;
                const std::string size = element(object, "Size");
                std::from_chars(size.data(), size.data() + size.size(), bytes);
                objects.push_back({.name = element(object, "Key").substr(above), .bytes = bytes});
              }
              for (const std::string& common : elements(page, "CommonPrefixes")) {
                const std::string name = element(common, "Prefix").substr(above);
                folders.insert(name.substr(0, name.find('/')));
              }
            });
  const auto below = folder.empty() ? 0 : folder.size() + 1;
  for (const auto& [name, id] : unfinished_uploads(folder))
    if (const auto slash = name.find('/', below); slash != std::string::npos)
      folders.insert(name.substr(below, slash - below));
  for (const std::string& name : folders) objects.push_back({.name = name, .folder = true});
  return objects;
}

std::string S3Store::read(const std::string& name, std::int64_t offset, std::int64_t count) {
  constexpr int behind_the_end = 416;
  constexpr int missing = 404;
  if (count == 0) return {};
  const std::string range = fmt::format("Range: bytes={}-{}", offset, offset + count - 1);
  HttpAnswer answer = ask(
      {.method = "GET", .path = {}, .query = {}, .headers = {range}, .body = {}, .sha256 = {}, .most = count + 4096},
      name, {behind_the_end, missing});
  if (answer.status == missing) throw DamagedCheckpoint(fmt::format("{}: {}", describe(name), said(answer)));
  if (answer.status == behind_the_end) return {};
  if (std::ssize(answer.body) > count) fail("{}: the server sent more than it was asked for", describe(name));
  if (answer.status == 200 && offset > 0) fail("{}: the server cannot read from the middle", describe(name));
  return std::move(answer.body);
}

void S3Store::write(const std::string& name, std::string_view bytes) {
  ask({.method = "PUT", .path = {}, .query = {}, .headers = {}, .body = bytes}, name);
}

std::int64_t S3Store::part_bytes(std::int64_t file_bytes) const {
  return std::max(smallest_part, (file_bytes + most_parts - 1) / most_parts);
}

std::unique_ptr<Upload> S3Store::upload(const std::string& name, std::int64_t file_bytes) {
  return std::make_unique<S3Upload>(*this, name, file_bytes);
}

void S3Store::remove(const std::string& name) {
  ask({.method = "DELETE", .path = {}, .query = {}, .headers = {}}, name, {404});
}

void S3Store::remove_folder(const std::string& folder) {
  for (const auto& [name, id] : unfinished_uploads(folder))
    ask({.method = "DELETE", .path = {}, .query = query_of({{"uploadId", id}}), .headers = {}}, name, {404});
  std::vector<std::string> names;
  const auto own = prefix_.empty() ? 0 : prefix_.size() + 1;
  for_pages(folder, {{"list-type", "2"}}, {{"continuation-token", "NextContinuationToken"}},
            [&](const std::string& page) {
              for (const std::string& object : elements(page, "Contents"))
                names.push_back(element(object, "Key").substr(own));
            });
  for (const std::string& name : names) remove(name);
}

}  // namespace trireme::mirror
