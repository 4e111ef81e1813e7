"""Who may ask the studio, how much may come in, and where it listens."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("nicegui", reason="the studio is an extra: pip install 'gaussmix[studio]'")

from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from gaussmix.studio.server import HOST, Guard, open_port

PORT, TOKEN, MOST = 8077, "a-token-of-this-test", 1000
UPLOAD = "/_nicegui/client/1b2c-33/upload/7"
BASE = f"http://{HOST}:{PORT}"


async def echo(scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
    """An application: says how much came in; echoes on its WebSocket."""
    if scope["type"] == "websocket":
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        said = await receive()
        await send({"type": "websocket.send", "text": said["text"]})
        return
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RuntimeError("the body ended in its middle")
        length, more = length + len(message.get("body", b"")), message.get("more_body", False)
    headers = [(b"access-control-allow-origin", b"*"), (b"content-security-policy", b"default-src *")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": str(length).encode()})


@pytest.fixture
def guard() -> Guard:
    return Guard(echo, TOKEN, PORT, MOST)


@pytest.fixture
def client(guard: Guard) -> TestClient:
    """Has been let in."""
    client = TestClient(guard, base_url=BASE)
    assert client.get("/", params={"token": TOKEN}).status_code == 200  # by way of the cookie
    return client


def test_the_token_moves_from_the_address_into_a_cookie(guard: Guard) -> None:
    answer = TestClient(guard, base_url=BASE).get(f"/?tab=faces&token={TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?tab=faces")
    cookie = answer.headers["set-cookie"]
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
    assert cookie.startswith(f"gaussmix-studio-{PORT}={TOKEN}")


@pytest.mark.parametrize("path", ["/", "/?token=another", "/_nicegui/3.0/static/nicegui.js", UPLOAD])
def test_without_the_token_nothing(guard: Guard, path: str) -> None:
    stranger = TestClient(guard, base_url=BASE)
    stranger.cookies.set(f"gaussmix-studio-{PORT}", "wrong")
    answer = stranger.get(path)
    assert answer.status_code == 403
    assert "token" in answer.text
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{PORT}", f"{HOST}:80", HOST, f"[::1]:{PORT}"])
def test_another_host_is_refused(client: TestClient, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 403
    assert client.get("/", headers={"host": f"LOCALHOST:{PORT}"}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", f"https://{HOST}:{PORT}", f"http://{HOST}:9000", "null"])
def test_another_origin_is_refused(client: TestClient, origin: str) -> None:
    assert client.post(UPLOAD, content=b"x", headers={"origin": origin}).status_code == 403
    assert client.post(UPLOAD, content=b"x", headers={"origin": BASE}).text == "1"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/ws", headers={"origin": origin}):
        pass


def test_a_websocket_needs_origin_and_token(guard: Guard, client: TestClient) -> None:
    here = {"host": f"{HOST}:{PORT}"}
    with client.websocket_connect(f"ws://{HOST}:{PORT}/ws", headers={**here, "origin": BASE}) as connection:
        connection.send_text("hello")
        assert connection.receive_text() == "hello"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(f"ws://{HOST}:{PORT}/ws", headers=here):
        pass
    stranger = TestClient(guard, base_url=BASE)
    with pytest.raises(WebSocketDisconnect), stranger.websocket_connect("/ws", headers={**here, "origin": BASE}):
        pass


def test_headers_of_what_goes_out(client: TestClient) -> None:
    headers = client.get("/").headers
    policy = headers["content-security-policy"]
    assert "http:" not in policy
    assert "https:" not in policy
    assert "*" not in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_bodies_have_a_limit(client: TestClient) -> None:
    assert client.post(UPLOAD, content=b"x" * MOST).text == str(MOST)
    answer = client.post(UPLOAD, content=b"x" * (MOST + (1 << 16) + 1))
    assert answer.status_code == 413
    assert "too large" in answer.text
    assert client.post("/elsewhere", content=b"x" * ((2 << 20) + 1)).status_code == 413


def test_bodies_are_counted_as_they_arrive() -> None:
    """Without a length in the head, in pieces; what comes after the limit is not asked for."""
    asked, sent = 0, []
    head = [(b"host", f"{HOST}:{PORT}".encode()), (b"cookie", f"gaussmix-studio-{PORT}={TOKEN}".encode())]
    scope = {"type": "http", "method": "POST", "path": UPLOAD, "query_string": b"", "headers": head}

    async def receive() -> dict[str, Any]:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x" * 40_000, "more_body": asked < 1000}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(echo, TOKEN, PORT, MOST)(scope, receive, send))
    assert [message.get("status") for message in sent] == [413, None]
    assert asked == 2


def test_who_leaves_while_a_body_comes_in_is_no_error() -> None:
    head = [(b"host", f"{HOST}:{PORT}".encode()), (b"cookie", f"gaussmix-studio-{PORT}={TOKEN}".encode())]
    scope = {"type": "http", "method": "POST", "path": UPLOAD, "query_string": b"", "headers": head}
    coming: list[dict[str, Any]] = [
        {"type": "http.request", "body": b"x", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(echo, TOKEN, PORT, MOST)(scope, receive, send))
    assert coming == sent == []


def test_a_taken_port_is_said_or_the_next_one_found() -> None:
    with open_port(None) as first, open_port(None) as second:
        (host, port), (_, other) = first.getsockname(), second.getsockname()
        assert host == HOST
        assert other > port
        with pytest.raises(ValueError, match=f"port {port} cannot be used"):
            open_port(port)


def test_it_listens_on_this_machine_alone() -> None:
    with open_port(None) as listening:
        assert listening.family == socket.AF_INET
        assert listening.getsockname()[0].startswith("127.")
