#include "io/mirror/http.h"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdlib>

#include "io/mirror/sha256.h"

namespace trireme::mirror {
namespace {

constexpr long connect_seconds = 10;
constexpr long slowest_bytes_per_second = 1000, slow_seconds = 30;
constexpr long continue_milliseconds = 300;  // servers that know no "100 Continue" get the body after that

using Headers = std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)>;

void add(Headers& headers, const std::string& line) {
  curl_slist* longer = curl_slist_append(headers.get(), line.c_str());
  if (longer == nullptr) fail("libcurl has no memory for a header");
  [[maybe_unused]] const curl_slist* same = headers.release();
  headers.reset(longer);
}

/// What an answer goes into, while it comes.
struct Receiver {
  HttpAnswer answer;
  std::int64_t most;
  std::stop_token stop;
};

std::size_t take_body(char* data, std::size_t, std::size_t count, void* target) {
  auto& receiver = *static_cast<Receiver*>(target);
  if (std::ssize(receiver.answer.body) + static_cast<std::int64_t>(count) > receiver.most) return 0;
  receiver.answer.body.append(data, count);
  return count;
}

std::size_t take_header(char* data, std::size_t, std::size_t count, void* target) {
  auto& headers = static_cast<Receiver*>(target)->answer.headers;
  const std::string_view line(data, count);
  const auto colon = line.find(':');
  if (colon == std::string_view::npos || headers.size() > 100) return count;
  std::string name(line.substr(0, colon));
  std::ranges::transform(name, name.begin(), [](unsigned char letter) { return std::tolower(letter); });
  const auto begin = std::min(line.find_first_not_of(" \t", colon + 1), line.size());
  const auto end = line.find_last_not_of(" \t\r\n") + 1;
  headers[name] = begin < end ? line.substr(begin, end - begin) : "";
  return count;
}

int stop_where_asked(void* target, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Receiver*>(target)->stop.stop_requested() ? 1 : 0;
}

}  // namespace

struct HttpClient::Connection {
  Connection() : handle(curl_easy_init()) {
    if (handle == nullptr) fail("libcurl cannot begin a connection");
  }
  ~Connection() { curl_easy_cleanup(handle); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  template <typename Value>
  void set(CURLoption option, Value value) {
    if (const CURLcode code = curl_easy_setopt(handle, option, value); code != CURLE_OK)
      fail("libcurl refuses an option: {}", curl_easy_strerror(code));
  }

  CURL* handle;
};

HttpClient::HttpClient(S3Access access, std::stop_token stop) : access_(std::move(access)), stop_(std::move(stop)) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (ready != CURLE_OK) fail("libcurl cannot be used: {}", curl_easy_strerror(ready));
}
HttpClient::~HttpClient() = default;

std::unique_ptr<HttpClient::Connection> HttpClient::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<Connection>();
  auto connection = std::move(idle_.back());
  idle_.pop_back();
  curl_easy_reset(connection->handle);  // keeps what is open
  return connection;
}

void HttpClient::give_back(std::unique_ptr<Connection> connection) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(connection));
}

HttpAnswer HttpClient::send(const HttpRequest& request) {
  auto connection = take();
  Receiver receiver{.answer = {}, .most = request.most, .stop = stop_};
  std::array<char, CURL_ERROR_SIZE> reason{};
  Headers headers(nullptr, &curl_slist_free_all);
  // Signed with the rest: the server refuses a body that changed on its way.
  add(headers, "x-amz-content-sha256: " + (request.sha256.empty() ? sha256(request.body) : request.sha256));
  if (!access_.token.empty()) add(headers, "x-amz-security-token: " + access_.token);
  if (!request.body.empty()) add(headers, "Content-Type: application/octet-stream");
  for (const std::string& header : request.headers) add(headers, header);

  const std::string url = access_.endpoint + request.path + (request.query.empty() ? "" : "?" + request.query);
  const std::string signature = fmt::format("aws:amz:{}:s3", access_.region);
  connection->set(CURLOPT_URL, url.c_str());
  connection->set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  if (request.method == "PUT" || request.method == "POST") {
    connection->set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    connection->set(CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
  }
  connection->set(CURLOPT_HTTPHEADER, headers.get());
  connection->set(CURLOPT_AWS_SIGV4, signature.c_str());
  connection->set(CURLOPT_USERNAME, access_.key.c_str());
  connection->set(CURLOPT_PASSWORD, access_.secret.c_str());
  connection->set(CURLOPT_PROTOCOLS_STR, "http,https");
  connection->set(CURLOPT_NOSIGNAL, 1L);
  connection->set(CURLOPT_CONNECTTIMEOUT, connect_seconds);
  connection->set(CURLOPT_LOW_SPEED_LIMIT, slowest_bytes_per_second);
  connection->set(CURLOPT_LOW_SPEED_TIME, slow_seconds);
  connection->set(CURLOPT_EXPECT_100_TIMEOUT_MS, continue_milliseconds);
  connection->set(CURLOPT_ERRORBUFFER, reason.data());
  connection->set(CURLOPT_WRITEFUNCTION, &take_body);
  connection->set(CURLOPT_WRITEDATA, &receiver);
  connection->set(CURLOPT_HEADERFUNCTION, &take_header);
  connection->set(CURLOPT_HEADERDATA, &receiver);
  connection->set(CURLOPT_NOPROGRESS, 0L);
  connection->set(CURLOPT_XFERINFOFUNCTION, &stop_where_asked);
  connection->set(CURLOPT_XFERINFODATA, &receiver);
  if (const char* authorities = std::getenv("AWS_CA_BUNDLE"); authorities != nullptr && *authorities != '\0')
    connection->set(CURLOPT_CAINFO, authorities);

  const CURLcode code = curl_easy_perform(connection->handle);
  if (code != CURLE_OK) {  // and the connection is not used again
    if (stop_.stop_requested()) throw NoAnswer("stopped");
    if (code == CURLE_WRITE_ERROR) throw NoAnswer(fmt::format("the answer has more than {} bytes", request.most));
    throw NoAnswer(reason.front() != '\0' ? reason.data() : curl_easy_strerror(code));
  }
  long status = 0;
  curl_easy_getinfo(connection->handle, CURLINFO_RESPONSE_CODE, &status);
  receiver.answer.status = static_cast<int>(status);
  give_back(std::move(connection));
  return std::move(receiver.answer);
}

}  // namespace trireme::mirror
