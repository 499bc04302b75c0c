"""ScaleIO against a strict gateway double over real HTTPS, with real block devices and a drv_cfg to run."""

from __future__ import annotations

import math
import os
import socket
import threading
from pathlib import Path

import pytest

from tests.blocks import content
from tests.doubles.acceptor import Acceptor
from tests.doubles.scaleio import Drop, Error, Half, Raw, Slow
from tests.gate import flags
from tests.scaleio import FAILURE, GENERATIONS, IN_USE, NO_NEW_LOGIN, NOT_FOUND, TRY_AGAIN, USAGE, Grid, refused

pytestmark = pytest.mark.root


@pytest.fixture
def machine(grid):
    return grid.machine()


@pytest.mark.parametrize("generation", GENERATIONS)
@pytest.mark.parametrize("login", ["both", "new"])
def test_a_new_volume_is_made_mapped_formatted_mounted_and_all_of_it_undone(command, generation, login):
    if login == "new" and generation[0] < "4":
        login = "old"
    grid = Grid(command, generation, login=login)
    machine, gateway = grid.machine(), grid.gateway
    done = machine.scaleio("mount", "v", *machine.opts(size=8, mode=1777))
    assert (done.code, done.err) == (0, ""), done
    assert done.out == f"{machine.place}\n"
    (machine.place / "file").write_text("kept")
    [volume] = gateway.volumes.values()
    assert (volume.name, volume.size_gib, volume.mapped) == ("v", 8, [machine.host.sdc])
    undone = machine.scaleio("unmount")
    assert (undone.code, undone.out, undone.err) == (0, "", "")
    assert volume.mapped == []
    assert machine.leftovers() == []
    assert machine.scaleio("mount", "v", "--explicitcreate").code == 0
    assert (machine.place / "file").read_text() == "kept"
    assert machine.scaleio("unmount").code == 0
    assert gateway.names().count("createVolume") == 1
    assert gateway.tokens.open() == []
    grid.close()


@pytest.mark.parametrize("login", ["old", "new"])
def test_a_logout_that_fails_fails_nothing(command, login):
    grid = Grid(command, "4.5", login=login)
    machine, gateway = grid.machine(), grid.gateway
    gateway.volume("v")
    gateway.always["logout"] = Error(0, "no", 500)
    assert (machine.scaleio("mount").code, len(gateway.tokens.open())) == (0, 1)
    gateway.always["logout"] = Slow(math.inf)
    done = machine.scaleio("unmount")
    assert (done.code, done.err) == (0, "")
    assert gateway.names().count("logout") == 2
    grid.close()


def test_requests_per_mount_and_unmount_of_what_exists(machine, gateway):
    gateway.volume("v")
    assert machine.scaleio("mount").code == 0
    assert gateway.names() == ["login", "queryIdByKey", "Volume", "addMappedSdc", "logout"]
    gateway.forget()
    assert machine.scaleio("mount", "v", "--hold=b").code == 0
    assert machine.scaleio("unmount", "v", "--hold=b").code == 0
    assert machine.run("recover").code == 0
    assert machine.run("list").code == 0
    assert gateway.names() == []
    assert machine.scaleio("unmount").code == 0
    assert gateway.names() == ["login", "removeMappedSdc", "logout"]


def test_numbers_that_are_none_are_as_good_as_strings(machine, gateway):
    gateway.strings = False
    assert machine.scaleio("mount", "v", *machine.opts(size=8)).code == 0
    assert machine.scaleio("unmount").code == 0


# Volumes


