"""What Mesos releases differ in, all of it, in one table; a request read by it, and a launch message made by it.

Source: include/mesos/slave/isolator.hpp and {isolator,containerizer}.proto of every release tag from 0.23.0 to 1.11.0.
"""

from __future__ import annotations

import os

from dvdcli.errors import DvdcliError, UsageError
from dvdcli.linux import mountflags
from dvdcli.linux.mountflags import CLONE_NEWNS, MS_BIND, MS_RDONLY, MS_REC, MS_REMOUNT
from dvdcli.linux.mountinfo import namespace
from dvdcli.names import check_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from dvdcli.bind import Bind

PROTOCOL = 1
SANDBOX_DIRECTORY = "/mnt/mesos/sandbox"
SANDBOX_ROOTFS = ".rootfs"

_MOUNT = ("/bin/mount", "/usr/bin/mount", "/sbin/mount")


class Dialect:
    """How one release speaks.

    *arguments*: prepare gets an ExecutorInfo and a directory, not a ContainerConfig. *executor*: the name of the
    config's ExecutorInfo. *commands*: the field of the launch message that has the pre-exec commands, "" where the
    message is the one command itself. *argv*: a command can be an argument vector. *namespaces*: the field that asks
    for namespaces and whether it is repeated; "" where the isolator answers for the whole agent. *mounts*: the message
    has `mounts`, and the agent makes the container's tree a slave of the host's. *latin1*: text comes as one
    character a byte. *rootfs*: where an image is: `hidden` from isolators, in the `sandbox` for a command task, or as
    the `config` says.
    """

    __slots__ = ("arguments", "argv", "commands", "executor", "latin1", "mounts", "namespaces", "repeated", "rootfs")

    arguments: bool
    argv: bool
    commands: str
    executor: str
    latin1: bool
    mounts: bool
    namespaces: str
    repeated: bool
    rootfs: str

    def __init__(self, **fields: Any) -> None:
        for key, value in fields.items():
            setattr(self, key, value)


# The first release of each dialect, and what is new in it.
_TABLE: tuple[tuple[tuple[int, int, int], dict[str, Any]], ...] = (
    ((0, 23, 0), {
        "arguments": True, "executor": "executor_info", "commands": "", "argv": False, "namespaces": "",
        "repeated": False, "mounts": False, "latin1": True, "rootfs": "config",
    }),
    ((0, 24, 0), {"commands": "commands", "latin1": False, "rootfs": "hidden"}),
    ((0, 25, 0), {"namespaces": "namespaces"}),
    ((0, 26, 0), {"rootfs": "sandbox"}),
    ((0, 27, 0), {"arguments": False, "executor": "executorInfo"}),
    ((0, 28, 0), {"executor": "executor_info"}),
    ((0, 28, 2), {"rootfs": "config"}),
    ((1, 0, 0), {"commands": "pre_exec_commands"}),
    ((1, 0, 1), {"argv": True}),
    ((1, 2, 0), {"namespaces": "clone_namespaces", "repeated": True}),
    ((1, 5, 0), {"mounts": True}),
)  # fmt: skip


def dialect(version: str) -> Dialect:
    """Return how the Mesos release *version* (`1.11.0`, `1.2.0-rc1`) speaks; a newer one than we know as the newest.

    Raises UsageError.
    """
    digits = version.partition("-")[0].partition("+")[0].split(".")
    if len(digits) != 3 or not all(part.isascii() and part.isdigit() and len(part) < 6 for part in digits):
        raise UsageError(f"{version!a:.200} is no Mesos version")
    wanted = (int(digits[0]), int(digits[1]), int(digits[2]))
    if wanted < _TABLE[0][0]:
        raise UsageError(f"Mesos {version} is older than any that dvdcli knows", "0.23.0 is the first with modules")
    fields: dict[str, Any] = {}
    for first, new in _TABLE:
        if first <= wanted:
            fields.update(new)
    return Dialect(**fields)


def check_agent(name: str) -> str:
    """Return *name* if an agent can be called so: it tells apart the agents of one host. Raises UsageError."""
    if len(name) > 64 or not all(c.isascii() and (c.isalnum() or c in "._-") for c in name):
        raise UsageError(f"the agent's name {name!a:.200} is none", "letters, digits, dots, dashes; at most 64")
    return name


