"""Where plugins are found, and every way of reaching them: unix, TCP, TLS, managed."""

from __future__ import annotations

import json
import ssl
import subprocess

import pytest
import trustme

from tests.conftest import IS_ROOT
from tests.doubles.engine import Engine
from tests.doubles.plugin import Plugin
from tests.gate import flags

NOT_FOUND, TRY_AGAIN = 3, 5


def plugin_at(home, where, **options):
    plugin = Plugin(where, home.root / "mnt", **options)
    home.plugins.append(plugin)
    return plugin


def works(home, plugin, driver="plug"):
    done = home.mount("v", driver)
    assert (done.code, done.err) == (0, "")
    assert plugin.mounted() == ["v"]
    assert home.unmount("v", driver).code == 0
    assert plugin.mounted() == []
    return True


def test_a_socket_in_a_directory_of_its_own(home):
    (home.sockets / "plug").mkdir()
    assert works(home, plugin_at(home, f"unix:{home.sockets}/plug/plug.sock"))


def test_a_link_to_a_socket(home):
    plugin = plugin_at(home, f"unix:{home.root}/elsewhere.sock")
    (home.sockets / "plug.sock").symlink_to(home.root / "elsewhere.sock")
    assert works(home, plugin)


def test_a_driver_with_a_slash(home):
    (home.sockets / "vieux").mkdir()
    assert works(home, plugin_at(home, f"unix:{home.sockets}/vieux/sshfs.sock"), "vieux/sshfs")


@pytest.mark.parametrize("place", ["etc/plug.spec", "etc/plug/plug.spec", "lib/plug.spec", "lib/plug/plug.spec"])
@pytest.mark.parametrize("scheme", ["unix", "tcp", "http"])
def test_a_spec(home, place, scheme):
    plugin = plugin_at(home, f"unix:{home.root}/p.sock" if scheme == "unix" else "tcp")
    path = home.root / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(plugin.url.replace("tcp", scheme) + "\n")
    assert works(home, plugin)


@pytest.mark.parametrize("place", ["etc/plug.json", "etc/plug/plug.json", "lib/plug.json"])
def test_a_json_description_in_any_case(home, place):
    plugin = plugin_at(home, "tcp")
    path = home.root / place
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"name": "plug", "ADDR": plugin.url, "TLSConfig": None}))
    assert works(home, plugin)


def test_the_first_that_exists_wins(home):
    socket, spec = plugin_at(home, f"unix:{home.root}/a.sock"), plugin_at(home, f"unix:{home.root}/b.sock")
    (home.root / "lib" / "plug.spec").write_text(socket.url)
    (home.specs / "plug.json").write_text(json.dumps({"Addr": socket.url}))
    (home.specs / "plug.spec").write_text(spec.url)
    assert works(home, spec)
    (home.sockets / "plug.sock").symlink_to(home.root / "a.sock")
    assert works(home, socket)


def test_a_plugin_called_like_a_provider_wins(home):
    assert works(home, home.plugin("docker"), "docker")


def test_local_is_always_local(home):
    plugin = home.plugin("local")
    assert home.mount("v", "local").code == 0
    assert plugin.calls == []


# TLS