def test_get_list_path_remove(machine, gateway):
    for name in ("b", "a"):
        gateway.volume(name)
    assert machine.run("list", "--volumedriver=scaleio").out == "a\nb\n"
    assert machine.scaleio("get", "a").out == "a\n"
    assert machine.scaleio("get", "c").code == NOT_FOUND
    by_id = gateway.named("a").id
    assert machine.scaleio("mount", by_id).code == 0
    assert machine.scaleio("path", by_id).out.endswith(f"/{by_id}\n")
    refused(machine.scaleio("mount", "a"), IN_USE, f"on record as scaleio/{by_id}")
    refused(machine.scaleio("remove", by_id), IN_USE, "host")
    assert machine.scaleio("unmount", by_id).code == 0
    assert machine.scaleio("remove", "a").code == 0
    assert machine.scaleio("remove", "a").code == NOT_FOUND
    assert machine.leftovers() == []


def test_a_name_of_32_characters_is_refused_before_anything_is_sent(machine, gateway):
    refused(machine.scaleio("mount", "n" * 32), USAGE, "31")
    assert gateway.names() == []
    assert machine.scaleio("create", "n" * 31).code == 0
    assert machine.leftovers() == []


def test_sizes_are_rounded_up_and_that_is_said(grid, machine, gateway):
    done = machine.scaleio("create", "v", *machine.opts(size=9))
    assert (done.code, "16 GiB" in done.err) == (0, True)
    assert gateway.named("v").size_gib == 16
    assert machine.scaleio("create", "v", *machine.opts(size=10)).code == 0
    refused_line = machine.scaleio("create", "v", *machine.opts(size=17))
    assert (refused_line.code, "16 GiB" in refused_line.err) == (USAGE, True)
    assert len(gateway.volumes) == 1


def test_rex_rays_options_in_any_case_and_unknown_ones(machine, gateway):
    options = machine.opts(SIZE=8, VolumeType="thick", storagepool=gateway.pool.name, newfstype="xfs")
    gateway.gib = 64 << 20
    assert machine.scaleio("mount", "v", *options).code == 0
    [body] = [body for _, path, body in gateway.calls if path.endswith("types/Volume/instances")]
    assert (body["volumeType"], body["storagePoolId"]) == ("ThickProvisioned", gateway.pool.id)
    assert (body["volumeSizeInKb"], body["name"]) == ("8388608", "v")
    assert content(gateway.named("v").image)["TYPE"] == "xfs"
    assert machine.scaleio("unmount").code == 0
    for option in ("iops=5", "volumeType=fat", "size=1.5", "colour=blue"):
        assert machine.scaleio("mount", "w", f"--volumeopts={option}").code == USAGE
    assert len(gateway.volumes) == 1


def test_pools_and_domains_by_name_or_id(machine, gateway):
    other = gateway.add_pool("other", gateway.add_domain("elsewhere"))
    gateway.add_pool("other")
    refused(machine.scaleio("create", "v", *machine.opts(storagePool="none")), NOT_FOUND, "'none'")
    machine.configure(protection_domain=None)
    refused(machine.scaleio("create", "v", *machine.opts(storagePool="other")), NOT_FOUND, "2 storage pool")
    assert machine.scaleio("create", "v", *machine.opts(storagePool="other", protectionDomain="elsewhere")).code == 0
    assert gateway.named("v").pool.id == other.id
    assert machine.scaleio("create", "w", *machine.opts(storagePool=other.id)).code == 0
    machine.configure(storage_pool=None)
    refused(machine.scaleio("create", "x"), USAGE, "storagePool")


def test_a_full_pool_makes_nothing(machine, gateway):
    gateway.add_pool("small", free_gib=8)
    refused(machine.scaleio("mount", "v", *machine.opts(size=16, storagePool="small")), FAILURE, "exceeds")
    assert gateway.volumes == {}
    assert machine.leftovers() == []


def test_a_snapshot_as_a_source(machine, gateway):
    assert machine.scaleio("mount", "v", *machine.opts(size=8)).code == 0
    (machine.place / "file").write_text("kept")
    assert machine.scaleio("unmount").code == 0
    assert machine.scaleio("mount", "copy", *machine.opts(snapshotID="v")).code == 0
    assert (machine.place.with_name("copy") / "file").read_text() == "kept"
    assert machine.scaleio("unmount", "copy").code == 0
    refused(machine.scaleio("mount", "w", *machine.opts(snapshotID="none")), NOT_FOUND, "'none'")


