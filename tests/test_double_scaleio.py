"""The double of the ScaleIO gateway itself: what a test relies on when it trusts the double, asked with requests."""

from __future__ import annotations

import base64
import json
import math
import os
import re
import signal
import subprocess
import threading
import time
import tomllib

import pytest
import requests

from tests.blocks import content, format_by_hand
from tests.doubles.scaleio import Drop, Error, Gateway, Half, Raw, Slow
from tests.scaleio import GENERATIONS, Grid, authority, certificate
from tests.waiting import wait_until

root = pytest.mark.root
VOLUMES = "/api/types/Volume/instances"
KB = str(8 << 20)
UNKNOWN = "0123456789abcdef"


class Api:
    """A client that logs in when it is made, and returns a status and what JSON said."""

    def __init__(self, gateway, login="old"):
        self.gateway = gateway
        self.session = requests.Session()
        self.session.verify = str(gateway.root / "ca.pem")
        self.session.trust_env = False
        self.session.headers = {"Accept": "application/json"}
        if login == "old":
            self.session.auth = ("", self.get("/api/login", auth=(gateway.user, gateway.password))[1])
        elif login == "new":
            body = {"username": gateway.user, "password": gateway.password}
            self.token = self.post("/rest/auth/login", body)[1]
            self.session.headers["Authorization"] = f"Bearer {self.token['access_token']}"

    def ask(self, method, path, **options):
        answer = self.session.request(method, self.gateway.url + path, **{"timeout": 20, **options})
        return answer.status_code, answer.json() if answer.content else None

    def get(self, path, **options):
        return self.ask("GET", path, **options)

    def post(self, path, body, **options):
        return self.ask("POST", path, **{"json": body, **options})

    def act(self, volume, action, **body):
        status, answer = self.post(f"/api/instances/Volume::{volume.id}/action/{action}", body)
        return answer["errorCode"] if status != 200 else answer

    def map(self, volume, host, **more):
        return self.act(volume, "addMappedSdc", guid=host.guid, allowMultipleMappings="FALSE", **more)

    def unmap(self, volume, host):
        return self.act(volume, "removeMappedSdc", sdcId=host.sdc)

    def create(self, name="v", size=KB, **more):
        pool = self.gateway.pool.id
        return self.post(VOLUMES, {"storagePoolId": pool, "name": name, "volumeType": "ThinProvisioned",
                                   "volumeSizeInKb": size, **more})  # fmt: skip


def make(tmp_path, generation="3.6", **options):
    gateway = Gateway(tmp_path / "scaleio", certificate(), generation, **options)
    authority().cert_pem.write_to_path(gateway.root / "ca.pem")
    gateway.gib = 1 << 20
    gateway.expected = []  # the faults that the test is about
    return gateway


def end(gateway):
    gateway.close()
    assert gateway.faults == gateway.expected


@pytest.fixture
def gateway(tmp_path):
    gateway = make(tmp_path)
    yield gateway
    end(gateway)


@pytest.fixture(params=GENERATIONS)
def any_gateway(tmp_path, request):
    gateway = make(tmp_path, request.param)
    yield gateway
    end(gateway)


@pytest.fixture
def modern(tmp_path):
    gateway = make(tmp_path, "4.5")
    yield gateway
    end(gateway)


@pytest.fixture
def api(gateway):
    return Api(gateway)


@pytest.fixture
def host(gateway):
    return gateway.host(name="a")


def faulty(gateway, count=1):
    """Take the faults that are expected."""
    gateway.expected = gateway.faults[:]
    assert len(gateway.expected) == count
    return gateway.expected[-1]


def write(path, data):
    with path.open("r+b", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())


def drv_cfg(host, *options, **more):
    return subprocess.run([host.drv_cfg, *options], capture_output=True, text=True, env={}, timeout=20, **more)


# HTTPS


def test_the_certificate_is_the_tests_own(gateway):
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{gateway.url}/api/version", timeout=20)
    assert gateway.calls == []
    assert Api(gateway).get("/api/version") == (200, "3.6")


def test_a_certificate_can_be_given_as_paths(tmp_path):
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    certificate().cert_chain_pems[0].write_to_path(chain)
    certificate().private_key_pem.write_to_path(key)
    gateway = Gateway(tmp_path / "scaleio", (chain, key))
    authority().cert_pem.write_to_path(gateway.root / "ca.pem")
    assert Api(gateway).get("/api/version") == (200, "3.6")
    gateway.close()


# Login


