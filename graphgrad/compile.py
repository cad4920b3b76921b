"""From a Graph to something that runs: the passes in their order, and the tiers.

    exe = compile_graph(graph, aliases={0: 2})   # output 0 replaces the contents of input 2
    outputs = exe(arrays)                        # contiguous arrays in, arrays out
    exe.explain()                                # kernels, launches, arena bytes
    compile_graph(graph, record=True).trace      # [(pass name, Graph), …] for viz

Graphs of equal structure share one Executable. How a call runs is ``config.tier``'s business:
interpreted, as compiled kernels, first one and then the other, or both compared.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from graphgrad import choices, interpret
from graphgrad.config import config
from graphgrad.device import CPU
from graphgrad.device import device as Device
from graphgrad.ir import Graph
from graphgrad.passes.account import Account
from graphgrad.passes.cse import cse
from graphgrad.passes.dce import dce
from graphgrad.passes.fold import fold
from graphgrad.passes.quotients import share_quotients
from graphgrad.passes.scans import shorten_scans
from graphgrad.passes.simplify import simplify
from graphgrad.regions import Plan

Array = Any
Pass = Callable[[Graph], Graph]

PIPELINE: tuple[Pass, ...] = (
    dce,  #            first: what nobody reads is not worth looking at
    cse,  #            before scans: loops can only be joined when their operands are the same nodes
    shorten_scans,  #  before simplify: it moves work out of loops, which leaves sums with zeros
    simplify,  #       before fold: rules move literals next to each other
    share_quotients,  # after simplify: broadcast divisors have lost their expands
    fold,  #           before cse: equal results of different literal expressions merge
    cse,  #            last rewrite: it compares what the others brought into one form
    dce,  #            merging and folding leave results of control flow that nobody reads
)
_MEMO_SIZE = 4096


def optimise(
    graph: Graph,
    record: list[tuple[str, Graph]] | None = None,
    account: Account | None = None,
) -> Graph:
    """Run PIPELINE; ``record`` receives (name, graph) before the first pass and after each.

    ``account`` is told before each pass which graph it gets.
    """
    if record is not None:
        record.append(("traced", graph))
    for step in PIPELINE:
        if account is not None:
            account.stage(step.__name__, graph)
        graph = step(graph)
        if config.check:
            graph.verify()
        if record is not None:
            record.append((step.__name__, graph))
    return graph


def plan_graph(
    graph: Graph, aliases: Mapping[int, int], inner: bool = False, device: Device = CPU
) -> Plan:
    """Fuse and order an optimised graph (``inner``: the graph of a control-flow node, as it is)."""
    from graphgrad.passes.epilogue import join_epilogues
    from graphgrad.passes.fuse import fuse
    from graphgrad.passes.layout import store_permuted
    from graphgrad.passes.products import plain_products
    from graphgrad.passes.schedule import schedule
    from graphgrad.passes.winograd import fewer_products

    # Before fuse: what a product is written out into fuses with its neighbours.
    on_cpu = device.type == "cpu"
    plain = plain_products(optimise(graph) if inner else graph, halves=on_cpu)
    if on_cpu:  # whose costs it was measured at
        plain = fewer_products(plain)
    # After fuse: a permute that no region writes is free to move into the product before it.
    plan = store_permuted(fuse(plain))
    if not on_cpu:
        from graphgrad.kernels.cuda.contract import accepts

        # After permutes moved: the reader then walks the product as it is written.
        plan = join_epilogues(plan, accepts, {plain.outputs[k] for k in aliases})
    # Schedule last: only regions write memory, so only their order decides what is live.
    return schedule(plan, aliases)


def _planner(device: Device = CPU) -> Any:
    from graphgrad.kernels.draft import Planner
    from graphgrad.passes.memory import assign, best_fit

    return Planner(partial(plan_graph, device=device), assign, best_fit)


class Executable:
    """A graph bound to the ways it can run. Safe to call from several threads.

    ``aliases`` maps an output's position to the input it replaces: that output is written into the
    input's own array, which the call returns. ``donated`` lists inputs whose arrays may be used as
    working memory: they hold nothing the caller needs after the call.
    """

    def __init__(
        self,
        graph: Graph,
        aliases: Mapping[int, int] | None = None,
        donated: Iterable[int] = (),
        eager_compile: bool = False,
        record: bool = False,
        device: Device = CPU,
    ) -> None:
        self.graph, self.device = graph, device
        self.aliases = dict(aliases or {})
        self.donated = tuple(donated)
        self.calls = 0
        self.trace: list[tuple[str, Graph]] = []
        self._record = record
        self._compile_from = 0 if eager_compile else None
        self._optimised: Graph | None = None
        self._plan: Plan | None = None
        self._structure: str | None = None
        self._program: Any = None
        self._verifier: Any = None
        self._lock = threading.Lock()

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """Run on C-contiguous arrays of the inputs' types; returns one array an output.

        Raises IndexError for an index outside its dimension, with the user's line, and leaves
        replaced inputs as they were.
        """
        return _TIERS[config.tier](self, arrays)

    def ready(self) -> Any:
        """The Program to call directly under the current tier, or None while calls go through here.

        ``program(arrays)`` then is what ``self(arrays)`` does, with no look at the settings.
        """
        tier = config.tier
        if tier == "compiled" or (tier == "auto" and self._is_promoted()):
            return self.program
        return None

    @property
    def optimised(self) -> Graph:
        """The graph after PIPELINE."""
        if self._optimised is None:
            record: list[tuple[str, Graph]] | None = [] if self._record else None
            self._optimised = self._optimise(record)
            self.trace = record or []
        return self._optimised

    def passes(self) -> list[tuple[str, Graph]]:
        """The graph as traced, then after each pass; run again where nothing recorded them."""
        record: list[tuple[str, Graph]] = []
        if not self.trace:
            self._optimise(record)
        return self.trace or record

    @property
    def plan(self) -> Plan:
        """The optimised graph cut into kernels, in the order they run."""
        if self._plan is None:
            self._plan = self._planned(self.optimised)
        return self._plan

    @property
    def program(self) -> Any:
        """The compiled Program, built at the first use."""
        if self._program is None:
            with self._lock:
                if self._program is None:
                    self._program = self._build()
        return self._program

    def account(self) -> tuple[Account, Any]:
        """What became of every node, and a Program made anew while that was written down."""
        book = Account()
        with book.listening():
            graph = self._optimise(account=book)
            book.stage("kernels", graph)
            compiled = self._built(self._planned(graph))
        book.close(compiled.making.nodes())
        return book, compiled

    def explain(self) -> Any:
        """What the compiled program is made of; compiles it when it is not yet."""
        return self.program.explain()

    def _build(self) -> Any:
        target = self._target
        target.prepare(self.graph)  # first: LLVM works while the plan is made
        from graphgrad.kernels import store

        structure = self.structure
        chosen = choices.digest(structure) if structure else b""
        key = store.key_of(self.graph, self.aliases, self.donated, target, chosen)
        args = (self.aliases, lambda: self._built(self.plan).making, target, structure)
        found = store.load(key, *args) if key else None
        if found is None:
            found = self._built(self.plan)
            if key:
                store.save(key, found, target, structure)
        return found

    # ---- the stages of planning, each deciding as at the first size of this structure

    def _optimise(
        self, record: list[tuple[str, Graph]] | None = None, account: Account | None = None
    ) -> Graph:
        with self._remembered("passes"):
            return optimise(self.graph, record, account)

    def _planned(self, graph: Graph) -> Plan:
        with self._remembered("plan"):
            return plan_graph(graph, self.aliases, device=self.device)

    def _built(self, plan: Plan) -> Any:
        from graphgrad.kernels.build import build

        with self._remembered("build"):
            return build(plan, _planner(self.device), self.aliases, self.donated, self._target)

    def _remembered(self, stage: str) -> AbstractContextManager[None]:
        structure = self.structure
        return nullcontext() if structure is None else choices.remembered(structure, stage)

    @property
    def structure(self) -> str | None:
        """What graphs of other sizes share with this one; None where sizes decide alone."""
        if self._structure is None and self.device.type == "cpu":
            self._structure = choices.structure_of(self.graph)
        return self._structure

    @property
    def _target(self) -> Any:
        from graphgrad.kernels.target import target_of

        return target_of(self.device)

    def _is_promoted(self) -> bool:
        after = config.promote_after if self._compile_from is None else self._compile_from
        return self.calls >= after

    def _interpret(self, arrays: Sequence[Array]) -> list[Array]:
        results = _own(interpret.run(self.graph, arrays), arrays)
        for position, source in self.aliases.items():
            arrays[source][...] = results[position]
            results[position] = arrays[source]
        return results

    def _compiled(self, arrays: Sequence[Array]) -> list[Array]:
        return self.program(arrays)

    def _auto(self, arrays: Sequence[Array]) -> list[Array]:
        if self._is_promoted():
            return self.program(arrays)
        self.calls += 1
        return self._interpret(arrays)

    def _verify(self, arrays: Sequence[Array]) -> list[Array]:
        self._compare(arrays)
        return self._interpret(arrays)

    def _compare(self, arrays: Sequence[Array]) -> None:
        """Raise VerificationError where a kernel differs from the interpreter."""
        if self._verifier is None:
            from graphgrad.kernels.verify import Verifier

            plan = plan_graph(self.optimised, {}, device=self.device)
            self._verifier = Verifier(plan, _planner(self.device), self._target)
        self._verifier(arrays)


class DeviceExecutable(Executable):
    """The same over arrays in a device's memory; run-time numbers may be NumPy's.

    Under "auto" nothing is interpreted. Where a tier asks for it, NumPy computes on copies.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._programs: dict[tuple[Any, ...], Any] = {}

    @property
    def program(self) -> Any:
        """The Program for the settings of now: a GPU's is not the emulator's."""
        settings = config.of_kernels(self.device.type)
        found = self._programs.get(settings)
        if found is None:
            with self._lock:
                if settings not in self._programs:
                    self._programs[settings] = self._build()
                found = self._programs[settings]
        return found

    def _is_promoted(self) -> bool:
        return True

    def _interpret(self, arrays: Sequence[Array]) -> list[Array]:
        copies = [_host_copy(x) for x in arrays]
        placed = self._target.placed
        results = [placed(y) for y in _own(interpret.run(self.graph, copies), copies)]
        for position, source in self.aliases.items():
            arrays[source][...] = results[position]
            results[position] = arrays[source]
        return results

    def _compare(self, arrays: Sequence[Array]) -> None:
        super()._compare([_host_copy(x) for x in arrays])


