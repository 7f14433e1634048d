"""`timecoin bench ledger`: its document, its tables, and the peers. How fast anything is, is nobody's business here."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

import timecoin
from tests.core import twins_codec
from timecoin._core import codec, hashing, lthash
from timecoin._core.coins import UtxoSet
from timecoin.cli import bench_ledger, bench_plain, bench_rows, exits
from timecoin.cli.app import run
from timecoin.cli.bench_data import TX_BYTES, CoinSource, encoded_transfers, random_bytes
from timecoin.cli.bench_plain import pieces
from timecoin.cli.measuring import available_cores
from timecoin.errors import DecodeError

ROOT = Path(__file__).resolve().parents[2]
BESIDE = ("peer", "peer_figure", "peer_turns", "ratio")
SECTIONS = ("hashing", "lthash", "codec", "pool", "coins", "stores")
pytestmark = pytest.mark.xdist_group("bench")  # one worker, and so one run for the document


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a run of its own prints; it leaves no file."""
    folder = tmp_path_factory.mktemp("bench")
    words = ["bench", "ledger", "--quick", "--json", "--replay", "40", "--directory", str(folder)]
    done = subprocess.run([sys.executable, "-m", "timecoin", *words], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == exits.OK, done.stderr
    assert "bench: stores: block 1" in done.stderr
    assert not list(folder.iterdir())
    return json.loads(done.stdout)


def test_the_machine_and_the_parameters(document: Any) -> None:
    machine, parameters = document["machine"], document["parameters"]
    assert set(document) == {"machine", "parameters", "results"}
    assert machine["timecoin"] == timecoin.__version__
    assert machine["hash_backends"] == {"sha256": hashing.backend(), "lthash": lthash.cpu_backend()}
    assert parameters["sizes"] == [2000]
    assert parameters["sections"] == list(SECTIONS)
    assert parameters["repetitions"] == 1
    assert parameters["pinned_to_core"] in machine["available_cores"]
    assert parameters["file_system"] == bench_ledger.file_system(Path(parameters["directory"]).parent)
    assert 0 < document["results"]["share_of_core"] < 1.1
    assert document["results"]["judged"] is False


def test_every_section_has_rows(document: Any) -> None:
    rows = document["results"]["rows"]
    assert tuple(dict.fromkeys(row["section"] for row in rows)) == (*SECTIONS, "replay")
    names = [(row["section"], row["what"], row["n"]) for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        assert set(row) == {"section", "what", "n", "unit", "figure", "turns", "targets", "flat", *BESIDE}
        assert row["n"] in (2000, 4096, 40)


def test_figures_follow_from_the_turns(document: Any) -> None:
    for row in document["results"]["rows"]:
        assert row["figure"] == pytest.approx(median(row["turns"]))
        assert row["figure"] > 0
        if row["peer"] is None:
            assert (row["peer_figure"], row["peer_turns"], row["ratio"]) == (None, [], None)
            continue
        assert row["peer_figure"] == pytest.approx(median(row["peer_turns"]))
        ratios = [peer / own for peer, own in zip(row["peer_turns"], row["turns"], strict=True)]
        assert row["ratio"] == pytest.approx(median(ratios))


def test_targets(document: Any) -> None:
    rows = document["results"]["rows"]
    targets = [(row, target) for row in rows for target in row["targets"]]
    wanted = {
        ("codec", "ratio", 30),
        ("codec", "figure", 1000),
        ("codec", "ratio", 5),
        ("hashing", "ratio", 5),
        ("lthash", "figure", 288),
    }
    assert {(row["section"], target["of"], target["bound"]) for row, target in targets} >= wanted
    for row, target in targets:
        assert target["value"] == row[target["of"]]
        assert target["met"] is (target["value"] <= target["bound"] if target["at_most"] else target["value"] >= target["bound"])


def test_growth(document: Any) -> None:
    (row,) = document["results"]["growth"]  # Merkle roots alone have a size of their own
    figures = {str(found["n"]): found["figure"] for found in document["results"]["rows"] if found["what"] == row["what"]}
    assert row["from"] == 2000
    assert row["ratios"] == pytest.approx({n: figure / figures["2000"] for n, figure in figures.items()})


def made_row(what: str, n: int, figure: float) -> bench_rows.Row:
    return {"section": "coins", "what": what, "n": n, "unit": "ms", "figure": figure, "flat": what == "look up"}


@pytest.mark.parametrize(("last", "met"), [(3.9, True), (4.1, False)])
def test_growth_to_the_largest_set_is_bounded(last: float, met: bool) -> None:
    figures = {10**4: 1.0, 10**5: 2.0, 10**7: last}
    rows = [made_row(what, n, figure) for what in ("look up", "insert") for n, figure in figures.items()]
    looked_up, inserted = bench_ledger.growth(rows)
    assert looked_up["from"] == 10**5
    assert looked_up["ratios"] == {"10000": 0.5, "100000": 1.0, "10000000": last / 2}
    assert [target["met"] for target in looked_up["targets"]] == [met]
    assert inserted["targets"] == []


def show(document: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """The table form of a document."""
    monkeypatch.setattr(bench_ledger, "measure", lambda **_: document)
    assert run(["bench", "ledger"]) == exits.OK
    return capfd.readouterr().out


def test_the_tables(document: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    text = show(document, monkeypatch, capfd)
    for row in document["results"]["rows"]:
        line = next(line for line in text.splitlines() if line.startswith(row["what"]) and f" {row['n']:,} " in line)
        assert row["unit"] in line
        assert row["peer"] is None or row["peer"] in line
    assert "cannot judge them" in text
    assert "(>= 30x " in text


def test_tables_of_another_machine(document: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    other = copy.deepcopy(document)
    other["machine"] |= {"cpu": None, "compiler": None}
    other["parameters"] |= {"pinned_to_core": None, "file_system": None}
    other["results"] |= {"judged": True, "growth": [], "share_of_core": 0.5}
    other["results"]["rows"][0]["targets"] = [
        {"of": "ratio", "bound": 6, "at_most": False, "why": "", "value": None, "met": None}
    ]
    text = show(other, monkeypatch, capfd)
    assert "Not pinned" in text
    assert "unknown file system" in text
    assert "Only 50% of the core's time" in text
    assert "cannot judge them" not in text
    assert ">= 6x not measured" in text
    assert "growth" not in text


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes with which a run takes no time."""
    monkeypatch.setattr(bench_ledger, "SIZES", (300, 600))
    monkeypatch.setattr(bench_ledger, "QUICK_SIZES", (300,))
    monkeypatch.setattr(bench_ledger, "_SECONDS", 0.0)


@pytest.mark.usefixtures("small")
def test_one_section_with_repetitions(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench_ledger, "available_cores", list)
    assert run(["bench", "ledger", "--repetitions", "5", "--json", "--only", "pool", "--only", "stores"]) == exits.OK
    out, err = capfd.readouterr()
    document = json.loads(out)
    assert document["parameters"]["pinned_to_core"] is None
    assert {row["section"] for row in document["results"]["rows"]} == {"pool", "stores"}
    assert {row["n"] for row in document["results"]["rows"]} == {300, 600}
    timed = [row for row in document["results"]["rows"] if row["unit"] != "bytes a coin"]
    assert all(bench_rows.LEAST_TURNS <= len(row["turns"]) <= 6 for row in timed)
    assert all(set(row["ratios"]) == {"300", "600"} for row in document["results"]["growth"])
    assert "pool: insert one by one, 600" in err


@pytest.mark.usefixtures("small")
def test_a_wrong_answer_ends_it_and_leaves_the_process_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "merkle_root", lambda _: bytes(32))
    cores = available_cores()
    with pytest.raises(bench_rows.WrongAnswer, match="merkle_root: a wrong answer") as failure:
        run(["bench", "ledger", "--quick", "--only", "hashing"])
    assert exits.code_of(failure.value) == exits.FAILED
    assert available_cores() == cores


@pytest.mark.parametrize(
    "words",
    [
        ["--repetitions", "4"],
        ["--quick", "--repetitions", "5"],
        ["--quick", "--large"],
        ["--only", "everything"],
        ["--replay", "-1"],
        ["--directory", "/nowhere/at/all"],
    ],
)
def test_wrong_usage(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["bench", "ledger", *words]) == exits.USAGE
    assert "Error: " in capfd.readouterr().err


def test_the_choice_of_sections_is_all_of_them() -> None:
    assert tuple(bench_ledger.SECTIONS) == SECTIONS


# The peers do what they are compared with


def test_plain_hashing() -> None:
    messages = pieces(random_bytes(20, 200), 200)
    assert bench_plain.sha256_loop(messages) == hashing.sha256_many(messages)
    assert bench_plain.tagged_loop(b"tag", messages) == hashing.tagged_sha256_many(b"tag", messages)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 100])
def test_plain_merkle_root(count: int) -> None:
    column = random_bytes(count, 32)
    assert bench_plain.merkle_root(pieces(column, 32)) == hashing.merkle_root(column)


def test_plain_muhash_does_not_depend_on_the_order() -> None:
    products = []
    for elements in ([b"a", b"b", b"c"], [b"c", b"a", b"b"], [b"a", b"b", b"d"]):
        state = bench_plain.MuHash3072()
        for element in elements:
            state.insert(element)
        products.append(state.product)
    assert products[0] == products[1] != products[2]


def test_plain_decoder_agrees_with_the_core() -> None:
    data = encoded_transfers(30) + twins_codec.make_parts(1, 7, (), [(1, 5, b"k" * 32, b"o" * 32, b"a" * 16, 9)], ()).encoded
    batch = codec.TransactionBatch.decode(data)
    found = bench_plain.read_transactions(data)
    assert len(found) == batch.count == 31
    for place, decoded in enumerate(found):
        kind, height, inputs, outputs, witnesses, txid, wtxid, _ = batch.parts(place)
        assert (decoded.kind, decoded.height, decoded.txid, decoded.wtxid) == (kind, height, txid, wtxid)
        assert (tuple(decoded.inputs), tuple(decoded.outputs), tuple(decoded.witnesses)) == (inputs, outputs, witnesses)
    assert bench_plain.ids_loop(pieces(data[: 30 * TX_BYTES], TX_BYTES)) == [(one.txid, one.wtxid) for one in found[:30]]


@pytest.mark.parametrize("offset", [0, 1, 2, 4, 6, 50, TX_BYTES + 1])
def test_plain_decoder_refuses_what_the_core_refuses(offset: int) -> None:
    data = bytearray(encoded_transfers(3))
    data[TX_BYTES + offset if offset < TX_BYTES else offset] = 0 if offset in (2, 4) else 7
    for decode in (codec.TransactionBatch.decode, bench_plain.read_transactions):
        found = refusal(decode, bytes(data))
        assert (found.transaction, found.offset) == (1, TX_BYTES + (offset if offset < TX_BYTES else 1))
    refusal(bench_plain.read_transactions, encoded_transfers(2)[:-1])


def refusal(decode: Callable[[bytes], object], data: bytes) -> DecodeError:
    with pytest.raises(DecodeError) as failure:
        decode(data)
    return failure.value


# The data


def test_coins_by_number() -> None:
    source = CoinSource(1000)
    rising = [point for page in source.records(300) for point, _ in page]
    assert rising == sorted(set(rising))
    coins, other = UtxoSet(), UtxoSet()
    for page in source.pages():
        coins.add(page.outpoints, page.values, page.keys, page.kinds, 1)
    for records in source.records():
        other.load(b"".join(point for point, _ in records), [record for _, record in records])
    assert len(coins) == 1000
    assert coins.commitment() == other.commitment()
    assert len(set(source.scattered(0, 1000).tolist())) == 1000
    assert bytes(coins.get(source.half_there(0, 100)).found) == b"\1\0" * 50
