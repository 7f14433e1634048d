"""Methods about transactions: sending them, finding them, and how far they are."""

from __future__ import annotations

from typing import NamedTuple

from timecoin import params
from timecoin._core import codec
from timecoin.consensus.certificates import VoteKind
from timecoin.ledger.money import show_coins
from timecoin.ledger.transactions import Transaction
from timecoin.node.rpc.backend import Backend
from timecoin.node.rpc.chain import stored_block
from timecoin.node.rpc.dispatch import NOT_FOUND, UNDECODABLE, RpcError
from timecoin.node.rpc.views import Hash, WaitMs, transaction_view
from timecoin.replica.tables import HEADERS, TRANSACTIONS, height_key


class Spot(NamedTuple):
    """Where in the chain a transaction is."""

    height: int
    place: int


async def sendrawtransaction(node: Backend, hex: str) -> object:
    """Admits an encoded, signed transaction and relays it; its txid. A refusal has the reason in its data."""
    try:
        raw = bytes.fromhex(hex)
    except ValueError:
        raise RpcError(UNDECODABLE, "hex: not an even number of hexadecimal digits", "malformed") from None
    return (await node.submit(raw)).hex()


async def getrawtransaction(node: Backend, txid: Hash, verbose: bool | int = False) -> object:
    """A transaction of the pool or the chain: its encoding in hex or, if verbose, its parts and where it is."""
    wanted = bytes.fromhex(txid)
    tx, spot = await _find(node, wanted)
    if not verbose:
        return tx.encoded.hex()
    return transaction_view(tx) | await _where(node, wanted, spot)


async def gettransaction(node: Backend, txid: Hash) -> object:
    """A transaction of the pool or the chain with its status, its parts, its fee as long as it is pending, and when it
    came here (Unix time in ms) or its block."""
    wanted = bytes.fromhex(txid)
    tx, spot = await _find(node, wanted)
    view = await _where(node, wanted, spot) | {"decoded": transaction_view(tx)}
    entry = node.replica.pool.get(wanted)
    if entry is not None:
        view |= {"fee": show_coins(entry.fee), "fee_units": entry.fee}
    return view


async def gettxfinality(node: Backend, txid: Hash, with_certificate: bool = False, wait_ms: WaitMs = 0) -> object:
    """How far a transaction is: unknown, waiting, pending, certified, final, committed or void, with its votes as this
    node counts them. wait_ms: answer when it is final, committed or void, or the time is up. final_ms: how long it took
    here. with_certificate: with the finality certificate in hex, if it is still kept. Without transaction_index an unknown
    transaction is an error: it may have been committed."""
    wanted = bytes.fromhex(txid)
    if wait_ms:
        await node.wait_final(wanted, wait_ms / 1000)
    status = node.status(wanted)
    if status == "unknown":
        _check_index(node, wanted)
    spot = await _spot_of(node, wanted) if status == "committed" else None
    fastpath, quorum = node.replica.core.fastpath, node.replica.core.quorum
    view: dict[str, object] = {
        "txid": txid.lower(),
        "status": status,
        "final": status == "committed" or fastpath.is_final(wanted),
        "committed": status == "committed",
        "height": None if spot is None else spot.height,
        "locks": fastpath.votes(VoteKind.LOCK, wanted),
        "acks": fastpath.votes(VoteKind.ACK, wanted),
        "quorum": quorum.q,
        "final_ms": node.final_ms(wanted),
    }
    if with_certificate:
        certificate = fastpath.certificate(VoteKind.ACK, wanted)
        view["certificate"] = None if certificate is None else certificate.encode().hex()
    return view


async def getmempoolinfo(node: Backend) -> object:
    """How many transactions are pending, what they take, and the bounds."""
    pool = node.replica.pool
    return {
        "size": pool.count,
        "bytes": pool.bytes,
        "certified": sum(1 for _ in pool.certified),
        "final": sum(1 for _ in pool.finalized),
        "waiting": len(pool.waiting),
        "rejected": len(pool.rejected),
        "maxsize": params.MAX_PENDING,
        "maxmempool": params.MAX_PENDING_BYTES,
        "minrelaytxfee_units_per_byte": params.MIN_RELAY_FEE_RATE,
    }


async def getrawmempool(node: Backend, verbose: bool = False) -> object:
    """The ids of all pending transactions; if verbose, an object with the size, fee and state of each."""
    if not verbose:
        return [entry.tx.txid.hex() for entry in node.replica.pool]
    return {
        entry.tx.txid.hex(): {
            "size": entry.tx.size,
            "fee": show_coins(entry.fee),
            "fee_units": entry.fee,
            "status": entry.state.value,
        }
        for entry in node.replica.pool
    }


def _check_index(node: Backend, txid: bytes) -> None:
    """RpcError for a transaction that is not pending, when only the index could tell whether it is committed."""
    if not node.config.transaction_index:
        text = f"transaction {txid.hex()} is not pending; whether it is committed is not known without transaction_index = true"
        raise RpcError(NOT_FOUND, text, "no-index")


async def committed_at(node: Backend, txid: bytes) -> Spot:
    """Where a committed transaction is. Raises RpcError(NOT_FOUND), with `no-index` if that cannot be known."""
    _check_index(node, txid)
    spot = await _spot_of(node, txid)
    if spot is None:
        raise RpcError(NOT_FOUND, f"transaction {txid.hex()} is not committed")
    return spot


async def _spot_of(node: Backend, txid: bytes) -> Spot | None:
    """Where in the chain a transaction is; None when it is nowhere, or there is no index."""
    if not node.config.transaction_index:
        return None
    found = await node.read(lambda: node.storage.get(TRANSACTIONS, txid))
    if found is None:
        return None
    return Spot(int.from_bytes(found[:8], "big"), int.from_bytes(found[8:], "big"))


async def _find(node: Backend, txid: bytes) -> tuple[Transaction, Spot | None]:
    """A transaction of the pool or the chain. Raises RpcError(NOT_FOUND), with `no-index` or `pruned` if it may exist."""
    entry = node.replica.pool.get(txid)
    if entry is not None:
        return entry.tx, None
    spot = await committed_at(node, txid)

    def read() -> Transaction:
        return Transaction.from_batch(codec.decode_block(stored_block(node.storage, spot.height)).transactions, spot.place)

    return await node.read(read), spot


async def _where(node: Backend, txid: bytes, spot: Spot | None) -> dict[str, object]:
    """The fields that say how far a transaction is."""
    if spot is None:
        return {"txid": txid.hex(), "status": node.status(txid), "confirmations": 0}
    key = height_key(spot.height)
    header = await node.read(lambda: node.storage.get(HEADERS, key))
    return {
        "txid": txid.hex(),
        "status": "committed",
        "confirmations": node.replica.ledger.height - spot.height + 1,
        "height": spot.height,
        "index": spot.place,
        "blockhash": None if header is None else codec.header_hash(header).hex(),
    }
