// Bandwidth between the ranks of the world for tensors of the device: all-reduce, reduce-scatter and a ring of messages
// from every rank to the next. One line of JSON for each operation and size, from rank 0: `bytes` of the tensor that an
// operation reads on a rank, `seconds` (median of 7 runs, of the slowest rank), `algorithm_gb_per_s` = bytes / seconds,
// and `bus_gb_per_s`, what crosses each link whatever the number of ranks n: x 2 (n - 1) / n for an all-reduce,
// x (n - 1) / n for a reduce-scatter. One rank alone goes through NCCL too, which copies on its GPU.
//
// bench_nccl [LARGEST_BYTES], alone or under mpirun. Without a GPU it measures MPI.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "comm/device_groups.h"
#include "comm/nccl/nccl_world.h"
#include "kernels/error.h"

namespace trireme::bench {
namespace {

constexpr int repetitions = 7;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class Ranks {
 public:
  explicit Ranks(World& world) : world_(world) {
    const int devices = cuda_device_count();
    backend_ = devices > 0 ? make_cuda_backend(world.local_rank() % devices) : make_cpu_backend(1);
    groups_.emplace(world, *backend_);
    std::vector<int> everyone(static_cast<std::size_t>(world.size()));
    std::iota(everyone.begin(), everyone.end(), 0);
    if (world.size() == 1 && devices > 0) {
      nccl_.emplace(*backend_);
      all_ = nccl_->group(world.group("world", everyone));
    } else {
      all_ = groups_->group("world", everyone);
    }
  }

  void measure(std::int64_t bytes) {
    const std::int64_t n = bytes / static_cast<std::int64_t>(sizeof(float)) / size() * size();
    const Tensor input = backend_->allocate({n}, DType::f32);
    const Tensor output = backend_->allocate({n}, DType::f32);
    backend_->zero(input);  // sums stay finite
    const double ranks = size();
    report("all_reduce", n, 2 * (ranks - 1) / ranks, [&] { all_->all_reduce(input, Reduction::sum).wait(); });
    report("reduce_scatter", n, (ranks - 1) / ranks,
           [&] { all_->reduce_scatter(input, output.view(0, {n / size()})).wait(); });
    const Transfer ring[] = {{Transfer::Direction::send, (all_->rank() + 1) % size(), 0, input},
                             {Transfer::Direction::receive, (all_->rank() + size() - 1) % size(), 0, output}};
    report("send_receive", n, 1, [&] { all_->exchange(ring).wait(); });
  }

 private:
  int size() const { return all_->size(); }
  const char* transport() const {
    switch (groups_->transport()) {
      case Transport::host:
        return "mpi";
      case Transport::nccl:
        return "nccl";
      default:
        return "staged";
    }
  }

  /// Seconds of one operation, of as many one after the other that the host's part does not show.
  double seconds_of(const std::function<void()>& operation, std::int64_t count) {
    all_->barrier();
    const double begin = now();
    for (std::int64_t i = 0; i < count; ++i) operation();
    backend_->synchronize();
    return (now() - begin) / static_cast<double>(count);
  }

  void report(const char* name, std::int64_t elements, double bus_factor, const std::function<void()>& operation) {
    const auto bytes = static_cast<double>(elements) * sizeof(float);
    const auto count = std::clamp(static_cast<std::int64_t>(0x1p24 / bytes), std::int64_t{1}, std::int64_t{64});
    seconds_of(operation, 2);  // connects
    MemoryPool pool(make_host_memory());
    Tensor seconds(pool, {repetitions}, DType::f64);
    for (double& each : seconds.values<double>()) each = seconds_of(operation, count);
    world_.all().all_reduce(seconds, Reduction::maximum).wait();
    const auto values = seconds.values<double>();
    std::nth_element(values.begin(), values.begin() + repetitions / 2, values.end());
    if (world_.rank() != 0) return;
    const double median = values[repetitions / 2];
    const nlohmann::ordered_json line = {{"operation", name},
                                         {"bytes", static_cast<std::int64_t>(bytes)},
                                         {"ranks", size()},
                                         {"transport", transport()},
                                         {"seconds", median},
                                         {"algorithm_gb_per_s", 1e-9 * bytes / median},
                                         {"bus_gb_per_s", 1e-9 * bytes / median * bus_factor}};
    fmt::print("{}\n", line.dump());
    std::fflush(stdout);
  }

  World& world_;
  std::unique_ptr<Backend> backend_;
  std::optional<DeviceGroups> groups_;
  std::optional<NcclWorld> nccl_;
  std::unique_ptr<Communicator> all_;
};

void run(World& world, int argc, char** argv) {
  const std::int64_t largest = argc > 1 ? std::atoll(argv[1]) : std::int64_t{256} << 20;
  if (largest < 1024) refuse("LARGEST_BYTES = {}: expected at least 1024", argv[1]);
  Ranks ranks(world);
  for (std::int64_t bytes = 1024; bytes <= largest; bytes *= 4) ranks.measure(bytes);
}

}  // namespace
}  // namespace trireme::bench

int main(int argc, char** argv) {
  trireme::World world(&argc, &argv);
  try {
    trireme::bench::run(world, argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "bench_nccl: rank {}: {}\n", world.rank(), error.what());
    world.abort(EXIT_FAILURE);
  }
}
