"""What hurt the people who ran the original, REX-Ray and their like: each complaint is a scenario, and has its answer.

`ROWS` has the complaints by number, each with the tests that together show its answer; those of this file are the ones
that no other file had. What people also asked for is in `WISHES`. In brackets: where the complaint was made.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from dvdcli.linux import mountinfo
from tests.doubles.launcher import launch
from tests.doubles.plugin import Reply
from tests.ebs import IN_USE, NOT_FOUND, USAGE, refused
from tests.expect import one_line
from tests.gate import Gate, flags
from tests.isolators import Isolator, variables
from tests.pairs import PAIRS
from tests.test_security_md import functions_of
from tests.watched import Watched

pytestmark = pytest.mark.root
ROOT = Path(__file__).parents[1]

ROWS: dict[int, tuple[str, ...]] = {
    # A hung unmount blocks the agent, and killing it leaves two devices at one path [dvdi 88].
    1: (
        "test_agent_contract.py::test_a_hung_plugin_is_given_up_and_recover_finishes_it",
        "test_isolators.py::test_fifty_containers_at_once_and_no_thread_of_the_agents_held",
        "test_block_in_use.py::test_an_unmount_slower_than_the_call_goes_on_and_a_later_call_ends_it",
        "test_block_in_use.py::test_nothing_is_mounted_over_a_mount_of_somebody_else",
        "test_wishes.py::test_01_a_killed_unmount_and_the_next_container_at_the_same_path",
    ),
    # Mounted before it is on record: a crash leaks it [dvdi 93].
    2: (
        "test_lifecycle.py::test_mount_of_nothing_writes_the_intent_before_it_acts",
        "test_isolator.py::test_a_killed_prepare_is_swept",
        "test_crash_walk.py::test_hit_anywhere_and_no_step_is_new",
        "test_killed_in_calls.py::test_hit_at_any_request",
    ),
    # A recovery unmounts what containers that run on still use [dvdi 90, 91, 95].
    3: (
        "test_isolators.py::test_recover_with_orphans",
        "test_isolator.py::test_recover_keeps_what_lives_and_orphans",
        "test_recovery.py::test_a_private_copy_in_a_container_keeps_the_volume",
        "test_recovery.py::test_a_bind_in_a_container_keeps_the_volume",
        "test_recover_agent.py::test_what_a_mount_namespace_has_is_left_alone",
    ),
    # Where the state is: a reboot, a missing directory, a file that is empty or torn [dvdi 94, 104, 107; MESOS-9507].
    4: (
        "test_isolator.py::test_recover_after_a_reboot",
        "test_lifecycle.py::test_older_boot_is_detached_all_the_same",
        "test_recovery.py::test_a_state_that_is_not_there_yet_is_an_empty_one",
        "test_state.py::test_a_damaged_record_is_set_aside_and_rebuilt_from_its_holds",
        "test_wishes.py::test_04_files_that_are_empty_or_torn_keep_no_agent_from_starting",
    ),
    # A detach that failed pins the volume to one host [MESOS-10126, dcos 1430, rexray 1301].
    5: (
        "test_agent_contract.py::test_a_failed_unmount_is_remembered_and_recover_finishes_it",
        "test_ebs.py::test_a_detach_that_does_not_end_is_finished_later",
        "test_wishes.py::test_05_a_detach_that_fails_pins_the_volume_until_recover_and_no_longer",
    ),
    # Attached to a dead host, or another one [dvdi 23, 56; rexray 243, 913, 1144].
    6: (
        "test_two_hosts.py::test_written_on_one_read_on_the_other",
        "test_two_hosts.py::test_a_dead_hosts_volume_is_refused_until_that_host_is_stopped",
    ),
    # After a preempt a stale mount, I/O errors, or the wrong device [rexray 207, 427, 1166].
    7: (
        "test_two_hosts.py::test_a_mount_whose_device_was_taken_away_is_not_trusted",
        "test_two_hosts.py::test_attached_again_the_old_mount_is_cleared_away_and_the_new_device_mounted",
        "test_ebs.py::test_a_device_that_does_not_come_or_is_another_is_never_touched",
        "test_scaleio.py::test_a_device_that_does_not_come_or_is_another_is_never_touched",
        "test_wishes.py::test_07_taken_away_and_taken_back",
        "test_wishes.py::test_07_a_policy_that_is_changed_too_late_is_said_to_count_later",
    ),
    # Detached while mounted; 65,536 mounts on each other [rexray 1130].
    8: (
        "test_agent_contract.py::test_many_mounts_and_one_unmount",
        "test_ebs_moto.py::test_what_was_detached_behind_our_back_is_unmounted_all_the_same",
        "test_wishes.py::test_08_a_task_that_fails_and_comes_again_stacks_no_mounts",
    ),
    # Two mounts of one volume race [rexray 1284].
    9: (
        "test_concurrency.py::test_one_volume_is_mounted_once",
        "test_block_model.py::test_an_interleaving",
        "test_ebs.py::test_what_is_attached_here_already_is_used",
        "test_scaleio.py::test_what_is_mapped_here_already_is_used",
        "test_wishes.py::test_09_many_mounts_of_one_disk_at_once_attach_it_once",
    ),
    # Names that are there twice, or begin alike [rexray 845, 1287; ebs-csi 165].
    10: (
        "test_ebs.py::test_a_name_is_matched_exactly",
        "test_ebs.py::test_two_volumes_of_one_name_are_an_error_that_lists_them",
        "test_scaleio.py::test_several_systems_behind_one_gateway",
    ),
    # Names of NVMe devices, and stale links [rexray 1104, 1293; ebs-csi 1076, 1224].
    11: (
        "test_double_ec2.py::test_the_device_has_the_serial",
        "test_ebs.py::test_a_device_that_does_not_come_or_is_another_is_never_touched",
        "test_wishes.py::test_11_nvme_names_that_change_places_and_links_that_lie",
    ),
    # Stuck in "attaching" [rexray 773; ebs-csi 292].
    12: ("test_ebs.py::test_an_attachment_that_stays_in_attaching_is_taken_back",),
    # Throttled by the API [rexray 959, 1331].
    13: (
        "test_ebs.py::test_throttling_is_waited_out",
        "test_ebs.py::test_calls_per_mount_and_unmount_of_what_exists",
        "test_scaleio.py::test_requests_per_mount_and_unmount_of_what_exists",
        "test_wishes.py::test_13_an_account_with_many_volumes_is_never_asked_for_all_of_them",
    ),
    # A slow or dead plugin holds up a list [rexray 1292; moby 22653].
    14: (
        "test_listing.py::test_the_volumes_of_every_driver_at_once",
        "test_slow_plugin.py::test_a_check_and_a_list_of_all_go_on_to_the_next_plugin",
    ),
    # A typo makes a disk of 16 GiB [dvdcli 18 to 20, dvdi 97].
    15: (
        "test_lifecycle.py::test_explicit_create_from_the_call_beats_the_configuration",
        "test_wishes.py::test_15_a_typo_makes_no_disk_or_is_in_the_systems_log",
    ),
    # Options that are swallowed, or split in the wrong place [dvdi 89; rexray 842].
    16: (
        "test_agent_contract.py::test_options_reach_the_plugin_unchanged",
        "test_go_faults.py::test_fault_02_a_value_ends_at_its_second_equals",
        "test_go_faults.py::test_fault_17_options_are_split_at_commas",
        "test_ebs.py::test_every_option_reaches_ec2",
        "test_wishes.py::test_16_a_tasks_options_reach_the_storage_system_each_as_it_is",
        "test_wishes.py::test_16_what_create_has_no_use_for_is_not_swallowed",
        "test_wishes.py::test_16_a_tasks_misspelt_option_is_an_error_and_makes_no_disk",
    ),
    # Read-only, and shared by several hosts [dvdcli 15; rexray 343; marathon 4055].
    17: (
        "test_isolators.py::test_life_cycle_with_real_mounts",
        "test_image.py::test_mount_options_are_passed_on",
        "test_ebs.py::test_multi_attach_is_for_io2_when_asked_for_and_read_only",
    ),
    # Who owns the volume's root [rexray 731, 1217; MESOS-9908].
    18: (
        "test_isolator.py::test_a_fresh_volume_takes_mode_and_owner_of_its_container_path",
        "test_image.py::test_owner_and_mode_are_those_of_a_fresh_file_system_only",
        "test_wishes.py::test_18_a_task_that_is_not_root_can_write_its_new_disk",
    ),
    # SELinux [moby 18005, 33389].
    19: ("test_wishes.py::test_19_a_selinux_context_reaches_mount_whole",),
    # The rules for container paths [marathon 4164; dvdi 53, 63, 69].
    20: (
        "test_targets.py::test_a_relative_path_is_in_the_sandbox",
        "test_targets.py::test_below_tmp_it_is_made",
        "test_targets.py::test_elsewhere_it_has_to_exist",
        "test_isolator.py::test_two_containers_share_a_volume",
        "test_wishes.py::test_20_the_error_says_the_rule_that_the_path_breaks",
        "test_wishes.py::test_20_the_rules_are_written_down",
    ),
}
WISHES: dict[str, tuple[str, ...]] = {
    "managed plugins": ("test_plugins.py::test_a_managed_plugin_and_where_its_paths_are_on_the_host",),
    "grow a volume": (
        "test_ebs.py::test_resize_grows_the_volume_and_the_file_system",
        "test_scaleio.py::test_resize_grows_the_volume_and_the_file_system",
    ),
    "the attach limit in the error": ("test_ebs.py::test_the_attach_limit_is_in_the_error",),
    "stale sockets": (
        "test_agent_contract.py::test_a_plugin_that_starts_3_s_late_is_waited_for",
        "test_wishes.py::test_a_stale_socket_is_told_from_a_slow_plugin",
    ),
    "no remove everything": ("test_wishes.py::test_remove_takes_one_name_and_leaves_other_hosts_alone",),
}


def test_every_row_has_its_tests() -> None:
    assert list(ROWS) == list(range(1, 21))
    named = [name for names in [*ROWS.values(), *WISHES.values()] for name in names]
    files = {name.partition("::")[0] for name in named}
    there = {f"{file}::{function}" for file in files for function in functions_of(ROOT / "tests" / file)}
    assert [name for name in named if name not in there] == []
    assert [name for names in [*ROWS.values(), *WISHES.values()] for name in names if names.count(name) > 1] == []
    own = {f"test_wishes.py::{name}" for name in functions_of(Path(__file__)) if name.startswith("test_")}
    assert own - set(named) == {"test_wishes.py::test_every_row_has_its_tests"}


# 1


def at(path: Path) -> list[str]:
    return [mount.source for mount in mountinfo.read() if mount.path == str(path)]


@pytest.mark.namespace
@pytest.mark.parametrize("release", ["0.26.2", "1.11.0"])
def test_01_a_killed_unmount_and_the_next_container_at_the_same_path(home, release):
    plugin = home.plugin(real=True)
    for name in ("v", "w"):
        plugin.add(name)
    isolator, place = Isolator(home, release), home.root / "place"  # below /tmp: made where it is missing
    given = {"DRIVER": "plug", "CONTAINERPATH": str(place)}
    task = ["sh", "-c", f"grep -c ' {place} ' /proc/self/mountinfo; ls {place}"]
    for name in ("v", "w"):
        message = isolator.launch(f"c-{name}", variables(NAME=name, **given))
        (Path(plugin.volumes[name].mountpoint) / f"of-{name}").touch()
        done = launch(release, message, task, isolator.sandbox(f"c-{name}"))
        assert (done.returncode, done.stdout) == (0, f"1\nof-{name}\n"), done
        assert at(place) == []
        if name == "v":
            kill_cleanup(home, plugin, isolator)
            assert plugin.mounted() == ["v"]
    assert isolator.recover([["c-w"]]) == []
    assert plugin.mounted() == ["w"]
    assert isolator.cleanup("c-w") == []
    assert home.leftovers() == []


def kill_cleanup(home, plugin, isolator):
    """Clean up after the container, and kill that while the plugin hangs: what it was asked is never carried out."""
    plugin.next("Unmount", Reply(raw=b"", delay=0))
    with Gate(plugin, "Unmount") as gate:
        process = home.start("unmount", "--isolator", stdin=subprocess.PIPE)
        process.stdin.write(json.dumps(isolator.envelope(container_id=["c-v"])).encode())
        process.stdin.close()
        gate.wait()
        process.send_signal(signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            stream.close()
    plugin.wait_idle()


# 4


@pytest.mark.parametrize("kept", [0, 7], ids=["empty", "torn"])
@pytest.mark.parametrize("of", ["container.json", "record.json", "holds", "boot", "all"])
def test_04_files_that_are_empty_or_torn_keep_no_agent_from_starting(home, of, kept):
    """Whichever file: recover answers, what lives keeps its volume, and can let go of it."""
    plugin = home.plugin()
    isolator = Isolator(home)
    for name in ("live", "dead"):
        plugin.add(name)
        isolator.launch(name, variables(NAME=name, DRIVER="plug"))
    assert isolator.recover([["live"], ["dead"]]) == []
    torn = [path for path in home.state.rglob("*") if path.is_file() and of in (path.name, path.parent.name, "all")]
    assert torn
    for path in torn:
        path.write_bytes(path.read_bytes()[:kept])
    isolator.recover([["live"]])
    isolator.recover([["live"]])  # the first sets right what it found, and may have left what it could not tell
    assert plugin.mounted() == ["live"]
    assert isolator.prepare("new", variables(NAME="live", DRIVER="plug")).code == 0
    for name in ("new", "live"):
        assert isolator.cleanup(name) == []
    assert plugin.mounted() == []
    assert [path for path in home.leftovers() if ".corrupt" not in path] == []


# 5, 7: two hosts


TAKERS = pytest.mark.parametrize("pair", [name for name, kind in PAIRS.items() if kind.takes], indirect=True)


@pytest.fixture(params=PAIRS)
def pair(request, command):
    pair = PAIRS[request.param](command)
    yield pair
    pair.close()


def test_05_a_detach_that_fails_pins_the_volume_until_recover_and_no_longer(pair):
    a, b = pair.a, pair.b
    pair.volume()
    assert pair.call(a, "mount").code == 0
    (a.place / "file").write_text("from a")
    pair.fail_to_detach()
    failed = pair.call(a, "unmount", "--timeout=3")
    assert failed.code not in (0, USAGE), failed
    one_line(failed)
    assert [row["status"] for row in a.mounts()] == ["unmounting"]
    assert not os.path.ismount(a.place)
    refused(pair.call(b, "mount"), IN_USE, pair.name(a))
    pair.heal()
    done = a.recover()
    assert (done.code, done.out.split(": ")[0]) == (0, f"{pair.driver}/v")
    assert a.leftovers() == []
    assert pair.call(b, "mount").code == 0
    assert (b.place / "file").read_text() == "from a"
    assert pair.call(b, "unmount").code == 0


@TAKERS
def test_07_taken_away_and_taken_back(pair):
    """By force both times, and neither host was told: each has the old mount in its table still."""
    a, b = pair.a, pair.b
    for machine in (a, b):
        pair.preempt(machine, "force")
    pair.volume()
    assert pair.call(a, "mount").code == 0
    subprocess.run(["sync", "-f", a.place], check=True)
    for taker, loser, name in ((b, a, "from b"), (a, b, "from a again")):
        pair.taken_in_use(loser)
        done = pair.call(taker, "mount", "--hold=second")
        assert (done.code, done.out) == (0, f"{taker.place}\n"), done
        assert at(loser.place) != []
        assert len(at(taker.place)) == 1
        assert pair.holders() == [pair.name(taker)]
        (taker.place / "file").write_text(name)
        subprocess.run(["sync", "-f", taker.place], check=True)
    assert pair.call(b, "unmount", "--hold=second").code == 0
    assert at(b.place) == b.leftovers() == []
    assert pair.holders() == [pair.name(a)]
    assert (a.place / "file").read_text() == "from a again"
    for hold in ("host", "second"):
        assert pair.call(a, "unmount", f"--hold={hold}").code == 0
    assert at(a.place) == a.leftovers() == []
    assert pair.call(a, "mount").code == 0
    assert (a.place / "file").read_text() == "from a again"
    assert pair.call(a, "unmount").code == 0


@TAKERS
def test_07_a_policy_that_is_changed_too_late_is_said_to_count_later(pair):
    """What is on record has the settings of its first mount: the error says so, and the way out works."""
    a, b = pair.a, pair.b
    pair.volume()
    assert pair.call(a, "mount").code == 0
    subprocess.run(["sync", "-f", a.place], check=True)
    pair.preempt(b, "force")
    pair.taken_in_use(a)
    assert pair.call(b, "mount").code == 0
    pair.preempt(a, "force")
    says = "(it is never); the settings on record count until its last unmount here"
    refused(pair.call(a, "mount", "--hold=second"), IN_USE, pair.name(b), says)
    assert pair.call(a, "unmount").code == 0
    pair.taken_in_use(b)
    assert pair.call(a, "mount").code == 0
    for machine in (a, b):
        assert pair.call(machine, "unmount").code == 0
        assert machine.leftovers() == []


# 8, 9


def test_08_a_task_that_fails_and_comes_again_stacks_no_mounts(machine, ec2):
    """Its container path is refused, again and again: the volume is mounted before, and let go of after."""
    ec2.volume("v")
    isolator = Isolator(machine)
    assert isolator.launch("good", variables(NAME="v", DRIVER="ebs")) is None
    for number in range(3):
        bad = variables(NAME="v", DRIVER="ebs", NAME1="none", DRIVER1="ebs", EXPLICITCREATE1="true")
        assert isolator.prepare(f"bad-{number}", bad).code == NOT_FOUND
        assert isolator.launch(f"c-{number}", variables(NAME="v", DRIVER="ebs")) is None
        assert len(at(machine.place)) == 1
    assert ec2.names().count("AttachVolume") == 1
    for name in ("good", *(f"c-{number}" for number in range(3))):
        assert len(at(machine.place)) == 1
        assert isolator.cleanup(name) == []
    assert at(machine.place) == machine.leftovers() == []
    assert ec2.names().count("DetachVolume") == 1


def test_09_many_mounts_of_one_disk_at_once_attach_it_once(machine, ec2):
    volume = ec2.volume("v")
    ec2.attaching = 0.5
    calls = [machine.start("mount", *flags("v", "ebs"), f"--hold={number}") for number in range(6)]
    done = [machine.finish(call) for call in calls]
    assert {(each.code, each.out) for each in done} == {(0, f"{machine.place}\n")}, done
    assert len(at(machine.place)) == len(volume.attachments) == ec2.names().count("AttachVolume") == 1
    calls = [machine.start("unmount", *flags("v", "ebs"), f"--hold={number}") for number in range(6)]
    assert {machine.finish(call).code for call in calls} == {0}
    assert at(machine.place) == volume.attachments == machine.leftovers() == []


# 11, 13


def test_11_nvme_names_that_change_places_and_links_that_lie(machine, ec2):
    """After a reboot what was nvme1n1 is another name; each by-id link leads to some other device."""
    for name in ("v", "w"):
        ec2.volume(name)
        assert machine.ebs("mount", name).code == 0
        (machine.place.with_name(name) / "file").write_text(name)
    before = [machine.record(name, "ebs")["handle"]["device"]["path"] for name in ("v", "w")]
    machine.host.boot()
    machine.reboot()
    for name in ("v", "w"):
        assert machine.ebs("mount", name, "--hold=new").code == 0
        assert (machine.place.with_name(name) / "file").read_text() == name
    after = [machine.record(name, "ebs")["handle"]["device"]["path"] for name in ("v", "w")]
    assert before != after
    assert list((machine.host.dev / "disk/by-id").iterdir()) != []
    for name in ("v", "w"):
        assert machine.ebs("unmount", name, "--hold=new").code == 0
    assert machine.leftovers() == []


def test_13_an_account_with_many_volumes_is_never_asked_for_all_of_them(machine, ec2):
    ec2.volume("v")
    for number in range(12):
        ec2.volume(f"other-{number}")
    assert machine.ebs("mount").code == 0
    assert machine.ebs("unmount").code == 0
    asked = [parameters for name, parameters in ec2.calls if name == "DescribeVolumes"]
    assert asked
    assert [each for each in asked if not (each.get("Filter") or each.get("VolumeId"))] == []
    assert len(ec2.calls) <= 8, ec2.names()


# 15, 16


def test_15_a_typo_makes_no_disk_or_is_in_the_systems_log(machine, ec2):
    watched = Watched(machine, "none")
    try:
        ec2.volume("database")
        typo = flags("databse", "ebs")
        done = watched.run("mount", *typo, "--explicitcreate=true")
        refused(done, NOT_FOUND, "there is no volume ebs/databse", "create")
        machine.config.write_text("explicit_create = true\n")
        refused(watched.run("mount", *typo), NOT_FOUND, "there is no volume ebs/databse")
        assert ec2.names().count("CreateVolume") == 0
        assert not any("created" in line for line in watched.logged)
        assert watched.run("mount", *typo, "--explicitcreate=false", "--volumeopts=size=1").code == 0
        assert [volume.name for volume in ec2.volumes.values()] == ["database", "databse"]
        assert [line for line in watched.logged if "created the volume ebs/databse" in line]
        assert watched.run("unmount", *typo).code == 0
    finally:
        watched.close()
    assert machine.leftovers() == []


def test_16_a_tasks_options_reach_the_storage_system_each_as_it_is(machine, ec2):
    isolator = Isolator(machine, "0.26.2")
    given = variables(NAME="v", DRIVER="ebs", OPTS="size=5,volumeType=io1,iops=150,newFsType=xfs")
    isolator.launch("c1", given)
    [volume] = ec2.volumes.values()
    assert (volume.size, volume.type, volume.iops) == (5, "io1", 150)
    assert next(mount.type for mount in mountinfo.read() if mount.path == str(machine.place)) == "xfs"
    assert isolator.cleanup("c1") == []


def test_16_a_tasks_misspelt_option_is_an_error_and_makes_no_disk(machine, ec2):
    done = Isolator(machine).prepare("c1", variables(NAME="v", DRIVER="ebs", OPTS="size=4,szie=5"))
    refused(done, USAGE, "'szie'", "size")
    assert ec2.volumes == {}
    assert machine.leftovers() == []


@pytest.mark.parametrize("driver", ["ebs", "local"])
def test_16_what_create_has_no_use_for_is_not_swallowed(machine, ec2, driver):
    """It makes a blank disk, whatever file system it is told."""
    words = [*flags("v", driver), "--volumeopts=size=5", "--volumeopts=newFsType=xfs", "--volumeopts=mode=750"]
    if driver == "local":
        words[2] = "--volumeopts=size=320M"
    done = machine.run("create", *words)
    assert (done.code, done.out) == (0, "")
    assert f"warning: fsType, mode: the file system of {driver}/v is made by its first mount; say it there" in done.err
    assert machine.run("create", *words[:3]).err == ""
    mounted = machine.run("mount", *words)
    assert (mounted.code, mounted.err) == (0, "")
    [there] = [mount for mount in mountinfo.read() if mount.path == mounted.out.strip()]
    assert there.type == "xfs"
    assert os.stat(there.path).st_mode & 0o7777 == 0o750
    assert machine.run("unmount", *flags("v", driver)).code == 0


# 18, 19, 20


@pytest.mark.namespace
def test_18_a_task_that_is_not_root_can_write_its_new_disk(machine, ec2):
    """The sandbox is the task's; so is the volume that is made for it, and the next one finds it as it was left."""
    isolator = Isolator(machine)
    given = variables(NAME="v", DRIVER="ebs", OPTS="size=1", CONTAINERPATH="data")
    task = ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "sh", "-c"]
    scripts = ("echo mine > data/file && chmod 700 data", ""), ("cat data/file; stat -c %a data", "mine\n700\n")
    for script, says in scripts:
        message = isolator.launch("c1", given)
        done = launch("1.11.0", message, [*task, script], isolator.sandbox("c1"))
        assert (done.returncode, done.stdout) == (0, says), done
        assert isolator.cleanup("c1") == []
    assert len(ec2.volumes) == 1


