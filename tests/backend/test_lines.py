"""Which lines of a generated kernel belong to which node."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from graphgrad.kernels.lines import Source, Sources

import graphgrad as gg
from graphgrad.bench.contestants import Compiler
from graphgrad.bench.workloads import MAIN

MODELS = ("MLP", "LeNet", "LSTM", "GPT", "ResNet")


@functools.cache
def steps_of(name: str) -> list[tuple[Any, list[Source]]]:
    """Every step of a workload's program, with its kernels' sources."""
    (workload,) = (w for w in MAIN if w.name.startswith(name))
    compiler = Compiler()
    workload.build(gg, compiler)
    _, compiled = compiler.functions[0].trace().executable.account()
    drafts = compiled.making.drafts()
    memo = Sources()
    return [(s, memo.of(s, d.assignment.inplace.get(s.region))) for d in drafts for s in d.steps]


@pytest.mark.parametrize("name", MODELS)
def test_sources_are_those_that_run(name: str) -> None:
    for step, found in steps_of(name):
        if step.region.kind == "loop":
            assert [s.source for s in found] == [call.source for call in step.calls]
        if step.region.kind == "contract":
            assert found and all(f"def {s.name.split('_')[0]}"[:6] in s.source for s in found)


@pytest.mark.parametrize("name", MODELS)
def test_every_node_of_a_loop_has_lines(name: str) -> None:
    for step, found in steps_of(name):
        if step.region.kind == "loop":
            known = {x for s in found for x in s.lines}
            assert known.issuperset(step.region.nodes), step.region.name


def test_lines_are_about_their_nodes() -> None:
    @gg.compile
    def softmax(x: Any) -> Any:
        return (x * 2.0).softmax(-1)

    executable = softmax.trace(gg.randn(8, 100)).executable
    _, compiled = executable.account()
    ((_, (kernel,)),) = ((s, Sources().of(s)) for d in compiled.making.drafts() for s in d.steps)
    text = kernel.source.splitlines()
    written = {
        x.op.name: " ".join(text[i - 1] for i in kernel.lines[x])
        for x in compiled.making.plan.regions[0].nodes
    }
    assert "exp_f32(" in written["exp"]
    assert "maximum_f32(acc0" in written["max"]
    assert "div_0 = " in written["div"] and "] = div_0" in written["div"]
    assert "exp_f32(" not in written["div"]


def test_partial_sums_are_lines_of_the_sum_in_both_kernels() -> None:
    @gg.compile
    def total(x: Any) -> Any:
        return x.exp().sum() * 3.0

    _, compiled = total.trace(gg.ones(1 << 20)).executable.account()
    (step,) = compiled.making.draft.steps
    parts, combined = Sources().of(step)
    assert parts.name.endswith("_parts") and combined.name.endswith("_combine")
    by_name = {x.op.name: x for x in step.region.nodes}
    assert by_name["sum"] in parts.lines and by_name["sum"] in combined.lines
    assert by_name["exp"] in parts.lines and by_name["exp"] not in combined.lines
    assert by_name["mul"] in combined.lines


def test_a_concat_is_the_stores_of_its_kernels() -> None:
    @gg.compile
    def joined(x: Any, y: Any) -> Any:
        return gg.cat([x[::2], y[::3]])

    _, compiled = joined.trace(gg.ones(40), gg.ones(60)).executable.account()
    (step,) = compiled.making.draft.steps
    for kernel in Sources().of(step):
        (lines,) = (kernel.lines[y] for y in step.region.outputs)
        assert lines
        assert all("] = " in kernel.source.splitlines()[i - 1] for i in lines)
