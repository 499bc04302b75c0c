"""A FUSE file system with a directory of two names and a file, which stops answering when it is told to.

Whoever opens the file first reads it by pages; who comes later does so directly, and waits in mmap(2) for those pages.

Source: <linux/fuse.h>, protocol 7.31. The server is a process of its own: its end, or this one's, closes /dev/fuse, and
the kernel lets everybody go who waits for an answer. So no test leaves anybody in D state.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import select
import stat
import struct
import subprocess
import sys
from pathlib import Path

_HEADER = struct.Struct("=IIQQIIII")
_MNT_DETACH = 2
_DIRECT_IO = 1
_FORGET, _INTERRUPT, _BATCH_FORGET, _INIT = 2, 36, 42, 26
NAMES = {
    1: "LOOKUP", 3: "GETATTR", 4: "SETATTR", 14: "OPEN", 15: "READ", 17: "STATFS", 18: "RELEASE", 25: "FLUSH",
    26: "INIT", 27: "OPENDIR", 28: "READDIR", 29: "RELEASEDIR", 34: "ACCESS", 44: "READDIRPLUS", 52: "STATX",
}  # fmt: skip
_libc = ctypes.CDLL(None, use_errno=True)


class Fuse:
    """The file system, mounted at *path*: with a directory `data`, also called `lock`, and a `file`."""

    def __init__(self, path: Path, kind: str = "fuse.double") -> None:
        self.path = path
        # -I: the server needs nothing but the standard library.
        self._server = subprocess.Popen(
            [sys.executable, "-I", __file__, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._answer() == "mounted"

    def _answer(self) -> object:
        assert self._server.stdout is not None
        ready, _, _ = select.select([self._server.stdout], [], [], 20)
        assert ready, "the FUSE double hangs"
        return json.loads(self._server.stdout.readline())

    def _tell(self, word: str) -> object:
        assert self._server.stdin is not None
        self._server.stdin.write(f"{word}\n")
        self._server.stdin.flush()
        return self._answer()

    def stick(self) -> None:
        """Read what is asked, and answer nothing from now on: who asks cannot even be killed."""
        self._tell("stick")

    def asked(self) -> list[str]:
        """Return what was asked since it stuck."""
        found = self._tell("asked")
        assert isinstance(found, list)
        return found

    def detach(self) -> None:
        """Unmount it, as a storage system does that knows its own: without a look at it."""
        if _libc.umount2(os.fsencode(self.path), _MNT_DETACH) != 0 and ctypes.get_errno() != errno.EINVAL:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(self.path))

    def close(self) -> None:
        """Unmount it, and let everybody go who waits."""
        if self._server.returncode is None:
            self.detach()
            assert self._server.stdin is not None
            self._server.stdin.close()
            self._server.wait(20)
            assert self._server.stdout is not None
            self._server.stdout.close()


# The server


class _Node:
    def __init__(self, number: int, mode: int, kind: int = stat.S_IFDIR) -> None:
        self.number = number
        self.kind = kind
        self.mode = kind | mode
        self.uid = self.gid = 0

    def attributes(self) -> bytes:
        return struct.pack(
            "=6Q10I", self.number, 4096, 8, 0, 0, 0, 0, 0, 0, self.mode, 2, self.uid, self.gid, 0, 4096, 0
        )


class _Server:
    def __init__(self, path: str, kind: str) -> None:
        self.nodes = {1: _Node(1, 0o755), 2: _Node(2, 0o755), 3: _Node(3, 0o644, stat.S_IFREG)}
        self.opened = 0
        self.stuck = False
        self.asked: list[str] = []
        self.device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        options = f"fd={self.device},rootmode=40000,user_id=0,group_id=0,allow_other"
        if _libc.mount(b"dvdcli-double", os.fsencode(path), kind.encode(), 6, options.encode()) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
        self.say("mounted")

    def say(self, what: object) -> None:
        print(json.dumps(what), flush=True)

    def serve(self) -> None:
        """Answer until stdin ends."""
        said = b""
        while True:
            ready, _, _ = select.select([0, *([self.device] if self.device >= 0 else [])], [], [])
            if self.device in ready:
                self._one()
            if 0 in ready:
                data = os.read(0, 4096)
                if not data:
                    return
                said += data
                while b"\n" in said:
                    word, _, said = said.partition(b"\n")
                    self.stuck = self.stuck or word == b"stick"
                    self.say(self.asked if word == b"asked" else "")

    def _one(self) -> None:
        try:
            data = os.read(self.device, 1 << 20)
        except OSError as error:
            if error.errno in (errno.ENODEV, errno.ECONNABORTED):  # it is unmounted
                os.close(self.device)
                self.device = -1
                return
            if error.errno in (errno.EAGAIN, errno.EINTR, errno.ENOENT):
                return
            raise
        _, opcode, unique, node, *_ = _HEADER.unpack_from(data)
        if opcode in (_FORGET, _BATCH_FORGET, _INTERRUPT):
            return
        if self.stuck:
            self.asked.append(NAMES.get(opcode, str(opcode)))
            return
        number, body = self._reply(opcode, self.nodes.get(node), data[_HEADER.size :])
        os.write(self.device, struct.pack("=IiQ", 16 + len(body), -number, unique) + body)

    def _reply(self, opcode: int, node: _Node | None, body: bytes) -> tuple[int, bytes]:
        """Return errno and body. Nothing may be kept by the kernel: each look at it asks."""
        name = NAMES.get(opcode)
        if name == "INIT":
            return 0, struct.pack("=4I2H2I2H8I", 7, 31, 65536, 0, 12, 10, 65536, 1, 32, 0, *[0] * 8)
        if node is None:
            return errno.ENOENT, b""
        if name == "LOOKUP":
            found = {b"data": 2, b"lock": 2, b"file": 3}.get(body.rstrip(b"\0")) if node.number == 1 else None
            if found is None:
                return errno.ENOENT, b""
            return 0, struct.pack("=4Q2I", found, 0, 0, 0, 0, 0) + self.nodes[found].attributes()
        if name == "SETATTR":
            valid, mode, uid, gid = *struct.unpack_from("=I", body), *struct.unpack_from("=I4xII", body, 68)
            node.mode = node.kind | mode & 0o7777 if valid & 1 else node.mode
            node.uid, node.gid = uid if valid & 2 else node.uid, gid if valid & 4 else node.gid
        if name in ("GETATTR", "SETATTR"):
            return 0, struct.pack("=Q2I", 0, 0, 0) + node.attributes()
        if name == "STATFS":
            return 0, struct.pack("=5Q10I", 1024, 512, 512, 64, 32, 4096, 255, 4096, *[0] * 7)
        if name in ("OPEN", "OPENDIR"):
            self.opened += name == "OPEN"
            return 0, struct.pack("=Q2I", 1, _DIRECT_IO if name == "OPEN" and self.opened > 1 else 0, 0)
        if name in ("READDIR", "READDIRPLUS", "RELEASE", "RELEASEDIR", "FLUSH", "ACCESS"):
            return 0, b""
        return errno.ENOSYS, b""


if __name__ == "__main__":
    _Server(sys.argv[1], sys.argv[2]).serve()