def test_a_token_is_a_json_string_and_is_sent_as_the_password_of_anybody(any_gateway):
    api = Api(any_gateway)
    token = api.session.auth[1]
    assert isinstance(token, str)
    assert api.get("/api/version") == (200, any_gateway.generation)
    assert api.get("/api/version", auth=("whoever", token)) == (200, any_gateway.generation)
    assert any_gateway.names() == ["login", "version", "version"]
    assert any_gateway.tokens.open() == [token]


def test_a_wrong_password_is_refused(gateway):
    api = Api(gateway, login="")
    status, error = api.get("/api/login", auth=(gateway.user, "wrong"))
    assert (status, error["httpStatusCode"], error["message"]) == (401, 401, "Unauthorized")
    assert api.get("/api/login", auth=("root", gateway.password))[0] == 401


def test_logout_ends_the_token_and_its_use_is_a_fault(gateway, api):
    assert api.get("/api/logout")[0] == 200
    assert gateway.tokens.open() == []
    assert api.get("/api/version")[0] == 401
    assert "ended is used again" in faulty(gateway)


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_expires_in_the_middle_and_its_second_use_after_that_is_a_fault(gateway, api, status):
    gateway.expired_status = status
    gateway.expire_after(2)
    assert [api.get("/api/version")[0] for _ in range(3)] == [200, 200, status]
    again = Api(gateway)
    assert [again.get("/api/version")[0] for _ in range(3)] == [200, 200, status]
    assert api.get("/api/version")[0] == 401
    assert "refused is used again" in faulty(gateway)


def test_a_token_expires_with_time(gateway, api):
    gateway.expire_after(seconds=60)
    assert api.get("/api/version")[0] == 200
    gateway.expire_after(seconds=0)
    assert api.get("/api/version")[0] == 401


@pytest.mark.parametrize("authorization", ["", "Basic", "Digest x", "Basic !", "x", "admin:Secret: 1%", "admin:"])
def test_no_token_or_the_password_instead_is_a_fault(gateway, authorization):
    if authorization and not authorization.startswith(("Basic", "Digest")):
        authorization = f"Basic {base64.b64encode(authorization.encode()).decode()}"
    headers = {"Authorization": authorization} if authorization else {}
    assert Api(gateway, login="").get("/api/version", headers=headers)[0] == 401
    faulty(gateway)


def test_the_new_way_of_4(modern):
    api = Api(modern, login="new")
    assert api.get("/api/version") == (200, "4.5")
    assert api.post("/rest/auth/logout", {"refresh_token": api.token["refresh_token"]})[0] == 204
    assert (api.token["expires_in"], modern.names()) == (300, ["login", "version", "logout"])
    assert modern.tokens.open() == []


def test_the_new_way_refuses_a_wrong_password(modern):
    body = {"username": modern.user, "password": "x"}
    assert Api(modern, login="").post("/rest/auth/login", body)[0] == 401


@pytest.mark.parametrize(("login", "path", "status"), [("old", "/rest/auth/login", 404), ("new", "/api/login", 401)])
def test_a_gateway_of_4_can_know_one_way_only(tmp_path, login, path, status):
    gateway = make(tmp_path, "4.5", login=login)
    api = Api(gateway, login=login)
    assert api.get("/api/version")[0] == 200
    if path.startswith("/rest"):
        assert api.post(path, {"username": gateway.user, "password": gateway.password})[0] == status
        faulty(gateway)
    else:
        assert Api(gateway, login="").get(path, auth=(gateway.user, gateway.password))[0] == status
    end(gateway)


def test_a_token_of_one_way_does_not_do_for_the_other(modern):
    api = Api(modern, login="new")
    del api.session.headers["Authorization"]
    assert api.get("/api/version", auth=("", api.token["access_token"]))[0] == 401
    faulty(modern)


def test_the_new_way_is_unknown_before_4(gateway):
    body = {"username": gateway.user, "password": gateway.password}
    assert Api(gateway, login="").post("/rest/auth/login", body)[0] == 404
    faulty(gateway)


def test_the_version_can_be_told_to_anybody(modern):
    modern.version_needs_token = False
    assert Api(modern, login="").get("/api/version") == (200, "4.5")


# Requests


@pytest.mark.parametrize("accept", ["", "*/*", "text/html", "application/json;version=4.0"])
def test_accept_must_be_json_of_a_version_there_is(gateway, api, accept):
    assert api.get("/api/version", headers={"Accept": accept})[0] == 406
    faulty(gateway)


