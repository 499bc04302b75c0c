"""The machines' door: the exact calls of the agents, read by hand.

Source: docker/volume/driver.cpp of Apache Mesos and mesos-module-dvdi. Whatever is not such a call is declined, and
goes to click; what is taken here, click would have read in the same way.
"""

from __future__ import annotations

from dvdcli import lifecycle, output
from dvdcli.clock import Deadline
from dvdcli.errors import Exit
from dvdcli.volume import Volume, called, parse_options

_VALUES = ("--volumedriver", "--volumename", "--volumeopts")
_EXPLICIT = ("--explicitcreate", "--explicitCreate")
_BOOLEANS = {"true": True, "false": False}


class Call:
    """A `mount` or `unmount`, as it stands in argv. *explicit* is None where the call does not say."""

    __slots__ = ("driver", "explicit", "name", "options", "verb")

    def __init__(self, verb: str) -> None:
        self.verb = verb
        self.driver = ""
        self.name = ""
        self.options: list[str] = []
        self.explicit: bool | None = None


def parse(argv: list[str]) -> Call | None:
    """Return the call that *argv* (without the program's name) is, or None: then it is for click."""
    if not argv or argv[0] not in ("mount", "unmount"):
        return None
    call = Call(argv[0])
    seen = set()
    words = iter(argv[1:])
    for word in words:
        flag, equals, value = word.partition("=")
        if flag in _VALUES:
            if not equals:
                following = next(words, None)
                if following is None:
                    return None
                value = following
            if flag == "--volumedriver":
                call.driver = value
            elif flag == "--volumename":
                call.name = value
            else:
                call.options.append(value)
        elif flag in _EXPLICIT and (not equals or value in _BOOLEANS):
            call.explicit = _BOOLEANS[value] if equals else True
        else:
            return None
        seen.add(flag)
    return call if {"--volumedriver", "--volumename"} <= seen else None


def run(call: Call) -> int:
    """Carry out *call* and return the exit code."""
    what = f"{call.verb} {call.driver}/{call.name}"
    hold = lifecycle.hold_name(lifecycle.DEFAULT_HOLD)
    try:
        volume = Volume(call.driver, call.name)
        options = parse_options(call.options)
        if call.verb == "mount":
            output.need_stdout()
            deadline = Deadline(lifecycle.MOUNT_TIMEOUT)
            lifecycle.mount(volume, options, call.explicit, hold, deadline, output.to_stdout)
        else:
            others = lifecycle.unmount(volume, hold, Deadline(lifecycle.UNMOUNT_TIMEOUT))
            if others:
                output.tell(f"{volume} stays mounted, for {called(others)}")
    except BaseException as error:  # the one place where this door's errors become an exit code
        return output.report(what, error)
    return Exit.DONE
