#include "child.hpp"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_close_range
#define SYS_close_range 436  // the same on every architecture but Alpha
#endif

namespace dvdcli {
namespace {

// linux/dirent.h is not for programs; this is what getdents64(2) documents.
struct Entry
{
  uint64_t inode;
  int64_t offset;
  uint16_t length;
  uint8_t type;
  char name[1];
};


std::vector<std::string> agentsEnvironment()
{
  std::vector<std::string> found;
  for (char** each = environ; each != nullptr && *each != nullptr; ++each) {
    found.push_back(*each);
  }
  return found;
}


int number(const char* name)
{
  int value = 0;
  for (; *name != '\0'; ++name) {
    if (*name < '0' || *name > '9') {
      return -1;
    }
    value = value * 10 + (*name - '0');
  }
  return value;
}


// Closes what is above 2: an agent leaks descriptors, and a pipe that stays
// open in a container is an end of file that never comes.
void closeAbove2(int but)
{
  if ((but == 3 || ::syscall(SYS_close_range, 3, but - 1, 0) == 0) &&
      ::syscall(SYS_close_range, but + 1, ~0U, 0) == 0) {
    return;
  }
  // A kernel before 5.9. The directory changes while it is read: until it is stable.
  const int directory = ::open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (bool closed = directory >= 0; closed;) {
    closed = false;
    ::lseek(directory, 0, SEEK_SET);
    alignas(Entry) char buffer[4096];
    long size;
    while ((size = ::syscall(SYS_getdents64, directory, buffer, sizeof(buffer))) > 0) {
      for (long at = 0; at < size;) {
        const Entry* entry = reinterpret_cast<const Entry*>(buffer + at);
        const int descriptor = number(entry->name);
        if (descriptor > 2 && descriptor != directory && descriptor != but && ::close(descriptor) == 0) {
          closed = true;
        }
        at += entry->length;
      }
    }
  }
}

} // namespace {


Words::Words(const std::vector<std::string>& _words) : words(_words)
{
  for (std::string& word : words) {
    pointers.push_back(&word[0]);
  }
  pointers.push_back(nullptr);
}


Child::Child(const std::string& _path, const std::vector<std::string>& arguments)
  : path(_path), argv(arguments), environment(agentsEnvironment()) {}


pid_t Child::fork(const Descriptors& descriptors) const
{
  const pid_t parent = ::getpid();
  const pid_t pid = ::fork();
  if (pid == 0) {
    start(parent, descriptors);
  }
  if (pid > 0) {
    ::setpgid(pid, pid);  // Here too: whoever kills the group must find it.
  }
  return pid;
}


void Child::start(pid_t parent, const Descriptors& descriptors) const
{
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) {
    ::_exit(127);  // The agent died before that call could be heard.
  }
  ::setpgid(0, 0);

  struct sigaction standard = {};
  standard.sa_handler = SIG_DFL;
  for (int signal = 1; signal < NSIG; ++signal) {
    ::sigaction(signal, &standard, nullptr);
  }
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);

  ::dup2(descriptors.in, 0);
  ::dup2(descriptors.out, 1);
  ::dup2(descriptors.err, 2);
  ::close(descriptors.in);  // Whatever the limit is, one more can be opened now.
  closeAbove2(descriptors.exec);
  if (::chdir("/") == 0) {
    ::execve(path.c_str(), argv.data(), environment.data());
  }
  const int error = errno;
  if (::write(descriptors.exec, &error, sizeof(error)) < 0) {
    ::_exit(126);
  }
  ::_exit(127);
}

} // namespace dvdcli {
