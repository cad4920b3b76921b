"""Turn a kernel written in Python into object code for this machine.

`front` types the function and emits LLVM's assembly; LLVM, through llvmlite, optimises it and emits
an ELF object with one exported symbol. Such an object needs none of this to run again (see
`cache`). numba is imported here only, and only for a kernel outside the language of `front`.

    module = kernel_module(function, "name")     # optimised LLVM module
    object_code(module), assembly(module)        # what to save, what to read
"""

import ctypes
import functools
import threading
from collections.abc import Callable

import llvmlite.binding as llvm


@functools.cache
def host() -> tuple[str, str]:
    """(CPU name, feature string) kernels are compiled for."""
    features = llvm.get_host_cpu_features()
    flags = features.flatten()
    if features.get("avx512f"):
        # Several AVX-512 models default to half-width vectors; long loops want all of it.
        flags += ",-prefer-256-bit"
    return llvm.get_host_cpu_name(), flags


def target_machine() -> llvm.TargetMachine:
    """This thread's target machine: what objects are emitted with and linked for."""
    if not hasattr(_local, "machine"):
        _initialise()
        cpu, features = host()
        target = llvm.Target.from_triple(llvm.get_process_triple())
        _local.machine = target.create_target_machine(
            cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small"
        )
    return _local.machine


_local = threading.local()


@functools.cache
def _initialise() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def parse(text: str) -> llvm.ModuleRef:
    """A module of LLVM assembly, in a context of its own: threads may work at several at once."""
    return llvm.parse_assembly(text, llvm.create_context())


def tidy(module: llvm.ModuleRef) -> None:
    """What code needs that was written as the processor shall run it: registers, plain blocks.

    A tenth of `optimise`'s time, which is half of a kernel's; measured, such code runs as fast.
    """
    passes = llvm.create_new_function_pass_manager()
    passes.add_sroa_pass()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    builder = llvm.create_pass_builder(target_machine(), llvm.create_pipeline_tuning_options())
    for function in module.functions:
        if not function.is_declaration:
            _unlocked("LLVMPY_RunNewFunctionPassManager")(passes, function, builder)


def optimise(module: llvm.ModuleRef, exported: str) -> None:
    """Run LLVM's -O3 pipeline over `module`, keeping only what `exported` reaches."""
    for symbol in [*module.functions, *module.global_variables]:
        if not symbol.is_declaration and symbol.name != exported:
            symbol.linkage = "internal"
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    options.loop_interleaving = options.loop_unrolling = True
    builder = llvm.create_pass_builder(target_machine(), options)
    _unlocked("LLVMPY_RunNewModulePassManager")(builder.getModulePassManager(), module, builder)


def object_code(module: llvm.ModuleRef) -> bytes:
    """The ELF object of an optimised module."""
    with llvm.ffi.OutputString() as error:
        emit = _unlocked("LLVMPY_TargetMachineEmitToMemory")
        buffer = emit(target_machine(), module, 1, error)
        if not buffer:
            raise RuntimeError(str(error))
    library = llvm.ffi.lib
    try:
        start = library.LLVMPY_GetBufferStart(buffer)
        return ctypes.string_at(start, library.LLVMPY_GetBufferSize(buffer))
    finally:
        library.LLVMPY_DisposeMemoryBuffer(buffer)


def _unlocked(name: str) -> Callable:
    """A function of LLVM without llvmlite's lock, which lets one thread compile at a time.

    Ours may run side by side: every module has its own context, every thread its target machine.
    """
    function = getattr(llvm.ffi.lib, name)
    return getattr(function, "_cfn", function)


def assembly(module: llvm.ModuleRef) -> str:
    """The assembly text of an optimised module."""
    return target_machine().emit_assembly(module)


def kernel_module(function: Callable, symbol: str, by_hand: bool = False) -> llvm.ModuleRef:
    """Compile `function` to an LLVM module that exports it with C linkage as `symbol`.

    It takes an int64 table and words, or words alone if it has a true attribute `words_only`. What
    was written `by_hand` has no loop that is to become one over vectors.
    """
    from . import front

    try:
        module = parse(front.translate(function, symbol, getattr(function, "words_only", False)))
    except front.Unsupported:
        from . import numba_front

        module, by_hand = parse(numba_front.translate(function, symbol)), False
    if by_hand:
        tidy(module)
    else:
        optimise(module, symbol)
    return module


def compile_kernel(function: Callable, symbol: str, by_hand: bool = False) -> bytes:
    """The object code of `kernel_module(function, symbol, by_hand)`."""
    return object_code(kernel_module(function, symbol, by_hand))
