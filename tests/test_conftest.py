"""The strict settings of conftest.py are in force, or the other tests would prove less than they seem to."""

import jax
import jax.numpy as jnp
import pytest


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="an accelerator has the devices it has")
def test_there_are_two_devices() -> None:
    assert jax.device_count() == 2


def test_ranks_are_not_promoted_silently() -> None:
    with pytest.raises(ValueError, match="rank_promotion"):
        jnp.add(jnp.ones((2, 3)), jnp.ones(3))


def test_dtypes_are_not_promoted_silently() -> None:
    with pytest.raises(ValueError, match="jax_numpy_dtype_promotion=strict"):
        jnp.add(jnp.ones(3, jnp.float32), jnp.ones(3, jnp.int32))
