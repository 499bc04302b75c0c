"""EBS: where region, zone, credentials and endpoint come from, and what is refused before anything is done."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Done, Home
from tests.doubles.web import Reply, Web
from tests.ebs import Cloud, Machine
from tests.expect import refused
from tests.gate import flags

FAILURE, USAGE, NOT_FOUND, TRY_AGAIN = 1, 2, 3, 5
REGION = "eu-west-1"
EVERYTHING = 'region = "eu-west-1"\nzone = "eu-west-1a"\ninstance = "i-0aaaaaaaaaaaaaaaa"'
ALL_BUT_THE_REGION = 'zone = "eu-west-1a"\ninstance = "i-0aaaaaaaaaaaaaaaa"'
A_FEW_SECONDS = 15  # for 3 s that the metadata service is given, on a busy machine

pytestmark = pytest.mark.root


@pytest.fixture
def silent() -> Iterator[str]:
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def mounted(done: Done, machine: Machine) -> None:
    assert (done.code, done.out, done.err) == (0, f"{machine.place}\n", "")


def unmounted(done: Done) -> None:
    assert (done.code, done.out, done.err) == (0, "", "")


def works(machine: Machine, **env: str) -> None:
    """Mount and unmount, a volume made for it the first time."""
    mounted(machine.ebs("mount", env=env), machine)
    unmounted(machine.ebs("unmount", env=env))
    assert machine.leftovers() == []


def nothing_done(machine: Machine) -> None:
    ec2 = machine.host.ec2
    assert ec2.volumes == {}
    assert {"CreateVolume", "AttachVolume", "ModifyVolume", "DeleteVolume"} & set(ec2.names()) == set()
    assert machine.leftovers() == []


def aws_files(machine: Machine, config: str = "", credentials: str = "") -> dict[str, str]:
    """Write the two files of AWS's own tools; return the variables that name them."""
    names = {"AWS_CONFIG_FILE": config, "AWS_SHARED_CREDENTIALS_FILE": credentials}
    for name, text in names.items():
        (machine.root / name).write_text(text)
    return {name: str(machine.root / name) for name in names}


def without_keys(machine: Machine) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        machine.env.pop(name)


# The region


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_the_region_is_taken_from_the_environment(machine, name):
    machine.host.metadata.off = True
    machine.configure(ALL_BUT_THE_REGION)
    works(machine, **{name: REGION})


def test_the_region_is_taken_from_a_profile_of_the_settings_or_of_the_environment(machine, ec2):
    machine.host.metadata.off = True
    keys = f"aws_access_key_id = {ec2.key[0]}\naws_secret_access_key = {ec2.key[1]}\n"
    config = f"[profile mine]\nregion = {REGION}\n[default]\nregion = us-east-1\n"
    files = aws_files(machine, config, f"[mine]\n{keys}[default]\n{keys}")
    machine.configure(f'{ALL_BUT_THE_REGION}\nprofile = "mine"')
    works(machine, **files)
    machine.configure(ALL_BUT_THE_REGION)
    works(machine, **files, AWS_PROFILE="mine")
    machine.configure(f'{ALL_BUT_THE_REGION}\nprofile = "mine"')
    works(machine, **files, AWS_PROFILE="default")


def test_the_region_is_taken_from_the_default_profile_below_home(machine):
    machine.host.metadata.off = True
    machine.configure(ALL_BUT_THE_REGION)
    (machine.root / ".aws").mkdir()
    (machine.root / ".aws" / "config").write_text(f"[default]\nregion = {REGION}\n")
    works(machine)


def test_the_settings_region_goes_before_all_others(machine):
    machine.host.metadata.off = True
    machine.configure(EVERYTHING)
    works(machine, **aws_files(machine, "[default]\nregion = us-east-1\n"), AWS_DEFAULT_REGION="us-east-2")


def test_the_region_is_the_instances_where_nobody_says(machine):
    works(machine)
    assert ("GET", "/latest/dynamic/instance-identity/document") in machine.host.metadata.calls


# The instance and its zone


