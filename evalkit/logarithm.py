"""The natural logarithm of float64 as a few operations that XLA carries out for several numbers at once.

XLA's own calls the C library for one number after another on CPUs, which takes more than twice as long.

>>> import jax, numpy as np
>>> with jax.enable_x64(True):
...     found = np.asarray(log(np.array([1e-300, 0.25, 1.0, 3.0, 1e300])))
>>> bool(np.allclose(found, np.log([1e-300, 0.25, 1.0, 3.0, 1e300]), rtol=4e-16, atol=0))
True
"""

from __future__ import annotations

from typing import Any

_ROOT_HALF = 0x3FE6A09E667F3BCD  # the bits of sqrt(1/2)
_MANTISSA = 52
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_SERIES = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)


def log(values: Any) -> Any:
    """Returns the natural logarithm of positive, finite, normal numbers, to one unit in the last place.

    A number is 2^k (1 + f) with 1 + f from sqrt(1/2) to sqrt(2), whose logarithm is a series in s = f / (2 + f).
    Numbers of other types than float64 are left to XLA, which is fast with them.

    Source: fdlibm, `e_log.c` (Sun Microsystems, 1993).

    Args:
        values: [...] floats.
    """
    import jax
    import jax.numpy as jnp

    values = jnp.asarray(values)
    if values.dtype != jnp.float64:
        return jnp.log(values)
    bits = jax.lax.bitcast_convert_type(values, jnp.int64)
    power = (bits - _ROOT_HALF) >> _MANTISSA
    f = jax.lax.bitcast_convert_type(bits - (power << _MANTISSA), jnp.float64) - 1
    s = f / (2 + f)
    rest = jnp.zeros_like(s)
    for factor in reversed(_SERIES):
        rest = (rest + factor) * s * s
    half = f * f / 2
    k = power.astype(jnp.float64)
    return k * _LN2_HIGH - (half - (s * (half + rest) + k * _LN2_LOW) - f)
