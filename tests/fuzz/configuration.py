"""dvdcli.toml, and a drop-in where the input has two parts."""

from __future__ import annotations

from dvdcli import agent_settings, config_check, config_show, fastjson, providers
from dvdcli.clock import Deadline
from dvdcli.config import Config
from tests.fuzz.watch import NEXT, World, check_error, check_text, parts, refused, target, unwatched

SEEDS = [
    b"""explicit_create = true
[agent]
url = "http://127.0.0.1:5051"
grace = 60.5
principal = "dvdcli"
secret_file = "/etc/dvdcli/secret"
[drivers.fast]
provider = "local"
path = "/srv/fast"
""",
    b"""[drivers.cloud]
provider = "ebs"
region = "eu-west-1"
endpoint = "http://127.0.0.1:1"
preempt = "stopped"
[drivers."a b"]
provider = "scaleio"
endpoint = "https://127.0.0.1:1"
user = "admin"
password_file = "/etc/dvdcli/password"
insecure = true
"""
    + NEXT
    + b"""[drivers.cloud]
zone = '''eu-west-1a'''
[drivers.plug]
provider = "docker"
address = "unix:///run/x.sock"
key_file = "/k"
cert_file = "/c"
""",
    b"[[drivers]]\nx = 1979-05-27T07:32:00Z\ny = [1, 2.5, nan, inf, {a = 1}]\n[drivers.a.b.c]\n",
]


@target
def one_input(world: World, data: bytes) -> None:
    with unwatched():
        first, *more = parts(data)
        world.config.write_bytes(first)
        directory = world.config.with_name("dvdcli.toml.d")
        for number, each in enumerate(more[:3]):
            directory.mkdir(exist_ok=True)
            (directory / f"{number}.toml").write_bytes(each)
            (directory / f"{number}.toml").chmod(0o600)
            directory.chmod(0o700)
        world.config.chmod(0o600)
    found = Config()
    with refused():
        assert found.explicit_create() in (True, False)
        for driver in found.drivers():
            with refused():
                settings = found.driver(driver)
                if settings is not None and settings["provider"] in providers.PROVIDERS:
                    _, made = providers.find(driver, found, Deadline(0.2), 0.0)
                    fastjson.dumps(made.pinned)
    with refused():
        agent_settings.settings(found).check()
    errors, odd = config_check.problems()
    for error in errors:
        check_error(error)
    for line in odd:
        check_text(line)
    with refused():
        for setting in config_show.settings():
            check_text(fastjson.dumps(setting.to_json()))
            check_text(setting.source())
