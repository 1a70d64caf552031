// Asks a server on this machine.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <string>

namespace trireme::test {

struct HttpAnswer {
  int status = 0;  ///< 0: nobody answered
  std::string body;
};

/// Sends a request to 127.0.0.1 and reads until the server closes.
inline HttpAnswer http(int port, const std::string& path, const std::string& method = "GET") {
  HttpAnswer answer;
  const int connection = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const std::string request = method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  std::string text;
  if (::connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
      ::send(connection, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
    std::array<char, 4096> part{};
    for (ssize_t length = 0; (length = ::recv(connection, part.data(), part.size(), 0)) > 0;)
      text.append(part.data(), static_cast<std::size_t>(length));
  }
  ::close(connection);
  if (text.starts_with("HTTP/1.1 ")) answer.status = std::atoi(text.c_str() + 9);
  const auto end = text.find("\r\n\r\n");
  if (end != std::string::npos) answer.body = text.substr(end + 4);
  return answer;
}

}  // namespace trireme::test
