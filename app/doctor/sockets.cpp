#include "app/doctor/sockets.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <set>

namespace trireme {
namespace {

constexpr unsigned established_state = 1;
constexpr unsigned connecting_state = 2;

/// Inodes of the sockets that this process has open, as /proc/net/tcp names them.
std::set<std::string> own_sockets() {
  std::set<std::string> inodes;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", error)) {
    const std::string target = std::filesystem::read_symlink(entry.path(), error).string();
    if (target.starts_with("socket:[")) inodes.insert(target.substr(8, target.size() - 9));
  }
  return inodes;
}

std::string text_of(int family, const void* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(family, address, text.data(), text.size());
  return text.data();
}

/// Interface of each address of this host.
std::map<std::string, std::string> own_addresses() {
  std::map<std::string, std::string> interfaces;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return interfaces;
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owner(list, freeifaddrs);
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr) continue;
    if (each->ifa_addr->sa_family == AF_INET) {
      sockaddr_in address{};
      std::memcpy(&address, each->ifa_addr, sizeof(address));
      interfaces[text_of(AF_INET, &address.sin_addr)] = each->ifa_name;
    } else if (each->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 address{};
      std::memcpy(&address, each->ifa_addr, sizeof(address));
      interfaces[text_of(AF_INET6, &address.sin6_addr)] = each->ifa_name;
    }
  }
  return interfaces;
}

double interface_speed(const std::string& interface) {
  std::ifstream file("/sys/class/net/" + interface + "/speed");
  double megabits = 0;
  return file >> megabits && megabits > 0 ? megabits * 1e6 : 0;
}

/// "0100007F" or 32 digits: words in the byte order of this host. IPv4 in IPv6 becomes IPv4.
std::string address_of(const std::string& digits) {
  std::array<std::uint32_t, 4> words{};
  for (std::size_t i = 0; i < digits.size() / 8 && i < words.size(); ++i)
    words[i] = static_cast<std::uint32_t>(std::stoul(digits.substr(8 * i, 8), nullptr, 16));
  if (digits.size() == 8) return text_of(AF_INET, words.data());
  const bool mapped = words[0] == 0 && words[1] == 0 && words[2] == htonl(0xffff);
  return mapped ? text_of(AF_INET, &words[3]) : text_of(AF_INET6, words.data());
}

}  // namespace

std::vector<Connection> connections_to_other_hosts() {
  const auto sockets = own_sockets();
  const auto interfaces = own_addresses();
  std::vector<Connection> connections;
  for (const char* table : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
    std::ifstream file(table);
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      std::array<char, 40> local{}, remote{}, inode{};
      unsigned port = 0;
      unsigned state = 0;
      if (std::sscanf(line.c_str(), "%*d: %39[0-9A-F]:%*x %39[0-9A-F]:%x %x %*s %*s %*s %*d %*d %39s", local.data(),
                      remote.data(), &port, &state, inode.data()) != 5)
        continue;
      if ((state != established_state && state != connecting_state) || !sockets.contains(inode.data())) continue;
      const std::string here = address_of(local.data());
      const std::string there = address_of(remote.data());
      if (interfaces.contains(there)) continue;
      const auto interface = interfaces.find(here);
      const std::string name = interface == interfaces.end() ? "" : interface->second;
      connections.push_back(
          {name, here, fmt::format("{}:{}", there, port), state == established_state, interface_speed(name)});
    }
  }
  return connections;
}

}  // namespace trireme
