"""What `evalkit gate init` and `evalkit gate power` do: rules from a past run, and what rules would catch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.console import Format, out, progress, say, table
from evalkit.errors import ConfigError, OutputError, listing

if TYPE_CHECKING:
    from evalkit.gates.power import Power, Replay
    from evalkit.results import Result


def init(
    folder: str,
    file: str,
    *,
    model: str | None,
    margin: float,
    metrics: Sequence[str],
    overwrite: bool,
    quiet: bool,
) -> None:
    """Writes rules whose bounds are the ends of a past run's intervals, less a margin.

    Args:
        folder: of the run's results.
        file: to write.
        model: whose results; needed where there are several.
        margin: how far beyond the interval a bound lies.
        metrics: names; none: every metric with a direction and an interval.
        overwrite: whether the file may be replaced.
        quiet: whether messages are left out.

    Raises:
        OutputError: the file exists or cannot be written.
        UsageError: the folder, model or a metric is not there.
    """
    from evalkit.gates.init import rules_of
    from evalkit.yaml_text import write_whole

    target = Path(file)
    if target.is_dir():
        raise OutputError(f"{target} is a folder; name a file, such as {target / 'gate.yaml'}.")
    if target.exists() and not overwrite:
        raise OutputError(f"{target} exists; choose another file with --out, or --overwrite it.")
    if margin < 0:
        raise ConfigError(f"--margin is at least 0, not {margin:g}.")
    text = rules_of(_of_model(_loaded(folder), model), margin=margin, metrics=list(metrics) or None)
    write_whole(text, target)
    say(f"Written: {target}. Next: evalkit gate RUN --config {target}", quiet=quiet)


def _loaded(folder: str, *, rows: bool = False) -> Result:
    from evalkit.results import load

    return load(folder, rows=rows)


def _of_model(result: Result, model: str | None) -> Result:
    if model is None and len(result.models) > 1:
        raise ConfigError(f"Name one of the models with --model: {listing(result.models)}.")
    return result if model is None else result.of(model)


def power(
    folder: str,
    file: str | None,
    *,
    model: str | None,
    churn: float,
    drop: float,
    slice: str,  # noqa: A002 - the table's word
    replicates: int,
    seed: int,
    form: Format,
    quiet: bool,
) -> None:
    """Replays rules on a champion's rows and prints how often they would err, and what they would catch.

    Raises:
        UsageError: the folder keeps no rows, or rules, model or slice are not there.
    """
    from evalkit.gate import loaded
    from evalkit.gate_job import rules_file
    from evalkit.gates.power import power as replayed

    if replicates < 20:
        raise ConfigError(f"--replicates is at least 20, not {replicates}.")
    rules, _, _ = loaded(rules_file(file))
    with progress(3, quiet=quiet) as step:
        step(f"reading {folder}")
        [champion] = _of_model(_loaded(folder, rows=True), model).evaluations
        found = replayed(
            champion, rules, churn=churn, drop=drop, slice=slice, replicates=replicates, seed=seed, progress=step
        )
    if form is Format.json:
        out(json.dumps(_plain(found), indent=1))
    else:
        _show(found, champion.model)


def _plain(found: Power) -> dict[str, Any]:
    def replay(of: Replay) -> dict[str, Any]:
        return {"outcomes": dict(of.outcomes), "rules": {name: dict(counts) for name, counts in of.rules.items()}}

    return {
        "churn": found.churn,
        "drop": found.drop,
        "slice": found.slice,
        "rows": found.rows,
        "replicates": found.equal.replicates,
        "equal": replay(found.equal),
        "worse": replay(found.worse),
    }


def _show(found: Power, model: str) -> None:
    where = "all rows" if found.slice == "overall" else found.slice
    out(f"{found.equal.replicates:,} replays on the rows of {model}, {found.churn:.0%} of rows scored differently.")
    out(f"These rules would block an equal model in {_share(found.equal, 'fail')},")
    out(
        f"would catch a drop of accuracy by {found.drop:g} on {where} ({found.rows:,} rows) in "
        f"{_share(found.worse, 'fail')}, and leave"
    )
    out(
        f"{_share(found.equal, 'insufficient')} of equal and {_share(found.worse, 'insufficient')} of worse models "
        "undecided (insufficient evidence).\n"
    )
    headers = ["rule", "equal: fail", "insufficient", "pass", "worse: fail", "insufficient", "pass"]
    rows = []
    for name in found.equal.rules:
        cells = [
            f"{of.rules[name][outcome] / of.replicates:.0%}"
            for of in (found.equal, found.worse)
            for outcome in ("fail", "insufficient", "pass")
        ]
        rows.append([name, *cells])
    table(headers, rows)


def _share(of: Replay, outcome: str) -> str:
    low, high = of.interval(outcome)
    return f"{of.share(outcome):.1%} [{low:.1%}, {high:.1%}]"
