"""Words of the int64 tables that compiled code and Python share: where each thing lies.

row      one instruction of a Program, COLUMNS words
context  one call of a Program: what runs, where its data lies, where it stopped
team     the threads that share parallel rows, and the job they share now
"""

import ctypes

TABLE_TYPE = ctypes.POINTER(ctypes.c_int64)
KERNEL_TYPE = ctypes.CFUNCTYPE(None, TABLE_TYPE, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)

# NaN and infinities keep their meaning: masks are made of -inf and users look for NaN.
FASTMATH = frozenset({"contract", "reassoc", "nsz", "arcp", "afn"})
ALIAS_DOMAIN = "graphgrad.slots"  # what tells LLVM that slots of a kernel do not overlap

# ---- a row of a Program: [opcode, fn, args, extent, grain, aux0, aux1, aux2] ---------------------

COLUMNS = 8
FN, FIRST, EXTENT, GRAIN, AUX0, AUX1, AUX2 = range(1, COLUMNS)

CALL = 0  #     fn over [0, extent) in chunks of grain (0: in one), its slots from args[FIRST] on
GROUP = 1  #    fn over aux0 tables of aux1 slots each, one launch; extents from args[EXTENT] on,
#               and after them for every table the number of chunks of those before it;
#               aux2 = 1: too little for more than one thread
LOOP = 2  #     aux0 trips of the next aux1 rows; args[aux2:] = [n, (slot, delta) * n] moves slots
JUMP_IF = 3  #  by aux1 rows if the byte args[aux0] points to is zero (aux2 = 1: is not zero)
JUMP = 4  #     by aux1 rows
HOST = 5  #     return to Python, which makes host call aux0 and resumes with the next row

# ---- a context -----------------------------------------------------------------------------------

(
    PC,  #           the row to begin or resume with
    DEPTH,  #        how many loops it lies in
    STEPS,  #        how many rows to run at most (negative: all)
    ROWS,
    ROW_COUNT,
    ARGS,
    PATCHES,
    PATCH_COUNT,
    BASES,
    ERROR,  #        address of the words (code, row)
    TEAM,  #         address of a word that holds the team's address
    STACK,
    RESULT,
) = range(13)
CONTEXT_WORDS = 13

PATCH_WORDS = 3  # before the first row, args[slot] = bases[buffer] + offset

# Results; one that is not negative is the HOST row to be served.
DONE, FAILED, PAUSED = -1, -2, -3

# The stack of loops being run: BEGIN is the first row of the body, END the one after its last.
BEGIN, END, TRIPS_LEFT, TRIPS, BUMPS = range(5)
FRAME_WORDS = 5
MAX_DEPTH = 16

# ---- the team ------------------------------------------------------------------------------------

# What different threads write lies two cache lines apart, because lines are fetched in pairs.
LINE = 16
OPEN, ACTIVE, BUSY, SLEEPERS = range(0, 4 * LINE, LINE)
JOB = 4 * LINE
(
    JOB_FN,
    JOB_ARGS,
    JOB_EXTENT,
    JOB_GRAIN,
    JOB_TABLES,
    JOB_STRIDE,
    JOB_EXTENTS,
    JOB_CHUNKS,
    JOB_GENERATION,
) = range(JOB, JOB + 9)
SETUP = 5 * LINE
SIZE, SPINS, MUTEX, COND, LOCK, UNLOCK, WAIT, BROADCAST, YIELD = range(SETUP, SETUP + 9)
NEXT = 6 * LINE  # word NEXT + LINE * t: the next chunk of thread t's share

STOP = -1  # in OPEN: threads return