def test_accept_may_name_the_version(gateway, api):
    for accept in ("application/json;version=3.0", "application/json; charset=UTF-8"):
        assert api.get("/api/version", headers={"Accept": accept})[0] == 200


def test_a_version_that_2_does_not_know_is_a_fault(tmp_path):
    gateway = make(tmp_path, "2.0")
    assert Api(gateway).get("/api/version", headers={"Accept": "application/json;version=3.0"})[0] == 406
    faulty(gateway)
    end(gateway)


def test_a_body_needs_its_content_type(gateway, api):
    path = f"{VOLUMES}/action/queryIdByKey"
    assert api.post(path, None, data=b'{"name":"v"}')[0] == 415
    assert api.post(path, None, data=b'{"name":"v"}', headers={"Content-Type": "application/json"})[0] == 500
    faulty(gateway)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{VOLUMES}/action/queryIdByKey", {}),
        (f"{VOLUMES}/action/queryIdByKey", ["v"]),
        (f"{VOLUMES}/action/queryIdByKey", {"name": "v" * 32}),
        (f"{VOLUMES}/action/queryIdByKey", {"name": "v", "id": UNKNOWN}),
        ("{volume}addMappedSdc", {"guid": "{guid}\n"}),
        ("{volume}addMappedSdc", {"guid": "{guid}", "allowMultipleMappings": False}),
        ("{volume}addMappedSdc", {"guid": "{guid}", "allowMultipleMappings": "False"}),
        ("{volume}addMappedSdc", {"guid": "{guid}", "sdcId": UNKNOWN}),
        ("{volume}addMappedSdc", {"allowMultipleMappings": "FALSE"}),
        ("{volume}removeMappedSdc", {"allSdcs": ""}),
        ("{volume}removeVolume", {}),
        ("{volume}removeVolume", {"removeMode": "INCLUDING_DESCENDANTS"}),
        ("{volume}setVolumeSize", {"sizeInGB": 16}),
        ("{volume}noSuchAction", {}),
        ("/api/types/Nothing/instances", {}),
        (f"{VOLUMES}/", {}),
    ],
)
def test_what_no_right_caller_sends_is_a_fault(gateway, api, host, path, body):
    volume = gateway.volume("v")
    text = json.dumps(body).replace("{guid}", host.guid)
    path = path.replace("{volume}", f"/api/instances/Volume::{volume.id}/action/")
    assert api.post(path, json.loads(text))[0] != 200
    faulty(gateway)
    assert volume.mapped == []


def test_requests_are_kept(gateway, api):
    api.post(f"{VOLUMES}/action/queryIdByKey", {"name": "v"})
    assert gateway.calls == [("GET", "/api/login", None), ("POST", f"{VOLUMES}/action/queryIdByKey", {"name": "v"})]
    assert gateway.requests[1].headers["content-type"] == "application/json"
    gateway.forget()
    assert (gateway.calls, gateway.names()) == ([], [])


# What there is


def test_systems_domains_pools_and_sdcs(any_gateway):
    api, gateway = Api(any_gateway), any_gateway
    host = gateway.host(name=None)
    (system,) = api.get("/api/types/System/instances")[1]
    assert (system["id"], system["mdmClusterState"]) == (gateway.system, "ClusteredNormal")
    (domain,) = api.get("/api/types/ProtectionDomain/instances")[1]
    assert (domain["id"], domain["name"], domain["systemId"]) == (gateway.domain.id, "pd1", gateway.system)
    (pool,) = api.get("/api/types/StoragePool/instances")[1]
    assert (pool["id"], pool["name"], pool["protectionDomainId"]) == (gateway.pool.id, "sp1", gateway.domain.id)
    sdcs = api.get(f"/api/instances/System::{gateway.system}/relationships/Sdc")[1]
    (sdc,) = [one for one in sdcs if one["sdcGuid"]]
    assert (sdc["id"], sdc["sdcGuid"], sdc["name"]) == (host.sdc, host.guid.lower(), None)
    assert sdc["mdmConnectionState"] == "Connected"
    assert len(sdcs) == (2 if gateway.major == 4 else 1)  # 4.x also has a host that speaks NVMe, without a guid
    assert api.get("/api/types/Sdc/instances") == (200, sdcs)
    assert api.get(f"/api/instances/Sdc::{host.sdc}") == (200, sdc)
    host.connected = False
    assert api.get(f"/api/instances/Sdc::{host.sdc}")[1]["mdmConnectionState"] == "Disconnected"