class Request:
    """A request of an isolator, protocol version 1, checked. *id* is the container's, from the root to the leaf.

    Raises UsageError for what is no request.
    """

    def __init__(self, fields: Any) -> None:
        if not isinstance(fields, dict):
            raise UsageError("the request is no JSON object")
        self.fields: dict[str, Any] = fields
        if type(fields.get("protocol")) is not int or fields["protocol"] != PROTOCOL:
            raise UsageError(
                f"the request has protocol {fields.get('protocol')!a:.200}, this dvdcli speaks {PROTOCOL}",
                "install the isolator and the dvdcli of one release",
            )
        self.agent = check_agent(self._field("agent", str, ""))
        self.dialect = dialect(self._field("mesos_version", str))

    def _field(self, key: str, kind: type, default: Any = None) -> Any:
        value = self.fields.get(key, default)
        if type(value) is not kind:
            raise UsageError(f"the request's {key} is {value!a}"[:200], f"it has to be a JSON {kind.__name__}")
        return value

    @property
    def timeout(self) -> float | None:
        """How long a mount may take, in seconds, where the operator said so."""
        if "timeout" not in self.fields:
            return None
        seconds: int = self._field("timeout", int)
        if not 0 < seconds <= 86400:
            raise UsageError(f"the request's timeout of {seconds!s:.200} s is none")
        return float(seconds)

    @property
    def id(self) -> list[str]:
        """The container's id."""
        return _id(self.fields.get("container_id"))

    def ids(self, key: str) -> list[list[str]]:
        """Return the list of container ids under *key*."""
        return [_id(each) for each in self._field(key, list, [])]


def _id(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(part, str) for part in value):
        raise UsageError(f"{value!a} is no container id"[:200], "a list, from the root container to the leaf")
    return [check_name(part, "container id") for part in value]


def _is_path(text: str) -> bool:
    """Return whether a file can be called so: bytes that are no UTF-8 are fine, half a character is not, nor a NUL."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


class Prepare(Request):
    """What a release's `prepare` received: the container's environment, volumes, sandbox and image."""

    def __init__(self, fields: Any) -> None:
        super().__init__(fields)
        self._config = self.fields if self.dialect.arguments else self._field("container_config", dict)
        self.directory = self._plain(self._config.get("directory"), "directory")
        self.sandbox_directory = self._field("sandbox_directory", str, SANDBOX_DIRECTORY)
        if ".." in self.sandbox_directory.split("/"):
            raise UsageError(f"the sandbox {self.sandbox_directory!a:.200} has a .. in it")
        for path in (self.directory, self.sandbox_directory):
            if not path.startswith("/") or not _is_path(path):
                raise UsageError(f"the sandbox {path!a:.200} is no absolute path")

    def _plain(self, value: Any, what: str) -> str:
        if not isinstance(value, str):
            raise UsageError(f"the request's {what} is {value!a}"[:200], "it has to be a string")
        return value

    def _text(self, value: Any, what: str) -> str:
        """Return *value*, which was text in a message; what was an argument of prepare has not gone that way."""
        text = self._plain(value, what)
        if self.dialect.latin1 and not text.isascii():
            try:
                return os.fsdecode(text.encode("latin-1"))
            except UnicodeEncodeError:
                return text
        return text

    def _message(self, *path: str) -> dict[str, Any]:
        """Return the message at *path* in the config; an empty one where it is not set."""
        found: Any = self._config
        for key in path:
            found = found.get(key, {})
            if not isinstance(found, dict):
                raise UsageError(f"the request's {'.'.join(path)} is no JSON object")
        return dict(found)

    def _list(self, message: dict[str, Any], key: str) -> list[dict[str, Any]]:
        value = message.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            raise UsageError(f"the request's {key} is no list of JSON objects")
        return value

    @property
    def is_debug(self) -> bool:
        """Whether this is a debugging session in a container that runs: it gets nothing of its own."""
        return bool(self._config.get("container_class") == "DEBUG")

    @property
    def is_nested(self) -> bool:
        """Whether the container is in another one: then `executor_info` is its parent's."""
        return len(self.id) > 1

    def environment(self) -> list[tuple[str, str | None]]:
        """Return the variables of the container's own command; None for a value that is a secret's."""
        executor = self.dialect.executor
        if not self.is_nested and executor in self._config:
            message = self._message(executor, "command", "environment")
        else:
            message = self._message("command_info", "environment")
        found = []
        for variable in self._list(message, "variables"):
            value = variable.get("value")
            text = None if value is None else self._text(value, "variable")
            found.append((self._text(variable.get("name"), "variable's name"), text))
        return found

    def volumes(self) -> list[dict[str, Any]]:
        """Return the `Volume` messages of the container."""
        executor = self.dialect.executor
        if "container_info" in self._config or self.is_nested or executor not in self._config:
            return self._list(self._message("container_info"), "volumes")
        return self._list(self._message(executor, "container"), "volumes")

    @property
    def wants_docker_volumes(self) -> bool:
        """Whether DOCKER_VOLUME entries are ours: a parameter of the module says so."""
        return bool(self._field("docker_volumes", bool, False))

    @property
    def rootfs(self) -> str:
        """The image's root as the agent sees it, "" where the container has none.

        Raises DvdcliError where there is one and the release does not tell where.
        """
        in_sandbox = any(volume.get("container_path") == SANDBOX_ROOTFS for volume in self.volumes())
        if self.dialect.rootfs == "sandbox" and in_sandbox:
            return f"{self.directory}/{SANDBOX_ROOTFS}"
        given = self._config.get("rootfs")
        if given is not None:
            rootfs = self._plain(given, "rootfs")
            if rootfs and (not rootfs.startswith("/") or not _is_path(rootfs)):
                raise UsageError(f"the image {rootfs!a:.200} is no absolute path")
            return rootfs
        if self.dialect.rootfs in ("hidden", "sandbox") and self.dialect.arguments:
            info = self._message(self.dialect.executor, "container", "mesos")
            if "image" in info:
                raise DvdcliError(
                    "this release of Mesos does not tell where a container's image is, so a volume cannot get into it",
                    "leave out the image or the container path, or upgrade to Mesos 0.28.2",
                )
        return ""

    @property
    def has_rootfs_in_sandbox(self) -> bool:
        """Whether the executor itself will enter the image, and cover our mounts in the sandbox with its own."""
        return self.rootfs == f"{self.directory}/{SANDBOX_ROOTFS}"


