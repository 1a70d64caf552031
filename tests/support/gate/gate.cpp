// A disk that stands still on command: in a program that preloads this library, flushing a file to disk waits while
// the file that the environment variable TRIREME_GATE names is there.
#include <dlfcn.h>
#include <unistd.h>

#include <cstdlib>

extern "C" int fsync(int file) {
  static const auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "fsync"));
  static const char* gate = std::getenv("TRIREME_GATE");
  while (gate != nullptr && access(gate, F_OK) == 0) usleep(1000);
  return real(file);
}