def test_resize_grows_the_volume_and_the_file_system(machine, gateway):
    gateway.gib = 1 << 30  # dvdcli waits for the device to have the very size
    machine.scaleio("mount", "v", *machine.opts(size=8, fsType="xfs"))
    before = os.statvfs(machine.place).f_blocks
    assert machine.scaleio("resize", "v", "--yes", *machine.opts(size=16)).code == 0
    assert os.statvfs(machine.place).f_blocks > 1.8 * before
    refused(machine.scaleio("resize", "v", "--yes", *machine.opts(size=8)), USAGE, "16 GiB")
    assert machine.scaleio("unmount").code == 0


def test_a_resize_whose_answer_was_lost_is_done(machine, gateway):
    assert machine.scaleio("create", "v", *machine.opts(size=8)).code == 0
    gateway.next("setVolumeSize", Error(999, "told to"))
    refused(machine.scaleio("resize", "v", "--yes", *machine.opts(size=16)), FAILURE, "told to")
    gateway.next("setVolumeSize", Drop(act=True))
    assert machine.scaleio("resize", "v", "--yes", *machine.opts(size=16)).code == 0
    assert gateway.names().count("setVolumeSize") == 3, "it is sent again, and refused"


# Mappings


def test_a_volume_of_another_sdc_is_refused_and_named(grid, gateway):
    a, b = grid.machine("a"), grid.machine("b")
    a.scaleio("mount", "v", *a.opts(size=8))
    (a.place / "file").write_text("from a")
    refused(b.scaleio("mount"), IN_USE, a.host.sdc)
    b.configure(preempt="stopped")
    refused(b.scaleio("mount"), IN_USE, a.host.sdc, "connected")
    a.host.die()
    assert b.scaleio("mount").code == 0
    assert (b.place / "file").read_text() == "from a"
    a.host.boot()
    a.reboot()
    refused(a.scaleio("mount"), IN_USE, b.host.sdc)
    assert a.scaleio("unmount").code == 0
    assert a.leftovers() == []
    assert gateway.named("v").mapped == [b.host.sdc]
    assert b.scaleio("unmount").code == 0


def test_what_is_mapped_here_already_is_used(machine, gateway):
    volume = gateway.volume("v")
    gateway.next("addMappedSdc", Drop(act=True))
    assert machine.scaleio("mount").code == 0
    assert volume.mapped == [machine.host.sdc]
    gateway.next("removeMappedSdc", Drop(act=True))
    assert machine.scaleio("unmount").code == 0
    assert volume.mapped == []


def test_what_is_mapped_without_a_record_is_unmapped_by_unmount(machine, gateway):
    volume = gateway.volume("v")
    machine.scaleio("mount")
    machine.slot("v", "scaleio").rename(machine.root / "lost")
    assert machine.scaleio("unmount").code == 0
    assert (volume.mapped, os.path.ismount(machine.place)) == ([], False)
    assert machine.scaleio("unmount", "never heard of").code == 0


def test_several_systems_behind_one_gateway(grid, gateway):
    second = gateway.add_system("second")
    pool = gateway.add_pool("there", gateway.add_domain("second's", second))
    machine, other = grid.machine("a", systems=[gateway.system, second]), grid.machine("b", systems=[second])
    volume = gateway.volume("v", pool=pool)
    assert other.scaleio("mount").code == 0
    refused(machine.scaleio("mount"), IN_USE, volume.mapped[0])
    assert other.scaleio("unmount").code == 0
    assert machine.scaleio("mount").code == 0
    assert machine.scaleio("unmount").code == 0


# The host's side


