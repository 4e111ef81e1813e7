"""One training a folder: a lock that names its holder.

The system holds the lock (flock, on Windows a locked byte) and lets it go when the process ends, however it ends; so a
killed run bars nobody. The file ``.lock`` says who holds it, for the other's error. Where the system has no locks (some
network file systems) there is none.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gaussmix._files import naming

LOCK_FILE = ".lock"
_HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}
_BYTE = 1 << 20  # on Windows a locked byte cannot be read: one behind the text


@contextlib.contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold the lock of a run's folder, which exists. Raises ValueError, naming the process that holds it."""
    path = folder / LOCK_FILE
    file = _open_locked(path)
    try:
        with naming(path):
            file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
            file.flush()
        yield
    finally:
        if sys.platform != "win32":  # before the lock is let go: afterwards it may be another's
            path.unlink(missing_ok=True)
        file.close()


def check_free(folder: Path) -> None:
    """Raises ValueError, naming the process, where a training runs in the folder."""
    path = folder / LOCK_FILE
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        if not _lock(file):
            raise ValueError(_held(path))


def _open_locked(path: Path) -> IO[bytes]:
    for _ in range(5):
        file = path.open("a+b", buffering=0)  # what a full disk does not take is not tried again on closing
        if _lock(file):
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                    file.truncate(0)
                    return file
        file.close()  # its holder removed it before it let it go, or only looked, in `check_free`
        time.sleep(0.05)
    raise ValueError(_held(path))


def _held(path: Path) -> str:
    try:
        holder = json.loads(path.read_bytes())
        who = f"process {int(holder['pid'])} on {str(holder['host'])[:100]}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"
    return f"{who} is training in {path.parent}; wait until it ends, or choose another --output"


def _lock(file: IO[bytes]) -> bool:
    """Whether the lock is ours now."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in _HELD
    return True
