// The power goes after any file system call of a save or of a pruning. What a disk may then hold is computed from the
// log of calls: bytes that were not flushed are lost, zeros or there; names made, changed or removed in a folder that
// was not flushed since are on disk or not, each for itself. In all these states the previous or the new checkpoint is
// whole.
#include <map>
#include <memory>
#include <set>

#include "tests/faults/crash_support.h"

namespace trireme {
namespace {

namespace fs = std::filesystem;

struct Node;
using Names = std::map<std::string, std::shared_ptr<Node>>;
/// Changes of names that one call makes: a null node removes the name.
using Edit = std::vector<std::pair<std::string, std::shared_ptr<Node>>>;

/// A file or folder, as programs see it and as it is on disk.
struct Node {
  bool folder = false;
  std::string bytes, bytes_on_disk;
  Names names, names_on_disk;
  std::vector<Edit> pending;  ///< since the folder was flushed

  void change(const Edit& edit) {
    apply(names, edit);
    pending.push_back(edit);
  }
  static void apply(Names& names, const Edit& edit) {
    for (const auto& [name, node] : edit) {
      if (node) {
        names[name] = node;
      } else {
        names.erase(name);
      }
    }
  }
};

std::shared_ptr<Node> node_of(const fs::path& path) {
  auto node = std::make_shared<Node>();
  node->folder = fs::is_directory(path);
  if (node->folder) {
    for (const auto& entry : fs::directory_iterator(path)) node->names[entry.path().filename()] = node_of(entry.path());
    node->names_on_disk = node->names;
  } else {
    node->bytes = node->bytes_on_disk = bytes_of(path);
  }
  return node;
}

/// The disk, call by call.
class Disk {
 public:
  Disk(const fs::path& directory, std::string written)
      : directory_(directory), written_(std::move(written)), root_(node_of(directory)) {}

  void play(const LoggedCall& call) {
    if (call.result < 0) return;
    const fs::path path = call.path;
    const std::string name = path.filename();
    if (call.name == "mkdir" || (call.name == "create" && !at(path))) {
      auto made = std::make_shared<Node>();
      made->folder = call.name == "mkdir";
      at(path.parent_path())->change({{name, made}});
    } else if (call.name == "create") {
      at(path)->bytes.clear();
    } else if (call.name == "write") {
      std::string& bytes = at(path)->bytes;
      const auto offset = std::stoul(call.rest);
      const auto count = static_cast<std::size_t>(call.result);
      bytes.resize(std::max(bytes.size(), offset + count));
      bytes.replace(offset, count, written_, taken_, count);
      taken_ += count;
    } else if (call.name == "truncate") {
      at(path)->bytes.resize(std::stoul(call.rest));
    } else if (call.name == "fsync") {
      Node& node = *at(path);
      node.bytes_on_disk = node.bytes;
      node.names_on_disk = node.names;
      node.pending.clear();
    } else if (call.name == "rename" || call.name == "exchange") {
      const std::string other = fs::path(call.rest).filename();
      at(path.parent_path())->change({{other, at(path)}, {name, call.name == "rename" ? nullptr : at(call.rest)}});
    } else if (call.name == "unlink" || call.name == "rmdir") {
      at(path.parent_path())->change({{name, nullptr}});
    }
  }

  /// Calls visit(write) for every state that the disk may be in; write(folder) makes one there.
  template <typename Visit>
  void for_each_state(Visit visit) {
    std::vector<Node*> folders;
    collect(*root_, folders);
    int edits = 0;
    for (const Node* folder : folders) edits += static_cast<int>(folder->pending.size());
    ASSERT_LE(edits, 10);
    for (const Unflushed unflushed : {Unflushed::lost, Unflushed::zeros, Unflushed::there}) {
      for (unsigned chosen = 0; chosen < 1U << edits; ++chosen) {
        std::map<const Node*, Names> names;
        unsigned bit = 0;
        for (const Node* folder : folders) {
          names[folder] = folder->names_on_disk;
          for (const Edit& edit : folder->pending) {
            if ((chosen >> bit++ & 1U) != 0) Node::apply(names[folder], edit);
          }
        }
        std::map<std::string, std::string> tree;
        describe(*root_, "", unflushed, names, tree);
        visit(tree);
      }
    }
  }

