"""Log lines: one event each, with fields. `log.info("peer connected", extra=fields(id=7, address="..."))`.

A line is made in the thread that logs and written by another one: neither a slow disk nor a terminal that nobody reads can
stop the event loop. What peers say (an agent name, a reason) is quoted, so that no line can be forged. No secret is ever a
field.
"""

from __future__ import annotations

import atexit
import json
import logging
import logging.handlers
import re
import sys
import time
from pathlib import Path
from queue import Full, Queue
from typing import Any

from timecoin.errors import ConfigError

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
FILE_BYTES = 16 * 1024 * 1024
FILES_KEPT = 4  # beside the one that is written to
MAX_QUEUED = 10_000  # lines that wait to be written; more are counted, dropped, and the count is logged
MAX_VALUE_CHARS = 1_000

_LOGGERS = ("timecoin", "asyncio")  # asyncio tells of exceptions that nobody took
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9_./:@%+,\[\]-]+")


def fields(**values: object) -> dict[str, dict[str, object]]:
    """The `extra` argument of a logging call that carries `values`."""
    return {"fields": values}


def _event(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record, each a string, number, boolean or None."""
    event = dict(getattr(record, "fields", {}))
    if record.exc_info:
        event["exception"] = logging.Formatter().formatException(record.exc_info)[-8 * MAX_VALUE_CHARS :]
    return {name: value if name == "exception" else _plain(value) for name, value in event.items()}


def _plain(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, (int, float)):
        return value
    text = value.hex() if isinstance(value, (bytes, bytearray)) else str(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + "..."


def _time(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.created * 1000) % 1000:03d}Z"


class PlainFormatter(logging.Formatter):
    """`2026-01-02T03:04:05.678Z INFO timecoin.node.peers peer connected id=7 address=127.0.0.1:9000`"""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if not message.isprintable():
            message = json.dumps(message)
        words = [_time(record), record.levelname, record.name, message]
        for name, value in _event(record).items():
            text = str(value)
            words.append(f"{name}={text if _PLAIN_VALUE.fullmatch(text) else json.dumps(text)}")
        return " ".join(words)


class JsonFormatter(logging.Formatter):
    """One JSON object a line; a field named like one of the first four keys gets an underscore."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        for name, value in _event(record).items():
            line[f"{name}_" if name in ("time", "level", "logger", "event") else name] = value
        return json.dumps(line)


class _Enqueue(logging.handlers.QueueHandler):
    """Formats a record and queues it, or counts it when the queue is full."""

    queue: Queue[Any]

    def __init__(self, waiting: Queue[Any]) -> None:
        super().__init__(waiting)
        self.dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            if self.dropped:
                notice = logging.LogRecord(__name__, logging.WARNING, "", 0, "log lines dropped", None, None)
                notice.fields = {"count": self.dropped}
                self.queue.put_nowait(self.prepare(notice))
                self.dropped = 0
            self.queue.put_nowait(record)
        except Full:
            self.dropped += 1


class _Writer(logging.handlers.QueueListener):
    """Writes what is queued; its end mark waits for room instead of failing on a full queue."""

    queue: Queue[Any]

    def enqueue_sentinel(self) -> None:
        self.queue.put(None)


class Logs:
    """What `setup` has set up. `close` writes what is queued and takes it all down again."""

    def __init__(self, enqueue: _Enqueue, writer: _Writer) -> None:
        self._enqueue = enqueue
        self._writer = writer
        self._open = True

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        atexit.unregister(self.close)
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.removeHandler(self._enqueue)
            logger.propagate = True
        self._writer.stop()
        for handler in self._writer.handlers:
            handler.close()
        self._enqueue.close()


def setup(level: str = "info", *, json: bool = False, file: Path | None = None) -> Logs:
    """Log to stderr, or to `file`, which is moved aside at FILE_BYTES and of which FILES_KEPT older parts are kept.

    ConfigError: an unknown level, or a file that cannot be opened.
    """
    if level not in LEVELS:
        raise ConfigError(f"log level {level!r}: one of {', '.join(LEVELS)} expected")
    target: logging.Handler
    try:
        if file is None:
            target = logging.StreamHandler(sys.stderr)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            target = logging.handlers.RotatingFileHandler(file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"log file {file}: {error.strerror or error}") from error
    waiting: Queue[Any] = Queue(MAX_QUEUED)
    enqueue = _Enqueue(waiting)
    enqueue.setFormatter(JsonFormatter() if json else PlainFormatter())
    writer = _Writer(waiting, target)
    writer.start()
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(LEVELS[level])
        logger.addHandler(enqueue)
        logger.propagate = False
    logs = Logs(enqueue, writer)
    atexit.register(logs.close)
    return logs
