"""Kernels on disk: compiled once, loaded ever after, whatever happens to the folder."""

import functools
import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
import threading

import pytest
from graphgrad.kernels import cache, jobs, recipes
from graphgrad.kernels.threads import cores
from toys import SOURCE, wide_source

import graphgrad as gg
from graphgrad.config import config

ROOT = pathlib.Path(__file__).parents[2]

USE_CACHE = f"""
import sys
import numpy as np
from graphgrad.kernels import cache
from graphgrad.kernels.program import ProgramBuilder
from graphgrad.kernels.executor import Runner

SOURCE = '''{SOURCE}'''
axpy, mix = cache.compile_many([("axpy", SOURCE), ("mix", SOURCE)])
build = ProgramBuilder(1, 1)
build.call(axpy, [build.input(0), build.output(0), 2.0], 1000, 100)
x, y = np.ones(1000, "f4"), np.zeros(1000, "f4")
Runner(build.program())(x, y)
assert (y == 2).all()
print(cache.stats.compiled, cache.stats.loaded, "numba" in sys.modules)
"""
ALL = 5  # axpy, mix, execute, enter, work


def run_python(code: str, folder: pathlib.Path, **environment: str) -> subprocess.CompletedProcess:
    """Run `code` in a new process that keeps its kernels in `folder`."""
    script = folder.parent / f"script_{abs(hash(code))}.py"
    script.write_text(textwrap.dedent(code))
    known = {"GRAPHGRAD_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, **known},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def warm(tmp_path_factory) -> pathlib.Path:
    """A cache folder that two processes filled at once."""
    folder = tmp_path_factory.mktemp("runtime") / "cache"
    done = []
    threads = [
        threading.Thread(target=lambda: done.append(run_python(USE_CACHE, folder)))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for process in done:
        assert process.returncode == 0, process.stderr
        assert process.stderr == ""
    return folder


def test_a_second_process_compiles_nothing_and_imports_no_numba(warm):
    process = run_python(USE_CACHE, warm)
    assert process.stdout.split() == ["0", str(ALL if cores() > 1 else ALL - 1), "False"]
    assert not list(warm.glob(".*")), "temporary files are left"


def test_a_moved_folder_stays_valid(warm, tmp_path):
    shutil.copytree(warm, tmp_path / "elsewhere")
    assert run_python(USE_CACHE, tmp_path / "elsewhere").stdout.startswith("0 ")


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[::-1]])
def test_damaged_files_are_compiled_again(warm, tmp_path, damage):
    shutil.copytree(warm, tmp_path / "cache")
    for path in (tmp_path / "cache").glob("axpy_*"):
        path.write_bytes(damage(path.read_bytes()))
    process = run_python(USE_CACHE, tmp_path / "cache")
    assert process.stdout.startswith("1 "), process.stderr
    assert run_python(USE_CACHE, tmp_path / "cache").stdout.startswith("0 ")


def test_a_folder_that_cannot_be_written_is_reported_once(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(config, "cache_dir", tmp_path / "file" / "cache")
    source = wide_source(2)
    with pytest.warns(RuntimeWarning, match="GRAPHGRAD_CACHE_DIR") as caught:
        assert cache.load_kernel("wide", source).compiled
        assert cache.load_kernel("wide", source + "# another\n").compiled
    assert len(caught) == 1


def test_many_kernels_compile_on_all_cores(tmp_path):
    code = f"""
    from graphgrad.kernels import cache
    print("script runs")
    text = {wide_source(2)!r}
    sources = [("wide", text.replace("+", "+ %d +" % n)) for n in range(10)]
    kernels = cache.compile_many(sources)
    assert len({{k.address for k in kernels}}) == 10 and cache.stats.compiled == 10
    assert [k.address for k in cache.compile_many(sources)] == [k.address for k in kernels]
    """
    process = run_python(code, tmp_path / "cache")
    assert (process.stdout, process.stderr) == ("script runs\n", "")
    assert len(list((tmp_path / "cache").glob("wide_*.o"))) == 10


def test_the_key_follows_what_a_source_imports():
    engine = recipes.from_template("graphgrad.kernels.engine:execute")
    modules = recipes._imported(engine.source, recipes.PACKAGE)
    assert {m.rpartition(".")[2] for m in modules} == {"abi", "atomics", "layout"}
    assert recipes.key_of("axpy", SOURCE) != recipes.key_of("axpy", SOURCE + "\n")
    with pytest.raises(ValueError, match="module:function"):
        cache.load_template("os.path:join")


def test_kernels_and_programs_run_in_plain_python(tmp_path):
    process = run_python(USE_CACHE, tmp_path / "cache", NUMBA_DISABLE_JIT="1")
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("0 0 ")


def test_jobs_are_done_once_and_nobody_waits_while_there_are_others():
    """The first job of the list is another thread's, and ends only when all others are done."""
    done: list[int] = []
    others = threading.Event()
    begun = threading.Event()

    def make(i):
        if i == 0:
            begun.set()
            assert others.wait(30)
        done.append(i)
        if len(done) == 5:
            others.set()
        return i

    all_jobs = [jobs.Job(functools.partial(make, i)) for i in range(6)]
    jobs.share(all_jobs[:1], helpers=1)
    assert begun.wait(30) and all_jobs[0].is_begun and not all_jobs[0].is_done
    jobs.share(all_jobs[:1], helpers=1)
    assert jobs.finish(all_jobs) == list(range(6))
    assert sorted(done) == list(range(6)) and done[-1] == 0


def test_a_job_that_fails_fails_for_whoever_asks():
    job = jobs.Job(lambda: 1 // 0)
    jobs.share([job], helpers=2)
    with pytest.raises(ZeroDivisionError):
        jobs.finish([job])


def test_kernels_begin_to_compile_while_a_program_is_drafted(tmp_path, monkeypatch):
    begun: set[str] = set()
    compiled: list[recipes.Recipe] = []
    compile_many = cache.compile_many

    def watched(wanted):
        wanted = list(wanted)
        assert {r.name for r in wanted} <= begun
        compiled.extend(wanted)
        return compile_many(wanted)

    monkeypatch.setattr(cache, "begin", lambda recipes: begun.update(r.name for r in recipes))
    monkeypatch.setattr(cache, "compile_many", watched)
    with config.scope(tier="compiled", cache_dir=tmp_path):
        gg.compile(lambda x, w: (x @ w).softmax(-1).sum(0))(gg.randn(40, 50), gg.randn(50, 60))
    assert len(compiled) > 3
