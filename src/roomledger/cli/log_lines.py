"""What the processes say while they run: a line an event, on standard error; JSON if that is no terminal."""

import logging
import sys
from typing import Any

import structlog


def _for_people() -> structlog.dev.ConsoleRenderer:
    # Plain tracebacks: the rich ones print variables, and a variable may hold a secret.
    return structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)


def set_up(*, verbose: bool = False) -> None:
    """Let structlog write to standard error."""
    terminal = sys.stderr.isatty()
    renderer: Any = _for_people() if terminal else structlog.processors.JSONRenderer(sort_keys=False)
    processors: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not terminal:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # nats-py and uvicorn speak through the standard library; what matters of it comes through our own lines.
    logging.basicConfig(stream=sys.stderr, level=logging.CRITICAL)
