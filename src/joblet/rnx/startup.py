"""
What makes `rnx` start fast: modules that grpc and protobuf import and a one-shot command never uses are put off.

`import grpc` takes 75 ms here, of which 32 are asyncio, 10 grpc.aio and 10 inspect, which only its asyncio half
uses; protobuf's text format, calendar and pickle are another 8 (`python -X importtime`, grpcio 1.85, Python 3.11).
Each gets a stand-in that becomes the real module the moment anything in it is asked for: nothing that works without
this stops working with it.

`importlib.util.LazyLoader` does not do: before Python 3.12.3 the second `import asyncio` already loads it.

Runs in: `rnx` only, at the very start; a library may not do this to its program.
"""

import _signal  # type: ignore[import-not-found]  # signal itself imports enum
import gc
import os
import sys
from importlib import import_module
from types import ModuleType
from typing import Final

DEFERRED: Final = ("asyncio", "inspect", "grpc.aio", "google.protobuf.text_format", "calendar", "pickle")


class _Deferred(ModuleType):
    """Stands in for a module until one of its names is used."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") and name.endswith("__"):
            # The import system's own questions (`__spec__`, `__path__`) are no use of the module.
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def defer() -> None:
    """Put the modules off that are not loaded yet."""
    for name in DEFERRED:
        sys.modules.setdefault(name, _Deferred(name))


def begin_loading() -> None:
    """
    No garbage collection while modules are loaded, and Ctrl-C simply ends the process.

    The first finds next to nothing there (461 objects of 38 rounds) and takes time of every `rnx list`; the second
    would be an exception somewhere inside an import, with a traceback that nobody can catch. A process that was
    started with SIGINT ignored (nohup, a shell's background) keeps it so.
    """
    gc.disable()
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def end_loading() -> None:
    """Everything is loaded; what follows may run for days, and Ctrl-C is its to handle."""
    gc.enable()
    if _signal.getsignal(_signal.SIGINT) == _signal.SIG_DFL:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)


def quiet_grpc() -> None:
    """
    Keep grpc's own log lines ("E0000 … Handshake failed") off the user's terminal: we say it in our words.

    To be called before grpc is imported. JOBLET_DEBUG or GRPC_VERBOSITY brings them back.
    """
    if "JOBLET_DEBUG" not in os.environ:
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def leave(status: int) -> None:
    """
    End the process now, without tearing the interpreter down.

    Everything is flushed and closed by then, and the tear-down of grpc's modules takes 14 ms, a tenth of `rnx list`.
    """
    os._exit(status)
