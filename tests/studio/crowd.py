"""Many visitors of the studio at once, and odd uploads: ``python tests/studio/crowd.py --visitors 50 --uploads 200``.

A visitor speaks as a browser does: it fetches the page, opens its WebSocket, presses, moves a slider, uploads. Each has
a table whose column has a name of its own, and looks for those of others in all that it is sent. It prints what it
found as JSON; ``faults`` is then empty.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import html
import io
import json
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import socketio

PATIENCE = 240.0  # seconds for one request, of a busy machine and a long line
MOST_MEMORY = 1.5e9  # bytes
Upload = tuple[str, bytes]


class Visitor:
    """A page that is open in no browser."""

    def __init__(self, address: str):
        self.base, _, query = address.partition("/?")
        self.web = httpx.AsyncClient(base_url=self.base, headers={"origin": self.base}, timeout=PATIENCE)
        self.socket = socketio.AsyncClient(reconnection=False, request_timeout=PATIENCE)
        self.elements: dict[str, dict[str, Any]] = {}
        self.heard: list[str] = []  # all that came
        self.changed = asyncio.Event()
        self._query = query

    async def open(self) -> Visitor:
        """Fetch the page, and connect."""
        await self.web.get(f"/?{self._query}", follow_redirects=True)
        page = (await self.web.get("/")).text
        (self.id,) = re.findall(r"'client_id': '([0-9a-f-]+)'", page)[:1]
        (raw,) = re.findall(r"parseElements\(String\.raw`(.*?)`\)", page, re.DOTALL)
        self._take(json.loads(html.unescape(raw)))
        self.socket.on("update", self._take)
        words = {"client_id": self.id, "tab_id": str(uuid.uuid4()), "document_id": str(uuid.uuid4())}
        query = "&".join(f"{name}={value}" for name, value in words.items())
        cookie = "; ".join(f"{name}={value}" for name, value in self.web.cookies.items())
        await self.socket.connect(
            f"{self.base}/?{query}&implicit_handshake=true&next_message_id=0",
            headers={"Cookie": cookie, "Origin": self.base},
            socketio_path="/_nicegui_ws/socket.io",
            transports=["websocket"],
            wait_timeout=int(PATIENCE),
        )
        return self

    async def close(self) -> None:
        """Leave."""
        await self.socket.disconnect()
        await self.web.aclose()

    def _take(self, update: dict[str, Any]) -> None:
        self.heard.append(json.dumps(update))
        for number, element in update.items():
            if element is None:
                self.elements.pop(number, None)
            elif isinstance(element, dict):
                self.elements[number] = element
        self.changed.set()

    def texts(self, kind: str = "") -> list[str]:
        """Of the elements whose class has a word."""
        return [str(e["text"]) for e in self.elements.values() if "text" in e and kind in " ".join(e.get("class", []))]

    def count(self, kind: str) -> int:
        """How many elements have a class."""
        return sum(kind in each.get("class", []) for each in self.elements.values())

    def notices(self) -> list[str]:
        """Sentences of errors."""
        inside = [e.get("children", []) for e in self.elements.values() if "gm-notice" in e.get("class", [])]
        return [str(self.elements[str(k)].get("text")) for ids in inside for k in ids[:1] if str(k) in self.elements]

    def find(self, **wanted: str) -> str:
        """The number of an element by tag, text or a property."""
        for number, element in self.elements.items():
            here = {**element.get("props", {}), **element}
            if all(str(here.get(name, "")).startswith(value) for name, value in wanted.items()):
                return number
        raise LookupError(f"no element with {wanted} among {self.texts()}")

    async def until(self, ready: Any, seconds: float = PATIENCE) -> Any:
        """Wait until something is so, and return it."""
        end = time.monotonic() + seconds
        while not (found := ready()):
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), max(end - time.monotonic(), 0.01))
        return found

    async def tell(self, number: str, kind: str, *args: Any) -> None:
        """Send an event of an element."""
        (listener,) = [each for each in self.elements[number]["events"] if each["type"] == kind][:1]
        message = {"id": int(number), "client_id": self.id, "listener_id": listener["listener_id"]}
        await self.socket.emit("event", {**message, "args": [json.dumps(each) for each in args]})

    async def upload(self, name: str, content: bytes | AsyncIterator[bytes], **headers: str) -> httpx.Response:
        """Send a file to the first tab."""
        number = self.find(tag="nicegui-upload")
        path = f"/_nicegui/client/{self.id}/upload/{number}"
        if isinstance(content, bytes):
            return await self.web.post(path, files={"file": (name, content)})
        kind = {"content-type": "multipart/form-data; boundary=end"}
        return await self.web.post(path, content=content, headers={**kind, **headers})


# -- what visitors do


async def visit(address: str, number: int, facts: dict[str, Any]) -> None:
    """Drop a table, wait for its density, move the line; see nothing of the others."""
    started, mine = time.monotonic(), f"column-of-{number:03d}-"
    visitor = Visitor(address)
    try:
        await visitor.open()
        await visitor.until(lambda: any(e["tag"].endswith("upload") for e in visitor.elements.values()))
        values = np.random.default_rng(number).normal(number, 1, 500)
        table = f"{mine},kind\n" + "".join(f"{x:.5f},k\n" for x in values)
        assert (await visitor.upload("table.csv", table.encode())).status_code == 200

        def read() -> bool:
            places = [int(found[1]) for text in visitor.texts() if (found := re.match(r"(\d+) before you", text))]
            facts["longest_line"] = max([facts["longest_line"], *places])
            return any(text.startswith("50.0% of " + mine) for text in visitor.texts())

        await visitor.until(read)
        facts["seconds"].append(round(time.monotonic() - started, 1))
        slider = visitor.find(**{"aria-label": "Share below"})
        for share in (0.1, 0.9):
            moved = time.monotonic()
            await visitor.tell(slider, "input", share)
            words = f"{share:.1%} of {mine} are at most"
            await visitor.until(lambda words=words: any(text.startswith(words) for text in visitor.texts()))
            facts["moves"].append(round(time.monotonic() - moved, 3))
        others = set(re.findall(r"column-of-\d+-", " ".join(visitor.heard))) - {mine}
        facts["faults"] += [f"visitor {number} was sent {name}" for name in others]
    except Exception as error:
        facts["faults"].append(f"visitor {number}: {error!r:.200}; {visitor.texts('gm-job')} {visitor.notices()}")
    finally:
        await visitor.close()


async def send_odd(address: str, number: int, upload: Upload, facts: dict[str, Any]) -> None:
    """Upload one file on a page of its own: it is refused in a sentence, or shown as text."""
    name, content = upload
    visitor = await Visitor(address).open()

    def ended() -> str:
        shown = visitor.count("gm-number") and not visitor.count("gm-job")
        return "refused" if visitor.notices() else "shown" if shown else ""

    try:
        await visitor.until(lambda: any(e["tag"].endswith("upload") for e in visitor.elements.values()))
        answer = await visitor.upload(name, content)
        outcome = await visitor.until(ended) if answer.status_code == 200 else f"status {answer.status_code}"
        said = " ".join(visitor.notices() or visitor.texts("gm-number")) if answer.status_code == 200 else answer.text
        facts["uploads"][outcome] = facts["uploads"].get(outcome, 0) + 1
        print(f"{number}, {name[:60]!r}, {outcome}: {said}", file=sys.stderr, flush=True)
        if not said or any(word in said for word in ("by a fault of gaussmix", "Traceback", "/tmp/", "Server Error")):
            facts["faults"].append(f"upload {number}, {name[:60]!r}: {said}")
        if any("innerHTML" in e.get("props", {}) and "onerror" in str(e["props"]) for e in visitor.elements.values()):
            facts["faults"].append(f"upload {number}, {name[:60]!r} is in the page as HTML")
    except Exception as error:
        facts["faults"].append(f"upload {number}, {name[:60]!r}: {error!r:.200}; {visitor.texts('gm-job')}")
    finally:
        await visitor.close()


def odd_uploads(count: int) -> Iterator[Upload]:
    """Files that nobody should send, in turn: of wrong names, wrong kinds, damaged ones, bombs, HTML in their names."""
    plain = b"a,b\n" + b"1,2\n3,4\n" * 50
    npy = io.BytesIO()
    np.save(npy, np.zeros(3))
    header = npy.getvalue()
    attack = "<img src=x onerror=alert(1)>"
    rng = np.random.default_rng(0)
    names = ["../../etc/passwd.csv", "..\\..\\x.csv", f"{attack}.csv", "a" * 5000 + ".csv", "%2e%2e%2f.csv", "con.csv",
             "\u202egpj.csv", "x.csv.exe", "x", ".csv", "/dev/null", "x\x01.csv", "", "...", "../..", "///",
             "a" * 10_000 + ".csv", "a" * 70_000 + ".csv", "x.csv\0.exe", "a\0b.csv", "a.csv\u202e"]  # fmt: skip
    kinds = ["exe", "zip", "pdf", "png", "html", "svg", "xlsx", "py", "pkl", "safetensors", "tar.gz", "csv.zip"]
    contents: list[Upload] = [
        ("bomb.csv.gz", gzip.compress(b"1.5\n" * 3_000_000)),
        ("line.csv.gz", gzip.compress(b"x" * 200_000_000, 1)),
        ("nested.csv.gz", gzip.compress(gzip.compress(plain))),
        ("cut.csv.gz", gzip.compress(plain)[:-20]),
        ("no.csv.zst", plain),
        ("object.npy", header.replace(b"<f8", b"|O ")),
        ("huge.npy", header.replace(b"(3,), }", b"(9999999999999,), }")),
        ("cut.npy", header[:-5]),
        ("x.parquet", b"PAR1" + rng.bytes(500) + b"PAR1"),
        ("x.feather", b"ARROW1" + rng.bytes(500)),
        ("x.arrow", rng.bytes(400)),
        ("deep.jsonl", b"[" * 100_000),
        ("lists.jsonl", b'{"a": [1, 2]}\n' * 5),
        ("wide.csv", b",".join(b"c%d" % k for k in range(5000)) + b"\n" + b",".join([b"1"] * 5000) + b"\n"),
        ("nul.csv", b"a\n\x00\x00\n1\n"),
        ("bytes.csv", rng.bytes(3000)),
        ("utf16.csv", "a\n1\n2\n".encode("utf-16")),
        ("empty.csv", b""),
        ("header.csv", b"a,b\n"),
        ("words.csv", b"a\nx\ny\n"),
        ("ragged.csv", b"a,b\n1,2\n3\n4,5,6\n"),
        ("infinite.csv", b"a\ninf\n-inf\nnan\n"),
        ("far.csv", b"a\n1e308\n-1e308\n1\n2\n"),
        ("one.csv", b"a\n1\n"),
        (f"{attack}.csv", f'"{attack}","</script>"\n1,2\n3,4\n5,6\n'.encode()),
        ("names.csv", '"{{ 7*7 }}","\u0000",""\n1,2,3\n2,3,4\n'.encode()),
    ]
    every = [(name, plain) for name in names] + [(f"x.{kind}", rng.bytes(200)) for kind in kinds] + contents
    for number in range(count):
        name, content = every[number % len(every)]
        if number >= len(every) and content:  # the same again, with a byte or two changed
            changed = bytearray(content[: 1 << 20])
            for at in rng.integers(0, len(changed), 3):
                changed[at] = rng.integers(0, 256)
            content = bytes(changed)
        yield name, content


async def send_much(address: str, size: int, declared: bool) -> str:
    """A body of ``size`` zeros, with its length in the head or without; how it was refused."""
    visitor = await Visitor(address).open()
    await visitor.until(lambda: any(e["tag"].endswith("upload") for e in visitor.elements.values()))
    head = b'--end\r\nContent-Disposition: form-data; name="file"; filename="zeros.csv"\r\n\r\n'
    piece, sent = bytes(1 << 20), 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        yield head
        while sent < size:
            sent += len(piece)
            yield piece

    length = {"content-length": str(len(head) + size)} if declared else {}
    try:
        answer = await visitor.upload("", body(), **length)
        said = f"{answer.status_code} {answer.text[:60]}"
    except httpx.WriteError:  # the connection was closed while we sent
        said = "closed"
    finally:
        await visitor.close()
    return f"{said} after {sent >> 20} MB"


# -- the whole


async def crowd(address: str, visitors: int, uploads: int, much: int) -> dict[str, Any]:
    """Let them all come, and return what was found."""
    facts: dict[str, Any] = {"faults": [], "seconds": [], "moves": [], "longest_line": 0, "uploads": {}}
    await asyncio.gather(*(visit(address, number, facts) for number in range(visitors)))
    together = asyncio.Semaphore(4)

    async def send(number: int, upload: Upload) -> None:
        async with together:
            await send_odd(address, number, upload, facts)

    await asyncio.gather(*(send(number, upload) for number, upload in enumerate(odd_uploads(uploads))))
    if much:
        facts["large"] = [await send_much(address, much, declared) for declared in (True, False)]
        facts["faults"] += [said for said in facts["large"] if not said.startswith(("413", "closed"))]
    return facts


def run(visitors: int, uploads: int, much: int = 0) -> dict[str, Any]:
    """Start a studio, send a crowd, end it.

    Returns
    -------
    dict
        ``faults``, seconds of visitors and of moves, the longest line, outcomes of uploads, bytes of memory at most.
    """
    command = [sys.executable, "-m", "gaussmix", "studio", "--no-open"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().split()[-1]
            facts = asyncio.run(crowd(address, visitors, uploads, much))
            status = Path(f"/proc/{process.pid}/status")
            if status.exists():
                facts["memory"] = int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) * 1024
                if facts["memory"] > MOST_MEMORY:
                    facts["faults"].append(f"{facts['memory'] / 1e9:.2f} GB of memory")
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    if "Traceback" in errors:
        facts["faults"].append(errors[-2000:])
    return facts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--uploads", type=int, default=200)
    parser.add_argument("--much", type=int, default=2 << 30, help="bytes of the largest upload; 0 for none")
    given = parser.parse_args()
    found = run(given.visitors, given.uploads, given.much)
    print(json.dumps(found, indent=1))
    sys.exit(bool(found["faults"]))
