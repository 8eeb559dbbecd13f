"""A world stricter than the user's: two CPU devices, no implicit promotion of ranks or dtypes, warnings are errors.

The settings are environment variables, set before anything imports JAX, so that commands the tests start obey them too.
"""

import os
import sys

from hypothesis import HealthCheck, settings

assert "jax" not in sys.modules, "JAX was imported before tests/conftest.py could set its devices"

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["JAX_NUMPY_DTYPE_PROMOTION"] = "strict"
os.environ["JAX_NUMPY_RANK_PROMOTION"] = "raise"
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2".strip()

# Compiling takes a first example longer than any deadline.
settings.register_profile("desk", deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("desk"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
