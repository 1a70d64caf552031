// tests/support/s3/server.py for the lifetime of an object.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>

#include "tests/support/programs.h"

namespace trireme::test {

class S3Server {
 public:
  static constexpr const char* key = "AKIDTEST";
  static constexpr const char* secret = "top/secret+value";

  S3Server() {
    std::array<int, 2> in{};
    std::array<int, 2> out{};
    if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0)
      throw std::runtime_error("no pipe can be made");
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, in[0], 0);
    ::posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    const std::string script = s3_server_script();
    const char* words[] = {"python3", script.c_str(), nullptr};
    const int failed = ::posix_spawnp(&process_, "python3", &actions, nullptr, const_cast<char**>(words), environ);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    stdin_ = in[1];
    FILE* answers = ::fdopen(out[0], "r");
    if (failed != 0 || std::fscanf(answers, "%d", &port_) != 1) throw std::runtime_error(script + " does not start");
    std::fclose(answers);
  }
  ~S3Server() {
    ::close(stdin_);
    ::waitpid(process_, nullptr, 0);
  }
  S3Server(const S3Server&) = delete;
  S3Server& operator=(const S3Server&) = delete;

  std::string endpoint() const { return "http://127.0.0.1:" + std::to_string(port_); }
  /// See the script.
  void add_fault(const std::string& line) const { ask("POST", "/_faults", line); }
  nlohmann::json state() const { return nlohmann::json::parse(ask("GET", "/_state", "")); }
  /// Requests so far that contain these words: "PUT /bucket/".
  int count(const std::string& words) const {
    int number = 0;
    const auto all = state();
    for (const std::string line : all["requests"]) number += line.find(words) != std::string::npos ? 1 : 0;
    return number;
  }

 private:
  std::string ask(const std::string& method, const std::string& path, const std::string& body) const {
    const int connection = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (::connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
      throw std::runtime_error("the S3 server does not answer");
    const std::string request = method + " " + path +
                                " HTTP/1.1\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
                                "\r\n\r\n" + body;
    std::string answer;
    if (::write(connection, request.data(), request.size()) == std::ssize(request)) {
      std::array<char, 65536> piece{};
      for (ssize_t got = 0; (got = ::read(connection, piece.data(), piece.size())) > 0;)
        answer.append(piece.data(), static_cast<std::size_t>(got));
    }
    ::close(connection);
    return answer.substr(answer.find("\r\n\r\n") + 4);
  }

  pid_t process_ = 0;
  int stdin_ = -1;
  int port_ = 0;
};

}  // namespace trireme::test
