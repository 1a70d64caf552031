#include "comm/mpi/world.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <string_view>

#include "comm/mpi/checked.h"
#include "comm/mpi/communicator.h"
#include "comm/mpi/cores.h"
#include "comm/mpi/plugins.h"
#include "comm/mpi/shared_memory.h"
#include "comm/self_communicator.h"
#include "kernels/activity.h"
#include "kernels/error.h"

namespace trireme {
namespace {

/// Starts MPI for the constructor and ends it after every other member of World::State is gone.
struct MpiSession {
  MpiSession(int* argc, char*** argv) {
    int provided = 0;
    TRIREME_MPI("world", MPI_Init_thread(argc, argv, MPI_THREAD_FUNNELED, &provided));
    keep_plugins();
    if (provided < MPI_THREAD_FUNNELED) fail("this MPI cannot be used by a process with threads");
    // Communicators made from these inherit it.
    for (MPI_Comm comm : {MPI_COMM_WORLD, MPI_COMM_SELF})
      TRIREME_MPI("world", MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
  }
  ~MpiSession() {
    if (std::uncaught_exceptions() == 0) MPI_Finalize();
  }
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
};

/// Fails unless the ranks of `handle` are these ranks of the world, in this order.
void check_members(MPI_Comm handle, const std::string& name, const std::vector<int>& ranks) {
  MPI_Group world = MPI_GROUP_NULL;
  MPI_Group members = MPI_GROUP_NULL;
  TRIREME_MPI(name, MPI_Comm_group(MPI_COMM_WORLD, &world));
  TRIREME_MPI(name, MPI_Comm_group(handle, &members));
  std::vector<int> found(ranks.size(), MPI_UNDEFINED);
  int size = 0;
  TRIREME_MPI(name, MPI_Group_size(members, &size));
  TRIREME_MPI(name,
              MPI_Group_translate_ranks(world, static_cast<int>(ranks.size()), ranks.data(), members, found.data()));
  MPI_Group_free(&members);
  MPI_Group_free(&world);
  for (std::size_t i = 0; i < ranks.size(); ++i)
    if (found[i] != static_cast<int>(i) || size != static_cast<int>(ranks.size()))
      fail("group {}: its ranks did not all pass the same list ({})", name, fmt::join(ranks, ", "));
}

/// The ranks of this host, in the order of the world.
MPI_Comm split_by_host(int rank) {
  MPI_Comm neighbours = MPI_COMM_NULL;
  TRIREME_MPI("host", MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &neighbours));
  return neighbours;
}

}  // namespace

struct World::State {
  State(int* argc, char*** argv) : session(argc, argv) {}

  MpiSession session;
  ReductionOperations operations;
  std::unique_ptr<Communicator> all;
  int rank = 0, size = 0, local_rank = 0, local_size = 0;
  int cores = 0, core_sharers = 0;
  std::string host;

  void find_neighbours();
};

/// Local rank, and the ranks of this host that compete for the same cores.
void World::State::find_neighbours() {
  MPI_Comm neighbours = split_by_host(rank);
  TRIREME_MPI("host", MPI_Comm_rank(neighbours, &local_rank));
  TRIREME_MPI("host", MPI_Comm_size(neighbours, &local_size));

  const cpu_set_t mine = bound_cpus();
  std::vector<cpu_set_t> bound(static_cast<std::size_t>(local_size));
  TRIREME_MPI("host", MPI_Allgather(&mine, sizeof(mine), MPI_BYTE, bound.data(), sizeof(mine), MPI_BYTE, neighbours));
  TRIREME_MPI("host", MPI_Comm_free(&neighbours));
  cores = static_cast<int>(physical_cores(mine).size());
  core_sharers = static_cast<int>(std::count_if(bound.begin(), bound.end(), [&](const cpu_set_t& other) {
    cpu_set_t shared;
    CPU_AND(&shared, &mine, &other);
    return CPU_COUNT(&shared) > 0;
  }));
}

World::World(int* argc, char*** argv) : state_(std::make_unique<State>(argc, argv)) {
  TRIREME_MPI("world", MPI_Comm_rank(MPI_COMM_WORLD, &state_->rank));
  TRIREME_MPI("world", MPI_Comm_size(MPI_COMM_WORLD, &state_->size));
  Error::set_process_rank(state_->rank);

  std::array<char, MPI_MAX_PROCESSOR_NAME> host{};
  int length = 0;
  TRIREME_MPI("world", MPI_Get_processor_name(host.data(), &length));
  state_->host = host.data();
  state_->find_neighbours();

  std::vector<int> everyone(static_cast<std::size_t>(state_->size));
  for (int rank = 0; rank < state_->size; ++rank) everyone[static_cast<std::size_t>(rank)] = rank;
  state_->all = group("world", everyone);
}

World::~World() = default;

int World::rank() const { return state_->rank; }
int World::size() const { return state_->size; }
int World::local_rank() const { return state_->local_rank; }
int World::local_size() const { return state_->local_size; }
const std::string& World::host() const { return state_->host; }
int World::cores() const { return state_->cores; }
int World::core_sharers() const { return state_->core_sharers; }
Communicator& World::all() { return *state_->all; }

std::unique_ptr<Communicator> World::group(const std::string& name, const std::vector<int>& ranks) {
  const auto self = std::find(ranks.begin(), ranks.end(), rank());
  if (self == ranks.end()) fail("group {}: rank {} is not in its own list ({})", name, rank(), fmt::join(ranks, ", "));
  const Activity activity("making group", name, -1, Waits::for_ranks);
  const int color = ranks.size() == 1 ? MPI_UNDEFINED : *std::min_element(ranks.begin(), ranks.end());
  MPI_Comm handle = MPI_COMM_NULL;
  TRIREME_MPI(name, MPI_Comm_split(MPI_COMM_WORLD, color, static_cast<int>(self - ranks.begin()), &handle));
  if (handle == MPI_COMM_NULL) return make_self_communicator(name);
  auto communicator = std::make_unique<MpiCommunicator>(handle, name, state_->operations);
  check_members(handle, name, ranks);
  return communicator;
}

void* World::shared_memory(std::size_t bytes) {
  MPI_Comm neighbours = split_by_host(rank());
  void* memory = share_memory(neighbours, bytes);
  TRIREME_MPI("host", MPI_Comm_free(&neighbours));
  return memory;
}

void World::abort(int status) {
  std::cout.flush();
  std::cerr.flush();
  std::fflush(nullptr);
  // A job of one process has nobody to tell, and spares its user MPI's own banner.
  if (size() > 1) MPI_Abort(MPI_COMM_WORLD, status);
  std::_Exit(status);
}

std::string mpi_library() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  TRIREME_MPI("world", MPI_Get_library_version(text.data(), &length));
  const std::string_view whole(text.data());
  return std::string(whole.substr(0, whole.find_first_of(",\n")));
}

int threads_per_rank(const World& world) {
  const char* wanted = std::getenv("OMP_NUM_THREADS");
  if (wanted == nullptr || *wanted == '\0') return std::max(1, world.cores() / world.core_sharers());
  int threads = 0;
  const char* end = wanted + std::strlen(wanted);
  const auto [stop, error] = std::from_chars(wanted, end, threads);
  // OpenMP also takes a list, one number for each level of nesting; there is one level here.
  if (error != std::errc{} || threads < 1 || (stop != end && *stop != ','))
    refuse("OMP_NUM_THREADS = \"{}\": expected a positive number", wanted);
  return threads;
}

}  // namespace trireme
