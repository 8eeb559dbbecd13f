"""`import evalkit` is free: the libraries it stands on are imported by what uses them."""

import json
import subprocess
import sys

HEAVY = {"jax", "polars", "pyarrow", "pydantic", "pandas", "plotly", "sklearn", "scipy", "numpy", "typer", "rich"}


def imported_by(statement: str) -> set[str]:
    program = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_importing_evalkit_imports_nothing_heavy() -> None:
    assert imported_by("import evalkit") & HEAVY == set()


def test_a_public_name_is_imported_on_first_use() -> None:
    assert "evalkit.errors" not in imported_by("import evalkit")
    assert "evalkit.errors" in imported_by("import evalkit; evalkit.EvalkitError")
