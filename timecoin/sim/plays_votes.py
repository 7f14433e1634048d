"""Plays of the fast path and of rules R1 to R4: each corners one rule of protocol sections 4, 6 and 7 in a run of a few seconds.

A play passes on honest code, and an invariant fires in it when the bugs that `PLAYS` names it for are planted. Most have four
masternodes, so that three votes are a quorum, and one liar, which leads height 1 and decides by its own vote when a quorum
is complete, and who sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from unittest import mock

from timecoin.consensus.certificates import Phase, VoteKind
from timecoin.consensus.messages import NewView
from timecoin.ledger.blocks import Block
from timecoin.ledger.pool import TransactionPool
from timecoin.ledger.transactions import Transaction
from timecoin.replica import replica
from timecoin.replica.wire import Kind
from timecoin.sim.invariants import InvariantError
from timecoin.sim.stage import Hold, Stage, mentions, spoken

_LIAR = 1  # leads height 1
_SOON_MS = 300.0  # by then everybody has heard, verified, stored and answered
_SHORT_MS = 5_000.0
_PROPOSALS = (Kind.PROPOSAL, Kind.NEW_VIEW)


def _until_locked(stage: Stage, tx: Transaction, *nodes: int) -> None:
    stage.until("LOCKs", lambda: all(stage.voted(node, VoteKind.LOCK, tx.txid) for node in nodes), _SHORT_MS)


def _until_acked(stage: Stage, tx: Transaction, *nodes: int) -> None:
    stage.until("ACKs", lambda: all(stage.voted(node, VoteKind.ACK, tx.txid) for node in nodes), _SHORT_MS)


def _until_final(stage: Stage, tx: Transaction) -> None:
    stage.until("FINAL", lambda: tx.txid in stage.chain.final, _SHORT_MS)


def _until_phase(stage: Stage, phase: Phase, height: int, *nodes: int, view: int = 0) -> None:
    stage.until(phase.name, lambda: all(stage.phase_vote(node, phase, height, view) for node in nodes), _SHORT_MS)


def _hold_blocks(stage: Stage) -> Hold:
    """Nobody hears a proposal, so no block settles anything."""
    return stage.hold(spoken(kinds=_PROPOSALS))


def _split(stage: Stage) -> tuple[Transaction, Transaction]:
    """One coin, two payments: nodes 0 and 2 LOCK the first, node 3 the second. The liar's LOCK would certify the first."""
    coin = stage.coin()
    first, second = stage.rivals([coin], [coin])
    _lock_apart(stage, first, second)
    return first, second


def _lock_apart(stage: Stage, first: Transaction, second: Transaction) -> None:
    stage.submit(first, 0, 2)
    stage.submit(second, 3)
    _until_locked(stage, first, 0, 2)
    _until_locked(stage, second, 3)
    stage.pause(20)


def _acked_by_one(stage: Stage, first: Transaction, second: Transaction) -> None:
    """The liar's LOCK completes CERT(first) at node 0 alone, which ACKs; no certificate and no LOCK of it gets through."""
    _lock_apart(stage, first, second)
    stage.hold(spoken(_LIAR, kinds=(Kind.VOTE_BATCH,), to=(2, 3)))
    stage.hold(lambda carried: carried.kind is Kind.VOTE_CERTIFICATE)
    stage.vote(_LIAR, [first], to=(0,))
    _until_acked(stage, first, 0)


# --- R1, R2, R3


def acked_then_proposed_against() -> None:
    """R1. All ACK T, which is FINAL, and the liar proposes a block that spends its coin otherwise. Nobody PREPAREs it."""
    stage = Stage(liars=[_LIAR])
    coin = stage.coin()
    first, second = stage.rivals([coin], [coin])
    stage.submit(first)
    _until_final(stage, first)
    stage.propose(_LIAR, stage.block([second]))
    stage.pause(_SOON_MS)
    stage.finish()


def led_after_ack() -> None:
    """R1 binds the sender of a PRE-PREPARE. Node 2 LOCKed T' long ago and ACKed T a moment ago, too new for a block.

    As the leader of height 2 it does not propose T'.
    """
    stage = Stage(liars=[3])
    stage.pause(100)
    coin = stage.coin()
    first, second = stage.rivals([coin], [coin])
    bodies = stage.hold(lambda carried: carried.kind is Kind.TRANSACTIONS and carried.target == 2)
    stage.hold(mentions(first.txid, kind=VoteKind.ACK, to=(2,)))
    stage.submit(first, 0, 1)
    stage.submit(second, 2)
    _until_locked(stage, first, 0, 1)
    stage.vote(3, [first])
    stage.until_height(1)
    bodies.release()
    _until_acked(stage, first, 2)
    stage.until_height(2)
    stage.finish()


