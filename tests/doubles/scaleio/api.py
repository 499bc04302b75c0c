"""The gateway, and everything a test can set."""

from __future__ import annotations

import atexit
import math
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.doubles.clock import Clock
from tests.doubles.loops import Loop, copy
from tests.doubles.scaleio import answers, routes
from tests.doubles.scaleio.errors import CODES, CODES_4, Drop, Error, Half, Instead, Raw, Slow, Violation
from tests.doubles.scaleio.host import Host
from tests.doubles.scaleio.model import Domain, Pool, System, Volume, new_id
from tests.doubles.scaleio.tokens import Tokens
from tests.doubles.web import DROP, HANG, Reply, Request, Web


class Gateway:
    """A gateway, its systems, and their hosts; `calls` is what was asked, in order: method, path and body.

    *certificate* is one of trustme's, or the paths of a certificate and its key. *login* says which of its two ways a
    gateway of 4.x knows: old, new or both.
    """

    def __init__(self, root: Path, certificate: Any, generation: str = "3.6", login: str = "both") -> None:
        self.root = Path(root).resolve()
        self.root.mkdir(parents=True, exist_ok=True)
        self.generation = generation
        self.major = int(generation.split(".")[0])
        self.login = login if self.major >= 4 else "old"
        self.user, self.password = "admin", "Secret: 1%"
        self.granularity = 8 if self.major < 5 else 1  # GiB
        self.gib = 1 << 30  # bytes in a "GiB": less of them make tests quick that format and grow volumes
        self.strings = True  # numbers and booleans in answers are strings
        self.guid_case: Callable[[str], str] = str.lower
        self.details: Any = None if self.major >= 4 else []  # in errors
        self.not_found_status = 500
        self.expired_status = 401
        self.old_login_status = 401  # what a gateway that knows only the new way answers to the old one
        self.version_needs_token = True
        self.codes = dict(CODES if self.major < 4 else CODES_4)
        self.calls: list[tuple[str, str, Any]] = []
        self.requests: list[Request] = []
        self.faults: list[str] = []
        self.replies: dict[str, deque[Instead]] = {}
        self.always: dict[str, Instead] = {}
        self.before: Callable[[str, str], None] = lambda name, when: None
        self.failing = 0
        self.orphans: list[Loop] = []
        self.hosts: list[Host] = []
        self.volumes: dict[str, Volume] = {}
        self.systems: dict[str, System] = {}
        self.domains: list[Domain] = []
        self.pools: list[Pool] = []
        self.tokens = Tokens(self)
        self.lock = threading.RLock()
        self.clock = Clock(self.lock, self.faults)
        self._called: list[str] = []
        self.system = self.add_system("alpha")
        self.domain = self.add_domain("pd1")
        self.pool = self.add_pool("sp1")
        self.web = Web(self._answer, self.faults, name="Apache-Coyote/1.1", context=_context(certificate))
        self.url = self.web.url
        self.closed = False
        atexit.register(self.close)

    # For tests

    def add_system(self, name: str | None = None) -> str:
        """Add a system, which every host that there is gets an SDC of; return its id."""
        system = System(name, self.generation)
        self.systems[system.id] = system
        for host in self.hosts:
            host.sdcs[system.id] = new_id()
        return system.id

    def add_domain(self, name: str, system: str | None = None) -> Domain:
        domain = Domain(name, self.systems[system or self.system])
        self.domains.append(domain)
        return domain

    def add_pool(self, name: str, domain: Domain | None = None, free_gib: int = 1 << 20) -> Pool:
        pool = Pool(name, domain or self.domain, free_gib)
        self.pools.append(pool)
        return pool

    def host(self, guid: str | None = None, name: str | None = None, systems: list[str] | None = None) -> Host:
        """Add a machine with an SDC of every system, or of *systems*."""
        number = len(self.hosts) + 1
        host = Host(self, guid, name, number)
        host.sdcs = {system: new_id() for system in (self.systems if systems is None else systems)}
        self.hosts.append(host)
        return host

    def volume(self, name: str | None, size_gib: int = 8, image: Path | None = None, size_bytes: int | None = None,
               pool: Pool | None = None) -> Volume:  # fmt: skip
        """Make a volume that is there already, of a copy of *image* or blank."""
        with self.lock:
            volume = self.make(name, size_gib, pool or self.pool, "ThinProvisioned", size_bytes, image)
            volume.pool.free_gib -= size_gib
        return volume

    def make(self, name: str | None, size_gib: int, pool: Pool, kind: str, size_bytes: int | None = None,
             image: Path | None = None) -> Volume:  # fmt: skip
        id = new_id()
        volume = Volume(id, name, size_gib, self.root / f"volume-{id}.img", pool, kind)
        if image:
            copy(image, volume.image)
        else:
            volume.image.touch()
        self.resize(volume, size_bytes)
        self.volumes[id] = volume
        return volume

    def resize(self, volume: Volume, size_bytes: int | None = None) -> None:
        """Give the image the volume's size, and the devices the image's."""
        size = size_bytes or volume.size_gib * self.gib
        with volume.image.open("r+b") as file:
            if file.seek(0, 2) > size:
                raise ValueError(f"the image is larger than the volume: {volume.image}")
            file.truncate(size)
        for mapping in volume.mappings:
            if mapping.there and mapping.there.image == volume.image:
                mapping.host.grow(mapping.there)

    def next(self, name: str, *replies: Instead) -> None:
        """Answer the next calls of *name* so; None is the right answer."""
        self.replies.setdefault(name, deque()).extend(replies)

    def names(self) -> list[str]:
        return list(self._called)

    def counts(self) -> Counter[str]:
        return Counter(self._called)

    def forget(self) -> None:
        """Forget what was asked until now."""
        del self.calls[:], self.requests[:], self._called[:]

    def named(self, name: str) -> Volume:
        return next(volume for volume in self.volumes.values() if volume.name == name)

    def expire_after(self, calls: float = math.inf, seconds: float = math.inf) -> None:
        """Let the tokens that there are, and those to come, be good for so many calls and seconds more."""
        with self.lock:
            self.tokens.expire_after(calls, seconds)

    def failover(self, times: int) -> None:
        """Answer 503 to the next calls, whatever they are: another MDM takes over."""
        self.failing = times

    def takes(self, way: str) -> bool:
        return self.login in (way, "both")

    def wait_idle(self) -> None:
        """Wait until every request is carried out, whether or not its caller still lives."""
        self.web.wait_idle()

    def close(self) -> None:
        """Stop serving and let go of every loop device; one that is still mounted goes when it is unmounted."""
        if self.closed:
            return
        self.closed = True
        atexit.unregister(self.close)
        self.web.stop()
        self.clock.stop()
        for host in self.hosts:
            host.driver.close()
        with self.lock:
            for host in self.hosts:
                host.close()
                self.faults.extend(host.decoys.check())
            for loop in self.orphans:
                loop.clear()

    # HTTP

    def _answer(self, request: Request) -> Reply:
        route, ids = routes.find(self, request)
        name = route.name if route else "?"
        body = routes.parse(request)
        with self.lock:
            self.calls.append((request.method, request.path, body))
            self.requests.append(request)
            self._called.append(name)
            self.failing -= 1
            if self.failing >= 0:
                return answers.unavailable(self)
            self.failing = 0
        try:
            if route is None:
                raise Violation(f"there is no {request.method} {request.path} in {self.generation}", 404)
            routes.check_headers(self, request)
            routes.check_body(route, body)
            if route.token and (name != "version" or self.version_needs_token):
                with self.lock:
                    self.tokens.use(request)
            self.before(name, "before")
            arguments = ids if route.needed is None else (*ids, body)
            try:
                return self._reply(name, lambda: route.handler(self, *(arguments if route.token else (request, body))))
            finally:
                self.before(name, "after")
        except Error as error:
            if isinstance(error, Violation):
                self.faults.append(f"{name}: {error.message}")
            return answers.wrong(self, error)

    def _reply(self, name: str, act: Callable[[], Any]) -> Reply:
        with self.lock:
            queue = self.replies.get(name)
            instead = queue.popleft() if queue else self.always.get(name)
        delay = getattr(instead, "delay", 0)
        if isinstance(instead, Slow) and not instead.act:
            if math.isinf(delay):
                return HANG
            time.sleep(delay)  # as the test has it: so slow is this answer
        result: Any = None
        if instead is None or isinstance(instead, Slow | Half) or instead.act:
            result = self._act(act)
        if not (isinstance(instead, Slow) and not instead.act):
            if math.isinf(delay):
                return HANG
            time.sleep(delay)  # the same, once it is carried out
        if isinstance(result, Error) and not isinstance(instead, Drop | Raw):
            raise result
        if isinstance(instead, Error):
            raise instead
        if isinstance(instead, Drop):
            return DROP
        if isinstance(instead, Raw):
            return Reply(instead.status, instead.body, {"Content-Type": instead.kind})
        reply = answers.right(self, name, result)
        if isinstance(instead, Half):
            reply.body, reply.cut = reply.body or b"{}", len(reply.body) // 2 if instead.size is None else instead.size
        if isinstance(instead, Slow):
            reply.piece, reply.gap = instead.piece, instead.gap
        return reply

    def _act(self, act: Callable[[], Any]) -> Any:
        with self.lock:
            self.clock.settle()
            try:
                result = act()
            except Error as error:
                return error
            self.clock.settle()
            return result


def _context(certificate: Any) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if hasattr(certificate, "configure_cert"):
        certificate.configure_cert(context)
    else:
        context.load_cert_chain(*certificate)
    return context