def test_what_the_settings_leave_open_the_metadata_service_says(machine, ec2):
    machine.configure('zone = "eu-west-1b"')
    assert machine.ebs("create", "v", *machine.opts(size=1)).code == 0
    assert [volume.zone for volume in ec2.volumes.values()] == ["eu-west-1b"]
    machine.configure('instance = "i-0bbbbbbbbbbbbbbbb"')
    assert "i-0bbbbbbbbbbbbbbbb" in refused(machine.ebs("mount"), FAILURE)
    assert machine.leftovers() == []


def test_with_all_three_settings_nobody_asks_the_metadata_service(machine):
    machine.configure(EVERYTHING)
    works(machine)
    assert machine.host.metadata.calls == []


@pytest.mark.parametrize("way", ["hop_limited", "off", "disabled"])
def test_without_a_metadata_service_it_is_one_line_within_seconds_and_settings_are_the_way_out(machine, ec2, way):
    setattr(machine.host.metadata, way, True)
    start = time.monotonic()
    said = refused(machine.ebs("mount"), FAILURE)
    assert time.monotonic() - start < A_FEW_SECONDS
    assert "the instance metadata service" in said
    assert "set region, zone and instance in [drivers.NAME]" in said
    assert ("hop limit" in said) or way == "disabled"
    nothing_done(machine)
    machine.configure(EVERYTHING)
    works(machine)


# Credentials


def test_the_instances_role_gives_credentials(machine, ec2):
    without_keys(machine)
    machine.host.metadata.role = "agents"
    works(machine)
    assert ("GET", "/latest/meta-data/iam/security-credentials/agents") in machine.host.metadata.calls


def test_a_profile_gives_credentials(machine, ec2):
    without_keys(machine)
    key, secret = ec2.key
    mine = f"[mine]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
    files = aws_files(machine, credentials=mine)
    machine.configure('profile = "mine"')
    works(machine, **files)
    machine.config.unlink()
    works(machine, **files, AWS_PROFILE="mine")


@pytest.mark.parametrize("hop_limited", [False, True])
def test_no_credentials_at_all_are_one_line(machine, hop_limited):
    without_keys(machine)
    machine.configure(EVERYTHING)
    machine.host.metadata.hop_limited = hop_limited
    start = time.monotonic()
    said = refused(machine.ebs("mount"), FAILURE)
    assert time.monotonic() - start < A_FEW_SECONDS
    assert "there are no AWS credentials" in said
    assert "role" in said
    nothing_done(machine)


def test_half_of_the_credentials_are_one_line(machine):
    machine.env.pop("AWS_SECRET_ACCESS_KEY")
    assert "there are no AWS credentials" in refused(machine.ebs("mount"), FAILURE)
    nothing_done(machine)


def test_credentials_that_ec2_does_not_know_are_one_line(machine):
    said = refused(machine.ebs("mount", env={"AWS_ACCESS_KEY_ID": "other"}), FAILURE)
    assert "AuthFailure" in said
    nothing_done(machine)


@pytest.mark.parametrize("where", ["settings", "environment"])
def test_a_profile_that_does_not_exist_is_one_line_that_names_it(machine, where):
    machine.configure('profile = "nobody"' if where == "settings" else "")
    done = machine.ebs("mount", env={} if where == "settings" else {"AWS_PROFILE": "nobody"})
    assert "nobody" in refused(done, done.code)
    assert done.code in (FAILURE, NOT_FOUND)
    nothing_done(machine)


def test_an_unmount_that_cannot_ask_for_want_of_its_profile_says_so(machine):
    machine.configure('profile = "nobody"')
    done = machine.ebs("unmount")
    assert done.code == 0, "nothing is on record"
    assert "the driver cannot be asked" in done.err


# The endpoint


def test_the_settings_endpoint_goes_before_the_environments(machine, ec2):
    machine.configure(f'endpoint = "{ec2.url}"')
    works(machine, AWS_ENDPOINT_URL_EC2="http://127.0.0.1:1")


def test_the_environments_general_endpoint_is_one_too(machine, ec2):
    machine.env.pop("AWS_ENDPOINT_URL_EC2")
    works(machine, AWS_ENDPOINT_URL=ec2.url)


def test_an_endpoint_that_refuses_is_to_be_tried_again(machine):
    start = time.monotonic()
    said = refused(machine.ebs("mount", env={"AWS_ENDPOINT_URL_EC2": "http://127.0.0.1:1"}), TRY_AGAIN)
    assert time.monotonic() - start < A_FEW_SECONDS
    assert "EC2 cannot be reached" in said
    nothing_done(machine)