def prepared_then_certified() -> None:
    """R2. T lacks one LOCK, and all PREPARE a block against it. The liar's LOCK certifies T before the block is decided.

    Nobody ACKs T.
    """
    stage = Stage(liars=[_LIAR])
    first, second = _split(stage)
    commits = stage.hold(spoken(kinds=(Kind.COMMIT,)))
    stage.propose(_LIAR, stage.block([second]))
    _until_phase(stage, Phase.PREPARE, 1, 0, 2, 3)
    stage.vote(_LIAR, [first])
    stage.pause(_SOON_MS)
    commits.release()
    stage.until_height(1)
    stage.finish()


def certified_after_view_change() -> None:
    """R2 in a later view. All PREPARE a block against T in view 0, their PREPAREs are lost, and the view changes.

    Now the liar's LOCK certifies T, and still nobody ACKs it.
    """
    stage = Stage(liars=[_LIAR])
    first, second = _split(stage)
    prepares = stage.hold(spoken(kinds=(Kind.PREPARE,)))
    stage.hold(spoken(kinds=(Kind.NEW_VIEW,)))
    stage.propose(_LIAR, stage.block([second]))
    _until_phase(stage, Phase.PREPARE, 1, 0, 2, 3)
    stage.until("VIEW-CHANGEs", lambda: all(stage.view_change(node, 1, 1) for node in (0, 2, 3)), _SHORT_MS)
    prepares.lose()
    stage.vote(_LIAR, [first])
    stage.pause(_SOON_MS)
    stage.finish()


def certified_after_restart() -> None:
    """R2 after a restart. Node 0 PREPAREs a block against T, loses power and comes back; then the liar's LOCK certifies T."""
    stage = Stage(liars=[_LIAR])
    first, second = _split(stage)
    stage.hold(spoken(kinds=(Kind.PREPARE, Kind.COMMIT)))
    stage.propose(_LIAR, stage.block([second]))
    _until_phase(stage, Phase.PREPARE, 1, 0, 2, 3)
    stage.crash(0)
    stage.start(0)
    stage.vote(_LIAR, [first])
    stage.pause(_SOON_MS)
    stage.finish()


def prepared_against_one_ack() -> None:
    """R3. Only node 0 ACKed T; the liar, 2 and 3 prepare a block against it, and the COMMITs are lost.

    The NEW-VIEW that follows is justified by their certificate, and needs the PREPARE of node 0.
    """
    stage = Stage(liars=[_LIAR])
    coin = stage.coin()
    first, second = stage.rivals([coin], [coin])
    _acked_by_one(stage, first, second)
    commits = stage.hold(spoken(kinds=(Kind.COMMIT,)))
    proposal = stage.propose(_LIAR, stage.block([second]))
    stage.phase(_LIAR, Phase.PREPARE, proposal)
    _until_phase(stage, Phase.COMMIT, 1, 2, 3)
    stage.until("VIEW-CHANGEs", lambda: all(stage.view_change(node, 1, 1) for node in (0, 2, 3)), _SHORT_MS)
    commits.lose()
    stage.until_height(1)
    stage.finish()


def _void_at_node_0(stage: Stage) -> Transaction:
    """Node 0 ACKed a transaction with two inputs, which block 1 voids by one of them. A payment with the other input."""
    one, other = stage.coin(), stage.coin()
    first, second = stage.rivals([one, other], [one])
    _acked_by_one(stage, first, second)
    proposal = stage.propose(_LIAR, stage.block([second]))
    stage.phase(_LIAR, Phase.PREPARE, proposal)
    stage.until_height(1)
    return stage.pay(other)


def void_ack() -> None:
    """R1 ignores void transactions. Node 0 ACKed T, block 1 makes it void, and T's other coin is paid: to a block, soon."""
    stage = Stage(liars=[_LIAR])
    third = _void_at_node_0(stage)
    stage.submit(third)
    stage.until("the payment in a block", lambda: third.txid in stage.chain.committed)
    stage.finish()


def closing_with_void_ack() -> None:
    """Node 0 ACKed T, block 1 makes it void. The epoch closes all the same, though no block will ever have T."""
    stage = Stage(liars=[_LIAR], epoch_length=3)
    _void_at_node_0(stage)
    stage.until("the end of the epoch", lambda: stage.chain.epoch >= 1, 30_000)
    stage.finish()


