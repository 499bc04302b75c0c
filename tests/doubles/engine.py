"""The part of the Docker Engine API that knows managed plugins, on a real unix socket."""

from __future__ import annotations

import json
import socketserver
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any


class Engine:
    """Answers `GET /plugins`, `GET /plugins/NAME/json` from `plugins`, and `GET /info`."""

    def __init__(self, path: Path, docker_root: str) -> None:
        self.plugins: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                engine.asked.append(self.path)
                if self.path == "/info":
                    self._answer(200, {"DockerRootDir": docker_root})
                    return
                if self.path == "/plugins":
                    self._answer(200, list(engine.plugins.values()))
                    return
                name = self.path.removeprefix("/plugins/").removesuffix("/json")
                plugin = engine.plugins.get(name)
                self._answer(*((200, plugin) if plugin else (404, {"message": f'plugin "{name}" not found'})))

            def _answer(self, status: int, value: Any) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def address_string(self) -> str:
                return ""

            def log_message(self, *args: Any) -> None:
                pass

        self.server = socketserver.ThreadingUnixStreamServer(str(path), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, name: str, identity: str, *, propagated: str = "", enabled: bool = True) -> None:
        interface = {"Socket": "plug.sock", "Types": ["docker.volumedriver/1.0"]}
        config = {"Interface": interface, "PropagatedMount": propagated}
        self.plugins[name] = {"Id": identity, "Name": name, "Enabled": enabled, "Config": config}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
