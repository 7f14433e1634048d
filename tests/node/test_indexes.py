"""What a configuration asks a store to keep, and what the store has: brought together when a node opens it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tests.node.network import Network
from tests.node.stores import GENESIS, change, replica_with, rows_of, store_on_disk
from timecoin.errors import StorageError
from timecoin.node import runner
from timecoin.node.config import Config
from timecoin.node.runner import Node
from timecoin.replica import tables
from timecoin.replica.tables import META, Keeping, Write, height_key


@pytest.fixture
def config(tmp_path: Path) -> Config:
    document = tmp_path / "genesis.toml"
    document.write_text(GENESIS.to_toml())
    return Config(data_dir=tmp_path / "data", genesis=document, rpc_listen="127.0.0.1:0")


def opened(config: Config, **keys: object) -> Node:
    """A node on the store, closed again."""
    values = {name: getattr(config, name) for name in Config.__struct_fields__}
    node = Node.open(Config(**(values | keys)))
    node.storage.close()
    return node


def test_a_new_store_has_the_indexes_that_are_asked_for(tmp_path: Path) -> None:
    network = Network(tmp_path, masternodes=3)
    for number, (transactions, addresses) in enumerate(((True, True), (True, False), (False, False))):
        config = network.config(9 + number, transaction_index=transactions, address_index=addresses)
        opened(config)
        rows = rows_of(config.data_dir)
        names = [name for name, there in ((tables.TRANSACTIONS, transactions), (tables.ADDRESSES, addresses)) if there]
        assert rows[META][tables.META_INDEXES] == ",".join(names).encode()
        assert len(rows[tables.ADDRESSES]) == (len(rows[tables.COINS]) if addresses else 0)


@pytest.mark.parametrize(
    ("keeping", "keys", "option"),
    [
        (Keeping(), {"address_index": True}, "--address-index"),
        (Keeping(transaction_index=False, address_index=True), {"address_index": True}, "--transaction-index"),
    ],
)
def test_an_index_that_is_not_there_keeps_the_node_from_starting(
    config: Config, keeping: Keeping, keys: dict[str, bool], option: str
) -> None:
    rows = store_on_disk(config.data_dir, replica_with(keeping))
    with pytest.raises(StorageError) as caught:
        opened(config, **keys)
    command = f"`timecoin reindex {config.data_dir} --genesis FILE {option}`"
    assert command in str(caught.value)
    assert "\n" not in str(caught.value)
    assert rows_of(config.data_dir) == rows


def test_an_index_that_is_switched_off_is_dropped(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    rows = store_on_disk(config.data_dir, replica_with(Keeping(address_index=True)))
    node = opened(config, transaction_index=False, address_index=False)
    assert node.status(next(iter(rows[tables.TRANSACTIONS]))) == "unknown"
    rows[tables.TRANSACTIONS], rows[tables.ADDRESSES] = {}, {}
    rows[META][tables.META_INDEXES] = b""
    assert rows_of(config.data_dir) == rows
    assert "indexes dropped" in caplog.text
    opened(config, transaction_index=False, address_index=False)
    with pytest.raises(StorageError, match="transaction_index = true"):
        opened(config)


def test_a_rebuilding_that_was_interrupted_keeps_the_node_from_starting(config: Config) -> None:
    rows = store_on_disk(config.data_dir, replica_with(Keeping()))
    change(config.data_dir, Write(META, tables.META_REINDEX, height_key(7)))
    with pytest.raises(StorageError, match="was interrupted; run it again"):
        opened(config)
    change(config.data_dir, Write(META, tables.META_REINDEX, None))
    assert opened(config).replica.ledger.height == 7
    assert rows_of(config.data_dir) == rows


def test_reading_many_coins_is_told_in_the_log(
    config: Config, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store_on_disk(config.data_dir, replica_with(Keeping()))
    opened(config)
    assert "reading coins" not in caplog.text
    monkeypatch.setattr(runner, "_LOAD_SECONDS", 0.0)
    opened(config)
    (line,) = [record for record in caplog.records if record.getMessage() == "reading coins"]
    assert line.fields["done"] == line.fields["total"] > 0  # type: ignore[attr-defined]