def test_19_a_selinux_context_reaches_mount_whole(machine, ec2):
    """With its commas, in its quotes; on a host without SELinux mount(8) leaves it out."""
    volume = ec2.volume("v")
    context = 'context="system_u:object_r:svirt_sandbox_file_t:s0:c1,c2"'
    done = machine.ebs("mount", "v", "-v", *machine.opts(mountopts=f"noatime,{context},nodev"))
    [mount] = [line for line in done.err.splitlines() if line.startswith("dvdcli: run mount ")]
    assert f"noatime,{context},nodev -- " in mount
    assert done.code == 0
    [there] = [mount for mount in mountinfo.read() if mount.path == str(machine.place)]
    assert {"noatime", "nodev"} <= set(there.options.split(","))
    assert machine.ebs("unmount").code == 0
    assert volume.attachments == machine.leftovers() == []


RULES = {
    "/etc/mysql": "is no place for a volume: root relies on /etc",
    "/srv/dvdcli-is-not-there": "is no directory of this agent; make it, or use a path in the sandbox or below /tmp",
    "/srv/../etc": "has a .. in it; name the place itself",
    ".": "is the sandbox itself; name a directory in it",
}


@pytest.mark.parametrize("path", RULES)
def test_20_the_error_says_the_rule_that_the_path_breaks(home, path):
    plugin = home.plugin()
    done = Isolator(home).prepare("c1", variables(NAME="v", DRIVER="plug", CONTAINERPATH=path))
    refused(done, USAGE, f"the container path {path!r} of DVDI_VOLUME_NAME {RULES[path]}")
    assert plugin.calls == home.leftovers() == []


