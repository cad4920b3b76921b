"""Turn a kernel written in Python into object code for this machine.

numba reads the function and types it; LLVM, through llvmlite, optimises it and emits an ELF object
with one exported symbol. Such an object needs neither numba nor this module to run again (see
`cache`), which is why numba is imported here only, and only when something has to be compiled.

    module = kernel_module(function, "name")     # optimised LLVM module
    object_code(module), assembly(module)        # what to save, what to read
"""

import functools
from collections.abc import Callable

import llvmlite.binding as llvm

# NaN and infinities keep their meaning: masks are made of -inf and users look for NaN.
FASTMATH = frozenset({"contract", "reassoc", "nsz", "arcp", "afn"})


@functools.cache
def host() -> tuple[str, str]:
    """(CPU name, feature string) kernels are compiled for."""
    features = llvm.get_host_cpu_features()
    flags = features.flatten()
    if features.get("avx512f"):
        # Several AVX-512 models default to half-width vectors; long loops want all of it.
        flags += ",-prefer-256-bit"
    return llvm.get_host_cpu_name(), flags


@functools.cache
def target_machine() -> llvm.TargetMachine:
    """The target machine objects are emitted with and linked for."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    cpu, features = host()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=cpu, features=features, opt=3, reloc="pic", codemodel="small"
    )


def optimise(module: llvm.ModuleRef, exported: str) -> None:
    """Run LLVM's -O3 pipeline over `module`, keeping only what `exported` reaches."""
    for symbol in [*module.functions, *module.global_variables]:
        if not symbol.is_declaration and symbol.name != exported:
            symbol.linkage = "internal"
    options = llvm.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = True
    options.loop_interleaving = options.loop_unrolling = True
    builder = llvm.create_pass_builder(target_machine(), options)
    builder.getModulePassManager().run(module, builder)


def object_code(module: llvm.ModuleRef) -> bytes:
    """The ELF object of an optimised module."""
    return target_machine().emit_object(module)


def assembly(module: llvm.ModuleRef) -> str:
    """The assembly text of an optimised module."""
    return target_machine().emit_assembly(module)


def kernel_module(function: Callable, symbol: str) -> llvm.ModuleRef:
    """Compile `function` to an LLVM module that exports it with C linkage as `symbol`.

    Its numba signature is its attribute `signature`, by default a kernel's. The function must not
    raise: an exception would have nobody to catch it and is dropped.
    """
    from numba.core.compiler_lock import global_compiler_lock

    from .abi import SIGNATURE

    signature = getattr(function, "signature", SIGNATURE)
    with global_compiler_lock:
        result = _numba_compiler(function).compile(signature.args, signature.return_type)
        module = llvm.parse_assembly(str(result.library._final_module))
        module.link_in(llvm.parse_assembly(_c_entry(result, symbol)))
        for library in result.library._linking_libraries:
            module.link_in(library._get_module_for_linking(), preserve=True)
    optimise(module, symbol)
    return module


def _numba_compiler(function: Callable):
    """numba's front end for `function`: types it and lowers it, and stops before LLVM."""
    from numba.core.compiler import Compiler
    from numba.core.dispatcher import _FunctionCompiler
    from numba.core.registry import cpu_target

    class FrontEnd(_FunctionCompiler):
        def _customize_flags(self, flags):
            flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
            flags.enable_pyobject = False
            return flags

    options = {
        "nopython": True,
        "nogil": True,
        "error_model": "numpy",
        "fastmath": set(FASTMATH),
        "boundscheck": False,
    }
    return FrontEnd(function, cpu_target, options, {}, pipeline_class=Compiler)


def _c_entry(result, symbol: str) -> str:
    """IR of the function `symbol` that calls numba's native function and drops its status word."""
    from llvmlite import ir
    from numba.core.registry import cpu_target

    context, description = cpu_target.target_context, result.fndesc
    argtypes, restype = description.argtypes, description.restype
    module = result.library.create_ir_module(symbol)
    native = ir.Function(
        module,
        context.call_conv.get_function_type(restype, argtypes),
        description.llvm_func_name,
    )
    returned = ir.VoidType() if str(restype) == "none" else context.get_value_type(restype)
    entry_type = ir.FunctionType(returned, [context.get_value_type(a) for a in argtypes])
    entry = ir.Function(module, entry_type, symbol)
    builder = ir.IRBuilder(entry.append_basic_block())
    _, value = context.call_conv.call_function(builder, native, restype, argtypes, entry.args)
    builder.ret_void() if isinstance(returned, ir.VoidType) else builder.ret(value)
    return str(module)