def test_two_systems(gateway, api):
    other = gateway.add_system()
    host = gateway.host(name="a")
    pool = gateway.add_pool("sp1", gateway.add_domain("pd1", other))
    volume, far = gateway.volume("v"), gateway.volume("v", pool=pool)
    assert [row["id"] for row in api.get("/api/types/System/instances")[1]] == [gateway.system, other]
    rows = api.get(f"/api/instances/System::{other}/relationships/Sdc")[1]
    assert [row["id"] for row in rows] == [host.sdcs[other]] != [host.sdc]
    assert api.post(f"{VOLUMES}/action/queryIdByKey", {"name": "v"}) == (200, volume.id)
    assert api.act(far, "addMappedSdc", sdcId=host.sdc) == gateway.codes["no sdc"]
    assert drv_cfg(host, "--query_mdms").stdout.count("MDM-ID") == 2


@pytest.mark.parametrize("status", [404, 500])
def test_unknown_ids_and_names(any_gateway, status):
    any_gateway.not_found_status = status
    api = Api(any_gateway)
    got, error = api.get(f"/api/instances/Volume::{UNKNOWN}")
    assert (got, error["errorCode"], error["httpStatusCode"]) == (status, 79, status)
    assert error["details"] == (None if any_gateway.major == 4 else [])
    got, error = api.post(f"{VOLUMES}/action/queryIdByKey", {"name": "v"})
    assert (got, error["errorCode"]) == (500, 79)
    assert api.get("/api/instances/Volume::v")[0] == 400
    assert api.get(f"/api/instances/StoragePool::{UNKNOWN}")[0] == status


def test_numbers_and_booleans_are_strings_or_not(gateway, api):
    volume = gateway.volume("v")
    path = f"/api/instances/Volume::{volume.id}"
    row = api.get(path)[1]
    assert (row["sizeInKb"], row["isObfuscated"], row["mappedSdcInfo"]) == (KB, "false", None)
    gateway.strings = False
    row = api.get(path)[1]
    assert (row["sizeInKb"], row["isObfuscated"], row["mappedSdcInfo"]) == (8 << 20, False, None)


# Create, grow, snapshot, remove


def test_create_makes_a_blank_volume_that_is_found_by_name(gateway, api):
    status, answer = api.create("v", protectionDomainId=gateway.domain.id)
    assert (status, list(answer)) == (200, ["id"])
    assert re.fullmatch("[0-9a-f]{16}", answer["id"])
    assert api.post(f"{VOLUMES}/action/queryIdByKey", {"name": "v"}) == (200, answer["id"])
    volume = gateway.named("v")
    assert (volume.size_gib, volume.image.stat().st_size, content(volume.image)) == (8, 8 << 20, {})
    assert [row["name"] for row in api.get(VOLUMES)[1]] == ["v"]
    status, error = api.create("v")
    assert (status, error["errorCode"]) == (500, 6)


def test_names_have_31_characters_at_most(gateway, api):
    assert api.create("v" * 31)[0] == 200
    assert api.create("w" * 32)[0] == 500
    faulty(gateway)


@pytest.mark.parametrize("size", [str(8 << 20 | 1), str(9 << 20), str(1 << 20)])
def test_sizes_are_multiples_of_8_gib_before_5(gateway, api, size):
    status, error = api.create(size=size)
    assert (status, error["errorCode"]) == (500, gateway.codes["granularity"])


def test_from_5_on_sizes_are_whole_gib(tmp_path):
    gateway = make(tmp_path, "5.0")
    assert Api(gateway).create(size=str(9 << 20))[0] == 200
    end(gateway)


def test_a_pool_gets_full_and_a_removed_volume_makes_room(gateway, api):
    gateway.pool.free_gib = 8
    assert api.create("a")[0] == 200
    status, error = api.create("b")
    assert (status, error["errorCode"]) == (500, gateway.codes["pool full"])
    assert api.act(gateway.named("a"), "setVolumeSize", sizeInGB="16") == gateway.codes["pool full"]
    assert api.act(gateway.named("a"), "removeVolume", removeMode="ONLY_ME") is None
    assert api.create("b")[0] == 200


def test_unknown_pools_and_domains_are_refused(gateway, api):
    other = gateway.add_domain("pd2")
    assert api.create(storagePoolId=UNKNOWN)[0] == 500
    assert api.create(protectionDomainId=other.id)[0] == 500
    assert gateway.volumes == {}


def test_volumes_only_grow(gateway, api):
    volume = gateway.volume("v", 16)
    for size in ("8", "16"):
        assert api.act(volume, "setVolumeSize", sizeInGB=size) == gateway.codes["only larger"]
    assert api.act(volume, "setVolumeSize", sizeInGB="17") == gateway.codes["granularity"]
    assert api.act(volume, "setVolumeSize", sizeInGB="24") is None
    assert (volume.size_gib, volume.image.stat().st_size) == (24, 24 << 20)


