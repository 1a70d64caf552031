#include "io/mirror/s3_access.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "kernels/error.h"

namespace trireme::mirror {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string first_of(std::initializer_list<std::string> values) {
  for (const std::string& value : values)
    if (!value.empty()) return value;
  return {};
}

std::string trimmed(const std::string& text) {
  const auto begin = text.find_first_not_of(" \t\r");
  return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r") + 1 - begin);
}

std::filesystem::path file_of(const char* name, const char* usual) {
  const std::string given = variable(name);
  return given.empty() ? std::filesystem::path(variable("HOME")) / ".aws" / usual : std::filesystem::path(given);
}

/// The settings of one section; nothing where there is no such file.
std::map<std::string, std::string> read_section(const std::filesystem::path& path, const std::string& wanted) {
  std::map<std::string, std::string> settings;
  std::ifstream file(path);
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    line = trimmed(line);
    if (line.starts_with('[')) inside = trimmed(line.substr(1, line.find(']') - 1)) == wanted;
    const auto equals = line.find('=');
    if (inside && !line.starts_with('#') && equals != std::string::npos)
      settings[trimmed(line.substr(0, equals))] = trimmed(line.substr(equals + 1));
  }
  return settings;
}

std::string find_endpoint(const std::string& region) {
  std::string endpoint = first_of({variable("AWS_ENDPOINT_URL_S3"), variable("AWS_ENDPOINT_URL")});
  if (endpoint.empty()) return fmt::format("https://s3.{}.amazonaws.com", region);
  while (endpoint.ends_with('/')) endpoint.pop_back();
  const auto host = endpoint.find("://");
  const bool known = endpoint.starts_with("http://") || endpoint.starts_with("https://");
  if (!known || endpoint.find_first_of("@/?#", host + 3) != std::string::npos)
    refuse("AWS_ENDPOINT_URL: found something else than http://HOST[:PORT] or https://HOST[:PORT]");
  return endpoint;
}

}  // namespace

S3Access find_s3_access() {
  const std::string profile = first_of({variable("AWS_PROFILE"), "default"});
  const auto config = file_of("AWS_CONFIG_FILE", "config");
  S3Access access{.key = variable("AWS_ACCESS_KEY_ID"),
                  .secret = variable("AWS_SECRET_ACCESS_KEY"),
                  .token = variable("AWS_SESSION_TOKEN"),
                  .region = first_of({variable("AWS_REGION"), variable("AWS_DEFAULT_REGION"),
                                      read_section(config, profile)["region"],
                                      read_section(config, "profile " + profile)["region"], "us-east-1"}),
                  .endpoint = {}};
  access.endpoint = find_endpoint(access.region);
  if (!access.key.empty() && !access.secret.empty()) return access;
  const auto file = file_of("AWS_SHARED_CREDENTIALS_FILE", "credentials");
  auto stored = read_section(file, profile);
  access.key = stored["aws_access_key_id"];
  access.secret = stored["aws_secret_access_key"];
  access.token = stored["aws_session_token"];
  if (access.key.empty() || access.secret.empty())
    refuse(
        "checkpoint.mirror: found no credentials, expected AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the "
        "environment, or aws_access_key_id and aws_secret_access_key of [{}] in {}",
        profile, file.string());
  return access;
}

}  // namespace trireme::mirror
