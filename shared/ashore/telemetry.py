"""Logs, metrics and trace context: what an operator sees of a running service.

Logs are structlog's, one line per thing, JSON unless a person watches; lines of the standard library's loggers take
the same way out. Metrics live in a registry of their own, so that tests and several services in one process do not
share numbers. Of tracing there is only the W3C `traceparent`, handed on from request to event; the OpenTelemetry SDK
is not needed for that.
"""

import asyncio
import contextlib
import logging
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO, cast

import msgspec
import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5)
"""Histogram bounds: a P-256 step takes 0.1 ms, a P-384 step 1 ms, a commit on a slow disk 10 ms and more."""

_PROTOCOLS: Final = {1: "di", 2: "to0", 3: "to1", 6: "to2", 7: "to2"}
_TRACEPARENT: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_QUIET: Final = ("asyncio", "nats", "uvicorn", "uvicorn.error", "alembic", "sqlalchemy")


def configure(level: str = "info", style: Literal["auto", "json", "console"] = "auto", *, service: str = "") -> None:
    """Send structlog's and the standard library's lines to standard output in one form, each with the service's name.

    There is a line for each message of a device, so a line passes few hands on its way.
    """
    out = _Steadfast(sys.stdout)
    threshold = logging.getLevelNamesMapping()[level.upper()]
    constant = {"service": service} if service else {}
    is_console = style == "console" or (style == "auto" and out.isatty())
    before, render = _for_people(constant, out) if is_console else ([], _json(constant))
    structlog.configure(
        processors=[*before, render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_names: out,
        cache_logger_on_first_use=True,
    )
    _route_standard_library(cast(TextIO, out), before, render, threshold)


class _Steadfast:
    """A stream that swallows its own trouble: a full disk below the log must not fail the work that is logged.

    It is structlog's logger as well: of a line that comes to it only the writing is left.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(f"{line}\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # contextlib.suppress costs as much as the writing

    debug = info = warning = error = critical = msg

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()


def _json(constant: Mapping[str, str]) -> structlog.typing.Processor:
    """Make whole lines of JSON. One processor does it all: each of structlog's own costs as much as the encoding."""
    encode = msgspec.json.Encoder(enc_hook=repr).encode

    def render(logger: object, level: str, line: structlog.typing.EventDict) -> str:
        line["level"] = "error" if level == "exception" else level
        line.update(constant)
        line["timestamp"] = _now()
        if "exc_info" in line:
            line = structlog.processors.format_exc_info(logger, level, line)
        return encode(line).decode()

    return render


def _for_people(
    constant: Mapping[str, str], out: _Steadfast
) -> tuple[list[structlog.typing.Processor], structlog.typing.Processor]:
    def stamp(_logger: object, _level: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        line.update(constant)
        line["timestamp"] = _now()
        return line

    # Without the formatter named here structlog would draw tracebacks with rich wherever rich is installed.
    console = structlog.dev.ConsoleRenderer(
        colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback, sort_keys=False
    )
    return [structlog.processors.add_log_level, stamp], console


def _now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _route_standard_library(
    out: TextIO, before: list[structlog.typing.Processor], render: structlog.typing.Processor, threshold: int
) -> None:
    handler = logging.StreamHandler(out)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=render, foreign_pre_chain=before))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    for name in _QUIET:
        # These speak at info of every connection and at warning of every malformed request; ours say what matters.
        logging.getLogger(name).setLevel(max(threshold, logging.ERROR))


class Metrics:
    """The numbers that all services share; a service may add its own to `registry`."""

    def __init__(self) -> None:
        # A second series per counter, of when it was made, tells nobody anything.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library left it untyped
        self.registry = CollectorRegistry()
        self.messages = Counter(
            "ashore_fdo_messages",
            "FDO messages received, by the number of the message and whether an error was answered",
            ["protocol", "message", "result"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "ashore_fdo_message_seconds",
            "Time from a whole FDO message to its answer",
            ["protocol"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.refused = Counter(
            "ashore_http_refused", "FDO requests refused before their message was read", ["why"], registry=self.registry
        )
        self.sessions = Gauge("ashore_sessions", "FDO sessions in this process's memory", registry=self.registry)
        self.outbox = Gauge(
            "ashore_outbox_depth",
            "Events stored and not yet on the bus, counted up to 100000; the same number from each replica",
            registry=self.registry,
        )
        self.outbox_age = Gauge(
            "ashore_outbox_oldest_seconds",
            "For how long the oldest of them has waited; 0 where none waits",
            registry=self.registry,
        )
        self.restarts = Counter(
            "ashore_task_restarts", "Background tasks started again after a crash", ["task"], registry=self.registry
        )
        ProcessCollector(registry=self.registry)
        self._observers: dict[tuple[int, bool], Callable[[float], None]] = {}
        self._measures: list[Callable[[], Awaitable[None]]] = []

    def observe(self, number: int, *, failed: bool, seconds: float) -> None:
        """Count one FDO message and the time it took."""
        observer = self._observers.get((number, failed))
        if observer is None:
            # Looking up labelled children costs more than counting; a message number has two.
            observer = self._observers[number, failed] = self._observer(number, failed=failed)
        observer(seconds)

    def _observer(self, number: int, *, failed: bool) -> Callable[[float], None]:
        protocol = _PROTOCOLS.get(number // 10, "other")
        count = self.messages.labels(protocol, str(number), "error" if failed else "ok").inc
        time = self.seconds.labels(protocol).observe

        def observe(seconds: float) -> None:
            count()
            time(seconds)

        return observe

    def measured_by(self, measure: Callable[[], Awaitable[None]]) -> None:
        """Have it set its numbers whenever somebody looks, and at no other time."""
        self._measures.append(measure)

    async def collect(self) -> bytes:
        """Measure, then render."""
        await asyncio.gather(*(measure() for measure in self._measures))
        return self.render()

    def render(self) -> bytes:
        """The Prometheus text of everything in the registry."""
        return generate_latest(self.registry)


def parse_traceparent(value: str | None) -> str | None:
    """The W3C trace context if it is one, else None (Trace Context, section 3.2: a bad one is ignored)."""
    return value if value is not None and _TRACEPARENT.fullmatch(value) else None