def test_a_snapshot_has_what_its_source_had(gateway, api):
    volume = gateway.volume("v")
    volume.image.write_bytes(b"data" * (2 << 20))
    path = f"/api/instances/System::{gateway.system}/action/snapshotVolumes"
    status, answer = api.post(path, {"snapshotDefs": [{"volumeId": volume.id, "snapshotName": "s"}]})
    assert (status, set(answer)) == (200, {"volumeIdList", "snapshotGroupId"})
    row = api.get(f"/api/instances/Volume::{answer['volumeIdList'][0]}")[1]
    assert (row["name"], row["ancestorVolumeId"], row["volumeType"]) == ("s", volume.id, "Snapshot")
    assert gateway.named("s").image.read_bytes() == volume.image.read_bytes()
    assert api.act(volume, "removeVolume", removeMode="ONLY_ME") is None
    assert api.post(path, {"snapshotDefs": [{"volumeId": volume.id, "snapshotName": "t"}]})[0] == 500


# Mapping


@root
@pytest.mark.parametrize("key", ["guid", "GUID", "sdcId"])
def test_mapping_makes_the_device_appear_and_unmapping_makes_it_vanish(any_gateway, key):
    gateway, api = any_gateway, Api(any_gateway)
    host, volume = gateway.host(name="a"), gateway.volume("v")
    who = {"guid": {"guid": host.guid.lower()}, "GUID": {"guid": host.guid.upper()}, "sdcId": {"sdcId": host.sdc}}[key]
    assert api.act(volume, "addMappedSdc", **who, allowMultipleMappings="FALSE") is None
    assert volume.mapped == [host.sdc]
    (info,) = api.get(f"/api/instances/Volume::{volume.id}")[1]["mappedSdcInfo"]
    assert (info["sdcId"], info["sdcIp"], info["sdcName"], info["limitIops"]) == (host.sdc, host.ip, "a", "0")
    assert [row["id"] for row in api.get(f"/api/instances/Sdc::{host.sdc}/relationships/Volume")[1]] == [volume.id]
    link = host.dev / f"disk/by-id/emc-vol-{gateway.system}-{volume.id}"
    assert os.readlink(link) == "../../scinia"
    number = link.stat().st_rdev
    assert (host.sysfs / "block/scinia/dev").read_text() == f"{os.major(number)}:{os.minor(number)}\n"
    assert (host.sysfs / "block/scinia/size").read_text() == f"{8 * gateway.gib // 512}\n"
    assert api.act(volume, "addMappedSdc", **who) == (4037 if gateway.major == 4 else 81)
    assert api.act(volume, "removeVolume", removeMode="ONLY_ME") == gateway.codes["mapped"]
    assert api.act(volume, "removeMappedSdc", **who) is None
    assert (list(host.by_id.iterdir()), [path.name for path in host.dev.iterdir()]) == ([], ["disk"])
    assert list((host.sysfs / "block").iterdir()) == []
    assert api.act(volume, "removeMappedSdc", **who) == (4039 if gateway.major == 4 else 84)
    assert api.get(f"/api/instances/Volume::{volume.id}")[1]["mappedSdcInfo"] is None


def test_unknown_sdcs_are_refused(gateway, api):
    volume = gateway.volume("v")
    assert api.act(volume, "addMappedSdc", sdcId=UNKNOWN) == gateway.codes["no sdc"]


@root
def test_a_second_host_is_refused_but_where_it_is_asked_for(gateway, api, host):
    other, volume = gateway.host(name="b"), gateway.volume("v")
    api.map(volume, host)
    assert api.map(volume, other) == 306
    assert api.act(volume, "addMappedSdc", guid=other.guid) == 306
    assert api.act(volume, "addMappedSdc", guid=other.guid, allowMultipleMappings="TRUE") is None
    assert volume.mapped == [host.sdc, other.sdc]
    write(host.link(volume), b"shared")
    with other.link(volume).open("rb") as file:
        assert file.read(6) == b"shared"


@root
def test_what_is_written_to_the_device_is_in_the_volume_wherever_it_goes(gateway, api, host):
    other, volume = gateway.host(name="b"), gateway.volume("v")
    api.map(volume, host)
    format_by_hand(host.link(volume), "ext4")
    api.unmap(volume, host)
    api.map(volume, other)
    assert content(other.link(volume))["TYPE"] == "ext4"


