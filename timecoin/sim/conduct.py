"""What a correct node must make of what it knows: asked now and then, and when news of other views reach it.

Place in the flow: `World` asks `check` every so often, and tells `Views` which VIEW-CHANGEs and NEW-VIEWs arrive where. Nothing
here is signed or stored, so no other check sees it.

    grounds    what is certified has the votes of a quorum in one epoch
    locks      ACKs that count are for pending transactions, which are certified in the pool
    rejection  what its owner signed is in no cache of rejections, whatever it conflicts with
    gossip     a certificate behind an ACK is shown to others, again and again while the transaction is pending
    R3         what a NEW-VIEW proposes with a certificate is PREPAREd
    views      f+1 others who ask for higher views are joined, a valid NEW-VIEW is followed
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from timecoin.consensus.certificates import VoteKind
from timecoin.consensus.messages import NewView, ViewChange
from timecoin.ledger.pool import PoolState
from timecoin.ledger.transactions import Transaction
from timecoin.sim.invariants import Chain, InvariantError
from timecoin.sim.network import Clock
from timecoin.sim.node import SimNode

_SHOWN_MS = 9_500  # a node repeats itself at least so often
_JOBS = 4  # of signatures that a message may have to wait for
_AHEAD = 4  # a message for a view so far above is not looked at


class Conduct:
    """What all correct nodes of a run do."""

    def __init__(
        self,
        chain: Chain,
        clock: Clock,
        has_votes: Callable[[VoteKind, int, bytes], bool],
        is_faulty: Callable[[bytes], bool],
    ) -> None:
        """`has_votes`: whether a quorum voted for a transaction in an epoch; `is_faulty`: whether a key's node may lie."""
        self._is_faulty = is_faulty
        self._has_votes = has_votes
        self._chain = chain
        self._clock = clock
        self._acked: dict[tuple[int, int], dict[bytes, float]] = {}  # node, life -> own ACK, when it or its proof was seen last
        self._early: set[tuple[int, int, int]] = set()  # node, life, message that arrived before it meant something there
        self._asked: dict[tuple[int, int, int], dict[int, int]] = {}  # node, life, height -> voter, the view that it asks for

    def check(self, node: SimNode, signed: Iterable[Transaction]) -> None:
        """Look at a node that is up; `signed`: what the owners of coins made."""
        replica = node.replica
        for tx in signed:
            if (reason := replica.pool.rejected.rejection(tx.wtxid, replica.now)) is not None:
                raise InvariantError("rejection", f"node {node.index} does not look at {tx.txid.hex()[:12]} again: {reason}")
        fastpath, before = replica.core.fastpath, self._acked.get((node.index, node.life), {})
        acked = {txid: before.get(txid, self._clock.now) for txid in fastpath.acked()}
        for txid, since in acked.items():
            entry, name = replica.pool.get(txid), f"{txid.hex()[:12]}, which node {node.index} ACKed,"
            if not fastpath.is_pending(txid):
                raise InvariantError("locks", f"{name} counts though it is not pending")
            if entry is None or entry.state is PoolState.PENDING:
                raise InvariantError("locks", f"{name} is not certified in its pool")
            if replica.gossip.peers and self._clock.now - since > _SHOWN_MS:
                raise InvariantError("gossip", f"{name} is pending, and its certificate not shown for {_SHOWN_MS} ms")
        self._acked[node.index, node.life] = acked

    def check_certified(self, node: SimNode) -> None:
        """Look at what a node that is up takes for certified."""
        replica = node.replica
        for entry in replica.pool:
            txid, epoch = entry.tx.txid, replica.core.fastpath.epoch
            if replica.core.fastpath.is_certified(txid) and not any(self._has_votes(kind, epoch, txid) for kind in VoteKind):
                raise InvariantError("grounds", f"node {node.index} takes {txid.hex()[:12]} for certified, which it is not")

    def showed(self, node: SimNode, txid: bytes) -> None:
        """A node sends a certificate."""
        acked = self._acked.get((node.index, node.life), {})
        if txid in acked:
            acked[txid] = self._clock.now

    def arrived(self, node: SimNode, message: ViewChange | NewView) -> None:
        """A correct node gets a valid message of a view, the same object for the same bytes."""
        height, life = node.replica.core.height, node.life
        if (message.epoch, message.height) != (height.epoch, height.height) or message.view > height.view + _AHEAD:
            self._early.add((node.index, life, id(message)))
            return
        if (node.index, life, id(message)) in self._early:
            return  # for a while it is taken for one that has been looked at
        asked = self._asked.setdefault((node.index, life, message.height), {})
        for change in message.view_changes if isinstance(message, NewView) else (message,):
            asked[change.voter] = max(change.view, asked.get(change.voter, 0))
        soon = node.receive_ms + _JOBS * node.verify_ms[1] + 1.0
        known = dict(asked)
        self._clock.after(soon, lambda: self._expect(node, life, message, known))
        if isinstance(message, NewView) and (message.highest() is not None or self._is_plain(node, message)):
            self._clock.after(2 * soon, lambda: self._expect_prepare(node, life, message))

    def _is_plain(self, node: SimNode, message: NewView) -> bool:
        """Whether a node has no reason not to PREPARE a fresh block: its leader is correct, and nothing is ACKed here."""
        leader = self._chain.sets[message.epoch][message.voter]
        return not (node.clock_error or self._is_faulty(leader) or any(node.replica.core.fastpath.acked()))

    def _expect_prepare(self, node: SimNode, life: int, message: NewView) -> None:
        """A fresh block is PREPAREd unless there is a reason not to, and one that a certificate justifies whatever was ACKed."""
        height = node.replica.core.height
        if not node.alive or not node.correct or node.life != life or node.replica.me is None or height._decided:
            return
        if message.highest() is None and not self._is_plain(node, message):
            return
        if (height.height, height.view) == (message.height, message.view) and ("PREPARE", height.view) not in height._signed:
            raise InvariantError(
                "R3" if message.highest() is not None else "views",
                f"node {node.index} does not PREPARE the NEW-VIEW of height {message.height}, view {message.view}",
            )

    def _expect(self, node: SimNode, life: int, message: ViewChange | NewView, asked: Mapping[int, int]) -> None:
        """`asked`: the views that voters ask for, as the node knows since a while."""
        if not node.alive or not node.correct or node.life != life:
            return
        if len(node.replica.out.urgent):  # it was slow a moment ago, and has a backlog of signatures
            self._clock.after(node.verify_ms[1] + 1.0, lambda: self._expect(node, life, message, asked))
            return
        height, ledger = node.replica.core.height, node.replica.ledger
        if height.height != message.height or ledger.height >= message.height or height._decided:
            return
        if isinstance(message, NewView) and message.view > height.view:
            raise InvariantError(
                "views", f"node {node.index} stays in view {height.view} of height {message.height}, view {message.view} is open"
            )
        f = (len(self._chain.sets[message.epoch]) - 1) // 3
        higher = [voter for voter, view in asked.items() if view > height.view and voter != node.replica.me]
        if len(higher) > f:
            raise InvariantError(
                "views", f"node {node.index} stays in view {height.view} of height {message.height}, {higher} ask for higher ones"
            )
