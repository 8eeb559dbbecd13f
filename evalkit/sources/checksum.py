"""CRC-32C of many records at once, in NumPy: a checksum is linear, so that blocks are summed apart and joined.

Source: the Castagnoli polynomial, RFC 3720 section 12.1; the mask is that of TensorFlow's record format.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

_POLYNOMIAL = 0x82F63B78  # its bits reversed
_LONG = 4096
_MASK = 0xA282EAD8
Words = NDArray[np.uint32]


def masked_crc32c(records: Sequence[bytes]) -> Words:
    """Returns the masked checksum of each record: [records] uint32.

    >>> hex(int(masked_crc32c([b"123456789"])[0]))
    '0xc78ab0e5'
    """
    crc = crc32c(records)
    return ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(_MASK)


def crc32c(records: Sequence[bytes]) -> Words:
    """Returns the checksum of each record: [records] uint32.

    >>> hex(int(crc32c([b"123456789"])[0]))
    '0xe3069283'
    """
    lengths = np.asarray([len(record) for record in records], np.int64)
    found = np.zeros(len(records), np.uint32)
    for chosen in (np.flatnonzero(lengths < _LONG), np.flatnonzero(lengths >= _LONG)):
        if len(chosen):
            found[chosen] = _of_like([records[k] for k in chosen.tolist()], lengths[chosen])
    return found


def _of_like(records: Sequence[bytes], lengths: NDArray[np.int64]) -> Words:
    """Returns the checksums of records that are all short or all long, by blocks of about the root of their length."""
    bits = max(6, int(lengths.max()).bit_length() // 2)
    block = 1 << bits
    blocks = 1 + lengths // block  # one at least, so that each record has a last one
    ends = np.cumsum(blocks) * block
    padded = np.zeros(int(ends[-1]), np.uint8)  # each record behind zeros, which leave a state of zero as it is
    content = np.frombuffer(b"".join(records), np.uint8)
    padded[np.arange(len(content)) + np.repeat(ends - np.cumsum(lengths), lengths)] = content
    joined = _joined(_of_blocks(padded.reshape(-1, block)), blocks, _past_zeros(bits))
    return ~(joined ^ _of_ones(lengths))


@cache
def _table() -> Words:
    """Returns the state after one byte, from a state of zero: [256]."""
    state = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        state = np.where(state & 1, (state >> np.uint32(1)) ^ np.uint32(_POLYNOMIAL), state >> np.uint32(1))
    return state


def _of_blocks(content: NDArray[np.uint8]) -> Words:
    """Returns the state after each block, from a state of zero."""
    table = _table()
    state = np.zeros(len(content), np.uint32)
    for byte in np.ascontiguousarray(content.T):
        state = table[(state ^ byte) & np.uint32(255)] ^ (state >> np.uint32(8))
    return state


@cache
def _past_zeros(bits: int) -> Words:
    """Returns what 2^bits bytes of zero make of each value of each byte of a state: [4, 256]."""
    if bits:
        half = _past_zeros(bits - 1)
        return _past(half, half)
    states = np.arange(256, dtype=np.uint32)[None, :] << (np.uint32(8) * np.arange(4, dtype=np.uint32))[:, None]
    return _table()[states & np.uint32(255)] ^ (states >> np.uint32(8))


def _past(state: Words, tables: Words) -> Words:
    found = tables[0][state & np.uint32(255)]
    for k in range(1, 4):
        found = found ^ tables[k][(state >> np.uint32(8 * k)) & np.uint32(255)]
    return found


def _joined(of_blocks: Words, blocks: NDArray[np.int64], tables: Words) -> Words:
    """Returns the state after all blocks of each record, longest records first while they last."""
    order = np.argsort(-blocks, kind="stable")
    firsts = (np.cumsum(blocks) - blocks)[order]
    state = np.zeros(len(blocks), np.uint32)
    descending = -blocks[order]
    for k in range(int(-descending[0])):
        n = int(np.searchsorted(descending, -k, "left"))  # records with more than k blocks
        state[:n] = _past(state[:n], tables) ^ of_blocks[firsts[:n] + k]
    joined = np.empty_like(state)
    joined[order] = state
    return joined


def _of_ones(lengths: NDArray[np.int64]) -> Words:
    """Returns what the first state, all ones, has become after so many bytes: what a record of zeros has as state."""
    distinct, places = np.unique(lengths, return_inverse=True)
    state = np.full(len(distinct), 0xFFFFFFFF, np.uint32)
    for bit in range(int(distinct[-1]).bit_length()):
        chosen = (distinct >> bit) & 1 == 1
        state[chosen] = _past(state[chosen], _past_zeros(bit))
    found: Words = state[places]
    return found
