#include "killtree.hpp"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <map>
#include <set>
#include <string>

namespace dvdcli {
namespace {

// Returns each process's parent, as proc(5) tells it.
std::map<pid_t, pid_t> parents()
{
  std::map<pid_t, pid_t> found;
  DIR* directory = ::opendir("/proc");
  if (directory == nullptr) {
    return found;
  }
  while (const struct dirent* entry = ::readdir(directory)) {
    const pid_t pid = ::atoi(entry->d_name);
    if (pid <= 0) {
      continue;
    }
    FILE* file = ::fopen((std::string("/proc/") + entry->d_name + "/stat").c_str(), "re");
    if (file == nullptr) {
      continue;
    }
    char line[512];
    line[::fread(line, 1, sizeof(line) - 1, file)] = '\0';
    ::fclose(file);
    // The name in parentheses can have parentheses in it: the last one ends it.
    const size_t end = std::string(line).rfind(')');
    int parent = 0;
    if (end != std::string::npos && ::sscanf(line + end + 1, " %*c %d", &parent) == 1) {
      found[pid] = parent;
    }
  }
  ::closedir(directory);
  return found;
}


std::set<pid_t> descendants(pid_t pid)
{
  const std::map<pid_t, pid_t> all = parents();
  std::set<pid_t> found;
  for (bool more = true; more;) {
    more = false;
    for (const auto& each : all) {
      if ((each.second == pid || found.count(each.second) > 0) && found.insert(each.first).second) {
        more = true;
      }
    }
  }
  return found;
}

} // namespace {


void killTree(pid_t pid)
{
  // Stopped first, so that none forks on while it is looked for: a child whose
  // parent is gone cannot be told from a stranger.
  ::kill(-pid, SIGSTOP);
  std::set<pid_t> stopped;
  std::set<pid_t> now = descendants(pid);
  for (int round = 0; round < 10 && now != stopped; ++round) {
    for (const pid_t each : now) {
      ::kill(each, SIGSTOP);
    }
    stopped = now;
    now = descendants(pid);
  }
  for (const pid_t each : now) {
    ::kill(each, SIGKILL);
  }
  ::kill(-pid, SIGKILL);
  ::kill(pid, SIGKILL);
}

} // namespace dvdcli {