def closed_without_final() -> None:
    """The epoch clause. T becomes FINAL when the last block before the drain is proposed already; the liar closes without T."""
    stage = Stage(liars=[3], epoch_length=3)
    stage.until_height(1)
    commits = stage.hold(spoken(kinds=(Kind.COMMIT,)))
    _until_phase(stage, Phase.COMMIT, 2, 0, 1, 2)
    tx = stage.pay(stage.coin())
    stage.submit(tx)
    _until_final(stage, tx)
    commits.release()
    stage.until_height(2)
    stage.propose(3, stage.block([], closes=True))
    stage.pause(_SOON_MS)
    stage.finish()


def handed_in_while_draining() -> None:
    """R4. A payment comes when the epoch drains: nobody LOCKs it before the next one."""
    stage = Stage(epoch_length=3)
    stage.until_height(2)
    _hold_blocks(stage)
    stage.submit(stage.pay(stage.coin()))
    stage.pause(_SOON_MS)
    stage.finish()


# --- votes


def locks_of_two_epochs() -> None:
    """Node 0 and the liar LOCK T in an epoch that the liar closes without it; in the next one 0 and 1 LOCK it, 2 a rival.

    So three keys LOCKed T, and no epoch certified it: the leader of a later view, 1, leaves it out (R5).
    """
    stage = Stage(liars=[3], epoch_length=3)
    stage.until_height(1)
    commits = stage.hold(spoken(kinds=(Kind.COMMIT,)))
    _until_phase(stage, Phase.COMMIT, 2, 0, 1, 2)
    coin = stage.coin()
    first, second = stage.rivals([coin], [coin])
    bodies = stage.hold(lambda carried: carried.kind is Kind.TRANSACTIONS)
    stage.submit(first, 0)
    stage.submit(second, 2)
    stage.vote(3, [first])
    _until_locked(stage, first, 0)
    stage.pause(20)
    commits.release()
    stage.until_height(2)
    proposals = stage.hold(lambda carried: carried.kind is Kind.PROPOSAL and carried.voter != 3)
    stage.propose(3, stage.block([], closes=True))
    stage.until("the end of the epoch", lambda: stage.chain.epoch >= 1, _SHORT_MS)
    stage.pause(20)
    stage.submit(first, 1)
    stage.until("a NEW-VIEW", lambda: any(isinstance(m, NewView) and m.height == 4 for m in stage.said(1)), _SHORT_MS)
    proposals.lose()
    bodies.lose()
    stage.finish()


def many_votes_of_one() -> None:
    """The liar LOCKs and ACKs T in three batches. It is one voter: T, which node 0 alone has, is not FINAL."""
    stage = Stage(liars=[_LIAR])
    stage.hold(lambda carried: carried.kind is Kind.TRANSACTIONS)
    tx = stage.pay(stage.coin())
    stage.submit(tx, 0)
    _until_locked(stage, tx, 0)
    for _ in range(3):
        stage.vote(_LIAR, [tx], [tx])
    stage.pause(_SOON_MS)
    stage.finish()


def final_by_votes() -> None:
    """A payment is LOCKed by all, then ACKed by all, and only then FINAL."""
    stage = Stage()
    tx = stage.pay(stage.coin())
    stage.submit(tx)
    _until_final(stage, tx)
    stage.finish()


def certificate_of_one() -> None:
    """CERT(T) is complete at node 0 alone, and the liar's LOCK reaches others only inside of the certificate.

    No block settles it: the others ACK T because node 0 gossips CERT(T), again and again.
    """
    stage = Stage(liars=[_LIAR])
    first, _ = _split(stage)
    _hold_blocks(stage)
    batches = stage.hold(spoken(_LIAR, kinds=(Kind.VOTE_BATCH,), to=(2, 3)))
    stage.vote(_LIAR, [first], to=(0,))
    _until_acked(stage, first, 0)
    stage.until("ACKs of all", lambda: all(stage.voted(node, VoteKind.ACK, first.txid) for node in (2, 3)))
    batches.lose()
    stage.finish()


def void_then_certified() -> None:
    """T is void by block 1, and only then the liar's LOCK makes three. Nobody ACKs T."""
    stage = Stage(liars=[_LIAR])
    first, second = _split(stage)
    stage.propose(_LIAR, stage.block([second]))
    stage.until_height(1)
    stage.vote(_LIAR, [first], decided=0)
    stage.pause(_SOON_MS)
    stage.finish()


