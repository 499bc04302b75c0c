"""The lines of /proc/PID/mountinfo."""

from __future__ import annotations

from dvdcli.linux import mountinfo
from tests.fuzz.watch import World, target

SEEDS = [
    b"""21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
22 21 0:5 / /proc rw,nosuid shared:2 master:1 - proc proc rw
23 21 259:0 /a\\040b /mnt/a\\040b ro propagate_from:2 unbindable - xfs /dev/nvme0n1 rw
24 23 0:45 / /mnt/a\\040b/c\\134040\\043 rw - btrfs /dev/loop0 rw,subvol=/
25 24 0:50 / /mnt/f rw - fuse.sshfs u@h:/ rw
""",
    b"1 1 0:1 / / rw - rootfs rootfs rw\n2 1 0:2 / / rw - overlay overlay rw\n3 2 8:16 /x / rw - ext4 /dev/sdb rw\n",
]


@target
def one_input(world: World, data: bytes) -> None:
    mounts = mountinfo.parse(data.decode("utf-8", "surrogateescape"))
    assert len(mounts) <= data.count(b"\n") + 1
    for mount in mounts[:20]:
        assert all(isinstance(getattr(mount, key), (str, bool)) for key in mount.__slots__)
        assert mountinfo.at(mount.path, mounts) is None or mountinfo.at(mount.path, mounts).path == mount.path
        for path in (mount.path, f"{mount.path}/x", "/"):
            found = mountinfo.mount_of(path, mounts)
            assert found is None or found in mounts
            place = mountinfo.place_of(path, mounts)
            assert (place is None) == (found is None)
        assert mount.can_hang in (True, False)
        assert mount.has_device in (True, False)
        assert mount.is_of("8:1") in (True, False)
