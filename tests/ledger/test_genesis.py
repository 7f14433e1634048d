"""The genesis document: every value counts, layout does not, and a bad one is refused by name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.ledger.helpers import COLLATERAL, START_MS, key, make_genesis, operator, owner
from timecoin import params
from timecoin.errors import ConfigError
from timecoin.ledger.blocks import Header
from timecoin.ledger.coins import commit_coins, records_of
from timecoin.ledger.genesis import MIN_MAX_BLOCK_BYTES, Genesis
from timecoin.ledger.transactions import outpoint

GENESIS = make_genesis()
TEXT = GENESIS.to_toml()


def test_document_round_trip() -> None:
    assert Genesis.parse(TEXT) == GENESIS
    assert Genesis.parse(TEXT).chain_id == GENESIS.chain_id


def test_load_reads_a_file(tmp_path: Path) -> None:
    path = tmp_path / "genesis.toml"
    path.write_text(TEXT, encoding="utf-8")
    assert Genesis.load(path) == GENESIS
    with pytest.raises(ConfigError, match="absent"):
        Genesis.load(tmp_path / "absent.toml")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="genesis document"):
        Genesis.load(path)


def test_layout_does_not_change_the_chain_id() -> None:
    scalars, _, tables = TEXT.partition("\n\n")
    shuffled = "# a comment\n" + "\n".join(reversed(scalars.splitlines())) + "\n\n" + tables
    assert shuffled != TEXT
    assert Genesis.parse(shuffled).chain_id == GENESIS.chain_id


CHANGES: list[dict[str, Any]] = [
    {"name": "other"},
    {"time_ms": START_MS + 1},
    {"collateral": COLLATERAL + 1},
    {"subsidy": 51},
    {"block_interval_ms": 999},
    {"heartbeat_ms": 9999},
    {"view_timeout_ms": 1999},
    {"view_timeout_cap_ms": 29_999},
    {"epoch_length": 11},
    {"max_block_txs": 4999},
    {"max_block_bytes": params.MAX_BLOCK_BYTES - 1},
    {"min_masternodes": 2},
    {"allocations": GENESIS.allocations[:-1]},
    {"allocations": GENESIS.allocations[::-1]},
    {"masternodes": GENESIS.masternodes[:-1]},
    {"masternodes": GENESIS.masternodes[::-1]},
    {"masternodes": (replace(GENESIS.masternodes[0], port=1), *GENESIS.masternodes[1:])},
    {"masternodes": (replace(GENESIS.masternodes[0], owner=bytes(32)), *GENESIS.masternodes[1:])},
    {"masternodes": (replace(GENESIS.masternodes[0], operator=bytes(32)), *GENESIS.masternodes[1:])},
    {"masternodes": (replace(GENESIS.masternodes[0], address=bytes(16)), *GENESIS.masternodes[1:])},
]


def test_every_value_changes_the_chain_id_and_the_genesis_hash() -> None:
    made = [GENESIS, *(replace(GENESIS, **change) for change in CHANGES)]
    assert len({item.chain_id for item in made}) == len(made)
    assert len({item.header() for item in made}) == len(made)


def test_coins_are_allocations_then_collaterals() -> None:
    coins = GENESIS.coins()
    assert [point for point, _ in coins] == [outpoint(GENESIS.chain_id, place) for place in range(7)]
    assert [output.value for _, output in coins] == [10_000] * 4 + [COLLATERAL] * 3
    assert coins[4][1].key == owner(0).public
    assert coins[4][1].operator == operator(0).public
    assert GENESIS.initial_supply == sum(output.value for _, output in coins)


def test_header_commits_to_the_first_state() -> None:
    header = Header.decode(GENESIS.header())
    assert (header.height, header.epoch, header.time_ms, header.closes_epoch) == (0, 0, START_MS, False)
    assert header.parent == GENESIS.chain_id
    assert header.commitment == commit_coins(records_of(GENESIS.coins(), 0)).digest()
    assert header.next_set == GENESIS.masternode_set().hash()
    assert len(GENESIS.masternode_set()) == 3


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"name": ""}, "name"),
        ({"name": "Upper"}, "name"),
        ({"name": "x" * 33}, "name"),
        ({"time_ms": 0}, "time_ms = 0"),
        ({"time_ms": 2**63}, "time_ms"),
        ({"collateral": 0}, "collateral = 0"),
        ({"collateral": params.MAX_MONEY + 1}, "collateral"),
        ({"subsidy": -1}, "subsidy = -1"),
        ({"epoch_length": 1}, "epoch_length = 1"),
        ({"epoch_length": params.FINAL_HEIGHT}, "epoch_length"),
        ({"max_block_txs": 1}, "max_block_txs = 1"),
        ({"max_block_txs": params.MAX_BLOCK_TXS + 1}, "max_block_txs"),
        ({"max_block_bytes": MIN_MAX_BLOCK_BYTES - 1}, "max_block_bytes"),
        ({"max_block_bytes": params.MAX_BLOCK_BYTES + 1}, "max_block_bytes"),
        ({"min_masternodes": 0}, "min_masternodes = 0"),
        ({"min_masternodes": 4}, "masternode count = 3"),
        ({"masternodes": ()}, "masternode count = 0"),
        ({"heartbeat_ms": 999}, "heartbeat_ms = 999"),
        ({"view_timeout_cap_ms": 1999}, "view_timeout_cap_ms"),
        ({"allocations": ((key(1).public, 0),)}, "allocation 0 amount = 0"),
        ({"allocations": ((b"short", 1),)}, "allocation 0 address"),
        ({"allocations": ((key(1).public, params.MAX_MONEY),)}, "sum of allocations and collaterals"),
        ({"masternodes": (GENESIS.masternodes[0],) * 2}, "masternode 1 operator"),
        ({"masternodes": (replace(GENESIS.masternodes[0], port=0),)}, "masternode 0 port"),
        ({"masternodes": (replace(GENESIS.masternodes[0], address=b""),)}, "masternode 0 address"),
        ({"masternodes": (replace(GENESIS.masternodes[0], operator=b""),)}, "masternode 0 operator"),
        ({"masternodes": (replace(GENESIS.masternodes[0], owner=b""),)}, "masternode 0 owner"),
    ],
)
def test_values_out_of_bounds(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        replace(GENESIS, **change)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("subsidy = 50\n", "", "subsidy is missing"),
        ("subsidy = 50", 'subsidy = "50"', "subsidy = '50'"),
        ("subsidy = 50", "subsidy = true", "subsidy = True"),
        ("subsidy = 50", "subsidy = 5.0", "subsidy = 5.0"),
        ("subsidy = 50", "subsidy = 50\nrewards = 1", "rewards is not a key"),
        ('name = "test"', "name = 3", "name = 3"),
        ("subsidy = 50", "subsidy = ", "not TOML"),
        ("amount = 10000", "amount = 10000\nnote = 1", "allocation 0: note is not a key"),
        ("amount = 10000", "", "allocation 0: amount is missing"),
        ('address = "time1', 'address = "tome1', "allocation 0 address"),
        ('address = "127.0.0.1"', 'address = "home"', "masternode 0 address = 'home'"),
        ('operator = "', 'operator = "xx', "masternode 0 operator"),
        ('operator = "', 'operator = "00', "masternode 0 operator"),
        ("port = 9000", "port = 70000", "masternode 0 port = 70000"),
    ],
)
def test_bad_documents_are_refused_by_name(old: str, new: str, named: str) -> None:
    assert old in TEXT
    with pytest.raises(ConfigError, match=named):
        Genesis.parse(TEXT.replace(old, new, 1))


def test_tables_must_be_tables() -> None:
    scalars = TEXT.partition("\n\n")[0]
    with pytest.raises(ConfigError, match="masternode"):
        Genesis.parse(scalars + "\nmasternode = [1]\n")
    with pytest.raises(ConfigError, match="allocation"):
        Genesis.parse(scalars + '\nallocation = "all"\n')


def test_subsidy_stops_when_all_money_exists() -> None:
    left = 120
    genesis = replace(GENESIS, allocations=((key(1).public, params.MAX_MONEY - 3 * COLLATERAL - left),), subsidy=50)
    assert [genesis.subsidy_at(height) for height in (1, 2, 3, 4, 5)] == [50, 50, 20, 0, 0]


def test_block_room_holds_any_valid_transaction() -> None:
    smallest = replace(GENESIS, max_block_txs=2, max_block_bytes=MIN_MAX_BLOCK_BYTES)
    assert smallest.block_room() == (1, params.MAX_TX_BYTES)
