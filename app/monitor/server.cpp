#include "app/monitor/server.h"

#include <civetweb.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <exception>
#include <string_view>

#include "kernels/error.h"

namespace trireme {
namespace {

constexpr std::array<const char*, 10> names = {"num_threads",       "2",    "request_timeout_ms",       "5000",
                                               "linger_timeout_ms", "1000", "enable_directory_listing", "no",
                                               "listening_ports"};

/// False where the other side, or the server's end, cut it short.
bool send(mg_connection* connection, const Answer& answer, bool with_body) {
  std::string text = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n"
      "Cache-Control: no-store\r\nConnection: close\r\n\r\n",
      answer.status, mg_get_response_code_text(connection, answer.status), answer.body.size());
  if (with_body) text += answer.body;
  return mg_write(connection, text.data(), text.size()) == static_cast<int>(text.size());
}

}  // namespace

struct HttpServer::State {
  std::vector<Page> pages;
  std::string complaint;  ///< of the start
  std::atomic<bool> starting{true};
  mg_context* context = nullptr;

  /// CivetWeb matches beginnings of paths; here a path is meant whole.
  Answer answer(std::string_view path) const {
    for (const Page& page : pages)
      if (page.path == path) return page.answer();
    return {404, "not found\n", {}};
  }

  static int handle(mg_connection* connection, void* data) {
    const mg_request_info* request = mg_get_request_info(connection);
    const std::string_view method(request->request_method);
    Answer answer{405, "only GET and HEAD\n", {}};
    try {
      if (method == "GET" || method == "HEAD") answer = static_cast<State*>(data)->answer(request->local_uri);
    } catch (const std::exception& error) {  // CivetWeb is C
      answer = {500, std::string(error.what()) + "\n", {}};
    }
    if (send(connection, answer, method != "HEAD") && answer.sent) answer.sent();
    return answer.status;
  }
  static int complain(const mg_connection* connection, const char* message) {
    auto* state = static_cast<State*>(mg_get_user_data(mg_get_context(connection)));
    if (state != nullptr && state->starting && state->complaint.empty()) state->complaint = message;
    return 1;  // not to CivetWeb's own log
  }
};

HttpServer::HttpServer(const ListenAddress& address, std::vector<Page> pages) : state_(std::make_unique<State>()) {
  state_->pages = std::move(pages);
  const std::string port = fmt::format("{}:{}", address.host, address.port);
  std::array<const char*, names.size() + 1> options{};
  std::ranges::copy(names, options.begin());
  options[names.size() - 1] = port.c_str();
  mg_callbacks callbacks{};
  callbacks.log_message = State::complain;
  state_->context = mg_start(&callbacks, state_.get(), options.data());
  state_->starting = false;
  if (state_->context == nullptr)
    fail("monitor.listen: {} cannot be listened on ({}); another program may have the port", port,
         state_->complaint.empty() ? "no reason given" : state_->complaint);
  mg_set_request_handler(state_->context, "/", State::handle, state_.get());
}

HttpServer::~HttpServer() { mg_stop(state_->context); }

int HttpServer::port() const {
  mg_server_port port{};
  return mg_get_server_ports(state_->context, 1, &port) == 1 ? port.port : 0;
}

}  // namespace trireme