def test_a_device_that_comes_late_or_after_a_rescan_is_waited_for(machine, gateway):
    gateway.volume("v")
    machine.host.devices = "late"
    for seconds in (1.0, math.inf):
        machine.host.late = seconds
        assert machine.scaleio("mount").code == 0
        assert machine.scaleio("unmount").code == 0
    assert "rescan" in machine.host.driver.names()


@pytest.mark.parametrize("devices", ["never", "wrong"])
def test_a_device_that_does_not_come_or_is_another_is_never_touched(machine, gateway, devices):
    volume = gateway.volume("v")
    machine.host.devices = devices
    refused(machine.scaleio("mount", "v", "--timeout=4"), TRY_AGAIN, volume.id)
    assert volume.mapped == []
    assert content(volume.image) == {}
    assert machine.leftovers() == []


def test_a_device_that_stays_after_the_unmap_is_waited_for(machine, gateway):
    gateway.volume("v")
    machine.scaleio("mount")
    machine.host.leaving = 1.0
    assert machine.scaleio("unmount").code == 0
    assert machine.leftovers() == []


def test_without_an_sdc_it_says_what_is_missing(machine, gateway):
    gateway.volume("v")
    machine.host.driver.fails["--query_guid"] = "Failed to open the kernel driver"
    refused(machine.scaleio("mount"), FAILURE, "drv_cfg", "Failed to open")
    machine.configure(drv_cfg="/nowhere/drv_cfg")
    refused(machine.scaleio("mount"), FAILURE, "/nowhere/drv_cfg", "install the SDC")
    assert machine.leftovers() == []


# The gateway's moods


def test_a_wrong_password_is_said(grid, machine, gateway):
    grid.expected = [NO_NEW_LOGIN]
    machine.password_file.write_text("wrong\n")
    refused(machine.scaleio("mount"), FAILURE, gateway.user, "password_file")
    machine.password_file.write_text(gateway.password)
    machine.password_file.chmod(0o644)
    refused(machine.scaleio("mount"), FAILURE, "others can read it")
    machine.configure(password_file=None)
    refused(machine.scaleio("mount"), USAGE, "password_file", "DVDCLI_SCALEIO_PASSWORD")
    gateway.volume("v")
    password = {"DVDCLI_SCALEIO_PASSWORD": gateway.password}
    assert machine.scaleio("mount", env=password).code == 0
    assert machine.scaleio("unmount", env=password).code == 0


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("calls", [1, 2, 3])
def test_a_token_that_expires_in_the_middle_is_renewed(machine, gateway, status, calls):
    gateway.volume("v")
    gateway.expired_status = status
    gateway.expire_after(calls)
    assert machine.scaleio("mount").code == 0
    assert machine.scaleio("unmount").code == 0


def test_an_mdm_failover_is_waited_out(machine, gateway):
    gateway.volume("v")
    gateway.failover(2)
    assert machine.scaleio("mount").code == 0
    gateway.failover(2)
    assert machine.scaleio("unmount").code == 0
    gateway.failover(1000)
    refused(machine.scaleio("mount", "v", "--timeout=8"), TRY_AGAIN, "503")
    gateway.failover(0)
    assert machine.run("recover").code == 0


@pytest.mark.parametrize("name", ["login", "queryIdByKey", "Volume", "addMappedSdc"])
@pytest.mark.parametrize("reply", [Drop(), Half(), Slow(0.5, piece=1, gap=0.001)], ids=["lost", "half", "slow"])
def test_a_lost_half_or_slow_answer_of_what_can_be_asked_twice(machine, gateway, name, reply):
    volume = gateway.volume("v")
    gateway.next(name, reply)
    assert machine.scaleio("mount").code == 0
    assert machine.scaleio("unmount").code == 0
    assert volume.mapped == []


def test_a_creation_whose_answer_is_lost_is_not_asked_for_twice(machine, gateway):
    gateway.next("createVolume", Drop(act=True))
    assert machine.scaleio("mount", "v", *machine.opts(size=8)).code == TRY_AGAIN
    assert gateway.names().count("createVolume") == 1
    assert machine.scaleio("mount", "v", *machine.opts(size=8)).code == 0
    assert len(gateway.volumes) == 1
    assert machine.scaleio("unmount").code == 0


