"""CRC-32C agrees with its definition, one bit at a time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evalkit.sources.checksum import crc32c, masked_crc32c


def bit_by_bit(content: bytes) -> int:
    state = 0xFFFFFFFF
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@given(records=st.lists(st.binary(max_size=300), max_size=8))
def test_the_checksum_is_that_of_the_definition(records: list[bytes]) -> None:
    assert crc32c(records).tolist() == [bit_by_bit(record) for record in records]


def test_examples_of_the_standard_hold() -> None:
    """Source: RFC 3720, appendix B.4."""
    examples = {bytes(32): 0x8A9136AA, b"\xff" * 32: 0x62A8AB43, bytes(range(32)): 0x46DD794E}
    assert crc32c(list(examples)).tolist() == list(examples.values())


def test_the_mask_is_a_rotation_and_a_sum() -> None:
    crc = int(crc32c([b"evalkit"])[0])
    expected = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) % 2**32
    assert masked_crc32c([b"evalkit"]).tolist() == [expected]
    assert masked_crc32c([b"evalkit"]).dtype == np.uint32
