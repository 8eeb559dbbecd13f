import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from evalkit.slicing.order_statistics import Numbers

NUMBERS = st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=60)


@given(parts=st.lists(NUMBERS, min_size=1, max_size=4))
def test_every_rank_is_that_of_the_sorted_numbers(parts: list[list[float]]) -> None:
    arrays = [np.array(part) for part in parts]
    together = np.concatenate(arrays)
    expected = np.sort(together[np.isfinite(together)])
    numbers = Numbers(lambda: iter(arrays))
    assert numbers.n == len(expected)
    if len(expected):
        assert numbers.at(range(len(expected))).tolist() == expected.tolist()


def test_a_pass_is_made_for_each_sixteen_bits_only() -> None:
    passes = []

    def read() -> list[np.ndarray]:
        passes.append(1)
        return [np.linspace(-1, 1, 1001)]

    assert Numbers(read).at([250, 500, 750]).tolist() == [-0.5, 0.0, 0.5]
    assert len(passes) == 4
