"""Link object code into this process: `link(name, object_code)["symbol"]` is an address.

One LLVM JIT holds every object; each is a library of its own, so symbols never clash, and it is
unloaded when the returned tracker is dropped. Needs llvmlite only: a warm start imports no numba.
"""

import functools
import itertools
import threading
from collections.abc import Mapping

import llvmlite.binding as llvm
from llvmlite.binding.orcjit import JITLibraryBuilder, ResourceTracker, create_lljit_compiler

from .codegen import target_machine

_lock = threading.Lock()
_serial = itertools.count()


@functools.cache
def _jit() -> llvm.LLJIT:
    return create_lljit_compiler(target_machine(), use_jit_link=True)


def link(
    symbol: str, object_code: bytes, imports: Mapping[str, int] | None = None
) -> ResourceTracker:
    """Load `object_code`, which exports `symbol`; keep the result alive while its code may run.

    `imports` gives addresses to undefined names; what else is undefined is looked up in the
    process (libc, libm). Raises RuntimeError, naming it, when a symbol is found nowhere.
    """
    builder = JITLibraryBuilder().add_object_img(object_code).add_current_process()
    for name, address in (imports or {}).items():
        builder.import_symbol(name, address)
    with _lock:
        return builder.export_symbol(symbol).link(_jit(), f"{symbol}.{next(_serial)}")
