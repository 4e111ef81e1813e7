"""What every test stands on: one thread, an own cache folder, no network."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

import pytest

# Read once, when numpy and torch load. On a busy machine two threads can be ten times slower than one.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")
os.environ["HF_HUB_OFFLINE"] = "1"  # here and in the subprocesses that tests start


class NetworkBlockedError(RuntimeError):
    """A test tried to leave this machine."""


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One cache for the session's tests and their subprocesses; the user's own is not touched."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAUSSMIX_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_network() -> Iterator[None]:
    """A connection to anything but loopback raises."""
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex

    def refuse_remote(sock: socket.socket, address: object) -> None:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            host = str(address[0]) if isinstance(address, tuple) else str(address)
            if host not in ("localhost", "::1") and not host.startswith("127."):
                raise NetworkBlockedError(f"connection to {host}: tests run without a network")

    def guarded_connect(sock: socket.socket, address: object) -> None:
        refuse_remote(sock, address)
        return connect(sock, address)  # pyright: ignore[reportArgumentType]

    def guarded_connect_ex(sock: socket.socket, address: object) -> int:
        refuse_remote(sock, address)
        return connect_ex(sock, address)  # pyright: ignore[reportArgumentType]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        yield


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Torch, once a test has loaded it, keeps to OMP_NUM_THREADS, whatever an earlier test set."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))


@pytest.fixture(autouse=True)
def fresh_accelerator() -> Iterator[None]:
    """accelerate keeps one state a process; every test may choose its own precision."""
    yield
    state = sys.modules.get("accelerate.state")
    if state is not None:
        state.AcceleratorState._reset_state(reset_partial_state=True)
