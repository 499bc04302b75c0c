"""Runs dvdcli as bin/dvdcli would, and notes which of its lines ran: `python3 -I -S covered.py SITE ROOT ARGS…`.

The package coverage would cost each of some ten thousand short processes a fifth of a second. Here a process appends
one line to ROOT/.covered when it ends, for each file its path and a bit for each line that ran; tools/gather.py makes
coverage's data of that.
"""

import os
import sys
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FrameType
    from typing import Any

site, root = sys.argv[1:3]
sys.path.append(site)
ours = f"{site}/dvdcli/"
ran: dict[str, int] = {}
waiting: "dict[int, tuple[CodeType, set[int]]]" = {}  # by id: a code object's own hash goes through all it consists of


def enter(frame: "FrameType", event: str, argument: "Any") -> "Any":
    code = frame.f_code
    if not code.co_filename.startswith(ours):
        return None
    if id(code) not in waiting:
        waiting[id(code)] = code, {line for _, _, line in code.co_lines() if line}
    left = waiting[id(code)][1]
    if not left:
        return None
    name = code.co_filename

    def step(frame: "FrameType", event: str, argument: "Any") -> "Any":
        if event == "line":
            line = frame.f_lineno
            left.discard(line)
            ran[name] = ran.get(name, 0) | 1 << line
        return step

    return step


def save() -> None:
    sys.settrace(None)
    text = " ".join(f"{name}\t{bits:x}" for name, bits in ran.items())
    ran.clear()
    try:
        file = os.open(f"{root}/.covered", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        os.write(file, f"{text}\n".encode())
        os.close(file)
    except OSError:
        pass  # a test that makes every write fail


def save_and_leave(code: int) -> None:
    save()
    leave(code)


leave = os._exit
os._exit = save_and_leave
sys.argv = [f"{os.path.dirname(sys.executable)}/dvdcli", *sys.argv[3:]]
threading.settrace(enter)
sys.settrace(enter)
from dvdcli.__main__ import main  # noqa: E402

try:
    main()
finally:
    save()