def pending_through_block() -> None:
    """Node 0 alone has T when block 1 is decided without it. It keeps T and offers it again, so T gets into a block."""
    stage = Stage(liars=[_LIAR])
    bodies = stage.hold(lambda carried: carried.kind is Kind.TRANSACTIONS)
    tx = stage.pay(stage.coin())
    stage.submit(tx, 0)
    _until_locked(stage, tx, 0)
    stage.propose(_LIAR, stage.block([]))
    stage.until_height(1)
    bodies.lose()
    stage.until("the payment in a block", lambda: tx.txid in stage.chain.committed)
    stage.finish()


def split_for_long() -> None:
    """Two nodes LOCK T, two LOCK T', and for seconds no block settles it: nobody gives up its LOCK."""
    stage = Stage()
    coin = stage.coin()
    first, second = stage.rivals([coin], [coin])
    _hold_blocks(stage)
    stage.submit(first, 0, 1)
    stage.submit(second, 2, 3)
    stage.pause(3_000)
    stage.finish()


def forgery_before_payment() -> None:
    """Somebody spends a coin with a wrong signature; the payment of the owner, a moment later, is FINAL by votes."""
    stage = Stage()
    _hold_blocks(stage)
    forged, honest = [planned.tx for planned in stage.clients.forgery(0.0, 0.0)][:2]
    stage.submit(forged)
    stage.submit(honest)
    stage.pause(20)
    stage.submit(honest)
    _until_final(stage, honest)
    stage.finish()


def forgery_alone() -> None:
    """Somebody spends a coin with a wrong signature, and nobody contends for it: it is in no block."""
    stage = Stage()
    stage.submit(stage.clients.forgery(0.0, 0.0)[0].tx)
    stage.until_height(2)
    stage.finish()


def conflict_then_certified() -> None:
    """Node 0 LOCKs T, then T' is offered to it, which the others certify. FINAL takes the ACK of node 0, which gives it."""
    stage = Stage(liars=[_LIAR])
    _hold_blocks(stage)
    coin = stage.coin()
    first, second = stage.rivals([coin], [coin])
    stage.submit(first, 0)
    stage.submit(second, 2, 3)
    _until_locked(stage, first, 0)
    _until_locked(stage, second, 2, 3)
    stage.pause(20)
    stage.vote(_LIAR, [second])
    _until_final(stage, second)
    stage.finish()


# --- restarts


def lost_store() -> None:
    """Node 0 LOCKs T and loses its store: it must not vote again in that epoch, and is offered T' first."""
    stage = Stage()
    _hold_blocks(stage)
    coin = stage.coin()
    first, second = stage.rivals([coin], [coin])
    stage.submit(first, 0)
    _until_locked(stage, first, 0)
    stage.crash(0)
    stage.nodes[0].wipe()
    stage.hold(lambda carried: carried.target == 0)
    stage.start(0)
    stage.submit(second, 0)
    stage.pause(_SOON_MS)
    stage.finish()


def restarted_with_rivals() -> None:
    """Node 0 LOCKed T and keeps its rival T', too, which stands before T in its store; it loses power and comes back."""
    stage = Stage()
    _hold_blocks(stage)
    coin = stage.coin()
    first, second = sorted(stage.rivals([coin], [coin]), key=lambda tx: tx.txid, reverse=True)
    stage.submit(first, 0)
    _until_locked(stage, first, 0)
    stage.submit(second, 0)
    stage.pause(20)
    stage.crash(0)
    stage.start(0)
    stage.pause(_SOON_MS)
    stage.finish()


# --- evidence


def locked_again_after_void() -> None:
    """Node 0 LOCKs T, block 1 makes T void by one of its coins, and node 0 LOCKs the payment of the other one.

    Node 2 does not see the block decided: to it both are pending, and it blames nobody.
    """
    stage = Stage(liars=[_LIAR])
    one, other = stage.coin(), stage.coin()
    first, second = stage.rivals([one, other], [one])
    _lock_apart(stage, first, second)
    behind = stage.hold(lambda carried: carried.target == 2 and carried.kind in (Kind.COMMIT, Kind.STATUS, Kind.BLOCKS))
    stage.phase(_LIAR, Phase.COMMIT, stage.propose(_LIAR, stage.block([second])))
    stage.until_height(1, [0, 3])
    third = stage.pay(other)
    stage.submit(third)
    _until_locked(stage, third, 0, 3)
    stage.pause(_SOON_MS)
    behind.release()
    stage.finish()


