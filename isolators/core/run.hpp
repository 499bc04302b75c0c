// Runs `dvdcli VERB --isolator` for an isolator. There is no Mesos in here.

#pragma once

#include <functional>
#include <string>
#include <vector>

namespace dvdcli {

struct Command
{
  std::string path;     // of dvdcli, absolute
  std::string verb;     // mount, unmount or recover
  std::string request;  // for its stdin
  int seconds;          // after which it is killed, with all that it started
};

struct Outcome
{
  bool ok;                            // exit status 0
  std::string text;                   // its stdout; or, in one line, why there is none
  std::vector<std::string> warnings;  // what else it said on stderr, for the log
};

// Returns at once. `done` is called exactly once, from a thread of our own, or
// from this one if no thread can be had. It must not throw.
void run(const Command& command, const std::function<void(const Outcome&)>& done);

} // namespace dvdcli {
