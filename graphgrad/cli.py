"""The ``graphgrad`` command: train the demo, draw a graph, measure, look after the kernel cache.

graphgrad demo --epochs 1 --svg lenet.svg
graphgrad run train.py --epochs 3
graphgrad draw package.module:step -o step.svg --stage traced --depth 2
graphgrad explore package.module:function -o page.html
graphgrad profile package.module:function --trace trace.json
graphgrad export package.module:function -o function.py
graphgrad bench --only lenet --json numbers.json
graphgrad bench --device cuda --check --json card.json
graphgrad cache --path
"""

from __future__ import annotations

import argparse
import importlib
import json
import pathlib
import re
import runpy
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any

import graphgrad
from graphgrad.alias import imported_as
from graphgrad.config import TIERS, config
from graphgrad.errors import GraphError
from graphgrad.viz import draw


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status, 2 after a line on stderr that says what failed."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except (CommandError, GraphError, NotImplementedError, TypeError, ValueError, OSError) as error:
        print(f"graphgrad {options.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


# What the kernel cache and the store of programs write: a name, an underscore, a hash.
_KERNEL_FILE = re.compile(r"\w+_[0-9a-f]{16,64}\.(py|o|bin)")


# Modules of graphgrad.bench.
_OTHER_MEASUREMENTS = {
    "cold": "instead, the first step in new processes, with an empty cache and a full one",
    "memory": "instead, how far a step's peak lies above the idle process",
    "scaling": "instead, one thread beside all",
}


class CommandError(Exception):
    """What was asked for cannot be done; the text says why."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="graphgrad", description=graphgrad.__doc__.splitlines()[0]
    )
    parser.add_argument("--version", action="version", version=f"graphgrad {graphgrad.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    demo = commands.add_parser("demo", help="train LeNet-5 on handwritten digits")
    demo.add_argument("--epochs", type=_positive, default=3)
    demo.add_argument("--batch-size", type=_positive, default=64)
    demo.add_argument("--tier", choices=TIERS, default=config.tier, help="how programs run")
    demo.add_argument(
        "--svg", metavar="FILE", default="lenet.svg", help="where to draw the history of a loss"
    )
    demo.add_argument("--no-progress", action="store_true", help="no progress bar")
    demo.set_defaults(run=_demo)

    run = commands.add_parser("run", help="run a PyTorch script whose torch is graphgrad")
    run.add_argument("script", help="a file, or digits, recurrent, small_gpt, sine")
    run.add_argument("arguments", nargs=argparse.REMAINDER, help="the script's own")
    run.set_defaults(run=_run)

    draw = commands.add_parser("draw", help="draw what a function returns")
    _add_draw(draw)

    explore = commands.add_parser("explore", help="write a page about a compiled function")
    explore.add_argument("target", metavar="module:function", help="called without arguments")
    explore.add_argument("-o", "--output", metavar="FILE", default="explore.html")
    explore.add_argument("--no-profile", action="store_true", help="without measured times")
    explore.set_defaults(run=_explore)

    profile = commands.add_parser("profile", help="time a compiled function kernel by kernel")
    profile.add_argument("target", metavar="module:function", help="called without arguments")
    profile.add_argument("--rows", action="store_true", help="row by row, in their order")
    profile.add_argument("--trace", metavar="FILE", help="also one call as a Chrome trace")
    profile.add_argument("--json", metavar="FILE", help="also write every number to FILE")
    profile.set_defaults(run=_profile_function)
    for command in (explore, profile):
        command.add_argument("--example", metavar="module:name", help="arguments, as for draw")

    export = commands.add_parser("export", help="write a function as a file of its own")
    export.add_argument("target", metavar="module:function", help="compiled or not, or a Module")
    export.add_argument(
        "--example",
        metavar="module:name",
        help="arguments to trace it with: a tuple, or a function that makes one",
    )
    export.add_argument("-o", "--output", metavar="FILE", default="exported.py")
    export.set_defaults(run=_export)

    _add_bench(commands)
    cache = commands.add_parser("cache", help="where compiled kernels live")
    action = cache.add_mutually_exclusive_group()
    action.add_argument("--path", action="store_true", help="print the folder alone")
    action.add_argument("--clear", action="store_true", help="delete every cached kernel")
    cache.set_defaults(run=_cache)
    return parser


def _add_draw(draw: argparse.ArgumentParser) -> None:
    draw.add_argument(
        "target", metavar="module:function", help="called without arguments; or a Module, a tensor"
    )
    draw.add_argument(
        "--example",
        metavar="module:name",
        help="arguments to trace it with instead: a tuple, or a function that makes one",
    )
    draw.add_argument("--stage", default="", help="of a compiled one: traced, simplified, kernels")
    draw.add_argument("--depth", type=int, help="modules of this depth are one box")
    draw.add_argument(
        "--fold", metavar="PATTERN", nargs="+", default=(), help="modules that are one box"
    )
    draw.add_argument(
        "--unfold", metavar="PATTERN", nargs="+", default=(), help="modules that stay open"
    )
    draw.add_argument(
        "--dims", metavar="NAME=SIZE", nargs="+", default=(), help="sizes by name: N=64"
    )
    draw.add_argument("--theme", default="auto", help="auto, light or dark")
    draw.add_argument(
        "-o", "--output", metavar="FILE", default="graph.svg", help=".svg, .html, .png, .pdf, .dot"
    )
    draw.set_defaults(run=_draw)


def _add_bench(commands: Any) -> None:
    bench = commands.add_parser("bench", help="measure, beside PyTorch and JAX where installed")
    bench.add_argument("--group", default="", help="main (default), other, call")
    bench.add_argument(
        "--only", metavar="TEXT", nargs="+", default=(), help="workloads with TEXT in their name"
    )
    bench.add_argument("--json", metavar="FILE", help="also write every number to FILE")
    bench.add_argument("--threads", type=_positive, default=0, help="default: every core")
    bench.add_argument(
        "--peers", metavar="NAMES", default="torch,torch.compile,jax", help="or fewer, or none"
    )
    bench.add_argument(
        "--device", choices=("cpu", "cuda"), default="cpu", help="what is measured (default: cpu)"
    )
    bench.add_argument(
        "--check", action="store_true", help="on cuda: first compare every model with the CPU"
    )
    instead = bench.add_mutually_exclusive_group()
    instead.add_argument(
        "--profile",
        nargs="?",
        choices=("kernels", "rows"),
        const="kernels",
        help="instead, the compiled steps' time by kernel, or row by row",
    )
    for name, what in _OTHER_MEASUREMENTS.items():
        instead.add_argument(
            f"--{name}", dest="measure", action="store_const", const=name, help=what
        )
    bench.set_defaults(run=_bench)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def _run(options: argparse.Namespace) -> None:
    """The script as a program of its own, with ``import torch`` answered by graphgrad."""
    path = pathlib.Path(options.script)
    if not path.exists():
        path = pathlib.Path(graphgrad.__file__).parent / "examples" / f"{options.script}.py"
    if not path.exists():
        raise CommandError(f"there is no file {options.script}")
    arguments, first = sys.argv, sys.path[0]
    sys.argv, sys.path[0] = [str(path), *options.arguments], str(path.resolve().parent)
    try:
        with imported_as("torch"):
            runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv, sys.path[0] = arguments, first


def _demo(options: argparse.Namespace) -> None:
    from graphgrad.examples.demo import train_lenet

    with config.scope(tier=options.tier):
        train_lenet(
            epochs=options.epochs,
            batch_size=options.batch_size,
            svg=options.svg,
            progress=not options.no_progress,
        )


def _draw(options: argparse.Namespace) -> None:
    target = _load(options.target)
    inputs = _examples(options.example)
    # A compiled function is drawn itself, once it has run; any other one is a way to get something.
    if not inputs and callable(target) and not hasattr(type(target), "named_parameters"):
        result = target()
        target = target if hasattr(target, "entries") else result
    picture = draw(
        target,
        options.output,
        inputs=inputs,
        stage=options.stage,
        depth=options.depth,
        fold=options.fold,
        unfold=options.unfold,
        dims=_dims(options.dims),
        theme=options.theme,
    )
    print(f"{picture!r} written to {options.output}")


def _examples(spec: str | None) -> tuple[Any, ...]:
    """What ``--example`` names: a tuple, a single argument, or a function that makes one."""
    found = () if spec is None else _load(spec)
    found = found() if callable(found) else found
    return found if isinstance(found, tuple) else (found,)


def _dims(texts: Sequence[str]) -> dict[str, int]:
    dims = {}
    for text in texts:
        name, _, size = text.partition("=")
        if not (name and size.isdecimal()):
            raise CommandError(f"{text!r} is not of the form NAME=SIZE")
        dims[name] = int(size)
    return dims


def _explore(options: argparse.Namespace) -> None:
    from graphgrad.exploring import explore

    function, inputs = _compilable(options)
    measured = None if options.no_profile else graphgrad.profile(function, *inputs)
    path = explore(function, options.output, *inputs, profile=measured)
    print(f"{options.target} written to {path}, {path.stat().st_size / 1000:,.0f} kB")


def _profile_function(options: argparse.Namespace) -> None:
    function, inputs = _compilable(options)
    found = graphgrad.profile(function, *inputs)
    print(found.by_row() if options.rows else found)
    if options.trace:
        found.export_chrome_trace(options.trace)
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(found.numbers(), indent=1), "utf-8")


def _compilable(options: argparse.Namespace) -> tuple[Any, tuple[Any, ...]]:
    """What to compile, and its arguments: a function that returns a compiled one is a way to it."""
    target, inputs = _load(options.target), _examples(options.example)
    if inputs or not callable(target):
        return target, inputs
    result = target()
    return (result if hasattr(result, "entries") else target), ()


def _export(options: argparse.Namespace) -> None:
    from graphgrad.exporting import export

    target = _load(options.target)
    path = export(target, options.output, *_examples(options.example))
    size = sum(p.stat().st_size for p in (path, path.with_suffix(".npz")) if p.exists())
    print(f"{options.target} written to {path}, {size / 1000:,.0f} kB with its arrays")


def _load(spec: str) -> Any:
    module, colon, name = spec.partition(":")
    if not (module and colon and name):
        raise CommandError(f"{spec!r} is not of the form module:function")
    sys.path.insert(0, str(pathlib.Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        raise CommandError(f"cannot import {module!r}: {error}") from error
    except AttributeError as error:
        raise CommandError(f"{module} has no {name!r}") from error


def _bench(options: argparse.Namespace) -> None:
    wrong = ""
    if options.device == "cuda":
        text, record, wrong = _on_cuda(options)
    else:
        text, record = _profile(options) if options.profile else _measured(options)
    print(text)
    if options.json:
        pathlib.Path(options.json).write_text(record + "\n", encoding="utf-8")
    if wrong:
        raise CommandError(wrong)


def _on_cuda(options: argparse.Namespace) -> tuple[str, str, str]:
    """What was found on the GPU, as text and JSON, and which checks failed."""
    from graphgrad.bench import cuda

    if options.profile or options.measure or options.group:
        raise CommandError("--device cuda goes with --only, --peers, --check and --json alone")
    names = [name for name in _peers(options) if name != "jax"]
    try:
        graphgrad.cuda.init()
    except RuntimeError as error:
        raise CommandError(str(error)) from error
    result = cuda.run(options.only, names, options.check, _progress)
    wrong = ", ".join(check.name for check in result.checks if not check.agrees)
    return str(result), result.json(), wrong and f"differs from the CPU: {wrong}"


def _peers(options: argparse.Namespace) -> list[str]:
    return [name for name in options.peers.split(",") if name and name != "none"]


def _measured(options: argparse.Namespace) -> tuple[str, str]:
    module = importlib.import_module(f"graphgrad.bench.{options.measure or 'runner'}")
    arguments = [options.only, options.threads, options.group, _progress]
    if options.measure not in ("memory", "scaling"):
        arguments.insert(1, _peers(options))
    result = module.run(*arguments)
    return str(result), result.json()


def _profile(options: argparse.Namespace) -> tuple[str, str]:
    from graphgrad.bench import profiling
    from graphgrad.bench.runner import choose

    profiles = []
    for workload in choose(options.only, options.group):
        _progress(workload.name)
        profiles.append(profiling.profile(workload, options.threads))
    texts = [p.by_row() if options.profile == "rows" else str(p) for p in profiles]
    return "\n\n".join(texts), json.dumps([p.numbers() for p in profiles], indent=1)


def _progress(line: str) -> None:
    print(f"… {line}", file=sys.stderr, flush=True)


def _cache(options: argparse.Namespace) -> None:
    folder = config.cache_dir
    if options.path:
        print(folder)
        return
    # Only files named as ours: somebody may have pointed the setting at a folder of their own.
    files = [p for p in folder.rglob("*") if _KERNEL_FILE.fullmatch(p.name)]
    size = sum(p.stat().st_size for p in files)
    if options.clear:
        for path in files:
            path.unlink()
    count = Counter(p.suffix for p in files)
    done = "deleted from" if options.clear else "in"
    kernels = f"{count['.py']} generated kernels (.py), {count['.o']} compiled (.o)"
    print(f"{done} {folder}: {kernels}, {count['.bin']} programs (.bin), {size / 1000:,.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