def test_an_endpoint_that_hangs_does_not_hold_us_longer_than_the_timeout(machine, silent):
    start = time.monotonic()
    said = refused(machine.ebs("mount", "v", "--timeout=3", env={"AWS_ENDPOINT_URL_EC2": silent}), TRY_AGAIN)
    assert time.monotonic() - start < 10
    assert "EC2 cannot be reached" in said
    nothing_done(machine)


@pytest.mark.parametrize("status", [200, 400, 502])
def test_an_endpoint_that_answers_with_a_web_page_is_one_line_and_no_bug(machine, status):
    page = Web(lambda request: Reply(status, b"<!doctype html>\n<title>It works</title>\n<br>\n"), [])
    try:
        done = machine.ebs("mount", "v", "--explicitcreate", env={"AWS_ENDPOINT_URL_EC2": page.url})
    finally:
        page.stop()
    assert done.code in (FAILURE, TRY_AGAIN)
    refused(done, done.code)
    nothing_done(machine)


def test_an_endpoint_that_is_no_url_is_one_line(machine):
    assert "nonsense" in refused(machine.ebs("mount", env={"AWS_ENDPOINT_URL_EC2": "nonsense"}), FAILURE)
    machine.configure('endpoint = "nonsense"')
    assert "nonsense" in refused(machine.ebs("mount"), FAILURE)
    nothing_done(machine)


# [drivers.NAME]


