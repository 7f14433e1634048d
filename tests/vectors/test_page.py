"""docs/formats.md against the code: its tags, sizes, bounds, kinds of message and tables are those that run."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.tidy.source import ROOT, package_files, text_of
from tests.vectors.__main__ import FILES
from tests.vectors.network import NUMBERS
from tests.vectors.test_vectors import genesis, load
from timecoin import params
from timecoin.consensus.certificates import VoteCertificate
from timecoin.consensus.evidence import Evidence
from timecoin.errors import ConfigError, DecodeError
from timecoin.node.handshake import Reason
from timecoin.node.storage import FORMAT_VERSION
from timecoin.replica import tables
from timecoin.replica.payloads import decode_blocks
from timecoin.replica.wire import LIMITS, Kind, Limit

PAGE = (ROOT / "docs" / "formats.md").read_text(encoding="utf-8")
_TAG = re.compile(r'"(timecoin/[a-z-]+)"')


def rows(start: str) -> list[list[str]]:
    """The cells of the table whose header line begins with `start`, which occurs once."""
    assert PAGE.count(f"\n{start}") == 1, start
    body = PAGE.split(f"\n{start}")[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in body]


def number(text: str) -> int:
    return int(text.replace(",", ""))


def test_every_tag_is_there() -> None:
    code = {tag for path in package_files(".py", ".pyx", ".c") for tag in _TAG.findall(text_of(path))}
    assert code == {row[0] for row in (*rows("| tag | data |"), *rows("| tag | signed message |"))}


def test_sizes_of_signed_messages() -> None:
    pbft = load("pbft.json")
    messages: dict[str, Any] = {
        "timecoin/input": load("transactions.json")["transactions"][0],
        "timecoin/vote-batch": load("votes.json")["batches"][0],
        "timecoin/pre-prepare": pbft["pre_prepare"],
        "timecoin/prepare": pbft["prepare"][0],
        "timecoin/commit": pbft["commit"][0],
        "timecoin/view-change": pbft["view_change"][0],
        "timecoin/new-view": pbft["new_view"],
        "timecoin/handshake": load("wire.json")["handshake"]["dialer"],
    }
    found = {tag: len(vector["signing_message"]) // 2 for tag, vector in messages.items()}
    assert {row[0]: number(row[2]) for row in rows("| tag | signed message |")} == found


def test_fields_add_up_to_the_sizes_in_headings() -> None:
    sections = re.findall(r"\n### ([\w -]+) \((\d+) bytes\)\n(.*?)(?=\n##)", PAGE, re.DOTALL)
    for name, size, text in sections:
        assert sum(int(line.split("|")[2]) for line in text.splitlines() if re.match(r"\| [^|]+ \| \d+ \|", line)) == int(size), (
            name
        )
    assert {name: int(size) for name, size, _ in sections} == {
        "Outpoint": params.OUTPOINT_BYTES,
        "Payment": params.PAYMENT_BYTES,
        "Collateral": params.COLLATERAL_BYTES,
        "Header": params.HEADER_BYTES,
        "Member of a set": (len(load("genesis.json")["masternode_set"]) // 2 - 2) // 4,
        "Batch header": len(load("votes.json")["batches"][0]["signing_message"]) // 2 - 64,
        "PREPARE and COMMIT": len(load("pbft.json")["prepare"][0]["encoding"]) // 2,
    }


def test_bounds_of_the_genesis_document() -> None:
    bounds = {row[0]: (number(row[1]), number(row[2])) for row in rows("| number | from |")}
    assert list(bounds) == list(NUMBERS)
    for key, (low, high) in bounds.items():
        for beyond in (low - 1, high + 1):
            changed: dict[str, Any] = {key: beyond}
            with pytest.raises(ConfigError, match=f"{key} = {beyond}: {low} to {high}$"):
                replace(genesis(), **changed)


def test_kinds_of_message_and_their_limits() -> None:
    found = {
        Kind(number(row[0])): (row[1], Limit(number(row[3]), number(row[4]), number(row[5]))) for row in rows("| number | kind |")
    }
    assert found == {kind: (kind.name, limit) for kind, limit in LIMITS.items()}
    assert set(found) == set(Kind)
    assert all(f"`{reason}`" in PAGE for reason in Reason)


def test_bounds_inside_messages() -> None:
    def highest(decode: Callable[[bytes], object], data: bytes) -> str:
        """The bound that the decoder names when the last number of `data` is too large."""
        with pytest.raises(DecodeError) as caught:
            decode(data)
        return f"{int(str(caught.value).split(' to ')[1].split()[0]):,}"

    too_large = b"\xff\xff\xff\xff"
    certificate = bytes.fromhex(load("certificates.json")["finality"]["encoding"])
    locks = bytes.fromhex(load("votes.json")["evidence"]["locks"]["encoding"])
    offences = [int(row[0].split()[0]) for row in rows("| offence | tag |")]
    assert offences == list(range(number(highest(Evidence.decode, bytes(32) + too_large)) + 1))
    most = [highest(Evidence.decode, locks[:at] + too_large) for at in (195, 199)]
    assert f"| below {number(most[0]) + 1:,} |\n| siblings | 1 | length of the branch | at most {most[1]} |" in PAGE
    size_at = 200 + 32 * locks[199]
    assert f"| length | 4 | of the transaction | 55 to {highest(Evidence.decode, locks[:size_at] + too_large)} |" in PAGE
    assert (
        f"| siblings | 1 | length of the branch | at most {highest(VoteCertificate.decode, certificate[:201] + too_large)} |"
        in PAGE
    )
    page = struct.pack("<HIBI", 1, 1, 0, 2**32 - 1)
    assert f"block is at most {highest(decode_blocks, page[:2] + too_large)} bytes" in PAGE
    assert f"a certificate at most {highest(decode_blocks, page)};" in PAGE


def test_tables_of_the_store() -> None:
    assert [row[0] for row in rows("| table | key |")] == list(tables.TABLES)
    names = {value.decode() for name, value in vars(tables).items() if name.startswith("META_")}
    assert {row[0] for row in rows("| name in `meta` |")} == names | {"version"}
    assert f"the version of this layout: {FORMAT_VERSION}" in PAGE


def test_limits() -> None:
    for name, value, _ in rows("| name | value |"):
        assert getattr(params, name) == number(value), name


def test_files_of_vectors() -> None:
    assert [row[0] for row in rows("| file | what |")] == list(FILES)