@root
def test_a_device_comes_late(gateway, api, host):
    host.devices, host.late, volume = "late", 1, gateway.volume("v")
    api.map(volume, host)
    assert not host.link(volume).exists()
    wait_until(host.link(volume).exists)


@root
def test_a_device_comes_after_a_rescan(gateway, api, host):
    host.devices, host.late, volume = "late", math.inf, gateway.volume("v")
    api.map(volume, host)
    assert not host.link(volume).exists()
    assert drv_cfg(host, "--rescan").returncode == 0
    assert host.link(volume).exists()


@root
def test_a_device_never_comes(gateway, api, host):
    host.devices, volume = "never", gateway.volume("v")
    api.map(volume, host)
    drv_cfg(host, "--rescan")
    assert not host.link(volume).is_symlink()
    assert api.unmap(volume, host) is None


@root
def test_the_wrong_device_is_somebody_elses_and_writing_to_it_is_a_fault(gateway, api, host):
    host.devices, volume = "wrong", gateway.volume("v")
    api.map(volume, host)
    links = sorted(path.name for path in host.by_id.iterdir())
    assert len(links) == 2
    assert content(host.link(volume))["TYPE"] == "ext4"
    truth = drv_cfg(host, "--query_block_device_id", "--block_device", str(host.link(volume))).stdout.strip()
    assert f"emc-vol-{truth}" in links
    assert not truth.endswith(volume.id)
    host.link(volume).write_bytes(b"oh")
    api.unmap(volume, host)
    assert list(host.by_id.iterdir()) == []
    gateway.close()
    assert "wrong device was written to" in faulty(gateway)


@root
def test_unmapping_what_is_in_use_is_a_sin_and_the_volume_goes_on_without_it(gateway, api, host):
    other, volume = gateway.host(name="b"), gateway.volume("v")
    api.map(volume, host)
    with open(os.open(host.link(volume), os.O_RDWR | os.O_EXCL), "r+b", buffering=0) as file:
        file.write(b"before")
        os.fsync(file.fileno())
        api.unmap(volume, host)
        assert "unmapped from a while in use" in faulty(gateway)
        assert not host.link(volume).is_symlink()
        api.map(volume, other)
        file.seek(0)
        file.write(b"after!")
        os.fsync(file.fileno())
    with other.link(volume).open("rb") as file:
        assert file.read(6) == b"before"


@root
def test_a_host_out_of_reach_loses_its_volume_without_a_sin_and_learns_of_it_later(gateway, api, host):
    other, volume, late = gateway.host(name="b"), gateway.volume("v"), gateway.volume("w")
    api.map(volume, host)
    host.connected = False
    api.unmap(volume, host)
    api.map(volume, other)
    api.map(late, host)
    assert (host.link(volume).exists(), host.link(late).exists()) == (True, False)
    write(host.link(volume), b"lost")
    with other.link(volume).open("rb") as file:
        assert file.read(4) == bytes(4)
    host.connected = True
    assert (host.link(volume).is_symlink(), host.link(late).exists()) == (False, True)


@root
def test_a_device_stays_a_while_after_the_unmap(gateway, api, host):
    host.leaving, volume = 1, gateway.volume("v")
    api.map(volume, host)
    api.unmap(volume, host)
    assert (volume.mapped, host.link(volume).exists()) == ([], True)
    wait_until(lambda: not host.link(volume).is_symlink())


@root
def test_a_volume_that_is_mapped_again_before_its_device_left_has_one_device(gateway, api, host):
    host.leaving, volume = math.inf, gateway.volume("v")
    api.map(volume, host)
    api.unmap(volume, host)
    api.map(volume, host)
    assert [path.name for path in (host.sysfs / "block").iterdir()] == [host.device(volume).name]
    assert os.readlink(host.link(volume)) == f"../../{host.device(volume).name}"


@root
def test_what_is_taken_into_use_after_the_unmap_is_a_fault(gateway, api, host):
    host.leaving, volume = 1, gateway.volume("v")
    api.map(volume, host)
    api.unmap(volume, host)
    with open(os.open(host.link(volume), os.O_RDONLY | os.O_EXCL), "rb"):
        wait_until(lambda: not host.link(volume).is_symlink())
    assert "after it was unmapped" in faulty(gateway)


