"""What answers a host's drv_cfg, which is an executable of its own and asks here through a unix socket beside it."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.doubles.acceptor import Acceptor

if TYPE_CHECKING:
    from tests.doubles.scaleio.host import Host

EXECUTABLE = Path(__file__).parents[1] / "drv_cfg"


class Driver:
    """The SDC's driver on *host*. `fails` and `hangs` say which options do so, and with which message."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.calls: list[list[str]] = []
        self.fails: dict[str, str] = {}
        self.hangs: set[str] = set()
        self.block_id_prefix = ""
        directory = host.root / "bin"
        directory.mkdir(parents=True)
        self.path = directory / "drv_cfg"
        _, _, program = EXECUTABLE.read_text().partition("\n")
        self.path.write_text(f"#!{sys.executable} -IS\n{program}")
        self.path.chmod(0o755)
        self.open: set[socket.socket] = set()
        self.socket = socket.socket(socket.AF_UNIX)
        fd = os.open(directory, os.O_PATH)
        self.socket.bind(f"/proc/self/fd/{fd}/scini.sock")  # however long the directory's path is
        os.close(fd)
        self.socket.listen()
        self.acceptor = Acceptor(self.socket, self._take)

    def names(self) -> list[str]:
        return [arguments[0].lstrip("-") if arguments else "" for arguments in self.calls]

    def close(self) -> None:
        self.acceptor.stop()
        for connection in list(self.open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _take(self, connection: socket.socket) -> None:
        self.open.add(connection)
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                line = stream.readline()
                if not line:
                    return
                arguments: list[str] = json.loads(line)
                self.calls.append(arguments)
                option = arguments[0] if arguments else ""
                if option in self.hangs:
                    stream.read(1)
                    return
                connection.sendall(json.dumps(self._answer(option, arguments[1:])).encode())
        except OSError:
            pass  # the caller is gone
        except Exception as error:
            self.host.gateway.faults.append(f"drv_cfg: {type(error).__name__}: {error}")
        finally:
            self.open.discard(connection)

    def _answer(self, option: str, rest: list[str]) -> dict[str, Any]:
        if option in self.fails:
            return {"code": 1, "out": "", "err": f"{self.fails[option]}\n"}
        block = len(rest) == 2 and rest[0] == "--block_device"
        if option == "--query_block_device_id" and block:
            return self._block_id(rest[1])
        if rest or option not in ("--query_guid", "--rescan", "--query_mdms"):
            self.host.gateway.faults.append(f"drv_cfg {option} {rest}")
            return {"code": 1, "out": "", "err": "Usage: drv_cfg --query_guid | --query_mdms | --rescan\n"}
        with self.host.gateway.lock:
            if option == "--rescan":
                self.host.rescan()
                return _right("Calling kernel module to refresh MDM configuration information\n"
                              "Successfully completed the rescan operation\n")  # fmt: skip
            if option == "--query_guid":
                return _right(f"{self.host.guid.upper()}\n")
            return _right(self._mdms())

    def _mdms(self) -> str:
        text = f"Retrieved {len(self.host.sdcs)} mdm(s)\n"
        for system, sdc in self.host.sdcs.items():
            text += f"MDM-ID {system} SDC ID {sdc} INSTALLATION ID {system[::-1]} IPs [0]-10.0.1.1 [1]-10.0.1.2\n"
        return text

    def _block_id(self, path: str) -> dict[str, Any]:
        """Tell what a device is in truth, whatever links lead to it."""
        try:
            number = os.stat(path).st_rdev
        except OSError as error:
            return {"code": 1, "out": "", "err": f"Failed to open {path}: {error.strerror}\n"}
        with self.host.gateway.lock:
            devices = [one.there for one in self.host.mappings()] + [one for one, _ in self.host.left.values()]
            for device in devices:
                if device and device.loop.number == number:
                    return _right(f"{self.block_id_prefix}{device.volume}\n")
        return {"code": 1, "out": "", "err": f"{path} is not a scini device\n"}


def _right(text: str) -> dict[str, Any]:
    return {"code": 0, "out": text, "err": ""}
