"""Where in a container a volume goes: container paths, judged before anything is mounted.

A path that root alone can change can be mounted on by name. Everything else is walked by `dvdcli bind` at the launch.
"""

from __future__ import annotations

import os
import stat
import sys

from dvdcli.config import SYSTEM, mounts_directory, state_directory
from dvdcli.errors import UsageError
from dvdcli.linux import aside
from dvdcli.linux.paths import is_of_root_alone, is_within, parts
from dvdcli.names import without_controls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from dvdcli.clock import Deadline
    from dvdcli.mesos import Prepare
    from dvdcli.wanted import Wanted

Owner = tuple[int, int]

LONGEST_PATH = 4095
TMP = "/tmp"  # nosec B108 # noqa: S108 - the original's rule: what lies below it is made
# What lies in an agent's work directory, on the way to a sandbox.
_SANDBOXES = ("slaves", "containers")


class Target:
    """The place of one volume.

    *base* is a directory that tasks cannot write; *through* and *path* lead on from there, as in bind.Bind. *owner*
    gets what is missing on the way; None where the place has to exist. *plain* is whether root alone can change the
    way. *model* is the directory whose mode and owner a fresh volume takes, "" where there is none yet.
    """

    __slots__ = ("base", "model", "owner", "path", "plain", "through")

    def __init__(self, base: str, path: str, *, through: str = "", owner: Owner | None = None) -> None:
        self.base = base
        self.through = through
        self.path = path
        self.owner = owner
        self.plain = False
        self.model = ""

    @property
    def name(self) -> str:
        """The whole path on the host, as far as it can be said before the walk."""
        return "/" + "/".join([*parts(self.base), *parts(self.through), *parts(self.path)])

    def dress(self, path: str, deadline: Deadline) -> None:
        """Give the root of the fresh volume at *path* the mode and the owner of its container path.

        Raises OSError, and TryAgainError where the file system of the one or the other does not answer.
        """
        if self.model:
            aside.ask(self.model, deadline)
        aside.look(lambda: self._dressed(path), path, deadline)

    def _dressed(self, path: str) -> str:
        try:
            status = os.lstat(self.model) if self.model else None
        except FileNotFoundError:
            status = None
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if status is not None and stat.S_ISDIR(status.st_mode):
                os.fchown(descriptor, status.st_uid, status.st_gid)
                os.fchmod(descriptor, stat.S_IMODE(status.st_mode))
            elif self.owner is not None:
                os.fchown(descriptor, *self.owner)
        finally:
            os.close(descriptor)
        return ""


def plan(request: Prepare, wanted: list[Wanted], deadline: Deadline) -> list[Target | None]:
    """Return the place of each of *wanted*, None for a volume without a container path.

    Raises UsageError for a path that no volume may be mounted on, OSError, TryAgainError at the *deadline*.
    """
    if not any(each.path for each in wanted):
        return [None] * len(wanted)
    place = _Container(request, deadline)
    found = [place.target(each) if each.path else None for each in wanted]
    names = [(target.name, each.label) for target, each in zip(found, wanted, strict=True) if target]
    for index, (name, label) in enumerate(names):
        for other, other_label in names[:index]:
            if name == other:
                raise UsageError(f"{label} and {other_label} have the same container path", "give each its own")
    _untangle([target for target in found if target], place.owner)
    return found


def _untangle(targets: list[Target], owner: Owner) -> None:
    """Where one volume's place is in another volume, the inner one is walked to, and made, once the outer is there."""
    for inner in targets:
        for outer in targets:
            if outer is not inner and is_within(inner.name, outer.name):
                outer.plain = inner.plain = False
                inner.owner, inner.model = owner, ""


