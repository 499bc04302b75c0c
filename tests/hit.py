"""Run a command, and SIGKILL one of its children, or the command itself, before the child's NUMBERth system call.

    python hit.py LOG PROGRAM INSTANCE NUMBER child|caller COMMAND...

The child is the INSTANCEth that executes PROGRAM. LOG is made when the point was reached. strace cannot do this: it
counts in every process, so the wrong one is hit. Returns when the command and all its children have ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path

TRACEME, CONT, SYSCALL, SETOPTIONS, SYSCALL_INFO = 0, 7, 24, 0x4200, 0x420E
SYSGOOD, FORK, VFORK, CLONE, EXEC = 1, 2, 4, 8, 16
DETACH = 17
EVENT_EXEC, ENTRY = 4, 1
WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    if libc.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"ptrace {request} of {pid}")


def is_entry(pid: int) -> bool:
    info = ctypes.create_string_buffer(128)
    if libc.ptrace(SYSCALL_INFO, pid, len(info), ctypes.addressof(info)) < 0:
        return False
    return info.raw[0] == ENTRY


def program_of(pid: int) -> str:
    """Return the name of what *pid* executes: a script's own, and not its interpreter's."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    except OSError:
        return ""


class Hit:
    def __init__(self, log: str, program: str, instance: int, number: int, victim: str) -> None:
        self.log, self.program, self.instance, self.number, self.victim = log, program, instance, number, victim
        self.caller = self.target = self.seen = self.count = 0
        self.code = 0
        self.known: set[int] = set()

    def run(self, command: list[str]) -> int:
        self.caller = os.fork()
        if not self.caller:
            ptrace(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execv(command[0], command)
        os.waitpid(self.caller, WALL)
        self.known.add(self.caller)
        ptrace(SETOPTIONS, self.caller, 0, SYSGOOD | FORK | VFORK | CLONE | EXEC)
        ptrace(CONT, self.caller)
        while True:
            try:
                pid, status = os.waitpid(-1, WALL)
            except ChildProcessError:
                return self.code
            if not os.WIFSTOPPED(status):
                if pid == self.caller:
                    code = os.waitstatus_to_exitcode(status)
                    self.code = code if code >= 0 else 128 - code
                continue
            try:
                deliver = self.stopped(pid, os.WSTOPSIG(status), status >> 16)
                ptrace(SYSCALL if pid == self.target else CONT, pid, 0, deliver)
            except ProcessLookupError:
                continue  # killed while it was stopped

    def stopped(self, pid: int, number: int, event: int) -> int:
        """Return the signal that *pid* goes on with."""
        if event == EVENT_EXEC:
            if pid != self.caller and program_of(pid) == self.program:
                self.seen += 1
                if self.seen == self.instance:
                    self.target = pid
            return 0
        if event:
            return 0
        if number == signal.SIGTRAP | 0x80:
            if pid == self.target and is_entry(pid):
                self.count += 1
                if self.count == self.number:
                    self.strike()
            return 0
        if number == signal.SIGSTOP and pid not in self.known:
            self.known.add(pid)
            return 0
        return number

    def strike(self) -> None:
        Path(self.log).touch()
        if self.victim == "child":  # its parent has to see the end at once, and not after we have
            ptrace(DETACH, self.target, 0, signal.SIGKILL)
            return
        os.kill(self.caller, signal.SIGKILL)
        while True:  # it is dead before the child goes on
            _, status = os.waitpid(self.caller, WALL)
            if not os.WIFSTOPPED(status):
                self.code = 128 + signal.SIGKILL
                return


if __name__ == "__main__":
    log, program, instance, number, victim = sys.argv[1:6]
    sys.exit(Hit(log, program, int(instance), int(number), victim).run(sys.argv[6:]))
