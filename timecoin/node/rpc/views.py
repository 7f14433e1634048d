"""How values look in answers: hashes and keys in hex, owners as addresses, money twice.

Money is an integer of the smallest unit in a field called `units`, and beside it a decimal string of coins under
Bitcoin's name for the field. It is never a JSON number with a fraction, which programs would round.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from timecoin import keys, params
from timecoin.consensus.evidence import Evidence
from timecoin.ledger.blocks import Block, Header
from timecoin.ledger.money import parse_coins, show_coins
from timecoin.ledger.registry import Masternode, unpack_address
from timecoin.ledger.transactions import Output, Transaction, outpoint_index, outpoint_txid
from timecoin.node.rpc.dispatch import INVALID_PARAMS, RpcError

# What parameters are declared as
Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]
Height = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
WaitMs = Annotated[int, msgspec.Meta(ge=0, le=params.MAX_RPC_WAIT_MS)]


def parse_amount(amount: int | str) -> int:
    """'1.5' or 1 coins as units. RpcError for what is no positive amount of money."""
    try:
        return parse_coins(str(amount))
    except ValueError as error:
        raise RpcError(INVALID_PARAMS, f"amount = {error}") from None


def parse_address(address: str) -> bytes:
    """The key of an address. RpcError for anything else."""
    try:
        return keys.parse_address(address)
    except ValueError as error:
        raise RpcError(INVALID_PARAMS, f"address = {address[:100]!r}: {error}") from None


def header_view(header: Header) -> dict[str, object]:
    return {
        "hash": header.hash().hex(),
        "height": header.height,
        "epoch": header.epoch,
        "closes_epoch": header.closes_epoch,
        "proposer": header.proposer,
        "time": header.time_ms // 1000,
        "time_ms": header.time_ms,
        "previousblockhash": header.parent.hex(),
        "merkleroot": header.tx_root.hex(),
        "utxo_commitment": header.commitment.hex(),
        "next_set_hash": header.next_set.hex(),
    }


def block_view(block: Block, *, with_transactions: bool) -> dict[str, object]:
    transactions: list[object] = [transaction_view(tx) if with_transactions else tx.txid.hex() for tx in block.transactions]
    return header_view(block.header) | {"size": len(block.encoded), "nTx": len(transactions), "tx": transactions}


def transaction_view(tx: Transaction) -> dict[str, object]:
    return {
        "txid": tx.txid.hex(),
        "hash": tx.wtxid.hex(),
        "size": tx.size,
        "coinbase": tx.is_coinbase,
        "vin": [
            {"txid": outpoint_txid(point).hex(), "vout": outpoint_index(point), "witness": witness.hex()}
            for point, witness in zip(tx.inputs, tx.witnesses, strict=True)
        ],
        "vout": [{"n": place} | output_view(output) for place, output in enumerate(tx.outputs)],
        "hex": tx.encoded.hex(),
    }


def output_view(output: Output) -> dict[str, object]:
    view: dict[str, object] = {
        "value": show_coins(output.value),
        "units": output.value,
        "address": keys.address(output.key),
        "kind": "payment",
    }
    if output.kind == params.OUTPUT_COLLATERAL:
        view |= {
            "kind": "collateral",
            "operator": output.operator.hex(),
            "service": _service(unpack_address(output.address), output.port),
        }
    return view


def masternode_view(masternode: Masternode) -> dict[str, object]:
    return {
        "operator": masternode.operator.hex(),
        "owner": keys.address(masternode.owner),
        "service": _service(masternode.host, masternode.port),
        "collateral": {"txid": outpoint_txid(masternode.outpoint).hex(), "vout": outpoint_index(masternode.outpoint)},
    }


def evidence_view(height: int, evidence: Evidence) -> dict[str, object]:
    return {
        "operator": evidence.operator.hex(),
        "epoch": evidence.epoch,
        "offence": evidence.offence.name.lower().replace("_", "-"),
        "block": height or None,
        "evidence": evidence.encode().hex(),
    }


def _service(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