class _Container:
    """What every container path of one container is judged by."""

    def __init__(self, request: Prepare, deadline: Deadline) -> None:
        self.deadline = deadline
        self.directory = _normal(request.directory)
        self.sandbox_directory = _normal(request.sandbox_directory)
        self.rootfs = request.rootfs
        self.image_in_sandbox = request.has_rootfs_in_sandbox
        aside.ask(self.directory, deadline)
        self.work_dir, self.below = _split_sandbox(self.directory)
        status = os.stat(self.directory)
        self.owner = (status.st_uid, status.st_gid)

    def target(self, wanted: Wanted) -> Target:
        _check(wanted)
        path = _normal(wanted.path) if wanted.path.startswith("/") else "/".join(parts(wanted.path))
        inside = self._in_sandbox(path)
        if inside is not None:
            if not inside:
                raise _refused(wanted, "is the sandbox itself", "name a directory in it")
            return self._sandboxed(wanted, inside)
        if self.rootfs:
            return self._in_image(wanted, path)
        return self._on_host(wanted, path)

    def _in_sandbox(self, path: str) -> str | None:
        """Return *path* relative to the sandbox, None where it leads elsewhere."""
        if not path.startswith("/"):
            return path
        for root in (self.sandbox_directory, "") if self.rootfs else ("", self.directory):
            if root and is_within(path, root):
                return path[len(root) :].strip("/")
        return None

    def _sandboxed(self, wanted: Wanted, path: str) -> Target:
        if self.image_in_sandbox:
            raise _refused(
                wanted, "is in the sandbox, which this release of Mesos mounts over it", "use an absolute path"
            )
        if self.rootfs:
            return Target(self.rootfs, path, through=self.sandbox_directory, owner=self.owner)
        return Target(self.work_dir, f"{self.below}/{path}", owner=self.owner)

    def _in_image(self, wanted: Wanted, path: str) -> Target:
        if is_within(self.sandbox_directory, path):
            raise _refused(wanted, "would hide the sandbox")
        if self.image_in_sandbox:  # mounted where the task can write, at the launch
            return Target(self.work_dir, f"{self.below}/.rootfs{path}", owner=self.owner)
        return Target(self.rootfs, "", through=path, owner=self.owner)

    def _on_host(self, wanted: Wanted, path: str) -> Target:
        if is_within(path, TMP) and path != TMP:
            self._check_host(wanted, path)
            target = Target(TMP, path[len(TMP) + 1 :], owner=self.owner)
            target.model = path
            return target
        try:
            # Tasks choose this path: what it leads to can be a file system that hangs who looks.
            resolved = aside.look(lambda: _resolved(path), path, self.deadline)
            if not resolved:
                raise NotADirectoryError
        except (FileNotFoundError, NotADirectoryError, RuntimeError):
            self._check_host(wanted, path)  # where it is no place for a volume, making it would not help
            raise _refused(
                wanted, "is no directory of this agent", f"make it, or use a path in the sandbox or below {TMP}"
            ) from None
        self._check_host(wanted, resolved)
        if is_within(resolved, TMP) and resolved != TMP:
            raise _refused(wanted, f"leads into {TMP}", "name the place itself")
        target = Target("/", resolved.strip("/"))
        target.plain, target.model = is_of_root_alone(resolved), resolved
        return target

    def _check_host(self, wanted: Wanted, path: str) -> None:
        """Refuse what root runs from, reads or writes once the volume is mounted there."""
        own = (
            os.path.dirname(os.path.realpath(sys.argv[0])), os.path.dirname(os.path.realpath(__file__)),
            state_directory(), mounts_directory(),
        )  # fmt: skip
        for system in (*SYSTEM, *own):
            if is_within(path, system) or is_within(system, path):
                raise _refused(wanted, f"is no place for a volume: root relies on {system}")
        if is_within(self.directory, path) or is_within(self.work_dir, path):
            raise _refused(wanted, "would hide the sandbox")
        if self.work_dir != "/" and is_within(path, self.work_dir):
            raise _refused(wanted, "is in the agent's work directory, where others have their sandboxes")


def _resolved(path: str) -> str:
    """Return where the directory *path* is, "" for another file. Raises OSError."""
    resolved = os.path.realpath(path, strict=True)
    return resolved if stat.S_ISDIR(os.stat(resolved).st_mode) else ""


def _split_sandbox(directory: str) -> tuple[str, str]:
    """Split a sandbox's path into the agent's work directory, without symbolic links, and what is below it."""
    for name in _SANDBOXES:
        work_dir, found, rest = directory.partition(f"/{name}/")
        if found and work_dir:
            return os.path.realpath(work_dir), f"{name}/{rest}"
    return "/", os.path.realpath(directory).strip("/")


def _check(wanted: Wanted) -> None:
    path = wanted.path
    try:
        too_long = len(path.encode()) > LONGEST_PATH
    except UnicodeEncodeError:
        raise _refused(wanted, "is not UTF-8") from None
    if too_long:
        raise UsageError(f"the container path of {wanted.label} has over {LONGEST_PATH} bytes")
    if without_controls(path) != path:
        raise _refused(wanted, "has a control character in it")
    if ".." in path.split("/"):
        raise _refused(wanted, "has a .. in it", "name the place itself")


def _refused(wanted: Wanted, why: str, hint: str = "") -> UsageError:
    return UsageError(f"the container path {wanted.path!a} of {wanted.label} {why}", hint)


def _normal(path: str) -> str:
    return "/" + "/".join(parts(path))
