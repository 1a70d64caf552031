#include "io/mirror/parts.h"

#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "kernels/error.h"

namespace trireme::mirror {
namespace {

constexpr int threads_at_work = 4;

/// Hands out parts in order.
class Parts {
 public:
  Parts(const std::vector<MirroredFile>& files, const PartWork& work, const std::stop_token& stop)
      : files_(files), work_(work), stop_(stop), states_(files.size()) {}

  void work() {
    try {
      for (std::size_t file = 0; take(file);) {
        const std::int64_t part = states_[file].next++;
        if (part < files_[file].parts()) do_part(file, part);
      }
    } catch (...) {
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }

  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  struct State {
    std::once_flag begun;
    std::atomic<std::int64_t> next = 0, done = 0;
  };

  /// The first file of which parts are left; false where there is none.
  bool take(std::size_t& file) {
    const std::lock_guard lock(mutex_);
    if (error_) return false;
    if (stop_.stop_requested()) fail("stopped");
    while (file < files_.size() && states_[file].next >= files_[file].parts()) ++file;
    return file < files_.size();
  }

  void do_part(std::size_t file, std::int64_t part) {
    State& state = states_[file];
    std::call_once(state.begun, [&] { work_.begin(file); });
    work_.part(file, part);
    if (++state.done == files_[file].parts()) work_.end(file);
  }

  const std::vector<MirroredFile>& files_;
  const PartWork& work_;
  const std::stop_token& stop_;
  std::vector<State> states_;
  std::mutex mutex_;
  std::exception_ptr error_;
};

}  // namespace

void work_on_parts(const std::vector<MirroredFile>& files, const PartWork& work, const std::stop_token& stop) {
  Parts parts(files, work, stop);
  {
    std::vector<std::jthread> threads;
    for (int i = 1; i < threads_at_work; ++i) threads.emplace_back([&] { parts.work(); });
    parts.work();
  }
  parts.rethrow();
}

}  // namespace trireme::mirror
