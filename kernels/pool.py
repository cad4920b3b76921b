"""Compile many kernels on all cores: `compile_in_pool({key: (recipe, path)})`.

numba compiles on one thread, so the others are processes: `python -m graphgrad.kernels.pool`, fed
through pipes. multiprocessing is not used because a spawned child runs the user's script again,
and a forked one inherits whatever its parent's threads held.
"""

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping

from .cache import compile_recipe
from .recipes import Recipe
from .threads import cores

Job = tuple[Recipe, str]
JOBS_PER_WORKER = 4


def compile_in_pool(jobs: Mapping[str, Job]) -> Iterator[tuple[str, bytes]]:
    """Yield (key, object code) for every key -> (recipe, path), in any order.

    This thread compiles too, and does again what a worker failed at, so the pool makes things
    faster and nothing else. Raises what compiling raises.
    """
    todo: queue.SimpleQueue = queue.SimpleQueue()
    done: queue.SimpleQueue = queue.SimpleQueue()
    for key, job in jobs.items():
        todo.put((key, job))
    for _ in range(min(cores() - 1, len(jobs) // JOBS_PER_WORKER)):
        threading.Thread(target=_feed_worker, args=(todo, done), daemon=True).start()
    try:
        for _ in jobs:
            key, object_code = _next_result(todo, done)
            yield key, object_code or compile_recipe(*jobs[key])
    finally:
        while not todo.empty():
            _take(todo)


def _take(items: queue.SimpleQueue):
    """The next of `items`, None when there is none."""
    with contextlib.suppress(queue.Empty):
        return items.get_nowait()
    return None


def _next_result(todo: queue.SimpleQueue, done: queue.SimpleQueue) -> tuple[str, bytes | None]:
    """(key, object code): a worker's if one is waiting, else None for a job to be done here."""
    result = _take(done)
    if result is None and (item := _take(todo)):
        result = item[0], None
    return result or done.get()


def _feed_worker(todo: queue.SimpleQueue, done: queue.SimpleQueue) -> None:
    """Keep one worker process busy until no job is left; what it fails at is handed back."""
    process = subprocess.Popen(
        [sys.executable, "-m", __spec__.name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdin and process.stdout
    with process:
        while item := _take(todo):
            key, job = item
            object_code = None
            try:
                pickle.dump(job, process.stdin)
                process.stdin.flush()
                object_code = pickle.load(process.stdout)
            except (OSError, EOFError, pickle.UnpicklingError):
                process.kill()
            done.put((key, object_code))


def work() -> None:
    """A worker's life: jobs from stdin, object code to stdout, both pickled; None is a failure."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing printed may mix with replies
    with contextlib.suppress(EOFError):
        while True:
            job = pickle.load(sys.stdin.buffer)
            try:
                reply = compile_recipe(*job)
            except Exception:
                reply = None  # the parent compiles it again and raises where the user can see it
            pickle.dump(reply, replies)
            replies.flush()


if __name__ == "__main__":
    work()
