"""The two loops that run everything: `execute` walks a Program's rows, `work` is a thread's life.

Both are kernels like any other, over the tables of `layout`. A CALL or GROUP of several chunks is
shared out to the team of threads that run `work`.

How a job is shared. The caller takes BUSY, writes the job, gives every thread a contiguous share of
the chunks and opens the job by putting a new generation number into OPEN. A thread claims chunks of
its own share, then of the others': the same thread gets the same chunks of the next kernel, whose
data its cache holds, and nobody waits for a thread that sleeps. The caller closes OPEN and waits
until ACTIVE is 0. A worker announces itself in ACTIVE before it looks at OPEN again, so either the
caller waits for it, or it finds the job closed. Chunks depend on sizes only: any number of threads
computes the same bits.
"""

from . import layout as at
from .abi import address, call, u8, words
from .atomics import add, invoke, load, pause, store, take

WORD = 8
SPINS_BEFORE_YIELD = 4096


# ---- the table -----------------------------------------------------------------------------------


def execute(context, start, stop, chunk):
    """Run a Program from row `context[PC]` to its end, an error, or a HOST row."""
    rows, args = words(context[at.ROWS]), words(context[at.ARGS])
    error, stack = words(context[at.ERROR]), words(context[at.STACK])
    count, team, steps = context[at.ROW_COUNT], words(context[at.TEAM])[0], context[at.STEPS]
    pc, depth = context[at.PC], context[at.DEPTH]
    if pc == 0:
        _patch(context, args)
    end = stack[depth * at.FRAME_WORDS + at.END]
    result = at.DONE
    while True:
        while pc == end:
            pc, depth = _next_trip(args, stack, depth)
            end = stack[depth * at.FRAME_WORDS + at.END]
        if pc >= count:
            pc = 0
            break
        if steps == 0:
            result = at.PAUSED
            break
        steps -= 1
        row = pc * at.COLUMNS
        opcode = rows[row]
        pc += 1
        if opcode == at.CALL:
            _call(rows, row, args, team)
        elif opcode == at.GROUP:
            _group(rows, row, args, team)
        elif opcode == at.LOOP:
            if rows[row + at.AUX0] > 0:
                depth += 1
                end = _enter_loop(rows, row, stack, depth, pc)
            else:
                pc += rows[row + at.AUX1]
        elif opcode == at.JUMP:
            pc += rows[row + at.AUX1] - 1
        elif opcode == at.JUMP_IF:
            cell = u8(words(address(args) + WORD * rows[row + at.AUX0]), 0)
            if (cell[0] != 0) == (rows[row + at.AUX2] != 0):
                pc += rows[row + at.AUX1] - 1
        else:
            result = pc - 1
            break
        if error[0] != 0:
            error[1] = pc - 1
            result = at.FAILED
            break
    context[at.PC], context[at.DEPTH], context[at.RESULT] = pc, depth, result


def _patch(context, args):
    """Point the slots of this call at its buffers."""
    patches, bases = words(context[at.PATCHES]), words(context[at.BASES])
    for i in range(context[at.PATCH_COUNT]):
        p = at.PATCH_WORDS * i
        args[patches[p]] = bases[patches[p + 1]] + patches[p + 2]


def _enter_loop(rows, row, stack, depth, pc):
    frame = depth * at.FRAME_WORDS
    stack[frame + at.BEGIN] = pc
    stack[frame + at.END] = pc + rows[row + at.AUX1]
    stack[frame + at.TRIPS] = stack[frame + at.TRIPS_LEFT] = rows[row + at.AUX0]
    stack[frame + at.BUMPS] = rows[row + at.AUX2]
    return stack[frame + at.END]


def _next_trip(args, stack, depth):
    """At the end of a body: where to go on, and how deep in loops that is."""
    frame = depth * at.FRAME_WORDS
    stack[frame + at.TRIPS_LEFT] -= 1
    again = stack[frame + at.TRIPS_LEFT] > 0
    # After the last trip the slots move back to where they were, for the next run.
    trips = 1 if again else 1 - stack[frame + at.TRIPS]
    bumps = stack[frame + at.BUMPS]
    for i in range(bumps + 1, bumps + 1 + 2 * args[bumps], 2):
        args[args[i]] += trips * args[i + 1]
    if again:
        return stack[frame + at.BEGIN], depth
    return stack[frame + at.END], depth - 1


def _call(rows, row, args, team):
    fn, extent, grain = rows[row + at.FN], rows[row + at.EXTENT], rows[row + at.GRAIN]
    table = address(args) + WORD * rows[row + at.FIRST]
    if grain <= 0 or extent <= grain:
        call(fn, table, 0, extent, 0)
        return
    chunks = (extent + grain - 1) // grain
    if team == 0 or not _share_out(words(team), fn, table, extent, grain, 0, 0, 0, chunks):
        for c in range(chunks):
            call(fn, table, c * grain, min(extent, (c + 1) * grain), c)