@root
@pytest.mark.parametrize("resizing", [0, 1, math.inf])
def test_a_device_grows_with_its_volume(gateway, api, host, resizing):
    host.resizing, volume = resizing, gateway.volume("v")
    api.map(volume, host)

    def size():
        with host.link(volume).open("rb") as file:
            return file.seek(0, 2)

    api.act(volume, "setVolumeSize", sizeInGB="16")
    if resizing:
        assert size() == 8 << 20
    if math.isinf(resizing):
        drv_cfg(host, "--rescan")
    wait_until(lambda: size() == 16 << 20)
    wait_until(lambda: (host.sysfs / "block/scinia/size").read_text() == f"{(16 << 20) // 512}\n")


@root
def test_a_host_that_died_has_its_volumes_back_under_other_names(gateway, api, host, tmp_path):
    volume, second = gateway.volume("v"), gateway.volume("w")
    api.map(volume, host)
    api.map(second, host)
    format_by_hand(host.link(volume), "ext4")
    place = tmp_path / "mnt"
    place.mkdir()
    subprocess.run(["mount", host.link(volume), place], check=True)
    (place / "file").write_text("data")
    before = host.device(volume).name
    host.die()
    assert not place.is_mount()
    assert (volume.mapped, list(host.by_id.iterdir())) == ([host.sdc], [])
    assert api.get(f"/api/instances/Sdc::{host.sdc}")[1]["mdmConnectionState"] == "Disconnected"
    host.boot()
    assert host.device(volume).name != before
    subprocess.run(["mount", host.link(volume), place], check=True)
    assert (place / "file").read_text() == "data"
    subprocess.run(["umount", place], check=True)


@root
def test_a_volume_is_taken_from_a_dead_host_without_a_sin(gateway, api, host):
    volume = gateway.volume("v")
    api.map(volume, host)
    host.die()
    assert api.unmap(volume, host) is None
    host.boot()
    assert list(host.by_id.iterdir()) == []


# drv_cfg


def test_drv_cfg_tells_the_guid_in_upper_case_and_the_mdms(gateway, host):
    done = drv_cfg(host, "--query_guid", cwd="/")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{host.guid.upper()}\n", "")
    text = drv_cfg(host, "--query_mdms").stdout
    assert re.search(rf"^MDM-ID {gateway.system} SDC ID {host.sdc} INSTALLATION ID \w+ IPs \[0\]-", text, re.MULTILINE)
    assert host.driver.names() == ["query_guid", "query_mdms"]


def test_drv_cfg_fails_and_its_wrong_use_is_a_fault(gateway, host):
    host.driver.fails["--query_guid"] = "no module"
    done = drv_cfg(host, "--query_guid")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "no module\n")
    assert drv_cfg(host, "--query_vols").returncode == 1
    faulty(gateway)


def test_drv_cfg_hangs_until_it_is_killed(host):
    host.driver.hangs.add("--rescan")
    process = subprocess.Popen([host.drv_cfg, "--rescan"])
    wait_until(lambda: host.driver.calls)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.2)
    process.kill()
    assert process.wait(20) == -signal.SIGKILL
    wait_until(lambda: not host.driver.open)


def test_drv_cfg_without_the_double_is_one_without_its_module(gateway, host):
    host.driver.path.with_name("scini.sock").unlink()
    done = drv_cfg(host, "--query_guid")
    assert (done.returncode, done.stdout) == (1, "")
    assert "not loaded" in done.stderr


# Misbehaviour


