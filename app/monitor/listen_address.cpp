#include "app/monitor/listen_address.h"

#include <arpa/inet.h>

#include <array>
#include <charconv>
#include <string_view>

namespace trireme {
namespace {

bool is_address(std::string_view host) {
  std::array<unsigned char, sizeof(in6_addr)> bytes{};
  const bool brackets = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const std::string bare(brackets ? host.substr(1, host.size() - 2) : host);
  return inet_pton(brackets ? AF_INET6 : AF_INET, bare.c_str(), bytes.data()) == 1;
}

}  // namespace

bool read_address(const std::string& text, ListenAddress& address) {
  ListenAddress found;
  std::string port = text;
  if (const auto colon = text.rfind(':'); colon != std::string::npos) {
    found.host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (!is_address(found.host)) return false;
  }
  const char* end = port.data() + port.size();
  const auto result = std::from_chars(port.data(), end, found.port);
  if (result.ec != std::errc{} || result.ptr != end || found.port < 0 || found.port > 65535) return false;
  address = found;
  return true;
}

}  // namespace trireme
