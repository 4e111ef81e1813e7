"""The studio's server: on this machine alone, for whoever has the address with its token, and nothing from outside.

`Guard` stands around the whole application, its pages, its files, its WebSocket:

- the ``Host`` must be this machine's own name and port: no other name can be made to point here (DNS rebinding);
- an ``Origin``, which browsers send with every WebSocket and every upload, must be this page's own;
- the token comes once in the address, from then on in a cookie that scripts cannot read and other sites cannot send.
  (Cookies do not know ports: another program of the same user that serves on 127.0.0.1 is sent it as well.);
- bodies are counted as they arrive, and those that are too long are refused with 413, whatever their head says;
- what goes out says that a browser may load nothing from elsewhere, and show it in no other page.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from gaussmix.studio.session import MOST_BYTES, Settings, Studio

__all__ = ["Guard", "application", "open_port", "serve"]

HOST, PORT = "127.0.0.1", 8077
_PORTS = 20  # from PORT on, that are tried where none was asked for
_MOST_OTHER = 2 << 20  # bytes of a body that is no file
_OVERHEAD = 1 << 16  # bytes of a form around a file
_UPLOAD = re.compile(r"/_nicegui/client/[\w-]+/upload/\d+")
_RECONNECT = 15.0  # seconds for which a page may lose its connection before its session ends
_ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32" fill="none" stroke-width="3">
<path stroke="#1f5fa8" d="M2 26c7 0 7-20 11-20s4 20 11 20"/>
<path stroke="#d9822b" d="M8 26c8 0 7-12 12-12s4 12 10 12"/></svg>"""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application around another that lets in what the module's head says.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    token : str
        What opens it.
    port : int
        Where it is served.
    most_bytes : int
        The most that a file may have that comes in.
    """

    def __init__(self, app: Application, token: str, port: int, most_bytes: int = MOST_BYTES):
        self.app, self._token, self._most = app, token, most_bytes
        names = ("127.0.0.1", "localhost")
        self._hosts = {f"{name}:{port}" for name in names} | ({*names} if port == 80 else set())
        self._origins = {f"http://{host}" for host in self._hosts}
        self._cookie = f"gaussmix-studio-{port}"
        sockets = " ".join(f"ws://{host}" for host in sorted(self._hosts))
        # Vue makes its templates into functions while the page runs, and NiceGUI writes its scripts into the page.
        policy = (
            "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
            f"img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self' data:; connect-src 'self' {sockets}; "
            "worker-src 'self' blob:; form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
        )
        self._headers = [
            (b"content-security-policy", policy.encode()),
            (b"referrer-policy", b"no-referrer"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-frame-options", b"DENY"),
            (b"cross-origin-opener-policy", b"same-origin"),
            (b"cross-origin-resource-policy", b"same-origin"),
        ]

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Let in, or refuse."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        refusal = self._refusal(scope, headers, query.get("token"))
        if refusal:
            await self._refuse(scope, receive, send, refusal)
        elif scope["type"] == "websocket":
            await self.app(scope, receive, send)
        elif "token" in query and scope["method"] == "GET":
            await self._let_in(scope, send, query)
        else:
            await self._pass(scope, receive, send, headers)

    def _refusal(
        self, scope: MutableMapping[str, Any], headers: list[tuple[bytes, str]], token: str | None
    ) -> str | None:
        """Why not, in a sentence."""
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            return "This page is served under the address that gaussmix studio printed, and no other."
        origins = {value for name, value in headers if name == b"origin"}
        if not origins <= self._origins or (scope["type"] == "websocket" and not origins):
            return "This page answers its own requests, not those of other pages."
        given = token or self._cookie_of(headers)
        if given is None or not secrets.compare_digest(given.encode(), self._token.encode()):
            return "This page needs its token: open the whole address that gaussmix studio printed."
        return None

    def _cookie_of(self, headers: list[tuple[bytes, str]]) -> str | None:
        for name, value in headers:
            if name == b"cookie":
                with contextlib.suppress(CookieError):
                    cookies = SimpleCookie(value)
                    if self._cookie in cookies:
                        return cookies[self._cookie].value
        return None

    async def _refuse(self, scope: MutableMapping[str, Any], receive: Receive, send: Send, why: str) -> None:
        if scope["type"] == "websocket":
            await receive()  # its wish to connect; closed before it is accepted, it is answered with 403
            await send({"type": "websocket.close", "code": 1008, "reason": why[:100]})
        else:
            await self._answer(send, 403, why)

    async def _answer(self, send: Send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
        start = {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"text/plain; charset=utf-8"),
                (b"content-length", str(len(text.encode())).encode()),
                (b"cache-control", b"no-store"),
                *self._headers,
                *headers,
            ],
        }
        await send(start)
        await send({"type": "http.response.body", "body": text.encode()})

    async def _let_in(self, scope: MutableMapping[str, Any], send: Send, query: dict[str, str]) -> None:
        """The token moves from the address into a cookie."""
        rest = urlencode([(name, value) for name, value in query.items() if name != "token"])
        path = "/" + scope.get("path", "/").lstrip("/")  # two slashes would name another host
        place = f"{path if path.isascii() and path.isprintable() else '/'}{'?' + rest if rest else ''}"
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        await self._answer(send, 303, "", (b"location", place.encode()), (b"set-cookie", cookie.encode()))

    async def _pass(
        self, scope: MutableMapping[str, Any], receive: Receive, send: Send, headers: list[tuple[bytes, str]]
    ) -> None:
        """To the application, with the body counted and our headers on the answer."""
        most = self._most + _OVERHEAD if _UPLOAD.fullmatch(scope["path"]) else _MOST_OTHER
        too_long = f"That is too large: the page takes files up to {self._most / 2**30:.3g} GB."
        declared = next((value for name, value in headers if name == b"content-length"), "0")
        if not declared.isascii() or not declared.isdigit() or int(declared[:20]) > most:
            await self._answer(send, 413, too_long, (b"connection", b"close"))
            return
        arrived, answered, over = 0, False, False

        async def counted() -> Message:
            nonlocal arrived, over
            message = await receive()
            arrived += len(message.get("body", b""))
            if arrived > most and not over and not answered:
                await self._answer(send, 413, too_long, (b"connection", b"close"))
            over = over or arrived > most or message["type"] == "http.disconnect"
            return {"type": "http.disconnect"} if over else message

        async def with_headers(message: Message) -> None:
            nonlocal answered
            if over:
                return
            if message["type"] == "http.response.start":
                answered = True
                ours = {name for name, _ in self._headers}
                theirs = [pair for pair in message["headers"] if pair[0].lower() not in ours]
                theirs = [pair for pair in theirs if not pair[0].lower().startswith(b"access-control-")]
                message = {**message, "headers": [*theirs, *self._headers]}
            await send(message)

        try:
            await self.app(scope, counted, with_headers)
        except Exception:
            if not over:  # what the application says of a body that ended in its middle, or of somebody who has left
                raise


def application(studio: Studio, token: str, port: int) -> Guard:
    """Return the studio as an ASGI application; NiceGUI allows one in a process.

    Parameters
    ----------
    studio : Studio
        What its sessions share.
    token : str
        What opens it.
    port : int
        Where it is served.
    """
    from fastapi import FastAPI
    from fastapi.responses import PlainTextResponse
    from nicegui import app as pages
    from nicegui import ui

    from gaussmix.studio.layout import build_page

    def start(tab: str = "") -> None:
        build_page(studio, tab)

    async def no_file(_request: Any, error: Any) -> PlainTextResponse:
        """NiceGUI reads whatever stands in the form of an upload, also text, as which a file without a name comes."""
        if not isinstance(error.obj, str):
            raise error
        return PlainTextResponse("That came without a file and its name: choose a file, or drop one.", 400)

    outer = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    ui.page("/")(start)
    pages.add_exception_handler(AttributeError, no_file)
    pages.on_shutdown(studio.close)
    ui.run_with(
        outer,
        title="gaussmix studio",
        favicon=_ICON,
        dark=None,
        language="en-US",
        reconnect_timeout=_RECONNECT,
        tailwind=False,
        show_welcome_message=False,
    )
    return Guard(outer, token, port)


def open_port(port: int | None) -> socket.socket:
    """Return a socket that listens on this machine alone.

    Parameters
    ----------
    port : int, optional
        Which; the first free one from 8077 on, if not given.

    Raises
    ------
    ValueError
        For a port that is taken, or none is free.
    """
    wanted = range(PORT, PORT + _PORTS) if port is None else [port]
    for number in wanted:
        with contextlib.suppress(OSError):
            return socket.create_server((HOST, number))
    if port is None:
        raise ValueError(f"none of the ports {wanted[0]} to {wanted[-1]} is free: give another one, --port 9000")
    raise ValueError(f"port {port} cannot be used, most likely it is taken: leave --port out, and a free one is found")


def serve(settings: Settings, *, port: int | None = None, open_browser: bool = True) -> None:
    """Serve the studio until it is interrupted.

    Parameters
    ----------
    settings : Settings
        Files and model.
    port : int, optional
        As `open_port` takes it.
    open_browser : bool
        Whether to open the page.

    Raises
    ------
    ValueError
        For a port that cannot be used.
    KeyboardInterrupt
        Once it was interrupted, and all files of its sessions are gone.
    """
    import uvicorn

    with open_port(port) as listening, _studio(settings) as studio:
        number, token = listening.getsockname()[1], secrets.token_urlsafe(24)
        address = f"http://{HOST}:{number}/?token={token}"
        app: Any = application(studio, token, number)
        print(f"gaussmix studio: {address}\nCtrl-C ends it.", flush=True)
        if open_browser and _has_display():
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, ws_max_size=_MOST_OTHER
        )
        uvicorn.Server(config).run(sockets=[listening])


@contextlib.contextmanager
def _studio(settings: Settings) -> Iterator[Studio]:
    studio = Studio(settings)
    try:
        yield studio
    finally:
        studio.close()


def _has_display() -> bool:
    """Whether a browser would open a window, and not take over the terminal."""
    return not sys.platform.startswith("linux") or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
