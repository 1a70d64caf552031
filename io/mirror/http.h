// HTTP requests signed for S3, by libcurl.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "io/mirror/s3_access.h"
#include "kernels/error.h"

namespace trireme::mirror {

struct HttpRequest {
  std::string method = "GET";
  std::string path;   ///< "/bucket/key"; plain characters only
  std::string query;  ///< "a=1&b=2", sorted and encoded as signatures want it
  std::vector<std::string> headers;
  std::string_view body;
  std::string sha256;              ///< of the body; computed where it is empty
  std::int64_t most = 16LL << 20;  ///< bytes of the answer; the request fails where there are more
};

struct HttpAnswer {
  int status = 0;
  std::map<std::string, std::string> headers;  ///< names in lower case
  std::string body;
};

/// No answer came: refused, cut, too slow.
class NoAnswer : public Error {
 public:
  using Error::Error;
};

/// Threads may share one; each takes a connection of its own, and connections are used again.
class HttpClient {
 public:
  HttpClient(S3Access access, std::stop_token stop);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  /// Any status is an answer. Throws NoAnswer where there is none, also when a stop is requested meanwhile.
  HttpAnswer send(const HttpRequest& request);

 private:
  struct Connection;
  std::unique_ptr<Connection> take();
  void give_back(std::unique_ptr<Connection> connection);

  S3Access access_;
  std::stop_token stop_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;
};

}  // namespace trireme::mirror
