"""Methods about blocks and the chain."""

from __future__ import annotations

from timecoin import params
from timecoin._core import codec
from timecoin.ledger.blocks import BLOCK_OVERHEAD_BYTES, Block, Header
from timecoin.ledger.money import show_coins
from timecoin.node.rpc.backend import Backend
from timecoin.node.rpc.dispatch import INVALID_PARAMS, NOT_FOUND, OUT_OF_RANGE, RpcError
from timecoin.node.rpc.views import Hash, Height, WaitMs, block_view, header_view
from timecoin.replica.tables import BLOCKS, HASHES, HEADERS, META_FIRST_BLOCK, Store, height_key, number


async def getblockchaininfo(node: Backend) -> object:
    """Where the chain stands: its name and id, height, best block, open epoch, the commitment to all coins, the supply; and
    from which height on the blocks are here (pruneheight), if not from the first."""
    ledger, genesis = node.replica.ledger, node.genesis
    first = number(node.storage, META_FIRST_BLOCK)
    supply = genesis.supply_at(ledger.height)
    return {
        "chain": genesis.name,
        "chain_id": ledger.chain_id.hex(),
        "blocks": ledger.height,
        "bestblockhash": ledger.tip.hex(),
        "time": ledger.tip_time // 1000,
        "time_ms": ledger.tip_time,
        "epoch": ledger.epoch,
        "utxo_commitment": ledger.commitment().hex(),
        "coins": len(ledger.coins),
        "supply": show_coins(supply),
        "supply_units": supply,
        "pruned": first > 1,
        "pruneheight": first if first > 1 else None,
    }


async def getblockcount(node: Backend) -> object:
    """The height of the last committed block."""
    return node.replica.ledger.height


async def getbestblockhash(node: Backend) -> object:
    """The hash of the last committed block."""
    return node.replica.ledger.tip.hex()


async def getblockhash(node: Backend, height: Height) -> object:
    """The hash of the committed block at a height."""
    _check_height(node, height)
    return codec.header_hash(await _header(node, height)).hex()


async def getblock(node: Backend, block: Hash | Height, verbosity: int = 1) -> object:
    """A committed block, named by its hash or its height. verbosity 0: its encoding in hex (at height 0 the header alone,
    since the genesis document stands for the rest); 1: header fields and txids; 2: header fields and transactions. A block
    that this node keeps no more is refused with the reason `pruned`."""
    if not 0 <= verbosity <= 2:
        raise RpcError(INVALID_PARAMS, f"verbosity = {verbosity}: 0 to 2")
    height = block if isinstance(block, int) else await _height_of(node, bytes.fromhex(block))
    _check_height(node, height)
    if height == 0:
        return _genesis_block(node, verbosity)

    def read() -> object:
        data = stored_block(node.storage, height)
        return data.hex() if verbosity == 0 else block_view(Block.decode(data), with_transactions=verbosity == 2)

    view = await node.read(read)
    if isinstance(view, dict):
        view["confirmations"] = node.replica.ledger.height - height + 1
    return view


async def waitforblockheight(node: Backend, height: Height, timeout_ms: WaitMs = params.MAX_RPC_WAIT_MS) -> object:
    """Answers when the chain has reached a height or the time is up, with the height and hash of the last block then."""
    await node.wait_height(height, timeout_ms / 1000)
    ledger = node.replica.ledger
    return {"height": ledger.height, "hash": ledger.tip.hex()}


def stored_block(store: Store, height: int) -> bytes:
    """The encoding of a committed block, in a reader's thread. Raises RpcError(NOT_FOUND), with `pruned` if it was here."""
    data = store.get(BLOCKS, height_key(height))
    if data is None:
        first = number(store, META_FIRST_BLOCK)
        if height < first:
            raise RpcError(NOT_FOUND, f"block {height} is pruned: the first one here is block {first}", "pruned")
        raise RpcError(NOT_FOUND, f"block {height} is not stored here")
    return data


def _check_height(node: Backend, height: int) -> None:
    tip = node.replica.ledger.height
    if height > tip:
        raise RpcError(OUT_OF_RANGE, f"height {height}: the chain has reached {tip}")


async def _height_of(node: Backend, block_hash: bytes) -> int:
    if block_hash == codec.header_hash(node.genesis.header()):
        return 0
    found = await node.read(lambda: node.storage.get(HASHES, block_hash))
    if found is None:
        raise RpcError(NOT_FOUND, f"no committed block has the hash {block_hash.hex()}")
    return int.from_bytes(found, "big")


async def _header(node: Backend, height: int) -> bytes:
    if height == 0:
        return node.genesis.header()
    header = await node.read(lambda: node.storage.get(HEADERS, height_key(height)))
    if header is None:
        raise RpcError(NOT_FOUND, f"the header at height {height} is not stored here")
    return header


def _genesis_block(node: Backend, verbosity: int) -> object:
    header = node.genesis.header()
    if verbosity == 0:
        return header.hex()
    view = header_view(Header.decode(header))
    return view | {"size": BLOCK_OVERHEAD_BYTES, "nTx": 0, "tx": [], "confirmations": node.replica.ledger.height + 1}
