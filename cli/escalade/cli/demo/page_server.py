"""Serves the page of `edge/web/` with an artifact and its settings; knows no model, no RPC."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from escalade.cli.demo.clone import in_clone
from escalade.cli.errors import DemoError, MissingError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

#: `make web` writes it there.
PAGE = in_clone("edge", "web", "dist", "page")
_NEEDED = ("index.html", "main.js", "worker.js", "sw.js", "ort/ort-wasm-simd-threaded.wasm")
#: Of an artifact's files what pages fetch; a page's own are named by the build.
ARTIFACT, SETTINGS = "artifact", "demo.json"

_TYPES = {
    ".css": "text/css",
    ".gz": "application/gzip",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".json": "application/json",
    ".mjs": "text/javascript",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}
_ANY = "application/octet-stream"


def check_page(folder: Path) -> None:
    """Return where a folder holds the page.

    Raises:
        MissingError: it does not; says how it gets there.
    """
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise MissingError(
                f"{folder}: no built page there ({name} is missing); run `make web` in a clone"
                " (it needs node), or unpack escalade-web-page-*.tar.gz of a release and name its"
                " folder with --page"
            )


def headers_of(cloud: str | None) -> dict[str, str]:
    """What a browser is told with each file.

    Its own scripts alone run, nobody is asked but this server and the cloud, and the page is
    isolated, which threads in WebAssembly need.

    Args:
        cloud: URL of the larger model's port for browsers.
    """
    asked = " ".join(filter(None, ("'self'", cloud)))
    policy = (
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self';"
        f" style-src 'self'; img-src 'self'; manifest-src 'self'; connect-src {asked};"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "cache-control": "no-cache",
    }


def page_app(page: Path, artifact: Path, cloud: str | None) -> Starlette:
    """The page at `/`, the artifact at `/artifact/`, and what the page is told.

    Args:
        page: what `make web` has built.
        artifact: what `escalade export` has written.
        cloud: see `headers_of`.
    """
    from starlette.applications import Starlette
    from starlette.responses import FileResponse, JSONResponse, PlainTextResponse
    from starlette.routing import Route

    headers = headers_of(cloud)

    def found(folder: Path, name: str, request: Request) -> Response:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()) or not path.is_file():
            return PlainTextResponse("not found\n", 404, headers)
        kind = _TYPES.get(path.suffix, _ANY)
        packed = path.with_name(f"{path.name}.gz")
        # A part is of the file as it is.
        plain = "range" in request.headers
        if not plain and packed.is_file() and "gzip" in request.headers.get("accept-encoding", ""):
            more = {**headers, "content-encoding": "gzip", "vary": "accept-encoding"}
            return FileResponse(packed, headers=more, media_type=kind)
        return FileResponse(path, headers=headers, media_type=kind)

    async def settings(request: Request) -> Response:
        told = {"artifact": f"{ARTIFACT}/", "cloud": None if cloud is None else {"url": cloud}}
        return JSONResponse(told, headers=headers)

    async def of_artifact(request: Request) -> Response:
        return found(artifact, request.path_params["name"], request)

    async def of_page(request: Request) -> Response:
        return found(page, request.path_params["name"] or "index.html", request)

    return Starlette(
        routes=[
            Route(f"/{SETTINGS}", settings),
            Route(f"/{ARTIFACT}/{{name}}", of_artifact),
            Route("/{name:path}", of_page),
        ]
    )


def bound(port: int) -> socket.socket:
    """A socket on loopback; port 0 takes a free one.

    Raises:
        DemoError: another process has the port.
    """
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise DemoError(f"port {port}: cannot be bound: {error.strerror}") from error


def serve_page(app: Starlette, at: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    import uvicorn

    level: Literal["error"] = "error"
    config = uvicorn.Config(
        app, http="h11", ws="none", lifespan="off", log_level=level, access_log=False
    )

    class Server(uvicorn.Server):
        """Says when it answers, and ends without a word."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

    # It raises the signal again once it has ended.
    with contextlib.suppress(KeyboardInterrupt):
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            Server(config).run(sockets=[at])
        finally:
            signal.signal(signal.SIGTERM, previous)
