"""Beam's options: what is wrong with them is said in one sentence, before anything runs."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

from evalkit.engines.beam_sums import apache
from evalkit.errors import ConfigError, nearest


def parsed(flags: Sequence[str]) -> Any:
    """Returns Beam's options, or says in one sentence what is wrong with them."""
    from apache_beam.options import pipeline_options  # pyright: ignore[reportMissingImports]
    from apache_beam.runners.runner import create_runner  # pyright: ignore[reportMissingImports]

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = pipeline_options.PipelineOptions(list(flags))
            given = options.get_all_options(retain_unknown_options=True)
    except SystemExit as error:
        raise ConfigError(f"Beam refuses the options: {said.getvalue().strip().rpartition('error: ')[2]}.") from error
    known = pipeline_options.PipelineOptions([]).get_all_options()
    runner = runner_of(options)
    unknown = [name for name in given if name not in known]
    if unknown and runner in pipeline_options.StandardOptions.LOCAL_RUNNERS:
        raise ConfigError(f"Beam's {runner} has no option --{unknown[0]}.{nearest(unknown[0], known)}")
    try:
        create_runner(options.view_as(pipeline_options.StandardOptions).runner or "DirectRunner")
    except (ValueError, ImportError, AttributeError) as error:
        names = pipeline_options.StandardOptions.KNOWN_RUNNER_NAMES
        raise ConfigError(f"Beam cannot run on {runner}: {last_line(error)}.{nearest(runner, names)}") from error
    return options


def runner_of(options: Any) -> str:
    """Returns the name of the runner."""
    named = options.view_as(apache.options.pipeline_options.StandardOptions).runner or "DirectRunner"
    return str(named).rpartition(".")[2]


def workers_are_here(options: Any) -> bool:
    """Tells whether workers run on this machine, so that a folder of it will do."""
    kinds = apache.options.pipeline_options
    portable = options.view_as(kinds.PortableOptions)
    if portable.environment_type in ("LOOPBACK", "SUBPROCESS_SDK"):
        return True
    if portable.environment_type:
        return False
    if runner_of(options) == "FlinkRunner":
        return options.view_as(kinds.FlinkRunnerOptions).flink_master in ("[local]", "[auto]")
    return runner_of(options) in kinds.StandardOptions.LOCAL_RUNNERS


def workers_are_processes(options: Any) -> bool:
    """Tells whether Beam starts processes of this machine as workers."""
    kinds = apache.options.pipeline_options
    mode = options.view_as(kinds.DirectOptions).direct_running_mode
    return mode == "multi_processing" and runner_of(options) in kinds.StandardOptions.LOCAL_RUNNERS


def workers_are_in_this_process(options: Any) -> bool:
    """Tells whether what this process has imported or defined is there for workers."""
    kinds = apache.options.pipeline_options
    if options.view_as(kinds.PortableOptions).environment_type:
        return bool(options.view_as(kinds.PortableOptions).environment_type == "LOOPBACK")
    return workers_are_here(options) and not workers_are_processes(options)


def last_line(error: BaseException) -> str:
    """Returns the last line of an error's message, which in Beam's holds the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
