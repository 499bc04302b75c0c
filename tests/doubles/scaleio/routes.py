"""What the API consists of: paths, and what bodies and headers must be like."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.doubles.scaleio import queries, tokens, volumes
from tests.doubles.scaleio.errors import Violation
from tests.doubles.web import Request

if TYPE_CHECKING:
    from tests.doubles.scaleio.api import Gateway

GUID = r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
ID = r"[0-9a-f]{16}"
ONE, ACTION = r"/api/instances/Volume::([^/]+)", r"/api/instances/Volume::([^/]+)/action/"


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    name: str
    handler: Callable[..., Any]
    needed: dict[str, Any] | None = None  # the body's fields: a pattern, or a list of objects
    possible: dict[str, Any] | None = None
    since: int = 2
    token: bool = True


ROUTES = [
    Route("GET", "/api/login", "login", tokens.login, token=False),
    Route("GET", "/api/logout", "logout", tokens.logout, token=False),
    Route("GET", "/api/version", "version", queries.version),
    Route("POST", "/rest/auth/login", "login", tokens.login_new, {"username": ".+", "password": ".+"}, since=4,
          token=False),
    Route("POST", "/rest/auth/logout", "logout", tokens.logout_new, {"refresh_token": ".+"}, since=4, token=False),
    *(Route("GET", f"/api/types/({kind})/instances", f"{kind}s", queries.every) for kind in queries.KINDS),
    *(Route("GET", f"/api/instances/({kind})::([^/]+)", kind, queries.one) for kind in queries.KINDS),
    Route("GET", "/api/instances/System::([^/]+)/relationships/Sdc", "Sdcs", queries.sdcs_of_system),
    Route("GET", "/api/instances/Sdc::([^/]+)/relationships/Volume", "Volumes", queries.volumes_of_sdc),
    Route("POST", "/api/types/Volume/instances/action/queryIdByKey", "queryIdByKey", queries.query_id_by_key,
          {"name": ".+"}),
    Route("POST", "/api/types/Volume/instances", "createVolume", volumes.create,
          {"storagePoolId": ID, "name": ".+", "volumeType": "ThinProvisioned|ThickProvisioned",
           "volumeSizeInKb": r"[1-9]\d*"}, {"protectionDomainId": ID}),
    Route("POST", f"{ACTION}addMappedSdc", "addMappedSdc", volumes.add_mapped_sdc, {},
          {"guid": GUID, "sdcId": ID, "allowMultipleMappings": "TRUE|FALSE"}),
    Route("POST", f"{ACTION}removeMappedSdc", "removeMappedSdc", volumes.remove_mapped_sdc, {},
          {"guid": GUID, "sdcId": ID}),
    Route("POST", f"{ACTION}removeVolume", "removeVolume", volumes.remove, {"removeMode": "ONLY_ME"}),
    Route("POST", f"{ACTION}setVolumeSize", "setVolumeSize", volumes.set_size, {"sizeInGB": r"[1-9]\d*"}),
    Route("POST", "/api/instances/System::([^/]+)/action/snapshotVolumes", "snapshotVolumes", volumes.snapshot,
          {"snapshotDefs": [{"volumeId": ID, "snapshotName": ".+"}]}),
]  # fmt: skip


def find(gateway: Gateway, request: Request) -> tuple[Route | None, tuple[str, ...]]:
    for route in ROUTES:
        match = re.fullmatch(route.path, request.path)
        if match and route.method == request.method and gateway.major >= route.since:
            if request.path.startswith("/rest/") and not gateway.takes("new"):
                continue
            return route, match.groups()
    return None, ()


def parse(request: Request) -> Any:
    """Return the body, None where there is none, the text itself where it is no JSON."""
    if not request.body:
        return None
    try:
        return json.loads(request.body)
    except ValueError:
        return request.body.decode("utf-8", "replace")


def check_headers(gateway: Gateway, request: Request) -> None:
    if not request.headers.get("host"):
        raise Violation("no Host")
    _check_media(gateway, "Accept", request.headers.get("accept", ""))
    if request.method == "GET":
        if request.body or request.headers.get("content-length", "0") != "0":
            raise Violation("a GET with a body")
    elif "content-length" not in request.headers:
        raise Violation("no Content-Length")
    else:
        _check_media(gateway, "Content-Type", request.headers.get("content-type", ""))


def _check_media(gateway: Gateway, header: str, value: str) -> None:
    kind, *parameters = [part.strip().lower() for part in value.split(";")]
    right = kind == "application/json"
    for parameter in parameters:
        version = re.fullmatch(r"version=(\d)\.\d", parameter)
        right = right and (parameter == "charset=utf-8" or bool(version and int(version[1]) <= gateway.major))
    if not right:
        status = 415 if header == "Content-Type" else 406
        raise Violation(f"{header} {value or 'is missing'}, of a gateway of {gateway.generation}", status)


def check_body(route: Route, body: Any) -> None:
    if route.needed is None:
        return
    _check_object(body, route.needed, route.possible or {}, route.name)


def _check_object(body: Any, needed: dict[str, Any], possible: dict[str, Any], where: str) -> None:
    if not isinstance(body, dict):
        raise Violation(f"{where}: the body is no object: {body!r}")
    for name in needed:
        if name not in body:
            raise Violation(f"{where}: no {name}")
    for name, value in body.items():
        form = {**needed, **possible}.get(name)
        if form is None:
            raise Violation(f"{where}: {name} is not known")
        if isinstance(form, list):
            if not isinstance(value, list) or not value:
                raise Violation(f"{where}: {name} is no list, or empty: {value!r}")
            for one in value:
                _check_object(one, form[0], {}, f"{where}: {name}")
        elif not isinstance(value, str):
            raise Violation(f"{where}: {name} is no string: {value!r}")
        elif not re.fullmatch(form, value, re.DOTALL):
            raise Violation(f"{where}: {name} is {value!r}")
