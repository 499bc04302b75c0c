"""Container paths: which places a volume may have, and how it gets there; the attacks that must not work."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from dvdcli.clock import Deadline
from dvdcli.errors import DvdcliError, UsageError
from dvdcli.mesos import Prepare
from dvdcli.targets import plan
from dvdcli.wanted import wanted
from tests.isolators import Isolator, variables


@pytest.fixture
def place():
    """A directory that root alone can write, as /tmp is not."""
    root = Path(tempfile.mkdtemp(dir="/srv" if os.geteuid() == 0 else None, prefix="dvd"))
    root.chmod(0o755)
    yield root
    shutil.rmtree(root)


def planned(in_process, *paths, release="1.11.0", directory=None, **config):
    home = in_process()
    isolator = Isolator(home, release)
    given = {}
    for digit, path in enumerate(paths, 1):
        given |= {f"NAME{digit}": f"v{digit}", f"CONTAINERPATH{digit}": str(path)}
    request = isolator.request("c1", variables(**given), **config)
    if directory:
        request["container_config"]["directory"] = str(directory)
    asked = Prepare(request)
    return plan(asked, wanted(asked), Deadline(60))


def one(in_process, path, **more):
    return planned(in_process, path, **more)[0]


def test_no_path_no_place(in_process):
    assert one(in_process, "") is None


SANDBOX = "slaves/S0/frameworks/F0/executors/E0/runs/c1"


@pytest.mark.parametrize("path", ["data", "a/b", "./a//b/", "ü ñ'\"$(x)"])
def test_a_relative_path_is_in_the_sandbox(in_process, path):
    target = one(in_process, path)
    home = in_process()
    clean = "/".join(part for part in path.split("/") if part not in ("", "."))
    assert (target.base, target.through, target.path) == (str(home.root / "work"), "", f"{SANDBOX}/{clean}")
    assert not target.plain
    sandbox = Isolator(home).sandbox("c1").stat()
    assert target.owner == (sandbox.st_uid, sandbox.st_gid)


def test_so_is_an_absolute_one_below_it(in_process):
    home = in_process()
    target = one(in_process, Isolator(home).sandbox("c1") / "x" / "y")
    assert target.path == f"{SANDBOX}/x/y"


def test_below_tmp_it_is_made(in_process):
    target = one(in_process, "/tmp/dvdcli-test/x")
    assert (target.base, target.path, target.plain) == ("/tmp", "dvdcli-test/x", False)
    assert target.owner is not None


@pytest.mark.root
def test_elsewhere_it_has_to_exist(in_process, place):
    target = one(in_process, place)
    assert (target.name, target.plain, target.owner, target.model) == (str(place), True, None, str(place))
    (place / "file").write_text("")
    for path in (place / "no", place / "file", place / "file" / "x"):
        with pytest.raises(UsageError, match="is no directory of this agent"):
            one(in_process, path)


@pytest.mark.root
def test_where_others_can_write_it_is_walked_to(in_process, place):
    (place / "theirs" / "x").mkdir(parents=True)
    os.chown(place / "theirs", 1000, 1000)
    target = one(in_process, place / "theirs" / "x")
    assert (target.base, "/" + target.path, target.plain, target.owner) == (
        "/",
        str(place / "theirs" / "x"),
        False,
        None,
    )


@pytest.mark.root
def test_an_operators_link_is_followed_once(in_process, place):
    (place / "disk").mkdir()
    (place / "data").symlink_to("disk")
    target = one(in_process, place / "data")
    assert (target.name, target.plain) == (str(place / "disk"), True)


@pytest.mark.root
@pytest.mark.parametrize("end", ["/etc", "/usr/bin", "/", "/root/../etc"])
def test_but_not_into_what_root_relies_on(in_process, place, end):
    (place / "evil").symlink_to(end)
    with pytest.raises(UsageError, match="root relies on"):
        one(in_process, place / "evil")


@pytest.mark.parametrize("path", [
    "/", "/etc", "/etc/ssl", "/usr", "/usr/bin", "/usr/local", "/bin", "/lib", "/proc", "/proc/self", "/sys", "/dev",
    "/run", "/var", "/boot", "/var/run",
])  # fmt: skip
def test_what_root_relies_on(in_process, path):
    with pytest.raises(UsageError):
        one(in_process, path)


def test_what_dvdcli_itself_lives_in(in_process):
    import dvdcli

    home = in_process()
    for path in (Path(dvdcli.__file__).parent, Path(dvdcli.__file__).parents[1], home.state, home.state / "mounts"):
        path.mkdir(parents=True, exist_ok=True)
        with pytest.raises(UsageError, match=r"root relies on|work directory|hide"):
            one(in_process, path)


@pytest.mark.parametrize("path", ["..", "a/..", "/tmp/../etc", "../c2", "/srv/..", "a/../../c2"])
def test_no_way_up(in_process, path):
    with pytest.raises(UsageError, match=r"has a \.\. in it"):
        one(in_process, path)


@pytest.mark.parametrize("path", ["a\0b", "a\nb", "a\x1bb", "\udcff", "x" * 5000], ids=ascii)
def test_what_no_path_is(in_process, path):
    with pytest.raises(UsageError, match=r"control character|not UTF-8|bytes"):
        one(in_process, path)


def test_sandboxes_of_others_and_ones_own(in_process):
    home = in_process()
    isolator = Isolator(home)
    other = isolator.sandbox("c2")
    own = isolator.sandbox("c1")
    for path in (other, other / "x", own.parent, isolator.work, isolator.work / "meta"):
        with pytest.raises(UsageError, match=r"work directory|hide the sandbox"):
            one(in_process, path)
    for path in (own, ".", "./"):
        with pytest.raises(UsageError, match="the sandbox itself"):
            one(in_process, path)
    for path in (home.root, "/tmp"):
        with pytest.raises(UsageError, match=r"hide the sandbox|root relies on"):
            one(in_process, path)


def test_a_work_directory_that_is_a_link(in_process):
    home = in_process()
    isolator = Isolator(home)
    isolator.sandbox("c1")
    (home.root / "link").symlink_to(isolator.work)
    target = one(in_process, "x", directory=home.root / "link" / SANDBOX)
    assert (target.base, target.path) == (str(isolator.work), f"{SANDBOX}/x")
    with pytest.raises(UsageError, match="work directory"):
        one(in_process, isolator.sandbox("c2"), directory=home.root / "link" / SANDBOX)


# Images


def test_in_an_image(in_process, tmp_path):
    target = one(in_process, "/data", rootfs=str(tmp_path))
    assert (target.base, target.through, target.path, target.plain) == (str(tmp_path), "/data", "", False)
    assert target.owner is not None
    assert one(in_process, "/etc", rootfs=str(tmp_path)).through == "/etc", "the image's own"


def test_the_sandbox_in_an_image(in_process, tmp_path):
    for path in ("data", "/mnt/mesos/sandbox/data"):
        target = one(in_process, path, rootfs=str(tmp_path))
        assert (target.base, target.through, target.path) == (str(tmp_path), "/mnt/mesos/sandbox", "data")
    for path in ("/", "/mnt", "/mnt/mesos", "/mnt/mesos/sandbox"):
        with pytest.raises(UsageError, match="sandbox"):
            one(in_process, path, rootfs=str(tmp_path))


@pytest.mark.parametrize("release", ["0.26.2", "0.27.3", "0.28.1"])
def test_an_image_in_the_sandbox(in_process, release):
    info = {"type": "MESOS", "mesos": {"image": {}}, "volumes": [{"container_path": ".rootfs", "mode": "RW"}]}
    config = {"container_info": info, "release": release}
    target = one(in_process, "/data", **config)
    assert (target.path, target.plain) == (f"{SANDBOX}/.rootfs/data", False)
    with pytest.raises(UsageError, match="use an absolute path"):
        one(in_process, "data", **config)


@pytest.mark.parametrize("release", ["0.24.1", "0.25.0"])
def test_an_image_that_cannot_be_found(in_process, release):
    info = {"type": "MESOS", "mesos": {"image": {}}}
    with pytest.raises(DvdcliError, match="does not tell"):
        one(in_process, "/data", container_info=info, release=release)


# Several


def test_the_same_place_twice(in_process):
    with pytest.raises(UsageError, match="the same container path"):
        planned(in_process, "a/b", "./a//b")


@pytest.mark.root
def test_one_in_the_other(in_process, place):
    (place / "inner").mkdir()
    outer, inner, other = planned(in_process, place, place / "inner", "x")
    assert not outer.plain
    assert not inner.plain
    assert (outer.owner, inner.owner) == (None, other.owner), "the inner one is made in the outer volume"
