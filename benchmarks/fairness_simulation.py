"""What a gap between groups' rates may claim: fair models, and unfair ones, drawn many times.

    python benchmarks/fairness_simulation.py              4,000 draws of each kind
    python benchmarks/fairness_simulation.py --draws 500
    python benchmarks/fairness_simulation.py permutation    what is shuffled
    python benchmarks/fairness_simulation.py corrected      variances and gaps less what noise adds
    python benchmarks/fairness_simulation.py shrunk         raw and shrunk values of intersections
    python benchmarks/fairness_simulation.py ratio          the four-fifths rule as a test

With no section named, or `gap`:
Ten groups of 50 rows. Printed for each selection rate: how often the usual percentile bootstrap interval of the gap
leaves out the true gap of 0, how often our simultaneous bounds hold it, and how often a fair model is flagged; for true
gaps of .1 and .2, of one group or of half of them, how often the bounds hold it and the model is flagged; last the gap
under which fair models are certified in half of the draws. The other sections say what they print.
"""

import argparse

import numpy as np

from evalkit.fairness.statistics.corrected import corrected_gap, corrected_variance
from evalkit.fairness.statistics.gaps import rate_gap
from evalkit.fairness.statistics.homogeneity import permutation_test, permutation_test_auc
from evalkit.fairness.statistics.shrunk import empirical_bayes, structured
from evalkit.fairness.statistics.two_rates import koopman, ratio_test

GROUPS, ROWS = 10, 50


def bootstrap_leaves_out_zero(rng: np.random.Generator, hits: np.ndarray, replicates: int = 400) -> float:
    """Returns the share of draws whose percentile interval of the gap is above 0."""
    above = []
    for counted in hits:
        again = rng.binomial(ROWS, counted / ROWS, (replicates, GROUPS)) / ROWS
        above.append(np.quantile(again.max(1) - again.min(1), 0.025) > 0)
    return float(np.mean(above))


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Returns the area under the curve of scores without ties."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores)] = np.arange(1, len(scores) + 1)
    positives = labels.sum()
    return (ranks[labels == 1].sum() - positives * (positives + 1) / 2) / (positives * (len(labels) - positives))


def over_all_rows(rng: np.random.Generator, value, groups: np.ndarray, permutations: int = 199) -> float:
    """Returns the p-value of a gap between two groups whose labels are shuffled over all rows."""

    def gap(of: np.ndarray) -> float:
        return abs(value(of == 0) - value(of == 1))

    seen = gap(groups)
    return (1 + sum(gap(rng.permutation(groups)) >= seen for _ in range(permutations))) / (1 + permutations)


