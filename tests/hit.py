"""Run a command, and SIGKILL or hold it before one of its system calls, or SIGKILL it or a child before a child's.

    python hit.py LOG call CALL NUMBER kill|hold COMMAND...
    python hit.py LOG run PROGRAM INSTANCE NUMBER child|caller COMMAND...

Before the NUMBERth call of the kernel's number CALL that the command's first thread makes; before the NUMBERth call of
any kind of the INSTANCEth child that executes PROGRAM. LOG is made when the point was reached; a command that is held
goes on when LOG is removed. strace cannot do this: it counts in every process, so the wrong one is hit, or it stops at
every call, which takes five times as long. Returns when the command and all its children have ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import struct
import sys
import time
from pathlib import Path

TRACEME, CONT, SYSCALL, SETOPTIONS, SYSCALL_INFO = 0, 7, 24, 0x4200, 0x420E
SYSGOOD, FORK, VFORK, CLONE, EXEC, SECCOMP = 1, 2, 4, 8, 16, 128
DETACH = 17
EVENT_EXEC, EVENT_SECCOMP, ENTRY = 4, 7, 1
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # of BPF: a word of the call, jump, end
TRACE, ALLOW = 0x7FF00000, 0x7FFF0000
WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    if libc.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"ptrace {request} of {pid}")


def stop_at(call: int) -> None:
    """Let this process, and all that come of it, stop for their tracer at *call*, and at no other."""
    steps = ((LOAD, 0, 0, 0), (EQUAL, 0, 1, call), (RETURN, 0, 0, TRACE), (RETURN, 0, 0, ALLOW))
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    filters = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(program)))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, filters, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "prctl")


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
    """A command that is hit: `call` is the one that all its processes stop at, -1 for none."""

    call = -1

    def __init__(self, log: str) -> None:
        self.log = Path(log)
        self.caller = self.target = self.count = 0
        self.code = 0
        self.known: set[int] = set()

    def event(self, pid: int, event: int) -> None:
        """See what *pid* has done."""

    def run(self, command: list[str]) -> int:
        """Run *command*, and return its exit code."""
        self.caller = os.fork()
        if not self.caller:
            ptrace(TRACEME, 0)
            if self.call >= 0:
                stop_at(self.call)
            os.kill(os.getpid(), signal.SIGSTOP)
            os.execv(command[0], command)
        os.waitpid(self.caller, WALL)
        self.known.add(self.caller)
        ptrace(SETOPTIONS, self.caller, 0, SYSGOOD | FORK | VFORK | CLONE | EXEC | SECCOMP)
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
        if event or number == signal.SIGTRAP | 0x80:
            self.event(pid, event)
            return 0
        if number == signal.SIGSTOP and pid not in self.known:
            self.known.add(pid)
            return 0
        return number


class OwnCall(Hit):
    """Hit before a call of its own, which is a way that it ends, or stands until it may go on."""

    def __init__(self, log: str, call: str, number: str, what: str) -> None:
        super().__init__(log)
        self.call, self.number, self.what = int(call), int(number), what

    def event(self, pid: int, event: int) -> None:
        if (pid, event) != (self.caller, EVENT_SECCOMP):
            return
        self.count += 1
        if self.count != self.number:
            return
        self.log.touch()
        if self.what == "kill":
            os.kill(self.caller, signal.SIGKILL)
        while self.what == "hold" and self.log.exists():
            time.sleep(0.001)


class ChildsCall(Hit):
    """Hit before a call of a child: that is the *victim*, or its caller."""

    def __init__(self, log: str, program: str, instance: str, number: str, victim: str) -> None:
        super().__init__(log)
        self.program, self.instance, self.number, self.victim = program, int(instance), int(number), victim
        self.seen = 0

    def event(self, pid: int, event: int) -> None:
        if event == EVENT_EXEC and pid != self.caller and program_of(pid) == self.program:
            self.seen += 1
            if self.seen == self.instance:
                self.target = pid
        elif not event and pid == self.target and is_entry(pid):
            self.count += 1
            if self.count == self.number:
                self.strike()

    def strike(self) -> None:
        self.log.touch()
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
    log, kind = sys.argv[1:3]
    words, command = (sys.argv[3:6], sys.argv[6:]) if kind == "call" else (sys.argv[3:7], sys.argv[7:])
    sys.exit((OwnCall if kind == "call" else ChildsCall)(log, *words).run(command))
