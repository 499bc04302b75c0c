// Kills a child and all that it started.

#pragma once

#include <sys/types.h>

namespace dvdcli {

// `pid` is a child of ours that leads its process group and has not been reaped,
// so no other process can have got its number. Its descendants are found by
// their parents' pids: those in other groups too.
void killTree(pid_t pid);

} // namespace dvdcli {
