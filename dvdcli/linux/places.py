"""What a directory is like as a place: what it is on, who can get through to it, who can put another in its place."""

from __future__ import annotations

import os
import stat

from dvdcli.linux import mountinfo
from dvdcli.linux.paths import way_to

# Where other hosts write too, or where locks and renames are not what they are on a local disk.
NETWORK = frozenset((
    "nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "coda", "glusterfs", "lustre", "gfs2", "ocfs2",
    "beegfs", "gpfs", "virtiofs",
))  # fmt: skip
MEMORY = frozenset(("tmpfs", "ramfs"))


def existing(path: str) -> str:
    """Return the first name on the way from *path* up that is there, a directory or not."""
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    return path


def file_system(path: str) -> str:
    """Return the type of the file system that *path*, which is there, is on, "" where the mount table does not tell."""
    number = os.stat(path).st_dev
    device = f"{os.major(number)}:{os.minor(number)}"
    mounts = mountinfo.read()
    place = mountinfo.place_of(os.path.realpath(path), mounts)
    if place is not None:
        device = place[0]
    return next((mount.type for mount in mounts if mount.device == device), "")


def is_network(kind: str) -> bool:
    """Return whether other hosts see what is in a file system of the type *kind*."""
    return kind in NETWORK or kind.startswith(("fuse.sshfs", "fuse.gluster", "fuse.s3fs", "fuse.ceph"))


def impassable(path: str) -> str:
    """Return the first directory on the way to *path* that other users cannot pass, "" for none. Raises OSError."""
    way = [*way_to(os.path.realpath(path)), os.path.realpath(path)]
    return next((each for each in way if not os.stat(each).st_mode & stat.S_IXOTH), "")


def work_directory(path: str) -> str:
    """Return the Mesos agent's work directory that *path* is in, "" for none: the one with meta/slaves in it."""
    real = os.path.realpath(path)
    way = [*way_to(real), real]
    return next((each for each in reversed(way) if os.path.isdir(f"{each}/meta/slaves")), "")
