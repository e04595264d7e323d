"""Logs: one line per event on stderr, as text or JSON, with the ids of run, iteration and task where there is one."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

# Attribute of a log record that holds its fields: logger.info("...", extra={FIELDS: {...}}).
FIELDS = "star_fields"


class JsonFormatter(logging.Formatter):
    """time (UTC), level, logger, message, the fields of the event, and the traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        event: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FIELDS, {}),
        }
        if record.exc_info:
            event["traceback"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


class TextFormatter(logging.Formatter):
    """The same for people."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it."""
        fields = "".join(f" {name}={value}" for name, value in getattr(record, FIELDS, {}).items())
        first, newline, rest = super().format(record).partition("\n")
        return f"{first}{fields}{newline}{rest}"


def start_logging(log_format: Literal["text", "json"]) -> None:
    """Sends all logs of the process to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
