// A small HTTP server (CivetWeb) that answers GET on a few fixed paths.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "app/monitor/listen_address.h"

namespace trireme {

struct Answer {
  int status = 200;
  std::string body;
  std::function<void()> sent;  ///< called when it is; may be empty
};

class HttpServer {
 public:
  struct Page {
    std::string path;
    std::function<Answer()> answer;  ///< called on the server's threads, also at once
  };

  /// Fails where the port cannot be had.
  HttpServer(const ListenAddress& address, std::vector<Page> pages);
  /// Returns when every answer under way is given.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