class Plain:
    """A bind onto *target*, a path that root alone can change, of *source*; *flags* are those a remount keeps."""

    __slots__ = ("flags", "read_only", "source", "target")

    def __init__(self, source: str, target: str, read_only: bool, flags: int) -> None:
        self.source = source
        self.target = target
        self.read_only = read_only
        self.flags = flags


_FLAG_WORDS = {
    mountflags.MS_NOSUID: "nosuid", mountflags.MS_NODEV: "nodev", mountflags.MS_NOEXEC: "noexec",
    mountflags.MS_NOATIME: "noatime", mountflags.MS_NODIRATIME: "nodiratime", mountflags.MS_RELATIME: "relatime",
}  # fmt: skip


def launch(release: Dialect, plain: list[Plain], binds: list[Bind], command: str) -> dict[str, Any] | None:
    """Return the launch message that has *plain* and *binds* made in the container, None where there are none.

    *command* is the path of dvdcli. The keys and values are those of the release's own message.
    """
    if not plain and not binds:
        return None
    message: dict[str, Any] = {}
    commands: list[list[str]] = []
    if release.mounts:
        mounts: list[dict[str, Any]] = []
        for each in plain:
            mounts.append({"source": each.source, "target": each.target, "flags": MS_BIND | MS_REC})
            if each.read_only:
                mounts.append({"target": each.target, "flags": MS_REMOUNT | MS_BIND | MS_RDONLY | each.flags})
        if mounts:
            message["mounts"] = mounts
    else:
        commands += _mount_commands(plain)
    if binds:
        slave = [] if release.mounts else ["--make-slave"]
        commands.append([command, "bind", f"--outside={namespace()}", *slave, *(each.to_argument() for each in binds)])
    if release.argv:
        if commands:
            message[release.commands] = [{"shell": False, "value": c[0], "arguments": c} for c in commands]
    else:
        shell = {"shell": True, "value": " && ".join([_guard(), *(_quoted(c) for c in commands)])}
        if not release.commands:
            return shell
        message[release.commands] = [shell]
    if release.namespaces:
        message[release.namespaces] = [CLONE_NEWNS] if release.repeated else CLONE_NEWNS
    return message


def _mount_commands(plain: list[Plain]) -> list[list[str]]:
    if not plain:
        return []
    mount = next((path for path in _MOUNT if os.path.exists(path)), _MOUNT[0])
    commands = [[mount, "-n", "--make-rslave", "/"]]
    for each in plain:
        commands.append([mount, "-n", "--rbind", each.source, each.target])
        if each.read_only:
            words = [word for flag, word in _FLAG_WORDS.items() if each.flags & flag]
            commands.append([mount, "-n", "-o", ",".join(["remount", "bind", "ro", *words]), each.source, each.target])
    return commands


def _guard() -> str:
    """Return a test that fails in the agent's own namespace: until 1.0 a launcher could ignore what we ask for."""
    readlink = next((path for path in ("/bin/readlink", "/usr/bin/readlink") if os.path.exists(path)), "/bin/readlink")
    return f'[ "$({readlink} /proc/self/ns/mnt)" != {quote(namespace())} ]'


def _quoted(words: list[str]) -> str:
    return " ".join(quote(word) for word in words)


def quote(word: str) -> str:
    """Return *word* as one word of a POSIX shell, whatever is in it."""
    if word and all(c.isascii() and (c.isalnum() or c in "@%+=:,./-_") for c in word):
        return word
    return "'" + word.replace("'", "'\"'\"'") + "'"
