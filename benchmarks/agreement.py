"""Prints how far evalkit and scikit-learn are apart on the demo's data, for its three models.

    python benchmarks/agreement.py

Every slice (sex, race, age, income, site, sex x race, race x income) and every metric that both have is compared:
counts and ranks must agree to 1e-9, sums of floats to 1e-6 of their value.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from oracles import agreement

from evalkit.demo_models import MODEL_COLUMNS, scored_test


def main() -> int:
    scored, failed = scored_test(), False
    for model in MODEL_COLUMNS:
        found = agreement(scored, model)
        print(f"{model}: {found}")
        failed |= found.largest_of_counts > 1e-9 or found.largest_of_floats > 1e-6 or bool(found.differently_defined)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
