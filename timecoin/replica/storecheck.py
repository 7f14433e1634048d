"""A store verified from genesis: its chain replayed, and what it says of the state compared with what the replay gives.

Of the tables it reads the blocks, certificates and headers, the coins and the entries of META that tell the tip. The other
ones are an index (hashes, transactions) or a node's own votes; no coin depends on them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import replace

from timecoin import params
from timecoin.errors import BlockError, StorageError, WrongNetwork
from timecoin.ledger.coins import Coins, records_of
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.state import Ledger
from timecoin.replica import tables
from timecoin.replica.layout import encode_epoch, epoch_key
from timecoin.replica.replay import Fault, Progress, Report, verify_chain
from timecoin.replica.tables import Store

_PAGE = 4096


def stored_tip(store: Store) -> tuple[int, bytes]:
    """(height, hash) of the last block, as META tells it; height 0 and no hash where it tells nothing."""
    tip = store.get(tables.META, tables.META_TIP)
    return (0, b"") if tip is None else (int.from_bytes(tip[:8], "big"), tip[8:])


def verify_store(
    genesis: Genesis, store: Store, *, executor: Executor | None = None, progress: Callable[[Progress], None] | None = None
) -> Report:
    """Re-checks all that a store holds of its chain; `replay.verify_chain` says how and with whom.

    A store whose blocks are good and whose state is not theirs has a fault at the height of its tip: bad-tip, bad-state,
    bad-coins. Raises WrongNetwork, WorkerError, and StorageError when the chain does not begin here with block 1.
    """
    chain_id = store.get(tables.META, tables.META_CHAIN_ID)
    if chain_id != genesis.chain_id:
        found = "none" if chain_id is None else chain_id.hex()
        raise WrongNetwork(f"the store belongs to chain {found}, the genesis document makes {genesis.chain_id.hex()}")
    if store.get(tables.META, tables.META_REINDEX) is not None:
        raise StorageError("`timecoin reindex` was interrupted in this store and must be run again before it is verified")
    first = tables.number(store, tables.META_FIRST_BLOCK)
    if first != 1:
        raise StorageError(
            f"the first block that is here is {first}: those before it were pruned, or left out by a snapshot, and nothing can "
            "be replayed without them"
        )
    report = verify_chain(genesis, _stored_blocks(store), executor=executor, progress=progress)
    if report.ledger is None:
        return report
    fault = _compare_tip(store, report.ledger) or _compare_state(store, report.ledger) or _compare_coins(store, report.ledger)
    return report if fault is None else replace(report, ledger=None, fault=fault)


def _stored_blocks(store: Store) -> Iterator[tuple[int, bytes, bytes]]:
    """(height, block, certificate) from the first block on. Raises BlockError where a block is without what goes with it."""
    for key, block in store.items(tables.BLOCKS):
        height = int.from_bytes(key, "big")
        if store.get(tables.HEADERS, key) != block[: params.HEADER_BYTES]:
            raise BlockError("bad-header", f"block {height}: the stored header is not that of the stored block")
        certificate = store.get(tables.CERTIFICATES, key)
        if certificate is None:
            raise BlockError("missing-certificate", f"block {height}: its commit certificate is missing")
        yield height, block, certificate


def _compare_tip(store: Store, ledger: Ledger) -> Fault | None:
    height, tip = stored_tip(store)
    if height > ledger.height:
        missing = ledger.height + 1
        return Fault(missing, None, "missing-block", f"block {missing} is missing: the tip is block {height}")
    if height < ledger.height:
        return Fault(ledger.height, None, "bad-tip", f"the tip is block {height}, and blocks up to {ledger.height} are here")
    if tip != ledger.tip:
        return Fault(height, None, "bad-tip", f"the tip is {tip.hex()}, block {height} is {ledger.tip.hex()}")
    return None


def _compare_state(store: Store, ledger: Ledger) -> Fault | None:
    """What a store says of the state beside what a replica would write there now."""
    expected = (
        ("lthash", tables.META, tables.META_LTHASH, ledger.lthash_state()),
        ("number of coins", tables.META, tables.META_COINS, len(ledger.coins).to_bytes(8, "big")),
        ("masternode set", tables.EPOCHS, epoch_key(ledger.epoch), encode_epoch(ledger.epoch_start, ledger.masternodes)),
    )
    for what, table, key, value in expected:
        if store.get(table, key) != value:
            return Fault(ledger.height, None, "bad-state", f"the {what} is not what the blocks up to {ledger.height} make it")
    return None


def _compare_coins(store: Store, ledger: Ledger) -> Fault | None:
    """By the commitment, which is quick; when it is not the ledger's, coin by coin."""
    stored = Coins()
    try:
        for page in store.pages(tables.COINS, _PAGE):
            stored.load([point for point, _ in page], [record for _, record in page])
        if len(stored) == len(ledger.coins) and stored.commitment() == ledger.commitment():
            return None
    except ValueError:  # what is no coin, DecodeError too
        pass
    count = 0
    for page in store.pages(tables.COINS, _PAGE):
        count += len(page)
        for outpoint, record in page:
            wrong = _wrong_coin(ledger, outpoint, record)
            if wrong is not None:
                return _bad_coins(ledger, wrong)
    return _bad_coins(ledger, f"{count} coins are stored, the chain leaves {len(ledger.coins)}")


def _wrong_coin(ledger: Ledger, outpoint: bytes, record: bytes) -> str | None:
    if len(outpoint) != params.OUTPOINT_BYTES:
        return f"{outpoint.hex()} is stored as the outpoint of a coin, and is none"
    coin = ledger.coins.get(outpoint)
    if coin is None:
        return f"coin {outpoint.hex()} is stored, and the chain leaves no such coin"
    if records_of([(outpoint, coin.output)], coin.height) != [(outpoint, record)]:
        return f"coin {outpoint.hex()} is stored with other contents than the chain gives it"
    return None


def _bad_coins(ledger: Ledger, message: str) -> Fault:
    return Fault(ledger.height, None, "bad-coins", message)