def permutation(draws: int) -> None:
    """Prints how often fair models are rejected at 5%, shuffled within the denominator and over all rows."""
    print("rejected at 5% | within the denominator | over all rows")
    groups = np.repeat([0, 1], [100, 400])
    for base in ((0.2, 0.2), (0.7, 0.2), (0.2, 0.7)):
        within, over = [], []
        for seed in range(draws):
            rng = np.random.default_rng(seed)
            negative = rng.random(500) >= np.where(groups == 0, *base)
            hit = rng.random(500) < 0.2
            within.append(permutation_test(hit[negative], groups[negative], permutations=199, seed=seed).p_value)
            over.append(over_all_rows(rng, lambda of, n=negative, h=hit: h[n & of].mean(), groups))
        shown = [f"{np.mean(np.array(p) <= 0.05):.1%}" for p in (within, over)]
        print(f"equal false positive rates, base rates {base} | {' | '.join(shown)}", flush=True)
    for base in ((0.3, 0.3), (0.1, 0.4), (0.5, 0.1)):
        within, over = [], []
        for seed in range(draws // 4):
            rng = np.random.default_rng(seed)
            labels = (rng.random(500) < np.where(groups == 0, *base)).astype(int)
            scores = labels + rng.normal(size=500)
            within.append(permutation_test_auc(scores, labels, groups, permutations=199, seed=seed).p_value)
            over.append(over_all_rows(rng, lambda of, s=scores, y=labels: auc(s[of], y[of]), groups))
        shown = [f"{np.mean(np.array(p) <= 0.05):.1%}" for p in (within, over)]
        print(f"equal areas, base rates {base} | {' | '.join(shown)}", flush=True)


def corrected(draws: int) -> None:
    """Prints means of raw and corrected variances and gaps between groups, half with errors of .03 and half of .08."""
    print("groups | variance: true, raw, corrected | held inverted, percentile | above 0: inverted, percentile", end="")
    print(" | gap: true, raw, corrected")
    for groups in (3, 10, 40):
        errors = np.where(np.arange(groups) % 2, 0.03, 0.08)
        for spread in (0.0, 0.05, 0.15):
            true = np.linspace(-spread, spread, groups)
            values = true + np.random.default_rng(0).normal(size=(draws // 4, groups)) * errors
            variances = np.broadcast_to(errors**2, values.shape)
            variance = true.var(ddof=1)
            both = [corrected_variance(values, variances, method=m, draws=500) for m in ("inverted", "percentile")]
            gap = corrected_gap(values, variances)
            held = [f"{np.mean((b.low <= variance + 1e-12) & (variance <= b.high)):.1%}" for b in both]
            above = [f"{np.mean(b.low > 0):.1%}" for b in both]
            shown = [f"{v:.5f}" for v in (variance, both[0].raw.mean(), both[0].value.mean())]
            gaps = [f"{v:.3f}" for v in (np.ptp(true), gap.raw.mean(), gap.value.mean())]
            print(groups, *(", ".join(of) for of in (shown, held, above, gaps)), sep=" | ", flush=True)


def shrunk(draws: int) -> None:
    """Prints root mean squared errors of 40 intersections of 8 to 1,500 rows, and how often +-1.96 errors hold."""
    attributes = np.stack([a.ravel() for a in np.meshgrid(range(2), range(4), range(5), indexing="ij")], axis=1)

    def effects(rng: np.random.Generator, scale: float) -> np.ndarray:
        return sum(rng.normal(size=5)[codes] * scale for codes in attributes.T)

    truths = {
        "alike": lambda _: np.zeros(40),
        "additive": lambda rng: effects(rng, 0.08),
        "nearly additive": lambda rng: effects(rng, 0.08) + rng.normal(size=40) * 0.05,
        "a cross of two": lambda rng: rng.normal(size=(2, 4))[attributes[:, 0], attributes[:, 1]] * 0.1,
        "no structure": lambda rng: rng.normal(size=40) * 0.12,
    }
    print("truth | raw | empirical Bayes | structured | held: empirical Bayes, structured")
    for name, truth in truths.items():
        squared, held = [], []
        for seed in range(draws // 20):
            rng = np.random.default_rng(seed)
            true, variances = truth(rng), 0.2 / rng.choice([8, 20, 60, 300, 1500], 40)
            values = true + rng.normal(size=40) * np.sqrt(variances)
            both = empirical_bayes(values, variances), structured(values, variances, attributes)
            squared.append([np.mean((of - true) ** 2) for of in (values, both[0].value, both[1].value)])
            held.append([np.mean(np.abs(of.value - true) <= 1.96 * of.error) for of in both])
        errors = [f"{error:.4f}" for error in np.sqrt(np.mean(squared, axis=0))]
        print(name, *errors, ", ".join(f"{share:.1%}" for share in np.mean(held, axis=0)), sep=" | ", flush=True)


def ratio(draws: int) -> None:
    """Prints how often a ratio of exactly .8 is called below it, and how often the 95% interval holds it."""
    print("rows | rates | ratio below .8 at 5%, in | raw ratio below .8 in | interval holds .8 in")
    rng = np.random.default_rng(0)
    for n, m in ((50, 50), (50, 500), (500, 500)):
        for rate in (0.1, 0.3, 0.6):
            x, y = rng.binomial(n, 0.8 * rate, draws), rng.binomial(m, rate, draws)
            below = np.mean(ratio_test(x, n, y, m, 0.8).below <= 0.05)
            low, high = koopman(x, n, y, m, 1.959964)
            raw = np.mean(x / n < 0.8 * y / m)
            held = np.mean((low <= 0.8) & (high >= 0.8))
            print(f"{n}, {m} | {0.8 * rate:.2f}, {rate} | {below:.1%} | {raw:.1%} | {held:.1%}", flush=True)


def gap(draws: int) -> None:
    """Prints a line for each selection rate."""
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


def main() -> None:
    """Prints the section that is named."""
    sections = {of.__name__: of for of in (gap, permutation, corrected, shrunk, ratio)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", nargs="?", choices=sections, default="gap")
    parser.add_argument("--draws", type=int, default=4000)
    arguments = parser.parse_args()
    sections[arguments.section](arguments.draws)


if __name__ == "__main__":
    main()
