// Starts a program. Between fork and exec only system calls are made: another
// thread of the agent may hold any lock at that moment.

#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace dvdcli {

// A list of words in the form that execve(2) wants.
class Words
{
public:
  explicit Words(const std::vector<std::string>& _words);

  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;

  char* const* data() const { return pointers.data(); }

private:
  std::vector<std::string> words;
  std::vector<char*> pointers;
};


class Child
{
public:
  // What the child gets as 0, 1 and 2, and where it writes the errno of an
  // execve(2) that fails. All are above 2, and close on exec.
  struct Descriptors { int in, out, err, exec; };

  // Everything that needs memory is done here. The environment is the agent's.
  Child(const std::string& _path, const std::vector<std::string>& arguments);

  // Returns the pid, or -1 with errno set. The child leads a process group of
  // its own, is in /, has no descriptor but 0, 1 and 2, no signal blocked or
  // ignored, and is killed when the thread that calls this ends. All signals
  // have to be blocked here: no handler of the agent's may run in the child.
  pid_t fork(const Descriptors& descriptors) const;

private:
  [[noreturn]] void start(pid_t parent, const Descriptors& descriptors) const;

  const std::string path;
  const Words argv;
  const Words environment;
};

} // namespace dvdcli {
