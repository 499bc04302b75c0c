"""`dvdcli bind`: onto the directory that the walk reached, in a container's own namespace, or not at all."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from dvdcli.bind import Bind, parse
from dvdcli.errors import UsageError
from dvdcli.linux import mountinfo
from tests.expect import refused

pytestmark = pytest.mark.namespace
HERE = mountinfo.namespace()


@pytest.fixture
def volume(home):
    path = home.root / "volume"
    path.mkdir()
    (path / "file").write_text("the volume's")
    return path


def word(source, base, path="", **more):
    return json.dumps({"source": str(source), "base": str(base), "path": path, **more})


def contained(home, *words, then="", outside=HERE, options=("--make-slave",), propagation="unchanged"):
    """Run bind, and *then* (sh), in a mount namespace of its own; return (exit status, stdout, stderr)."""
    script = f'"$0" "$@" && {{ {then or ":"}\n}}'
    line = ["unshare", "--mount", f"--propagation={propagation}", "sh", "-c", script, home.command, "bind",
            f"--outside={outside}", *options, *words]  # fmt: skip
    done = subprocess.run(line, env=home.env, cwd=home.root, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_what_it_binds_is_seen_there_and_only_there(home, volume):
    code, out, err = contained(
        home, word(volume, home.root, "a/b", owner=[12, 34]), then="cat a/b/file; stat -c %u:%g a"
    )
    assert (code, out, err) == (0, "the volume's12:34\n", "")
    assert os.listdir(home.root / "a" / "b") == []
    assert (home.root / "a").stat().st_uid == 12


def test_several_in_their_order(home, volume):
    other = home.root / "other"
    (other / "inner").mkdir(parents=True)
    words = [word(other, home.root, "t", owner=[0, 0]), word(volume, home.root, "t/inner")]
    assert contained(home, *words, then="cat t/inner/file")[1] == "the volume's"


@pytest.mark.parametrize("shared", [True, False])
def test_nothing_of_it_reaches_the_host(home, volume, shared):
    """Where / is shared, as under systemd, and where it is private."""
    (home.root / "t").mkdir()
    inner = contained_line(home, word(volume, home.root, "t"))
    script = f"mount --make-r{'shared' if shared else 'private'} / && {inner} && ls {home.root}/t"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script], env=home.env, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done


def contained_line(home, argument):
    return (f"here=$(readlink /proc/self/ns/mnt) && unshare --mount --propagation=unchanged '{home.command}' bind "
            f"--outside=$here --make-slave '{argument}'")  # fmt: skip


def test_read_only(home, volume):
    then = "cat t/file; touch t/x; ls volume"
    _code, out, err = contained(home, word(volume, home.root, "t", owner=[0, 0], read_only=True), then=then)
    assert out == "the volume'sfile\n"
    assert "Read-only" in err
    (volume / "y").write_text("writable elsewhere")


def test_read_only_keeps_the_flags_that_the_mount_had(home, volume):
    tmpfs = home.root / "tmpfs"
    tmpfs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec,noatime", "x", tmpfs], check=True)
    try:
        _code, out, _err = contained(
            home, word(tmpfs, home.root, "t", owner=[0, 0], read_only=True), then="grep ' /.*/t ' /proc/self/mountinfo"
        )
        assert {"ro", "nosuid", "nodev", "noexec", "noatime"} <= set(out.split()[5].split(",")), out
    finally:
        subprocess.run(["umount", "-l", tmpfs], check=True)


@pytest.mark.parametrize("link", ["/etc", "../elsewhere", "dangling", "."])
@pytest.mark.parametrize("path", ["t", "t/x", "a/t"])
def test_a_link_where_the_target_was(home, volume, link, path):
    (home.root / "elsewhere").mkdir()
    (home.root / "a").mkdir()
    for where in (home.root / "t", home.root / "a" / "t"):
        where.symlink_to(link)
    code, _out, err = contained(home, word(volume, home.root, path, owner=[0, 0]))
    assert code != 0
    assert err.startswith("dvdcli: bind: ")
    assert "symbolic link" in err
    assert err.count("\n") == 1
    assert os.listdir(home.root / "elsewhere") == []


def test_in_an_image_links_lead_to_where_they_would_lead_the_task(home, volume):
    root = home.root / "image"
    (root / "run").mkdir(parents=True)
    (root / "var").mkdir()
    (root / "var" / "run").symlink_to("/run")
    argument = json.dumps(
        {"source": str(volume), "base": str(root), "through": "/var/run/x", "owner": [0, 0], "path": ""}
    )
    assert contained(home, argument, then=f"cat {root}/run/x/file")[1] == "the volume's"
    (root / "out").symlink_to("../..")
    argument = json.dumps(
        {"source": str(volume), "base": str(root), "through": "/out/etc", "owner": [0, 0], "path": ""}
    )
    code, _, err = contained(home, argument)
    assert (code, "out of" in err) == (1, True)


def test_not_where_the_host_would_see_it(home, volume):
    (home.root / "t").mkdir()
    line = [home.command, "bind", f"--outside={HERE}", word(volume, home.root, "t")]
    done = subprocess.run(line, env=home.env, capture_output=True, text=True, check=False)
    assert (done.returncode, "--launcher=linux" in done.stderr) == (1, True)
    assert not (home.root / "t").is_mount()
    refused(home.run("bind", word(volume, home.root, "t")), 1)


def test_not_in_a_mount_that_is_shared(home, volume):
    shared = home.root / "shared"
    shared.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "x", shared], check=True)
    try:
        subprocess.run(["mount", "--make-shared", shared], check=True)
        code, _, err = contained(home, word(volume, shared, "t", owner=[0, 0]), options=())
        assert (code, "would not stay in this container" in err) == (1, True)
        assert not (shared / "t").is_mount()
    finally:
        subprocess.run(["umount", "-l", shared], check=True)


@pytest.mark.parametrize("missing", ["source", "target", "base"])
def test_what_is_not_there(home, volume, missing):
    argument = word(
        home.root / "no" if missing == "source" else volume,
        home.root / "no" if missing == "base" else home.root,
        "no/x" if missing == "target" else "",
    )
    code, _, err = contained(home, argument)
    assert code == 1
    assert "No such file or directory" in err
    assert str(home.root) in err or "no" in err


def test_a_source_that_is_a_link(home, volume):
    (home.root / "link").symlink_to(volume)
    assert contained(home, word(home.root / "link", home.root, "t", owner=[0, 0]))[0] == 1


@pytest.mark.parametrize("argument", [
    "", "x", "{", "[]", "{}", '{"source": "/a"}', '{"source": "a", "base": "/", "path": ""}',
    '{"source": "/a", "base": "b", "path": ""}', '{"source": "/a", "base": "/", "path": "", "more": 1}',
    '{"source": "/a", "base": "/", "path": 5}', '{"source": "/a", "base": "/", "path": "", "owner": 5}',
    '{"source": "/a", "base": "/", "path": "", "owner": ["a", 1]}',
    '{"source": "/a", "base": "/", "path": "", "owner": [1]}',
    '{"source": "/a", "base": "/", "path": "", "read_only": "yes"}',
])  # fmt: skip
def test_words_that_describe_no_bind(home, argument):
    with pytest.raises(UsageError):
        Bind.from_argument(argument)
    refused(home.run("bind", "--outside=x", argument), 2)


def test_a_bad_one_stops_the_good_ones(home, volume):
    then = "true"
    code, _, _err = contained(home, word(volume, home.root, "t", owner=[0, 0]), "{}", then=then)
    assert code == 2
    assert not (home.root / "t").exists()


@pytest.mark.parametrize("bind", [
    Bind("/a", "/b", "", "c/d", (0, 1), True), Bind("/ü", "/b", "/t", "", None, False),
    Bind("/a'\"", "/b", "", "\\", None, True),
])  # fmt: skip
def test_there_and_back(bind):
    back = Bind.from_argument(bind.to_argument())
    assert all(getattr(back, key) == getattr(bind, key) for key in Bind.__slots__)
    assert bind.to_argument().isascii()


def test_the_lean_parser():
    call = parse(["bind", "--outside=mnt:[1]", "--make-slave", "{}", "{ }"])
    assert call is not None
    assert (call.outside, call.make_slave, call.words) == ("mnt:[1]", True, ["{}", "{ }"])
    for argv in (["bind"], ["bind", "{}"], ["bind", "--outside=x"], ["bind", "--outside", "x", "{}"], ["bond", "{}"],
                 ["bind", "--outside=x", "x"], ["bind", "--outside=x", "-v", "{}"]):  # fmt: skip
        assert parse(argv) is None


def test_by_the_peoples_door_it_does_the_same(home, volume):
    argument = word(volume, home.root, "t", owner=[0, 0])
    assert contained(home, "-v", argument, then="cat t/file")[1] == "the volume's"
    assert Path(home.root / "t").is_dir()
