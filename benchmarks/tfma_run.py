"""Times TensorFlow Model Analysis on a Parquet file and prints JSON; run by peers.py with the interpreter that has it.

The file holds the columns label, score, region and product. The answer holds TFMA's version, the seconds of each
repetition and {slice: {metric: value}}, both named as evalkit names them.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

METRICS = {
    "accuracy": "BinaryAccuracy",
    "precision": "Precision",
    "recall": "Recall",
    "roc_auc": "AUC",
    "average_precision": "AUCPrecisionRecall",
    "log_loss": "BinaryCrossEntropy",
    "brier_score": "MeanSquaredError",
}
SLICES: tuple[list[str], ...] = ([], ["region"], ["product"], ["region", "product"])


def analyze(path: Path, repeats: int) -> dict[str, Any]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import pandas as pd
    import tensorflow_model_analysis as tfma
    from tensorflow_model_analysis.proto import config_pb2

    frame = pd.read_parquet(path).astype({"label": float})
    config = config_pb2.EvalConfig(
        model_specs=[config_pb2.ModelSpec(label_key="label", prediction_key="score")],
        metrics_specs=[
            config_pb2.MetricsSpec(
                metrics=[
                    config_pb2.MetricConfig(class_name=theirs, config=json.dumps({"name": ours}))
                    for ours, theirs in METRICS.items()
                ]
            )
        ],
        slicing_specs=[config_pb2.SlicingSpec(feature_keys=keys) for keys in SLICES],
    )
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        result = tfma.analyze_raw_data(frame, config)
        seconds.append(time.perf_counter() - started)
    values = {
        # TFMA sorts the columns of a slice; "region" comes first in SLICES.
        ", ".join(f"{column}={value}" for column, value in sorted(key, reverse=True)) or "overall": {
            metric: float(value["doubleValue"]) for metric, value in metrics[""][""].items()
        }
        for key, metrics in result.slicing_metrics
    }
    return {"version": tfma.__version__, "seconds": seconds, "values": values}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path, nargs="?")
    parser.add_argument("--repeats", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.path is None:
        print("Nothing to do: peers.py runs this script, with a file.")
    else:
        print(json.dumps(analyze(arguments.path, arguments.repeats)))


if __name__ == "__main__":
    main()
