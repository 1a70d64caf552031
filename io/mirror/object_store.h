// Where copies of checkpoints are kept: objects under names with slashes, in a folder or in a bucket.
#pragma once

#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace trireme::mirror {

/// What a folder of a store holds directly.
struct StoredEntry {
  std::string name;  ///< within the folder
  std::int64_t bytes = 0;
  bool folder = false;
};

/// An object being written piece by piece: it has its name when it is whole, at the latest when finish() returns. One
/// that is destroyed before is given up.
class Upload {
 public:
  virtual ~Upload() = default;
  /// Parts are numbered from 0; all but the last have ObjectStore::part_bytes(). `sha256`: of the bytes, in
  /// hexadecimal. May be called by several threads, for different parts.
  virtual void part(int number, std::int64_t offset, std::string_view bytes, const std::string& sha256) = 0;
  virtual void finish() = 0;
};

/// Operations throw an Error that names the object when they failed for good (a DamagedCheckpoint for one that is not
/// there and should be); what may pass is tried again within. They may be called by several threads.
class ObjectStore {
 public:
  virtual ~ObjectStore() = default;
  /// How messages name an object.
  virtual std::string describe(const std::string& name) const = 0;
  /// `folder`: "" or a name. Objects, and folders that hold any, if only unfinished ones. None where there is no such
  /// folder.
  virtual std::vector<StoredEntry> list(const std::string& folder) = 0;
  /// The bytes [offset, offset + count); fewer where the object ends before, never more.
  virtual std::string read(const std::string& name, std::int64_t offset, std::int64_t count) = 0;
  /// Replaces an object in one operation.
  virtual void write(const std::string& name, std::string_view bytes) = 0;
  /// Of an object of that size. `file_bytes` > 0.
  virtual std::int64_t part_bytes(std::int64_t file_bytes) const = 0;
  virtual std::unique_ptr<Upload> upload(const std::string& name, std::int64_t file_bytes) = 0;
  /// One that is not there is no error.
  virtual void remove(const std::string& name) = 0;
  /// With all that is in it, unfinished uploads included.
  virtual void remove_folder(const std::string& folder) = 0;
};

/// The store at "s3://BUCKET/PREFIX", or in a folder. Refuses, naming checkpoint.mirror, what is neither, and a bucket
/// for which there are no credentials. Nothing is asked of the store yet. When a stop is requested, what is under way
/// in a bucket fails soon.
std::unique_ptr<ObjectStore> make_object_store(const std::string& place, std::stop_token stop);

}  // namespace trireme::mirror
