"""Settings of the worker process: flags, and environment variables where a flag is not given. Read once, frozen."""

import argparse
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_DESCRIPTION = "Connects to a STAR control plane and does its work: samples pictures, captures attention, trains."
_EPILOG = """\
examples:
  star-worker --server 127.0.0.1:7071 --data-dir ./worker-data
  STAR_SERVER=control.internal:7071 STAR_DATA_DIR=/data star-worker --worker-id node-3 --log-format json

The worker needs no open port. It reconnects by itself when the connection breaks. What it writes:
  <data-dir>/runs/<run id>/checkpoints/<policy version>/   durable states (safetensors and a manifest with digests)
  <data-dir>/runs/<run id>/export/                         the trained part in diffusers format

exit codes:
  0  the control plane asked to shut down, or SIGINT or SIGTERM came (a task at hand is dropped safely)
  1  unexpected failure; the log has the cause
  2  the command line is wrong
  3  the control plane speaks another protocol version: install the same release on both sides
A second SIGINT or SIGTERM ends the process at once.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerSettings:
    """Everything that the operator of a worker chooses. Times in seconds."""

    server: str
    data_dir: Path
    worker_id: str
    model_root: Path
    log_format: Literal["text", "json"]
    exit_with_parent: bool
    # Connect, hello and welcome.
    connect_timeout_s: float = 20.0
    # A whole sampling or update call; a dead peer is found by keepalive long before.
    task_timeout_s: float = 24 * 3600.0
    # Longest wait for the control plane to take a message.
    send_timeout_s: float = 120.0
    # First and longest wait before the next connection attempt.
    backoff_first_s: float = 0.5
    backoff_longest_s: float = 30.0


def read_settings(arguments: Sequence[str], environment: Mapping[str, str], is_terminal: bool) -> WorkerSettings:
    """Parses the command line; argparse exits with code 2 and a message when it is wrong."""
    parser = _parser(environment)
    given = parser.parse_args(arguments)
    host, _, port = given.server.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        parser.error(f"--server: expected HOST:PORT with a port in 1..65535, received {given.server!r}")
    if not given.worker_id.strip():
        parser.error("--worker-id: expected a name, received an empty string")
    return WorkerSettings(
        server=given.server,
        data_dir=given.data_dir.resolve(),
        worker_id=given.worker_id,
        model_root=given.model_root.resolve(),
        log_format=given.log_format or ("text" if is_terminal else "json"),
        exit_with_parent=given.exit_with_parent,
    )


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="star-worker",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(flag: str, variable: str, fallback: str | None, metavar: str, text: str, kind: type = str) -> None:
        default = environment.get(variable, fallback)
        parser.add_argument(
            flag,
            metavar=metavar,
            type=kind,
            default=None if default is None else kind(default),
            required=default is None,
            help=f"{text} (environment: {variable})",
        )

    name = platform.node() or "worker"
    add("--server", "STAR_SERVER", None, "HOST:PORT", "gRPC address of the control plane")
    add("--data-dir", "STAR_DATA_DIR", None, "DIR", "folder for checkpoints and exports; one worker per folder", Path)
    add("--worker-id", "STAR_WORKER_ID", name, "ID", f"stable name of this worker; default {name}")
    add("--model-root", "STAR_MODEL_ROOT", ".", "DIR", "where relative model paths start; default: this folder", Path)
    parser.add_argument(
        "--log-format",
        choices=("text", "json"),
        default=environment.get("STAR_LOG_FORMAT"),
        help="default: text on a terminal, else one JSON object a line (environment: STAR_LOG_FORMAT)",
    )
    parser.add_argument(
        "--exit-with-parent",
        action="store_true",
        help="stop when the process that started this one ends (`star run` sets it)",
    )
    return parser