 private:
  enum class Unflushed { lost, zeros, there };

  std::shared_ptr<Node> at(const fs::path& path) const {
    std::shared_ptr<Node> node = root_;
    for (const fs::path& name : path.lexically_relative(directory_)) {
      if (name == ".") continue;
      const auto found = node->names.find(name);
      if (found == node->names.end()) return nullptr;
      node = found->second;
    }
    return node;
  }

  /// All folders that the disk may show, each once.
  static void collect(Node& node, std::vector<Node*>& folders) {
    if (!node.folder || std::find(folders.begin(), folders.end(), &node) != folders.end()) return;
    folders.push_back(&node);
    for (const auto& [name, child] : node.names_on_disk) collect(*child, folders);
    for (const Edit& edit : node.pending) {
      for (const auto& [name, child] : edit) {
        if (child) collect(*child, folders);
      }
    }
  }

  /// Path and bytes of every file, path and "" of every folder (which ends with a slash).
  static void describe(const Node& node, const std::string& path, Unflushed unflushed,
                       const std::map<const Node*, Names>& names, std::map<std::string, std::string>& tree) {
    if (!node.folder) {
      std::string bytes = unflushed == Unflushed::there ? node.bytes : node.bytes_on_disk;
      if (unflushed == Unflushed::zeros) bytes.resize(std::max(bytes.size(), node.bytes.size()));
      tree[path] = bytes;
      return;
    }
    tree[path + "/"] = "";
    for (const auto& [name, child] : names.at(&node)) {
      describe(*child, path.empty() ? name : path + "/" + name, unflushed, names, tree);
    }
  }

  fs::path directory_;
  std::string written_;
  std::size_t taken_ = 0;
  std::shared_ptr<Node> root_;
};

class PowerCut : public CrashTest, public testing::WithParamInterface<Scenario> {};

TEST_P(PowerCut, NothingIsLostAfterAnyCall) {
  const Scenario& scenario = GetParam();
  scenario.prepare(directory());
  fs::copy(directory(), log().string() + ".before", fs::copy_options::recursive);
  ASSERT_TRUE(act_in_child(scenario, 0, "").done);
  const std::vector<LoggedCall> calls = read_log(log());
  ASSERT_GT(calls.size(), 10U);
  const std::string written = bytes_of(log().string() + ".data");
  fs::remove_all(directory());
  fs::rename(log().string() + ".before", directory());
  Disk disk(directory(), written);

  std::set<std::map<std::string, std::string>> seen;
  int states = 0;
  for (std::size_t count = 0; count <= calls.size(); ++count) {
    if (count > 0) disk.play(calls[count - 1]);
    const bool done = count == calls.size();
    SCOPED_TRACE(fmt::format("after {} of {} calls, the next one: {} {}", count, calls.size(),
                             done ? "none" : calls[count].name, done ? "" : calls[count].path));
    if (done) seen.clear();  // more is asked for then
    disk.for_each_state([&](const std::map<std::string, std::string>& tree) {
      if (HasFailure() || !seen.insert(tree).second) return;
      ++states;
      fs::remove_all(directory());
      for (const auto& [path, bytes] : tree) {
        if (path.ends_with('/')) {
          fs::create_directories(directory() / path);
        } else {
          fs::create_directories((directory() / path).parent_path());
          std::ofstream(directory() / path, std::ios::binary) << bytes;
        }
      }
      scenario.expect_nothing_lost(directory(), done);
    });
    if (HasFailure()) return;
  }
  RecordProperty("states", states);
}

INSTANTIATE_TEST_SUITE_P(All, PowerCut, testing::ValuesIn(scenarios()), name_of_scenario);

}  // namespace
}  // namespace trireme
