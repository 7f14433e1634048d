"""Log lines: one a record, parsable, not to be forged, and never in the way of who logs."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from timecoin.errors import ConfigError
from timecoin.node import logs
from timecoin.node.logs import JsonFormatter, PlainFormatter, fields

log = logging.getLogger("timecoin.node.test")


def record(message: str, **values: object) -> logging.LogRecord:
    made = log.makeRecord(log.name, logging.INFO, "", 0, message, (), None, extra=fields(**values))
    made.created = 1_700_000_000.0625
    return made


def test_a_plain_line() -> None:
    line = PlainFormatter().format(record("peer connected", id=7, address="127.0.0.1:9000", key=b"\x01\xff", none=None))
    assert line == (
        "2023-11-14T22:13:20.062Z INFO timecoin.node.test peer connected id=7 address=127.0.0.1:9000 key=01ff none=None"
    )


def test_a_json_line() -> None:
    line = json.loads(JsonFormatter().format(record("peer connected", id=7, key=b"\x01", time="x", ok=True, ms=1.5)))
    assert line == {
        "time": "2023-11-14T22:13:20.062Z",
        "level": "info",
        "logger": "timecoin.node.test",
        "event": "peer connected",
        "id": 7,
        "key": "01",
        "time_": "x",
        "ok": True,
        "ms": 1.5,
    }


@pytest.mark.parametrize("formatter", [PlainFormatter(), JsonFormatter()])
@pytest.mark.parametrize("text", ["a b", "a=b", "x\ny", "\x1b[2J", '"', "", "\u2028", "x" * 100_000])
def test_what_a_peer_says_stays_within_its_field(formatter: logging.Formatter, text: str) -> None:
    line = formatter.format(record("peer", agent=text, after=1))
    assert line.isprintable()
    assert len(line) < 2500
    if isinstance(formatter, PlainFormatter):
        assert line.endswith(" after=1")
        assert "agent=" in line
        quoted = line[line.index("agent=") + 6 : -len(" after=1")]
        assert json.loads(quoted if quoted.startswith('"') else f'"{quoted}"')[:1000] == text[:1000]


def test_an_exception_is_one_line_too() -> None:
    try:
        raise ValueError("first\nsecond")
    except ValueError as error:
        made = log.makeRecord(log.name, logging.ERROR, "", 0, "failed", (), (ValueError, error, error.__traceback__))
    assert PlainFormatter().format(made).isprintable()
    assert "ValueError: first\nsecond" in json.loads(JsonFormatter().format(made))["exception"]


@pytest.fixture
def restored() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("timecoin", "asyncio")]
    before = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    yield
    for logger, (level, propagate, handlers) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
        assert logger.handlers == handlers


@pytest.mark.usefixtures("restored")
def test_setup_writes_to_a_file_at_and_above_the_level(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "node.log"
    handle = logs.setup("warning", json=True, file=path)
    log.info("too little")
    log.warning("enough", extra=fields(n=1))
    logging.getLogger("asyncio").error("task failed")
    handle.close()
    handle.close()
    log.warning("too late")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["enough", "task failed"]


@pytest.mark.usefixtures("restored")
def test_setup_writes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    handle = logs.setup("debug")
    log.debug("hello", extra=fields(a="b c"))
    handle.close()
    assert capsys.readouterr().err.endswith(' DEBUG timecoin.node.test hello a="b c"\n')


@pytest.mark.usefixtures("restored")
def test_files_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 2000)
    path = tmp_path / "node.log"
    handle = logs.setup("info", file=path)
    for i in range(500):
        log.info("line", extra=fields(i=i))
    handle.close()
    files = sorted(tmp_path.iterdir())
    assert len(files) == 1 + logs.FILES_KEPT
    assert all(file.stat().st_size <= 2000 for file in files)
    assert "i=499" in path.read_text()


@pytest.mark.usefixtures("restored")
def test_a_writer_that_hangs_never_stops_who_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MAX_QUEUED", 20)
    path = tmp_path / "node.log"
    handle = logs.setup("info", file=path)
    entered, gate = threading.Event(), threading.Event()
    target = handle._writer.handlers[0]
    emit = target.emit

    def hanging(made: logging.LogRecord) -> None:
        entered.set()
        gate.wait(30)
        emit(made)

    monkeypatch.setattr(target, "emit", hanging)
    log.info("line")
    assert entered.wait(30)
    for _ in range(100):
        log.info("line")
    dropped = handle._enqueue.dropped
    assert dropped == 80
    gate.set()
    handle._writer.queue.join()
    log.info("again")
    handle.close()
    lines = path.read_text().splitlines()
    assert len(lines) == 23
    assert lines[-2].endswith("log lines dropped count=80")


def test_setup_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="log level 'loud': one of debug, info, warning, error"):
        logs.setup("loud")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="log file"):
        logs.setup(file=tmp_path / "file" / "node.log")