@pytest.mark.parametrize(("line", "says"), [
    ('colour = "red"', ("'colour'", "endpoint, instance, preempt, profile, region, zone")),
    ('Region = "eu-west-1"', ("'Region'", "endpoint, instance, preempt, profile, region, zone")),
    ('preempt = "sometimes"', ("'sometimes'", "never", "stopped", "force")),
    ("preempt = true", ("preempt",)),
    ("region = 1", ("region",)),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_a_setting_that_cannot_be_is_refused_in_one_line_that_says_what_can(machine, line, says):
    machine.configure(line)
    for verb in ("mount", "create", "get"):
        said = refused(machine.ebs(verb), USAGE)
        assert all(word in said for word in ("[drivers.ebs]", *says)), said
    assert machine.host.ec2.calls == []
    nothing_done(machine)


@pytest.mark.parametrize("region", ["no such region", "eu_west_1"])
def test_a_region_that_cannot_be_is_refused_in_one_line(machine, region):
    machine.configure(f'region = "{region}"')
    assert region in refused(machine.ebs("mount"), FAILURE)
    nothing_done(machine)


def test_two_drivers_of_one_provider_have_regions_of_their_own(machine, ec2, command):
    far = Cloud(command)
    try:
        far.ec2.region, far.ec2.zones = "us-east-1", ["us-east-1a"]
        machine.config.write_text(
            '[drivers.near]\nprovider = "ebs"\n'
            '[drivers.far]\nprovider = "ebs"\nregion = "us-east-1"\nzone = "us-east-1a"\n'
            f'endpoint = "{far.ec2.url}"\n'
        )
        for driver in ("near", "far"):
            assert machine.run("create", *flags("v", driver), f"--volumeopts=size={len(driver)}").code == 0
        assert [(volume.zone, volume.size) for volume in ec2.volumes.values()] == [("eu-west-1a", 4)]
        assert [(volume.zone, volume.size) for volume in far.ec2.volumes.values()] == [("us-east-1a", 3)]
        assert machine.run("mount", *flags("v", "near")).code == 0
        assert machine.host.id in refused(machine.run("mount", *flags("v", "far")), FAILURE), "which is not there"
        assert machine.run("unmount", *flags("v", "near")).code == 0
        assert machine.leftovers() == []
    finally:
        far.close()


@pytest.mark.parametrize("new", [None, 'colour = "red"', 'region = "us-east-1"\nendpoint = "http://127.0.0.1:1"'])
def test_what_undoes_a_mount_uses_the_settings_on_record(machine, ec2, new):
    machine.host.metadata.off = True
    machine.env.pop("AWS_ENDPOINT_URL_EC2")
    machine.configure(f'{EVERYTHING}\nendpoint = "{ec2.url}"')
    mounted(machine.ebs("mount"), machine)
    if new is None:
        machine.config.unlink()
    else:
        machine.configure(new)
    mounted(machine.ebs("mount", "v", "--hold=another"), machine)
    unmounted(machine.ebs("unmount", "v", "--hold=another"))
    unmounted(machine.ebs("unmount"))
    assert [volume.state for volume in ec2.volumes.values()] == ["available"]
    assert machine.leftovers() == []


def test_what_undoes_a_mount_needs_no_region_in_its_environment(machine, ec2):
    # An agent can have AWS_DEFAULT_REGION, and the recover of a timer not.
    machine.host.metadata.off = True
    machine.configure(ALL_BUT_THE_REGION)
    mounted(machine.ebs("mount", env={"AWS_DEFAULT_REGION": REGION}), machine)
    done = machine.ebs("unmount")
    machine.ebs("unmount", env={"AWS_DEFAULT_REGION": REGION})
    unmounted(done)


# Options and names


@pytest.mark.parametrize(("options", "says"), [
    (("size=0",), "size=0"),
    (("size=1.5",), "size=1.5"),
    (("size=-1",), "size=-1"),
    (("size=",), "size="),
    (("size=500M",), "GiB"),
    (("volumeType=gp9",), "gp3"),
    (("volumetype=",), "gp3"),
    (("iops=many",), "iops=many"),
    (("iops=-5",), "iops=-5"),
    (("throughput=1.5",), "throughput=1.5"),
    (("encrypted=perhaps",), "encrypted=perhaps"),
    (("volumeID=vol-xyz",), "vol-xyz"),
    (("volumeID=VOL-0123456789abcdef0",), "VOL-0123456789abcdef0"),
    (("multiAttach=true", "mountopts=ro", "volumeType=gp3"), "io2"),
    (("multiAttach=true", "volumeType=io2", "iops=100"), "mountopts=ro"),
    (("colour=red",), "snapshotId"),
    (("size=1", "SIZE=2"), "twice"),
    (("type=gp2", "volumeType=gp3"), "twice"),
    (("fsType=ntfs",), "ext4"),
    (("mountopts=loop",), "loop"),
    (("mode=99",), "99"),
], ids=lambda value: ",".join(value) if isinstance(value, tuple) else "")  # fmt: skip
def test_an_option_that_cannot_be_is_refused_in_one_line_and_nothing_is_made(machine, options, says):
    words = [f"--volumeopts={option}" for option in options]
    for verb in ("mount", "create"):
        assert says in refused(machine.ebs(verb, "v", *words), USAGE)
    nothing_done(machine)


@pytest.mark.parametrize("name", [
    "", "n" * 256, "é" * 256, "a\nb", "a\rb", "a\tb", "a\x01b", "a\x7fb", "a\x1b[31mb",
], ids=ascii)  # fmt: skip
def test_a_name_that_cannot_be_is_refused_in_one_line_and_nothing_is_made(machine, name):
    for verb in ("mount", "create", "get", "remove"):
        refused(machine.ebs(verb, name), USAGE)
    nothing_done(machine)


@pytest.mark.parametrize("name", ["n" * 255, "é" * 255, "\N{CAT FACE}" * 255, "../..", "-", "vol-", "a/b c"],
                         ids=lambda name: ascii(name[:2]))  # fmt: skip
def test_the_longest_and_the_strangest_name_works(machine, ec2, name):
    done = machine.ebs("mount", name, *machine.opts(size=1))
    assert (done.code, done.err) == (0, ""), done
    assert [volume.name for volume in ec2.volumes.values()] == [name]
    assert machine.ebs("mount", name, "--hold=b", "--explicitcreate").out == done.out
    for hold in ("host", "b"):
        unmounted(machine.ebs("unmount", name, f"--hold={hold}"))
    assert machine.ebs("remove", name).code == 0
    assert (ec2.volumes, machine.leftovers()) == ({}, [])


def test_an_unknown_driver_of_a_configured_provider_is_refused(home: Home):
    home.config.write_text('[drivers.disks]\nprovider = "ebbs"\n')
    assert "'ebbs'" in refused(home.mount("v", "disks"), NOT_FOUND)