@pytest.mark.parametrize("generation", ["3.6", "4.5"])
def test_a_failover_is_503_and_then_all_is_well(tmp_path, generation):
    gateway = make(tmp_path, generation)
    api = Api(gateway)
    gateway.failover(2)
    answers = [api.session.get(f"{gateway.url}/api/version", timeout=20) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["content-type"].startswith("text/html" if generation == "4.5" else "application/json")
    end(gateway)


@pytest.mark.parametrize("act", [False, True])
def test_scripted_errors_come_instead_or_afterwards(gateway, api, act):
    gateway.next("createVolume", Error(99, "no", 500, act=act), None)
    status, error = api.create("a")
    assert (status, error["errorCode"], error["message"]) == (500, 99, "no")
    assert api.create("b")[0] == 200
    assert sorted(volume.name for volume in gateway.volumes.values()) == (["a", "b"] if act else ["b"])


@pytest.mark.parametrize("act", [False, True])
def test_an_answer_is_lost(gateway, api, act):
    gateway.next("createVolume", Drop(act=act))
    with pytest.raises(requests.exceptions.ConnectionError):
        api.create("a")
    assert len(gateway.volumes) == act


@pytest.mark.parametrize("size", [None, 0, 1])
def test_an_answer_is_half(gateway, api, size):
    gateway.always["Volumes"] = Half(size)
    with pytest.raises((requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        api.get(VOLUMES)
    assert api.create("a")[0] == 200


@root
def test_the_empty_answer_of_an_action_is_half_too_and_the_action_is_done(gateway, api, host):
    volume = gateway.volume("v")
    gateway.next("addMappedSdc", Half())
    with pytest.raises((requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        api.map(volume, host)
    assert volume.mapped == [host.sdc]


@pytest.mark.parametrize("act", [False, True])
def test_an_answer_is_slow(gateway, api, act):
    gateway.next("createVolume", Slow(0.3, act=act))
    times = {}

    def called():
        api.create()
        times["answered"] = time.monotonic()

    gateway.before = lambda name, when: times.setdefault(when, time.monotonic())
    thread = threading.Thread(target=called)
    thread.start()
    wait_until(lambda: gateway.volumes)
    there = time.monotonic()
    thread.join(60)
    assert times["answered"] - times["before"] >= 0.3
    assert act or there - times["before"] >= 0.3  # carried out after the wait; before it, in the test below
    assert len(gateway.volumes) == 1


@pytest.mark.parametrize("act", [False, True])
def test_an_answer_never_comes(gateway, api, act):
    gateway.next("createVolume", Slow(math.inf, act=act))
    with pytest.raises(requests.exceptions.ReadTimeout):
        api.post(VOLUMES, {"storagePoolId": gateway.pool.id, "name": "v", "volumeType": "ThickProvisioned",
                           "volumeSizeInKb": KB}, timeout=0.3)  # fmt: skip
    assert len(gateway.volumes) == act


def test_an_answer_comes_in_pieces(gateway, api):
    gateway.next("Volumes", Slow(piece=16, gap=0.01))
    assert api.get(VOLUMES) == (200, [])


def test_an_answer_is_something_else(gateway, api):
    gateway.next("Volumes", Raw(502, b"<html>", "text/html"))
    answer = api.session.get(gateway.url + VOLUMES, timeout=20)
    assert (answer.status_code, answer.text) == (502, "<html>")


def test_a_test_can_stop_a_call_before_and_after_it(gateway, api):
    seen = []
    gateway.before = lambda name, when: seen.append((name, when, len(gateway.volumes)))
    api.create()
    assert seen == [("createVolume", "before", 0), ("createVolume", "after", 1)]


def test_a_call_whose_caller_was_killed_is_carried_out(gateway, api):
    given_up = threading.Event()
    gateway.before = lambda name, when: given_up.wait(60) if when == "before" else None
    with pytest.raises(requests.exceptions.ReadTimeout):
        api.post(VOLUMES, {"storagePoolId": gateway.pool.id, "name": "v", "volumeType": "ThickProvisioned",
                           "volumeSizeInKb": KB}, timeout=0.05)  # fmt: skip
    api.session.close()
    given_up.set()
    gateway.wait_idle()
    assert gateway.named("v").type == "ThickProvisioned"


@root
def test_closing_leaves_no_loop_device(gateway, api, host):
    for number in range(3):
        volume = gateway.volume(f"v{number}")
        api.map(volume, host)
    paths = [host.device(volume).loop.path for volume in gateway.volumes.values()]
    gateway.close()
    for path in paths:
        done = subprocess.run(["losetup", "--noheadings", "-O", "BACK-FILE", path], capture_output=True, text=True)
        assert str(gateway.root) not in done.stdout


@root
@pytest.mark.parametrize("generation", GENERATIONS)
def test_a_grid_has_machines_that_know_their_gateway(command, generation):
    grid = Grid(command, generation)
    machine = grid.machine()
    settings = tomllib.loads(machine.config.read_text())["drivers"]["scaleio"]
    assert settings["endpoint"] == grid.gateway.url
    with open(settings["password_file"]) as file:
        assert file.read() == f"{grid.gateway.password}\n"
    assert machine.password_file.stat().st_mode & 0o777 == 0o600
    login = (settings["user"], grid.gateway.password)
    answer = requests.get(f"{settings['endpoint']}/api/login", auth=login, verify=settings["ca_file"], timeout=20,
                          headers={"Accept": "application/json"})  # fmt: skip
    assert answer.status_code == 200
    assert subprocess.check_output([settings["drv_cfg"], "--query_guid"], text=True).strip() == machine.host.guid
    machine.configure(storage_pool=None, system="alpha")
    assert "storage_pool" not in machine.config.read_text()
    grid.close()