def test_two_hosts_that_make_one_volume_at_once_make_one(grid, gateway):
    machines, both_ask = [grid.machine("a"), grid.machine("b")], threading.Barrier(2)
    gateway.before = lambda name, when: both_ask.wait(60) if (name, when) == ("createVolume", "before") else None
    started = [machine.start("create", *flags("v", "scaleio")) for machine in machines]
    assert [machine.finish(process).code for machine, process in zip(machines, started, strict=True)] == [0, 0]
    assert (len(gateway.volumes), gateway.names().count("createVolume")) == (1, 2)


def test_a_gateway_that_never_answers_keeps_nobody_waiting(machine, gateway):
    gateway.always["login"] = Slow(math.inf)
    refused(machine.scaleio("mount", "v", "--timeout=2"), TRY_AGAIN, gateway.url)
    gateway.always.clear()
    assert machine.leftovers() == []


def test_what_is_no_json_is_said(machine, gateway):
    gateway.next("queryIdByKey", Raw(200, b"<html>", "text/html"))
    refused(machine.scaleio("mount"), FAILURE, "no JSON")
    gateway.next("queryIdByKey", Error(1234, "Something else"))
    refused(machine.scaleio("mount"), FAILURE, "Something else", "1234")
    assert machine.leftovers() == []


def test_the_gateways_certificate_is_verified(machine, gateway):
    machine.configure(ca_file=None)
    refused(machine.scaleio("mount"), FAILURE, "cannot be trusted", "ca_file")
    machine.configure(ca_file="/nowhere.pem")
    assert machine.scaleio("mount").code == FAILURE
    machine.configure(ca_file=None, insecure=True)
    gateway.volume("v")
    assert machine.scaleio("mount").code == 0
    assert machine.scaleio("unmount").code == 0


@pytest.mark.parametrize(
    "changes",
    [{"endpoint": None}, {"user": None}, {"endpoint": "http://localhost"}, {"preempt": "maybe"}, {"colour": "blue"}],
    ids=str,
)
def test_settings_that_cannot_be_used(machine, gateway, changes):
    machine.configure(**changes)
    refused(machine.scaleio("mount"), USAGE, "[drivers.scaleio]")
    assert gateway.names() == []
    assert machine.leftovers() == []


def test_a_secret_is_in_nothing_that_a_run_leaves(grid, machine, gateway):
    grid.expected = [NO_NEW_LOGIN]
    gateway.volume("v")
    said = [machine.scaleio("mount", "v", "-v"), machine.scaleio("unmount", "v", "-v")]
    gateway.always["login"] = Error(0, "no", 401)
    said.append(machine.scaleio("mount", "v", "-v"))
    gateway.always.clear()
    secrets = {gateway.password, *(token for token in gateway.tokens.known)}
    texts = [text for done in said for text in (done.out, done.err)]
    texts += [path.read_text(errors="replace") for path in Path(machine.state).rglob("*") if path.is_file()]
    assert len(secrets) > 1
    assert [secret for secret in secrets for text in texts if secret in text] == []


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [(b"", TRY_AGAIN, "see that the gateway runs"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", FAILURE, "speaks no TLS")],
    ids=["nothing", "HTTP"],
)
def test_what_ends_the_connection_or_speaks_no_tls_is_no_impostor(machine, answer, code, words):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        acceptor = Acceptor(listener, lambda connection: answer_one(connection, answer))
        machine.configure(endpoint=f"https://127.0.0.1:{listener.getsockname()[1]}")
        refused(machine.scaleio("get", "v", "--timeout=2"), code, words)
        acceptor.stop()


def answer_one(connection, answer):
    with connection:
        connection.recv(65536)
        connection.sendall(answer)
