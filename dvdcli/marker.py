"""The marker of a volume that recover has to look at: an empty file. It looks at no other volume.

    pending/<driver>/<name>          the volume's own, which belongs to who has its lock
    pending/<driver>/.<name>.<pid>   a process's, while it makes the volume's directory, or removes it or the marker

A marker need not be durable: after a power cut recover looks at everything.
"""

from __future__ import annotations

import os

from dvdcli.linux import files


class Marker:
    """The marker of the volume *name* of *driver*, both encoded, in the state directory *root*."""

    def __init__(self, root: str, driver: str, name: str) -> None:
        self.root = root
        self._directory = f"{root}/pending/{driver}"
        self._path = f"{self._directory}/{name}"
        self._ours = f"{self._directory}/.{name}.{os.getpid()}"

    def is_left(self) -> bool:
        """Return whether the volume waits for recover."""
        return os.path.lexists(self._path)

    def leave(self) -> None:
        """Leave the marker. Raises OSError."""
        self._touch(self._path)

    def leave_if_possible(self) -> None:
        """Leave the marker; where there is no space for one, the next recover looks at every volume."""
        try:
            self.leave()
        except OSError:
            look_again(self.root)  # a full disk: letting go must work all the same

    def remove(self) -> None:
        """Remove the marker. Raises OSError."""
        files.unlink(self._path)

    # Ours: it stays where this process is killed, whoever may be at work on the volume

    def leave_ours(self) -> None:
        """Leave a marker of this process. Raises OSError."""
        self._touch(self._ours)

    def remove_ours(self) -> None:
        """Remove the marker of this process. Raises OSError."""
        files.unlink(self._ours)

    def give(self) -> None:
        """Make the marker of this process the volume's own. Raises OSError, and leaves it then."""
        try:
            os.rename(self._ours, self._path)
        except FileNotFoundError:
            self.leave()  # a recover that cannot see this process has removed it

    def take(self) -> bool:
        """Make the volume's own marker one of this process; return whether there was one. Raises OSError.

        Where there is no space for another name the marker goes, and the next recover looks at every volume.
        """
        try:
            os.rename(self._path, self._ours)
        except FileNotFoundError:
            return False
        except OSError:
            look_again(self.root)
            self.remove()
            return False
        return True

    def _touch(self, path: str) -> None:
        try:
            files.touch(path)
        except FileNotFoundError:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            files.touch(path)


def maker(file_name: str) -> tuple[str, str]:
    """Return the volume's encoded name and the pid, of a process's marker; ("", "") of a volume's own."""
    name, _, pid = file_name[1:].rpartition(".")
    return (name, pid) if file_name.startswith(".") else ("", "")  # no encoded name begins so


def look_again(root: str) -> None:
    """Let the next recover look at every record: for what can leave no marker. Needs no space, and never fails."""
    for name in ("boot.new", "boot"):
        try:
            files.unlink(f"{root}/{name}")
        except OSError:
            continue