def _host_copy(x: Array) -> Array:
    return x if isinstance(x, np.ndarray) else x.host()


_TIERS: dict[str, Callable[[Executable, Sequence[Array]], list[Array]]] = {
    # Looked up in the object: a device's has its own.
    "interpret": lambda executable, arrays: executable._interpret(arrays),
    "compiled": lambda executable, arrays: executable._compiled(arrays),
    "auto": lambda executable, arrays: executable._auto(arrays),
    "verify": lambda executable, arrays: executable._verify(arrays),
}


def _own(results: Sequence[Array], arrays: Sequence[Array]) -> list[Array]:
    """Results that no one else holds: the interpreter may return inputs, views, one array twice."""
    taken = {id(x) for x in arrays}
    own: list[Array] = []
    for y in results:
        if y.base is not None or id(y) in taken or not (y.flags.c_contiguous and y.flags.writeable):
            y = np.array(y, order="C")
        taken.add(id(y))
        own.append(y)
    return own


_memo: OrderedDict[Any, Executable] = OrderedDict()
_memo_lock = threading.Lock()


def compile_graph(
    graph: Graph,
    aliases: Mapping[int, int] | None = None,
    donated: Iterable[int] = (),
    eager_compile: bool = False,
    record: bool = False,
    device: Device = CPU,
) -> Executable:
    """The Executable of ``graph``: an earlier one when a graph of equal structure was compiled.

    Under the ``auto`` tier it is interpreted ``config.promote_after`` times first, unless
    ``eager_compile``. A recorded trace belongs to one graph, so with ``record`` nothing is shared.
    On a ``device`` other than the CPU, it takes and gives arrays of that device's memory.
    """
    donated = tuple(donated)
    kind = Executable if device.type == "cpu" else DeviceExecutable
    if record:
        return kind(graph, aliases, donated, eager_compile, record, device)
    pairs = tuple(sorted((aliases or {}).items()))
    key = (graph.key(), pairs, donated, eager_compile, device, config.of_kernels(device.type))
    with _memo_lock:
        found = _memo.get(key)
        if found is None:
            found = _memo[key] = kind(graph, aliases, donated, eager_compile, device=device)
            if len(_memo) > _MEMO_SIZE:
                _memo.popitem(last=False)
        else:
            _memo.move_to_end(key)
    return found