def _group(rows, row, args, team):
    fn, grain = rows[row + at.FN], rows[row + at.GRAIN]
    tables, stride = rows[row + at.AUX0], rows[row + at.AUX1]
    table = address(args) + WORD * rows[row + at.FIRST]
    extents = address(args) + WORD * rows[row + at.EXTENT]
    chunks = words(extents)[2 * tables]
    if (
        team == 0
        or chunks <= 1
        or rows[row + at.AUX2] != 0
        or not _share_out(words(team), fn, table, 0, grain, tables, stride, extents, chunks)
    ):
        for c in range(chunks):
            _group_chunk(fn, table, grain, tables, stride, extents, c)


def _group_chunk(fn, table, grain, tables, stride, extents, number):
    """Chunk `number` of a group: find its table by bisection and do the chunk of that table."""
    extent = words(extents)
    low, high = 0, tables
    while high - low > 1:
        middle = (low + high) // 2
        if extent[tables + middle] <= number:
            low = middle
        else:
            high = middle
    c = number - extent[tables + low]
    begin = c * grain
    call(fn, table + WORD * stride * low, begin, min(extent[low], begin + grain), c)


# ---- the team ------------------------------------------------------------------------------------


def work(team, start, stop, chunk):
    """The life of thread number `start` of a team: take part in every job, sleep in between."""
    last = 0
    while True:
        generation = _await_job(team, last)
        if generation == at.STOP:
            return
        add(team, at.ACTIVE, 1)
        generation = load(team, at.OPEN)
        if generation > 0 and generation != last:
            _do_share(team, start)
            last = generation
        add(team, at.ACTIVE, -1)


def _await_job(team, last):
    """The next generation: awaited at work for a while, then asleep."""
    for _ in range(team[at.SPINS]):
        generation = load(team, at.OPEN)
        if generation != 0 and generation != last:
            return generation
        pause()
    add(team, at.SLEEPERS, 1)
    invoke(team[at.LOCK], team[at.MUTEX], 0)
    generation = load(team, at.OPEN)
    while generation == 0 or generation == last:
        invoke(team[at.WAIT], team[at.COND], team[at.MUTEX])
        generation = load(team, at.OPEN)
    invoke(team[at.UNLOCK], team[at.MUTEX], 0)
    add(team, at.SLEEPERS, -1)
    return generation


def _share_out(team, fn, args, extent, grain, tables, stride, extents, chunks):
    """Do a job with the whole team; False, and nothing is done, while it is at another's job."""
    if take(team, at.BUSY) != 0:
        return False
    team[at.JOB_FN], team[at.JOB_ARGS] = fn, args
    team[at.JOB_EXTENT], team[at.JOB_GRAIN], team[at.JOB_CHUNKS] = extent, grain, chunks
    team[at.JOB_TABLES], team[at.JOB_STRIDE], team[at.JOB_EXTENTS] = tables, stride, extents
    size = team[at.SIZE]
    for t in range(size):
        team[at.NEXT + at.LINE * t] = chunks * t // size
    team[at.JOB_GENERATION] += 1
    store(team, at.OPEN, team[at.JOB_GENERATION])
    if load(team, at.SLEEPERS) > 0:
        _wake(team)
    _do_share(team, 0)
    store(team, at.OPEN, 0)
    waited = 0
    while load(team, at.ACTIVE) != 0:
        pause()
        waited += 1
        if waited % SPINS_BEFORE_YIELD == 0:
            invoke(team[at.YIELD], 0, 0)
    store(team, at.BUSY, 0)
    return True


def _wake(team):
    invoke(team[at.LOCK], team[at.MUTEX], 0)
    invoke(team[at.BROADCAST], team[at.COND], 0)
    invoke(team[at.UNLOCK], team[at.MUTEX], 0)


def _do_share(team, me):
    """Do the chunks of thread `me`, then those the other threads have not begun."""
    size, chunks = team[at.SIZE], team[at.JOB_CHUNKS]
    for t in range(me, me + size):
        whose = t % size
        next_chunk, end = at.NEXT + at.LINE * whose, chunks * (whose + 1) // size
        while load(team, next_chunk) < end:
            c = add(team, next_chunk, 1)
            if c < end:
                _do_chunk(team, c)


def _do_chunk(team, c):
    fn, args, grain = team[at.JOB_FN], team[at.JOB_ARGS], team[at.JOB_GRAIN]
    tables = team[at.JOB_TABLES]
    if tables > 0:
        _group_chunk(fn, args, grain, tables, team[at.JOB_STRIDE], team[at.JOB_EXTENTS], c)
    else:
        call(fn, args, c * grain, min(team[at.JOB_EXTENT], (c + 1) * grain), c)