def test_20_the_rules_are_written_down():
    _, _, text = (ROOT / "contrib/README.md").read_text().partition("## What a task can say\n")
    [row] = re.findall(r"\| `DVDI_VOLUME_CONTAINERPATH` \| (.*) \|", text)
    for rule in ("relative, in its sandbox", "a directory of the agent", "of the image", "below `/tmp`", "Left out"):
        assert rule in row
    [refusals] = [each for each in text.split("\n\n") if "Not possible: a path" in each.replace("\n", " ")]
    for rule in ("`..`", "root itself relies on", "another task's", "symbolic link"):
        assert rule in refusals.replace("\n", " ")


# What people also asked for


def test_a_stale_socket_is_told_from_a_slow_plugin(home):
    import socket

    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home.sockets / "plug.sock"))
    done = home.run("get", *flags("v", "plug"), "--timeout=1")
    refused(done, 5, "the plugin 'plug' cannot be reached", "plug.sock: Connection refused", "see that it runs")
    listed = home.run("list", "--all", "--timeout=1")
    assert "cannot be reached" in listed.err
    home.sockets.joinpath("plug.sock").unlink()
    home.plugin().add("v")
    assert home.run("get", *flags("v", "plug")).code == 0


def test_remove_takes_one_name_and_leaves_other_hosts_alone(cloud, ec2):
    a, b = cloud.machine("a"), cloud.machine("b")
    for name in ("one", "two", "v"):
        ec2.volume(name)
    assert b.ebs("mount").code == 0
    for name in ("*", "one,two", "o"):
        assert a.ebs("remove", name, "--yes").code == NOT_FOUND
    assert a.run("remove", "--volumedriver=ebs", "--yes").code == USAGE
    for flag in ("--all", "--force"):
        assert a.ebs("remove", "one", "--yes", flag).code == USAGE
    refused(a.ebs("remove", "v", "--yes"), IN_USE, b.host.id)
    assert len(ec2.volumes) == 3
    assert a.ebs("remove", "one", "--yes").code == 0
    assert sorted(volume.name for volume in ec2.volumes.values() if volume.state != "deleted") == ["two", "v"]
    assert b.ebs("unmount").code == 0
