"""The table of methods: everything that can be called but `help`, which the dispatcher makes from it."""

from __future__ import annotations

from timecoin.node.rpc import chain, coins, control, masternodes, proofs, transactions
from timecoin.node.rpc.dispatch import Handler


def all_methods() -> list[Handler]:
    """In the order in which `help` lists them."""
    return [
        chain.getblockchaininfo,
        chain.getblockcount,
        chain.getbestblockhash,
        chain.getblockhash,
        chain.getblock,
        chain.waitforblockheight,
        transactions.sendrawtransaction,
        transactions.getrawtransaction,
        transactions.gettransaction,
        transactions.gettxfinality,
        proofs.getcommitproof,
        proofs.getfinalityproof,
        proofs.getepochproof,
        transactions.getmempoolinfo,
        transactions.getrawmempool,
        coins.gettxout,
        coins.listunspent,
        coins.getbalance,
        coins.NodeWallet().sendtoaddress,
        control.getconsensusinfo,
        control.masternodelist,
        masternodes.getregistry,
        control.getevidence,
        control.getnetworkinfo,
        control.getpeerinfo,
        control.uptime,
        control.stop,
    ]
