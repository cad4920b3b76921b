"""The argument tables of the engine's kernels: one name a slot, for planner and kernels.

Every slot is an int64: an address, a byte count or an extent. `MACRO` numbers the slots of the
macro-kernel, `REDUCE` those of the sum over partial products; both are namedtuples, so a kernel
writes `args[MACRO.rows]`.
"""

from __future__ import annotations

from collections import namedtuple

_MACRO = """
    a b c scratch
    tile
    batches
    k_table k_entry
    steps steps_split steps_block
    splits split_bytes
    rows tile_rows row_groups row_block
    column_groups column_block
    a_rows a_rows_entry
    b_columns b_columns_entry
    widths widths_entry
    c_rows c_columns c_columns_entry
    pack_a a_pack_k a_pack_starts a_pack_items a_pack_row a_group_bytes a_block_bytes
    pack_b b_pack_k b_pack_starts b_pack_items b_pack_row b_group_bytes b_block_bytes
    b_pack_at chunk_bytes
""".split()
# tile                   function called by address
# batches                offsets of A, B and C for each batch
# steps...               steps of k: all of them, in one split, in one block
# splits, split_bytes    partial results and their distance
# ..._entry              bytes of a table from one tile to the next; 0 where all share one entry
# pack_a..., pack_b...   one layout twice: the packer (0: none of its own) and its arguments
# ..._group_bytes        bytes from one panel to the next; 0 for an operand read in place
# ..._block_bytes        from one block of k to the next, where another kernel packed all; else 0
# b_pack_at, chunk_bytes where packed B starts in a chunk's packing space, and its size

_PACK = """
    packer source panels
    batches
    steps steps_block blocks
    groups group_part group_parts step_part step_parts
    k_table starts items
    row_bytes group_bytes block_bytes batch_bytes
""".split()
# group_part, step_part  panels and steps of k that are one of the parts of a block of k

_REDUCE = """
    partial c
    splits split_bytes
    rows partial_row_bytes
    batches c_rows
    columns column_count
""".split()
# batches, c_rows        offsets in C of each batch and row
# columns                (offset in the partial row, offset in C, width) of each vector

MACRO = namedtuple("MacroSlots", _MACRO)(*range(len(_MACRO)))
PACK = namedtuple("PackSlots", _PACK)(*range(len(_PACK)))
REDUCE = namedtuple("ReduceSlots", _REDUCE)(*range(len(_REDUCE)))
