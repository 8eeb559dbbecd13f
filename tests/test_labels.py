"""The same outputs judged against several labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

import evalkit as ek
from evalkit.cli import main
from evalkit.errors import ConfigError, UsageError

DATA: dict[str, Any] = {"dear": [1, 0, 1, 0, 1], "ill": [0, 0, 1, 1, 1], "p": [0.9, 0.2, 0.4, 0.6, 0.7]}


def test_each_label_is_a_model_of_the_result_with_the_values_of_its_own_evaluation() -> None:
    both = ek.evaluate(DATA, labels={"cost": "dear", "need": "ill"}, score="p", metrics=["roc_auc", "recall"])
    assert both.models == ["p on cost", "p on need"]
    alone = ek.evaluate(DATA, label="ill", score="p", metrics=["roc_auc", "recall"])
    assert both.of("p on need")["roc_auc"].value == alone["roc_auc"].value


def test_labels_and_label_batches_and_nothing_are_refused() -> None:
    with pytest.raises(UsageError, match="label= or labels="):
        ek.evaluate(DATA, label="dear", labels={"need": "ill"}, score="p")
    with pytest.raises(ConfigError, match="labels names columns"):
        ek.evaluate(DATA, labels={}, score="p")
    with pytest.raises(UsageError, match="only once"):
        ek.evaluate(iter([pl.DataFrame(DATA)]), labels={"need": "ill"}, score="p")


def test_the_command_and_the_settings_take_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    pl.DataFrame(DATA).write_parquet("rows.parquet")
    flags = ["--labels", "cost=dear", "--labels", "need=ill", "--score", "p", "--metric", "recall", "--quiet"]
    assert main(["evaluate", "rows.parquet", *flags]) == 0
    assert "p on need" in capsys.readouterr().out
    Path("evalkit.yaml").write_text("data: rows.parquet\nlabels: {cost: dear, need: ill}\nscore: p\nmetrics: recall\n")
    assert main(["evaluate", "--quiet"]) == 0
    assert "p on cost" in capsys.readouterr().out
    assert main(["evaluate", "rows.parquet", "--labels", "ill", "--score", "p"]) == 2
    assert '--labels takes NAME=COLUMN, such as need=ill, not "ill".' in capsys.readouterr().err
