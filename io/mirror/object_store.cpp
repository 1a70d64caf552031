#include "io/mirror/object_store.h"

#include <algorithm>

#include "io/mirror/folder_store.h"
#include "io/mirror/s3_store.h"
#include "kernels/error.h"

namespace trireme::mirror {
namespace {

constexpr std::string_view s3_scheme = "s3://";
constexpr std::string_view plain_characters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

bool consists_of(std::string_view text, std::string_view characters) {
  return text.find_first_not_of(characters) == std::string_view::npos;
}

bool is_bucket(std::string_view name) {
  return name.size() >= 3 && name.size() <= 63 && consists_of(name, "abcdefghijklmnopqrstuvwxyz0123456789-.");
}

std::unique_ptr<ObjectStore> make_bucket(std::string_view rest, std::stop_token stop) {
  while (rest.ends_with('/')) rest.remove_suffix(1);
  const std::string bucket(rest.substr(0, rest.find('/')));
  const std::string prefix(rest.size() > bucket.size() ? rest.substr(bucket.size() + 1) : "");
  // Whoever writes credentials here must not find them in a log.
  if (rest.find('@') != std::string_view::npos)
    refuse(
        "checkpoint.mirror: found '@', expected s3://BUCKET/PREFIX: credentials belong into the environment or "
        "~/.aws/credentials");
  if (!is_bucket(bucket) || !consists_of(prefix, std::string(plain_characters) + "/"))
    refuse(
        "checkpoint.mirror: found '{}{}', expected s3://BUCKET/PREFIX: a bucket of 3 to 63 characters of a-z, 0-9, '-' "
        "and '.', and a prefix of letters, digits, '-', '_', '.' and '/'",
        s3_scheme, rest);
  return std::make_unique<S3Store>(bucket, prefix, find_s3_access(), std::move(stop));
}

}  // namespace

std::unique_ptr<ObjectStore> make_object_store(const std::string& place, std::stop_token stop) {
  if (place.starts_with(s3_scheme))
    return make_bucket(std::string_view(place).substr(s3_scheme.size()), std::move(stop));
  if (place.empty() || place.find("://") != std::string::npos)
    refuse("checkpoint.mirror: found '{}', expected s3://BUCKET/PREFIX or a path", place.substr(0, place.find("://")));
  return std::make_unique<FolderStore>(place);
}

}  // namespace trireme::mirror
