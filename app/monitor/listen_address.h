// The address of monitor.listen.
#pragma once

#include <string>

namespace trireme {

/// Where to listen.
struct ListenAddress {
  std::string host = "127.0.0.1";  ///< as it was given, an IPv6 address in brackets
  int port = 0;                    ///< 0: any that is free
};
/// "PORT" or "ADDRESS:PORT"; an IPv6 address stands in brackets. False where it is neither.
bool read_address(const std::string& text, ListenAddress& address);

}  // namespace trireme
