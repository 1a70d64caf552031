// A mirror in a bucket of Amazon S3, or of a server that speaks its protocol.
#pragma once

#include <chrono>
#include <functional>
#include <initializer_list>

#include "io/mirror/http.h"
#include "io/mirror/object_store.h"
#include "io/mirror/s3_access.h"

namespace trireme::mirror {

/// How often a request is sent when it fails in a way that may pass: no answer, 5xx, "slow down", a body that arrived
/// damaged. Before each attempt but the first it waits, twice as long each time, less a random share of up to a half.
struct Persistence {
  int attempts = 6;
  std::chrono::milliseconds first_wait{250};
};

class S3Store : public ObjectStore {
 public:
  S3Store(std::string bucket, std::string prefix, S3Access access, std::stop_token stop, Persistence persistence = {});

  std::string describe(const std::string& name) const override;
  std::vector<StoredEntry> list(const std::string& folder) override;
  std::string read(const std::string& name, std::int64_t offset, std::int64_t count) override;
  void write(const std::string& name, std::string_view bytes) override;
  /// 8 MiB, or what 10,000 parts need.
  std::int64_t part_bytes(std::int64_t file_bytes) const override;
  std::unique_ptr<Upload> upload(const std::string& name, std::int64_t file_bytes) override;
  void remove(const std::string& name) override;
  void remove_folder(const std::string& folder) override;

  /// Sends a request about an object ("": the bucket) until it succeeds, or is answered with a status of `also`. Throws
  /// what the server said.
  HttpAnswer ask(HttpRequest request, const std::string& name, std::initializer_list<int> also = {});

 private:
  /// The object's key in the bucket: behind the prefix.
  std::string key(const std::string& name) const;
  void wait_before(int attempt) const;
  /// Calls `take` with each page of a listing of what begins with a folder's name. `next`: which element of a page
  /// tells which argument of the next.
  void for_pages(const std::string& folder, std::map<std::string, std::string> arguments,
                 const std::map<std::string, std::string>& next, const std::function<void(const std::string&)>& take);
  /// Keys below a folder, at any depth, with the ids of uploads that were begun and not finished.
  std::vector<std::pair<std::string, std::string>> unfinished_uploads(const std::string& folder);

  std::string bucket_, prefix_;
  std::stop_token stop_;
  Persistence persistence_;
  HttpClient http_;
};

}  // namespace trireme::mirror
