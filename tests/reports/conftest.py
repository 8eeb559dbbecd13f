"""Results to report on, and a browser to open reports in."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pytest

import evalkit as ek
from evalkit.comparison import Comparison
from evalkit.money import Costs
from evalkit.results import Result

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
HOSTILE = "</script><img src=x onerror=\"document.title='owned'\"><b>&lt;"


def rows(n: int = 600, seed: int = 7) -> dict[str, Any]:
    """Labels, two scores and columns to slice by; one value of `kind` tries to break out of the page."""
    random = np.random.default_rng(seed)
    label = random.integers(0, 2, n)
    noise = random.normal(0, 1, (2, n))
    return {
        "y": label,
        "old": 1 / (1 + np.exp(-(label - 0.5 + noise[0]))),
        "new": 1 / (1 + np.exp(-(2 * label - 1 + noise[1]))),
        "kind": np.array(["plain", HOSTILE, "third"])[random.integers(0, 3, n)],
        "size": np.where(np.arange(n) < 1, "tiny", np.where(np.arange(n) < 60, "small", "large")),
        "price": random.normal(10, 3, n),
    }


def evaluated(model: str = "old", **settings: Any) -> Result:
    """A small evaluation."""
    chosen: dict[str, Any] = {"slices": ["kind", "size"], "name": model, **settings}
    return ek.evaluate(rows(), label="y", score=model, **chosen)


@pytest.fixture(scope="session")
def two_models() -> Result:
    return evaluated("old") | evaluated("new")


@pytest.fixture(scope="session")
def suppressed() -> Result:
    return evaluated("old", suppress_below=10)


@pytest.fixture(scope="session")
def regression() -> Result:
    data = rows()
    data["guess"] = data["price"] + np.linspace(-1, 1, len(data["price"]))
    return ek.evaluate(data, label="price", prediction="guess", task="regression", slices=["size"], name="guess")


@pytest.fixture(scope="session")
def unsliced() -> Result:
    return evaluated("old", slices=[])


METRICS = ["roc_auc", "accuracy", "log_loss", "calibration_ratio", "count"]


def compared(**settings: Any) -> Comparison:
    """Two candidates against one baseline; the second is worse, and worst of all where `group` is third."""
    data = rows()
    data["group"] = data.pop("kind")
    data["id"] = [f"row-{number:04d}" for number in range(len(data["y"]))]
    data["bad"] = np.where(data["group"] == "third", 1 - data["old"], data["old"] * 0.97 + 0.01)
    data["bad"] = np.where(data["group"] == "plain", data["new"], data["bad"])
    chosen: dict[str, Any] = {"slices": ["group", "size"], "metrics": METRICS, "candidate": ["new", "bad"], **settings}
    return ek.compare(data, label="y", baseline="old", id="id", **chosen)


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    return compared()


@pytest.fixture(scope="session")
def private() -> Comparison:
    return compared(suppress_below=10)


@pytest.fixture(scope="session")
def costly() -> Comparison:
    costs = Costs(fn=40, fp=5, currency="USD", unit="customer")
    return compared(metrics=["roc_auc", "expected_cost@fn=price"], costs=costs)


class Browser:
    """A headless Chromium, driven over two pipes by its DevTools protocol."""

    _session: str | None = None

    def __init__(self, folder: Path) -> None:
        assert CHROMIUM is not None
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()

        switches = [
            "headless",
            "no-sandbox",
            "disable-gpu",
            "disable-dev-shm-usage",
            "disable-background-networking",
            "disable-component-update",
            "disable-sync",
            "no-first-run",
            "remote-debugging-pipe",
            f"user-data-dir={folder}",
        ]
        # The browser reads commands from descriptor 3 and writes answers to 4.
        move = "import os, sys; r, w, *command = sys.argv[1:]; os.dup2(int(r), 3); os.dup2(int(w), 4)"
        move += "; os.execv(command[0], command)"
        self._process = subprocess.Popen(
            [sys.executable, "-c", move, str(to_read), str(to_write), CHROMIUM, *(f"--{s}" for s in switches)],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._answers = self._messages()
        self._number = 0
        self.events: list[dict[str, Any]] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None
        self.ask("Browser.close")
        self._process.wait(timeout=20)
        os.close(self._read)
        os.close(self._write)

    def _messages(self) -> Iterator[dict[str, Any]]:
        waiting = b""
        while received := os.read(self._read, 1 << 16):
            *whole, waiting = (waiting + received).split(b"\0")
            for message in whole:
                yield json.loads(message)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and returns its answer; events that come before it are kept."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        for answer in self._answers:
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)
        raise AssertionError("The browser ended.")

    def run(self, script: str) -> Any:
        """Returns what a script evaluates to, promises awaited."""
        answer = self.ask("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def open(self, path: Path, width: int = 1200, dark: bool = False) -> None:
        """Opens a report and waits until its plots are drawn, or have failed."""
        self.events.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        self.ask("Page.navigate", url=path.resolve().as_uri())
        deadline = time.monotonic() + 60
        while not self.run("document.documentElement?.dataset.state ?? ''"):
            assert time.monotonic() < deadline, "The report was not drawn within a minute."
            time.sleep(0.05)

    @property
    def problems(self) -> list[str]:
        """What the page complained of, or fetched, since it was opened."""
        bad = ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled")
        fetched = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [json.dumps(e["params"]) for e in self.events if e["method"] in bad] + [
            url for url in fetched if not url.startswith(("file:", "data:", "blob:"))
        ]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed.")
    with Browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def report(tmp_path: Path) -> Callable[..., Path]:
    """Writes a report and returns its path."""
    from evalkit.reports import write_report

    return lambda result, **more: write_report(result, tmp_path / "report.html", **more)
