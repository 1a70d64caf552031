#include "io/mirror/sha256.h"

#include <openssl/evp.h>

#include <array>

#include "kernels/error.h"

namespace trireme::mirror {

std::string sha256(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr) != 1)
    fail("OpenSSL cannot compute SHA-256");
  std::string text;
  for (unsigned i = 0; i < size; ++i) text += fmt::format("{:02x}", digest.at(i));
  return text;
}

}  // namespace trireme::mirror
