"""Damage to files: bytes changed, cut, repeated and spliced; numbers made extreme; heads and packed parts edited.

`damaged` makes one damaged file of a whole one, always the same of the same generator.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import re
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

EXTREMES = (
    "nan NaN inf -inf Infinity -Infinity 1e308 -1e308 1e155 1e999 1e-320 5e-324 0 -0 -1 -5 1 2 127 256 65535 "
    "2147483647 2147483648 4294967296 9223372036854775807 9223372036854775808 1000000000000000000000000000000 true "
    'false null None True [] {} () [1] "" "x" 1_0 0x10 1,5 2024-13-45'
).split()
EXTREMES += ["9" * 400, "9" * 5000, "[" * 3000, '{"a":' * 2000, "x" * 70_000, " " * 5000, "\x1b[2J", "\x00", "é" * 9]
VALUES: tuple[Any, ...] = (
    None, True, -1, -5, 0, 1, 2, 1e308, 1e155, float("nan"), float("inf"), 2**31, 2**63, 10**30, "", "x", [], {}, [1],
    ["x"], [[]], {"x": 1}, [1, 2], "auto", 0.5, "nan", "../x", ["evil", "Evil"],
)  # fmt: skip
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_DTYPES = ("BOOL", "U8", "I8", "F8_E4M3", "I16", "BF16", "F16", "F32", "I32", "U64", "I64", "F64", "C64", "X9")

Edit = Callable[[bytes, random.Random], bytes]


def damaged(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """The file damaged once to four times; ``others`` are whole files that parts may come from."""
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        inner = rng.random() < 0.7 and _inside(data, rng)
        if inner:
            data = inner
        elif rng.random() < 0.1:
            data = splice(data, rng, others)
        else:
            data = rng.choice(EDITS)(data, rng)
    return data


def flip(data: bytes, rng: random.Random) -> bytes:
    """Up to eight bytes changed, one bit or all of them, more often near the head."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8)) if out else 0):
        at = rng.randrange(min(len(out), 256) if rng.random() < 0.4 else len(out))
        out[at] ^= rng.choice((1 << rng.randrange(8), rng.randrange(1, 256)))
    return bytes(out)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The first part alone, or without a part."""
    low, high = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:low] if rng.random() < 0.5 else data[:low] + data[high:]


def repeat(data: bytes, rng: random.Random) -> bytes:
    """A part twice, or often."""
    low, high = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    high = min(high, low + 4096)
    return data[:low] + data[low:high] * rng.choice((2, 2, 40)) + data[high:]


def insert(data: bytes, rng: random.Random) -> bytes:
    """Bytes from nowhere, or an extreme as text."""
    at, text = rng.randrange(len(data) + 1), rng.choice(EXTREMES).encode()
    new = rng.choice((rng.randbytes(rng.choice((1, 4, 300))), text, b"\r", b"\n", b'"', b"\x00" * 8, b","))
    return data[:at] + new + data[at:]


def binary_extreme(data: bytes, rng: random.Random) -> bytes:
    """A whole number or a float of one to eight bytes at its extreme."""
    width = rng.choice((1, 2, 4, 8))
    number = rng.choice((0, 1, (1 << 8 * width) - 1, (1 << 8 * width - 1) - 1, 1 << 8 * width - 1, 1 << 8 * width - 2))
    new = number.to_bytes(width, rng.choice(("little", "big")))
    if width == 8 and rng.random() < 0.5:
        import struct

        new = struct.pack("<d", rng.choice((float("nan"), float("inf"), 1e308, -1e308, -5.0, 5e-324, 1e155)))
    at = rng.randrange(len(data) + 1)
    return data[:at] + new + data[at + width :]


def text_extreme(data: bytes, rng: random.Random) -> bytes:
    """A number written in text replaced by an extreme one, or by something else."""
    found = list(_NUMBER.finditer(data[:65536]))
    if not found:
        return insert(data, rng)
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(EXTREMES).encode() + data[one.end() :]


def newlines(data: bytes, rng: random.Random) -> bytes:
    """Other ends of lines."""
    return data.replace(b"\n", rng.choice((b"\r", b"\r\n", b"", b"\n\n", b"\n\r", b"\x00")))


def replace_all(data: bytes, rng: random.Random) -> bytes:
    """Something else altogether."""
    return rng.choice(
        (b"", b"\n", b"\x00" * 100, rng.randbytes(200), b"{}", b"[]", b"null", data[::-1], b"\xff\xfe" + data)
    )


def splice(data: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """The head of one file and the end of another."""
    other = rng.choice(others)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


EDITS: tuple[Edit, ...] = (
    flip, flip, flip, cut, repeat, insert, binary_extreme, binary_extreme, text_extreme, text_extreme, newlines,
    replace_all,
)  # fmt: skip


def _inside(data: bytes, rng: random.Random) -> bytes | None:
    """Damage behind what checks a file as a whole: within gzip, zip, safetensors, .npy and JSON; None for others."""
    if data[:2] == b"\x1f\x8b":
        return _in_gzip(data, rng)
    if data[:4] == b"PK\x03\x04":
        return _in_zip(data, rng)
    if data[:6] == b"\x93NUMPY":
        return _in_npy(data, rng)
    if data[8:9] == b"{":
        return _in_safetensors(data, rng)
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return _in_png(data, rng)
    if data[:1] in (b"{", b"["):
        return _in_json(data, rng)
    return None


def _edited(data: bytes, rng: random.Random) -> bytes:
    return rng.choice(EDITS)(data, rng)


def _in_gzip(data: bytes, rng: random.Random) -> bytes | None:
    try:
        return gzip.compress(_edited(gzip.decompress(data), rng), 1, mtime=0)
    except (OSError, EOFError, zlib.error):
        return None


def _in_zip(data: bytes, rng: random.Random) -> bytes | None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            parts = {name: file.read(name) for name in file.namelist()}
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, NotImplementedError):
        return None
    if not parts:
        return None
    chosen = rng.choice([name for name in parts if name.endswith(".pkl")] or list(parts))
    chosen = chosen if rng.random() < 0.7 else rng.choice(list(parts))
    parts[chosen] = _edited(parts[chosen], rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return out.getvalue()


def _in_npy(data: bytes, rng: random.Random) -> bytes:
    size = int.from_bytes(data[8:10], "little")
    head = data[10 : 10 + size].rstrip()
    head = rng.choice((text_extreme, flip, insert, cut))(head, rng) if rng.random() < 0.7 else _new_dtype(head, rng)
    head = (head.ljust(size - 1) + b"\n")[: 1 << 15]
    return data[:8] + len(head).to_bytes(2, "little") + head + data[10 + size :]


def _new_dtype(head: bytes, rng: random.Random) -> bytes:
    kinds = ">f8 <f4 <f2 |b1 |i1 <u8 |O |S8 <U3 <M8[ns] <m8[D] <M8[25s] <c16 |V0 <f16 |S0 <M8 >i2".split()
    return re.sub(rb"'[<>|=][^']*'", f"'{rng.choice(kinds)}'".encode(), head)


def _in_safetensors(data: bytes, rng: random.Random) -> bytes | None:
    size = int.from_bytes(data[:8], "little")
    try:
        head = json.loads(data[8 : 8 + size])
    except (ValueError, RecursionError):
        return None
    if not isinstance(head, dict) or not head:
        return None
    about = head.get("__metadata__")
    if isinstance(about, dict) and about and rng.random() < 0.6:
        name = rng.choice(list(about))
        about[name] = _other_text(str(about[name]), rng)
        if rng.random() < 0.1:
            del about[name]
    elif rng.random() < 0.5 and (tensors := [name for name in head if name != "__metadata__"]):
        return _other_tensor(data, head, rng.choice(tensors), size, rng)
    else:
        _edit_leaf(head, rng)
    return _with_head(head, data[8 + size :])


def _with_head(head: Any, rest: bytes) -> bytes:
    text = json.dumps(head).encode()
    return len(text).to_bytes(8, "little") + text + rest


def _other_tensor(data: bytes, head: dict[str, Any], name: str, size: int, rng: random.Random) -> bytes:
    """A tensor of another type or shape that still fits its bytes, without it, or with other numbers."""
    about, rest = head[name], bytearray(data[8 + size :])
    kind = rng.randrange(4)
    try:
        low, high = about["data_offsets"]
        if kind == 0:
            about["shape"] = rng.choice(
                ([*about["shape"], 1], [1, *about["shape"]], about["shape"][::-1], [high - low])
            )
        elif kind == 1:
            about["dtype"] = rng.choice(_DTYPES)
        elif kind == 2 and high > low:
            at = low + rng.randrange(high - low) // 8 * 8
            rest[at : min(at + 8, high)] = binary_extreme(bytes(rest[at : min(at + 8, high)]), rng)[: min(8, high - at)]
        else:
            del head[name]
    except (TypeError, ValueError, KeyError, IndexError):
        pass
    return _with_head(head, bytes(rest))


def _in_json(data: bytes, rng: random.Random) -> bytes | None:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines)) if len(lines) > 1 and lines[0].endswith(b"}") else None  # an object a line
    try:
        tree = json.loads(data if at is None else lines[at])
    except (ValueError, RecursionError):
        return None
    tree = _edit_leaf(tree, rng)
    if at is None:
        return json.dumps(tree).encode()
    lines[at] = json.dumps(tree).encode()
    return b"\n".join(lines)


def _other_text(text: str, rng: random.Random) -> str:
    """JSON in a text with one leaf changed; another text damaged."""
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return rng.choice(EXTREMES) if rng.random() < 0.5 else _edited(text.encode(), rng).decode("latin1")
    return json.dumps(_edit_leaf(tree, rng))


def _edit_leaf(tree: Any, rng: random.Random) -> Any:
    """One value somewhere in JSON replaced, left out or renamed, in place where that can be."""
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.1:
        return rng.choice(VALUES)
    key = rng.choice(list(tree)) if isinstance(tree, dict) else rng.randrange(len(tree))
    if isinstance(tree[key], dict | list) and tree[key] and rng.random() < 0.8:
        tree[key] = _edit_leaf(tree[key], rng)
        return tree
    kind = rng.random()
    if kind < 0.15:
        del tree[key]
    elif kind < 0.25 and isinstance(tree, dict):
        tree[rng.choice((f"{key}x", "", "n_bins", "__class__"))] = tree.pop(key)
    elif kind < 0.35 and isinstance(tree, list):
        tree.append(rng.choice(VALUES))
    else:
        tree[key] = rng.choice(VALUES)
    return tree


def _in_png(data: bytes, rng: random.Random) -> bytes:
    """A chunk with other content and the right checksum: wrong sizes, kinds and lengths of lines."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return flip(data, rng)
    chosen = 0 if rng.random() < 0.5 else rng.randrange(len(chunks))
    kind, content = chunks[chosen]
    chunks[chosen] = kind, rng.choice((flip, cut, binary_extreme))(content, rng)
    parts = [len(c).to_bytes(4, "big") + k + c + zlib.crc32(k + c).to_bytes(4, "big") for k, c in chunks]
    return data[:8] + b"".join(parts)