def double_lock() -> None:
    """The liar LOCKs T, then T', and all see it: they have evidence, and soon it is in a block."""
    stage = Stage(liars=[_LIAR])
    _hold_blocks(stage)
    coin = stage.coin()
    first, second = stage.rivals([coin], [coin])
    stage.submit(first)
    stage.submit(second)
    stage.pause(20)
    stage.vote(_LIAR, [first])
    stage.vote(_LIAR, [second])
    stage.pause(_SOON_MS)
    stage.finish()


# --- a full pool


def _shrink_pool(stage: Stage, node: int, count: int) -> None:
    """The node comes back with room for so many transactions."""
    stage.crash(node)
    with mock.patch.object(replica, "TransactionPool", return_value=TransactionPool(count)):
        stage.start(node)


def _fill_pool(stage: Stage, node: int, count: int) -> None:
    """Payments with high fees, at one node only."""
    for _ in range(count):
        stage.submit(stage.pay(stage.coin(), fee=500_000), node)
    stage.pause(20)


def certified_into_full_pool() -> None:
    """Node 0's pool is full when CERT(T) comes, and T pays the least. FINAL takes the ACK of node 0, which gives it."""
    stage = Stage(liars=[_LIAR])
    _shrink_pool(stage, 0, 2)
    _hold_blocks(stage)
    bodies = stage.hold(lambda carried: carried.kind is Kind.TRANSACTIONS)
    _fill_pool(stage, 0, 2)
    tx = stage.pay(stage.coin())
    stage.submit(tx, 2, 3)
    bodies.lose()
    _until_locked(stage, tx, 2, 3)
    stage.vote(_LIAR, [tx])
    _until_final(stage, tx)
    stage.finish()


def certified_in_full_pool() -> None:
    """T is certified at node 2, and payments with higher fees fill its small pool. As leader of view 1 it proposes T."""
    stage = Stage(liars=[_LIAR])
    _shrink_pool(stage, 2, 2)
    _hold_blocks(stage)
    tx = stage.pay(stage.coin())
    stage.hold(mentions(tx.txid, kind=VoteKind.ACK))
    stage.submit(tx)
    _until_acked(stage, tx, 0, 2, 3)
    bodies = stage.hold(lambda carried: carried.kind is Kind.TRANSACTIONS)
    _fill_pool(stage, 2, 3)
    stage.until("a NEW-VIEW", lambda: any(isinstance(m, NewView) for m in stage.said(2)), _SHORT_MS)
    opened = next(m for m in stage.said(2) if isinstance(m, NewView))
    if tx.txid not in Block.decode(opened.block).txids:
        raise InvariantError("R5", f"node 2 leaves the certified {tx.txid.hex()[:12]} out of its block")
    bodies.release()
    stage.finish()


PLAYS: dict[str, Callable[[], None]] = {
    "no-r1": acked_then_proposed_against,
    "pre-prepare-exempt": led_after_ack,
    "no-r2": prepared_then_certified,
    "no-r3": prepared_against_one_ack,
    "r2-forgets-on-view-change": certified_after_view_change,
    "r2-forgets-at-restart": certified_after_restart,
    "r1-counts-void": void_ack,
    "closing-waits-for-void": closing_with_void_ack,
    "no-epoch-clause": closed_without_final,
    "votes-of-two-epochs": locks_of_two_epochs,
    "tally-counts-votes": many_votes_of_one,
    "one-round-finality": final_by_votes,
    "certificates-not-gossiped": certificate_of_one,
    "ack-of-void": void_then_certified,
    "lock-freed-by-timer": split_for_long,
    "lock-before-signatures": forgery_before_payment,
    "conflict-is-rejection": conflict_then_certified,
    "votes-with-lost-store": lost_store,
    "locks-forgotten-at-restart": restarted_with_rivals,
    "honest-relock-framed": locked_again_after_void,
    "double-lock-missed": double_lock,
    "cert-refused-when-full": certified_into_full_pool,
    "certified-evicted": certified_in_full_pool,
    "no-r4": handed_in_while_draining,
    "ack-without-certificate": many_votes_of_one,
    "signatures-unchecked": forgery_alone,
    "pool-wiped-by-block": pending_through_block,
    "prepare-without-durable-body": prepared_then_certified,
    "lock-without-durable-body": final_by_votes,
    "send-before-durable": final_by_votes,
}
