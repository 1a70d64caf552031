#include "comm/mpi/shared_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>

#include "kernels/error.h"

namespace trireme {
namespace {

using Name = std::array<char, 64>;

Name make_name() {
  Name name{};
  fmt::format_to_n(name.data(), name.size() - 1, "/trireme-{}-{:x}", getpid(),
                   std::chrono::steady_clock::now().time_since_epoch().count());
  return name;
}

/// Makes the object, or opens the one that is there; a null pointer where that fails.
void* map(const Name& name, bool make, std::size_t bytes) {
  const int file = shm_open(name.data(), O_RDWR | O_CLOEXEC | (make ? O_CREAT | O_EXCL : 0), S_IRUSR | S_IWUSR);
  if (file < 0) return nullptr;
  void* memory = MAP_FAILED;
  // Allocated now: a full /dev/shm would otherwise show as SIGBUS at the first touch.
  if (!make || posix_fallocate(file, 0, static_cast<off_t>(bytes)) == 0)
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return memory == MAP_FAILED ? nullptr : memory;
}

}  // namespace

void* share_memory(MPI_Comm neighbours, std::size_t bytes) {
  const auto all_have = [&](const void* memory) {
    int have = memory != nullptr ? 1 : 0;
    TRIREME_MPI("host", MPI_Allreduce(MPI_IN_PLACE, &have, 1, MPI_INT, MPI_MIN, neighbours));
    return have == 1;
  };
  int rank = 0;
  TRIREME_MPI("host", MPI_Comm_rank(neighbours, &rank));
  Name name = make_name();
  void* memory = rank == 0 ? map(name, true, bytes) : nullptr;
  TRIREME_MPI("host", MPI_Bcast(name.data(), static_cast<int>(name.size()), MPI_CHAR, 0, neighbours));
  if (rank != 0) memory = map(name, false, bytes);
  const bool shared = all_have(memory);
  if (rank == 0) shm_unlink(name.data());
  if (!shared && memory != nullptr) munmap(memory, bytes);
  return shared ? memory : nullptr;
}

}  // namespace trireme
