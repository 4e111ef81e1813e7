"""Loops over data, compiled by numba when they are first called, and kept on disk.

`kernel` stands where ``numba.njit`` would; only a call loads numba, which takes a third of a second. What was compiled
is kept in a file named by all that it was made from: the function's bytecode, the constants and kernels that it uses,
its arguments' types, numba, Python and the processor. So nothing outdated is read, and processes may race for it.
Folders are looked at in turn, and the first that can be written to keeps what is new:

1. ``$NUMBA_CACHE_DIR``, and then no other
2. ``__pycache__`` beside the function, as for Python's own bytecode; filled when an image is built, it serves whoever
   may only read it
3. ``$GAUSSMIX_CACHE``, or the user's cache folder on this system
4. a folder of the user's own among the temporary files

When the first compilation of a process begins, the logger ``gaussmix`` says so at level INFO: the command line shows
it, and to a library's users it is silent unless they ask for it (``logging.basicConfig(level="INFO")``).
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import platform
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, cached_property, partial, update_wrapper
from pathlib import Path
from threading import RLock
from types import CodeType, ModuleType
from typing import Any, TypeVar, overload

from gaussmix._files import cache_dir, whole_file

LOGGER = logging.getLogger("gaussmix")
ANNOUNCEMENT = "compiling the loops over data for this machine, once: a few seconds"

_DIGEST = hashlib.sha256().digest_size  # bytes before the code in a file: a damaged one is compiled anew

Function = TypeVar("Function", bound=Callable[..., Any])
_lock = RLock()
compiled: list[str] = []
"""Names of the functions that this process compiled itself, once for each signature."""


@overload
def kernel(function: Function, /) -> Function: ...
@overload
def kernel(**options: Any) -> Callable[[Function], Function]: ...
def kernel(function: Any = None, /, **options: Any) -> Any:
    """Compile a function without the GIL; ``options`` are numba's. It may call other kernels."""
    return partial(kernel, **options) if function is None else _CompiledLoop(function, options)


class _CompiledLoop:
    """A function that numba takes over at its first call, from Python or from another kernel."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]):
        assert not function.__code__.co_freevars, "a closure's cells are in no fingerprint"
        update_wrapper(self, function)
        self.function, self.options = function, options
        self._dispatcher: Any = None

    def __call__(self, *args: Any) -> Any:
        return (self._dispatcher or self._load())(*args)

    @property
    def _numba_type_(self) -> Any:
        """What numba asks an object for that it meets as a global."""
        return self._load()._numba_type_

    def _load(self) -> Any:
        with _lock:
            if self._dispatcher is None:
                from numba import njit

                dispatcher: Any = njit(nogil=True, **self.options)(self.function)
                dispatcher._cache = _Cache(self.function, self.fingerprint)
                self._dispatcher = dispatcher
        return self._dispatcher

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the code and of what numba freezes into it, other kernels among that."""
        import numba

        made_from: list[Any] = [numba.__version__, platform.python_version()]
        made_from += [(name, _frozen(self.options[name])) for name in sorted(self.options)]
        for code in _codes(self.function.__code__):
            made_from += [code.co_code, code.co_names, code.co_varnames]
            values = [*code.co_consts, *_globals(code, self.function.__globals__)]
            made_from += [_frozen(value) for value in values if value is not self]
        return hashlib.sha256(repr(made_from).encode()).hexdigest()


class _Cache:
    """The compiled code of one function by signature: what numba's ``Cache`` is to its dispatchers."""

    def __init__(self, function: Callable[..., Any], fingerprint: str):
        self.name, self.fingerprint = f"{function.__module__}.{function.__qualname__}", fingerprint
        self.source = Path(function.__code__.co_filename)

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The compiled function, or None: numba compiles it then."""
        from numba.core.compiler import CompileResult

        context.refresh()
        for folder, _ in _folders(self.source):
            try:
                kept = (folder / self._file(signature, context.codegen())).read_bytes()
            except OSError:
                continue
            digest, data = kept[:_DIGEST], kept[_DIGEST:]
            if hashlib.sha256(data).digest() == digest:
                return CompileResult._rebuild(context, *pickle.loads(data))
        if not compiled:
            LOGGER.info(ANNOUNCEMENT)
        compiled.append(self.name)
        return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep what numba has compiled, if there is a place for it."""
        from numba.core.serialize import dumps

        if result.library.has_dynamic_globals:  # addresses in this process
            return
        data = dumps(result._reduce())
        for folder, mode in _folders(self.source):
            try:
                folder.mkdir(mode, parents=True, exist_ok=True)
                with whole_file(folder / self._file(signature, result.library.codegen)) as aside:
                    aside.write_bytes(hashlib.sha256(data).digest() + data)
                return
            except OSError:
                continue
        _warn_of_no_place()

    def _file(self, signature: Any, codegen: Any) -> str:
        key = repr((self.fingerprint, str(signature), codegen.magic_tuple()))
        return f"{self.name}.{hashlib.sha256(key.encode()).hexdigest()[:32]}.nbc"


@cache
def _warn_of_no_place() -> None:
    LOGGER.warning("nothing that is compiled can be kept: set NUMBA_CACHE_DIR to a folder that can be written to")


def _folders(source: Path) -> Iterator[tuple[Path, int]]:
    """Where compiled code may lie, and the mode to make the folder with."""
    if chosen := os.environ.get("NUMBA_CACHE_DIR"):
        yield Path(chosen), 0o777
        return
    yield source.parent / "__pycache__", 0o777
    with suppress(RuntimeError):  # the user has no home, which some versions of platformdirs tell by a path from "~"
        own = cache_dir() / "compiled"
        if own.is_absolute():
            yield own, 0o700
    user = getattr(os, "getuid", int)()
    shared = Path(tempfile.gettempdir()) / f"gaussmix-{user}"
    try:
        found = shared.lstat()
        safe = stat.S_ISDIR(found.st_mode) and found.st_uid == user and not found.st_mode & 0o022
    except OSError:
        safe = True  # it is not there yet
    if safe:  # nobody else can have put code there
        yield shared, 0o700


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function and of those in it."""
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _codes(value)


def _globals(code: CodeType, scope: dict[str, Any]) -> Iterator[Any]:
    """What the code's names mean, in its module or in another of ours that it names."""
    found = [scope[name] for name in code.co_names if name in scope]
    yield from found
    for module in found:
        if isinstance(module, ModuleType) and module.__name__.startswith("gaussmix."):
            yield from (vars(module)[name] for name in code.co_names if name in vars(module))


def _frozen(value: Any) -> Any:
    """What stands for a constant or a global in a fingerprint."""
    if isinstance(value, _CompiledLoop):
        return value.fingerprint
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, CodeType | ModuleType) or callable(value):
        return getattr(value, "__name__", "")
    return (value.tobytes(), str(value.dtype)) if hasattr(value, "tobytes") else value