@pytest.fixture
def tls(home):
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1")
    client = authority.issue_cert("dvdcli@localhost")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    files = {name: str(home.root / f"{name}.pem") for name in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(files["ca"])
    client.cert_chain_pems[0].write_to_path(files["cert"])
    client.private_key_pem.write_to_path(files["key"])
    return plugin_at(home, "tcp", context=context), files


def describe(home, plugin, **tls_config):
    (home.specs / "plug.json").write_text(json.dumps({"Addr": plugin.url, "TLSConfig": tls_config}))


@pytest.mark.parametrize("scheme", ["https", "tcp"])
def test_tls_with_certificates_on_both_sides(home, tls, scheme):
    plugin, files = tls
    plugin.url = plugin.url.replace("https", scheme)
    describe(home, plugin, CAFile=files["ca"], CertFile=files["cert"], KeyFile=files["key"])
    assert works(home, plugin)


def test_tls_is_verified_unless_it_is_asked_for_in_so_many_words(home, tls):
    plugin, files = tls
    describe(home, plugin, CertFile=files["cert"], KeyFile=files["key"])
    done = home.mount()
    assert (done.code, "cannot be trusted" in done.err, done.err.count("\n")) == (1, True, 1)
    describe(home, plugin, CertFile=files["cert"], KeyFile=files["key"], InsecureSkipVerify=True)
    assert works(home, plugin)


def test_tls_files_that_cannot_be_used(home, tls):
    plugin, files = tls
    describe(home, plugin, CAFile=files["ca"] + ".not")
    done = home.mount()
    assert (done.code, "TLS file cannot be used" in done.err) == (1, True)
    assert home.leftovers() == []


def test_no_key_reaches_the_state(home, tls):
    plugin, files = tls
    describe(home, plugin, CAFile=files["ca"], CertFile=files["cert"], KeyFile=files["key"])
    assert home.mount().code == 0
    secret = (home.root / "key.pem").read_text().splitlines()[1]
    assert not [path for path in home.state.rglob("*") if path.is_file() and secret in path.read_text()]


# Managed plugins


@pytest.fixture
def engine(home):
    engine = Engine(home.root / "docker.sock", str(home.root / "docker"))
    yield engine
    engine.close()


@pytest.mark.parametrize("propagated", ["", "/data"])
def test_a_managed_plugin_and_where_its_paths_are_on_the_host(home, engine, propagated):
    (home.sockets / "abc123").mkdir()
    plugin = plugin_at(home, f"unix:{home.sockets}/abc123/plug.sock")
    plugin.root = home.root / "data"
    engine.add("vieux/sshfs:latest", "abc123", propagated=propagated and str(plugin.root))
    done = home.mount("v", "vieux/sshfs:latest")
    assert done.code == 0
    assert engine.asked == ["/plugins/vieux/sshfs:latest/json", "/info"]
    inside = plugin.volumes["v"].mountpoint
    home_of_plugin = f"{home.root}/docker/plugins/abc123"
    expected = (
        inside.replace(str(plugin.root), f"{home_of_plugin}/propagated-mount")
        if propagated
        else f"{home_of_plugin}/rootfs{inside}"
    )
    assert done.out.strip() == expected
    assert home.mount("v", "vieux/sshfs:latest").out.strip() == expected
    assert plugin.mounts_made == 1
    assert home.unmount("v", "vieux/sshfs:latest").code == 0
    assert plugin.mounted() == []


def test_a_disabled_managed_plugin(home, engine):
    engine.add("plug", "abc123", enabled=False)
    done = home.mount()
    assert (done.code, "docker plugin enable plug" in done.err) == (TRY_AGAIN, True)


def test_an_engine_that_does_not_know_the_plugin(home, engine):
    assert home.run("list", "--volumedriver=plug").code == NOT_FOUND


@pytest.mark.parametrize("identity", ["../../x", "", "a/b"])
def test_an_engine_cannot_lead_out_of_the_plugins_directory(home, engine, identity):
    engine.add("plug", identity)
    assert home.run("list", "--volumedriver=plug").code == NOT_FOUND


# Drivers by name in the configuration


def test_one_plugin_as_several_drivers(home):
    plugin = home.plugin("real")
    home.config.write_text('[drivers.fast]\nprovider = "docker"\nplugin = "real"\n')
    assert works(home, plugin, "fast")


def test_an_address_in_the_configuration(home):
    plugin = plugin_at(home, "tcp")
    home.config.write_text(f'[drivers.far]\nprovider = "docker"\naddress = "{plugin.url}"\n')
    assert works(home, plugin, "far")


def test_a_configured_driver_whose_plugin_is_not_there(home):
    home.config.write_text('[drivers.fast]\nprovider = "docker"\nplugin = "real"\n')
    assert home.mount("v", "fast").code == NOT_FOUND
    assert home.leftovers() == []


@pytest.mark.skipif(not IS_ROOT, reason="/run/docker/plugins is root's")
def test_the_real_plugin_directory(home):
    subprocess.run(["mkdir", "-p", "/run/docker/plugins"], check=True)
    plugin = plugin_at(home, f"unix:/run/docker/plugins/{home.root.name}.sock")
    env = {"DVDCLI_PLUGIN_DIRS": "/run/docker/plugins:/etc/docker/plugins:/usr/lib/docker/plugins"}
    assert home.run("mount", *flags("v", home.root.name), env=env).code == 0
    assert plugin.mounted() == ["v"]


def test_an_entry_point_of_somebody_elses(home):
    """A provider that a third party installs is found by its driver's name, and pinned by it."""
    site = home.root / "site"
    (site / "their-1.dist-info").mkdir(parents=True)
    (site / "their-1.dist-info" / "entry_points.txt").write_text("[dvdcli.providers]\ntheir = their_module:Their\n")
    (site / "their-1.dist-info" / "METADATA").write_text("Name: their\nVersion: 1\n")
    (site / "their_module.py").write_text(
        "from dvdcli.providers.base import Info, Mounted, Provider\n"
        "class Their(Provider):\n"
        "    def get(self, name): return Info(name)\n"
        "    def path(self, name): return f'/their/{name}'\n"
        "    def mount(self, volume, options, handle, note):\n"
        "        note({'step': 1}); return Mounted(f'/their/{volume.name}', {'step': 2})\n"
        "    def unmount(self, volume, handle, note): assert handle == {'step': 2}\n"
    )
    code = (
        "import sys; sys.path[:0] = [sys.argv[1]]; sys.argv = ['dvdcli', *sys.argv[2:]]\n"
        "from dvdcli.__main__ import main; main()"
    )
    import sys

    def call(verb):
        line = [sys.executable, "-c", code, site, verb, *flags("v", "their")]
        return subprocess.run(line, env=home.env, capture_output=True, text=True, check=False)

    mounted = call("mount")
    assert (mounted.returncode, mounted.stdout, mounted.stderr) == (0, "/their/v\n", "")
    assert home.record("v", "their")["provider"] == "their"
    unmounted = call("unmount")
    assert (unmounted.returncode, unmounted.stderr) == (0, "")
    assert home.leftovers() == []
