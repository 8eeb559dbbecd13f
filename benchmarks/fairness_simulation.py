"""What a gap between groups' rates may claim: fair models, and unfair ones, drawn many times.

    python benchmarks/fairness_simulation.py              4,000 draws of each kind
    python benchmarks/fairness_simulation.py --draws 500

Ten groups of 50 rows. Printed for each selection rate: how often the usual percentile bootstrap interval of the gap
leaves out the true gap of 0, how often our simultaneous bounds hold it, and how often a fair model is flagged; for true
gaps of .1 and .2, of one group or of half of them, how often the bounds hold it and the model is flagged; last the gap
under which fair models are certified in half of the draws.
"""

import argparse

import numpy as np

from evalkit.fairness.gaps import rate_gap

GROUPS, ROWS = 10, 50


def bootstrap_leaves_out_zero(rng: np.random.Generator, hits: np.ndarray, replicates: int = 400) -> float:
    """Returns the share of draws whose percentile interval of the gap is above 0."""
    above = []
    for counted in hits:
        again = rng.binomial(ROWS, counted / ROWS, (replicates, GROUPS)) / ROWS
        above.append(np.quantile(again.max(1) - again.min(1), 0.025) > 0)
    return float(np.mean(above))


def main() -> None:
    """Prints a line for each selection rate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=4000)
    draws = parser.parse_args().draws
    rng = np.random.default_rng(0)
    allowed = 0.05 + 2.576 * (0.05 * 0.95 / draws) ** 0.5
    print(f"{draws:,} draws of {GROUPS} groups of {ROWS}; at most 5% is at most {allowed:.1%} of so many draws")
    head = ["rate", "bootstrap leaves 0 out", "bounds hold 0", "flagged, fair"]
    cases = [(gap, who) for gap in (0.1, 0.2) for who in ("one", "half")]
    head += [f"{gap} of {who}: {what}" for gap, who in cases for what in ("hold", "flagged")]
    head.append("certified under, in half")
    print(" | ".join(head))
    for rate in (0.1, 0.3, 0.5, 0.7):
        hits = rng.binomial(ROWS, rate, (draws, GROUPS))
        fair = rate_gap(hits, ROWS)
        shown = [bootstrap_leaves_out_zero(rng, hits[: min(draws, 500)]), np.mean(fair.low <= 0), np.mean(fair.flagged)]
        for gap, who in cases:
            rates = rate + gap * (np.arange(GROUPS) == 0 if who == "one" else np.arange(GROUPS) % 2)
            found = rate_gap(rng.binomial(ROWS, rates, (draws, GROUPS)), ROWS)
            shown += [np.mean((found.low <= gap) & (gap <= found.high)), np.mean(found.flagged)]
        cells = [f"{rate:.1f}", *(f"{value:.1%}" for value in shown), f"{np.median(fair.high):.2f}"]
        print(" | ".join(f"{cell:>{len(name)}}" for cell, name in zip(cells, head, strict=True)), flush=True)


if __name__ == "__main__":
    main()
