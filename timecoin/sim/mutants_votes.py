"""Planted bugs of the fast path, of admission and the pool, and of what is durable (protocol.md sections 3, 4, 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence

from timecoin.sim.mutation import Edit, Mutant
from timecoin.sim.scenario import Scenario

_FASTPATH = "timecoin.consensus.fastpath:FastPath"
_HEIGHT = "timecoin.consensus.pbft:Height"
_ADMISSION = "timecoin.replica.admission:Admission"
_R1_OF_REPLICA = "if self._votes.excluded_ack(info.txids, info.spends, info.closes_epoch) is not None:\n            return\n"
_KEEP_ACKS = "acked, points = dict(self._acked), dict(self._acked_outpoints)\n    self._release(txid)\n"


class _TwiceTally:
    """A tally that counts votes, and not voters."""

    def __init__(self, voters: int, quorum: int, weights: Sequence[int] | None = None, capacity: int = 0) -> None:
        del weights, capacity
        self._quorum, self._voters = quorum, voters
        self._counts: dict[bytes, list[int]] = {}

    def add(self, voter: int, ids: bytes) -> list[bytes]:
        reached = []
        for at in range(0, len(ids), 32):
            votes = self._counts.setdefault(ids[at : at + 32], [])
            votes.append(voter)
            if len(votes) == self._quorum:
                reached.append(ids[at : at + 32])
        return reached

    def count(self, id: bytes) -> int:
        return len(self._counts.get(id, ()))

    def voters(self, id: bytes) -> list[int]:
        return sorted(set(self._counts.get(id, ())))

    def reached(self, id: bytes) -> bool:
        return self.count(id) >= self._quorum

    def remove(self, ids: bytes) -> int:
        return sum(self._counts.pop(ids[at : at + 32], None) is not None for at in range(0, len(ids), 32))


def _count_votes_not_voters() -> None:
    from timecoin.consensus import fastpath

    fastpath.VoteTally = _TwiceTally  # type: ignore[attr-defined, assignment]


def _free_locks_after(timeout_ms: int) -> None:
    from timecoin.consensus.core import Core, Event

    honest = Core.step
    held: dict[int, dict[bytes, int]] = {}  # of each core: transaction -> locked since

    def step(self: Core, event: Event, now: int) -> bool:
        since = held.setdefault(id(self), {})
        fastpath = self.fastpath
        for txid in list(fastpath._locked):
            if since.setdefault(txid, now) + timeout_ms <= now and not fastpath.is_certified(txid):
                fastpath._locks.unlock(fastpath._inputs[txid], txid)
                del fastpath._locked[txid], since[txid]
                fastpath._locked_bytes -= fastpath._sizes[txid]
                for rival in {rival for point in fastpath._inputs[txid] for rival in fastpath._spenders[point]} - {txid}:
                    fastpath._try_lock(rival, now)
        return honest(self, event, now)

    Core.step = step  # type: ignore[method-assign]


def _free_locks() -> None:
    _free_locks_after(500)


MUTANTS = (
    Mutant(
        "no-r1",
        "R1: no PREPARE of a fresh proposal incompatible with an own ACK",
        (
            Edit(f"{_HEIGHT}._try_prepare", "if self._votes.excluded_ack(", "if False and self._votes.excluded_ack("),
            Edit(f"{_HEIGHT}.built", "if self._votes.excluded_ack(", "if False and self._votes.excluded_ack("),
        ),
        profiles=("contested", "liars"),
        scenario=Scenario(liars=("contrarian",), contested=12, crossed=2),
    ),
    Mutant(
        "no-r2",
        "R2: no ACK after an incompatible PREPARE at the undecided height",
        (Edit(f"{_FASTPATH}.seal", "elif not incompatible(txid, inputs):", "else:"),),
        profiles=("contested", "liars"),
        scenario=Scenario(liars=("backstabber",), contested=40, crossed=4, isolations=4),
    ),
    Mutant(
        "no-r3",
        "R3: a proposal that a prepared certificate justifies is PREPAREd whatever was ACKed",
        (
            Edit(
                f"{_HEIGHT}._try_prepare",
                "    if not view.justified:\n",
                f"    {_R1_OF_REPLICA.replace('            return', '        return')}    if not view.justified:\n",
            ),
        ),
        scenario=Scenario(liars=("ambusher",), contested=80, crossed=4, delay=5.0, undecided=True, duration=2_500),
    ),
    Mutant(
        "no-epoch-clause",
        "a block that closes the epoch is incompatible with what it leaves out",
        (
            Edit(f"{_HEIGHT}.incompatible", "if info.closes_epoch and", "if False and"),
            Edit(f"{_FASTPATH}.excluded_ack", "if closes_epoch:", "if False:"),
        ),
        profiles=("epochs", "liars"),
        scenario=Scenario(liars=("omitter",), transfers=60, epoch_length=3),
    ),
    Mutant(
        "r2-forgets-on-view-change",
        "R2 holds in every view of the height",
        (Edit(f"{_HEIGHT}._enter", "    self.view = view\n", "    self.view = view\n    self.signed_proposals.clear()\n"),),
        profiles=("contested", "views", "liars"),
        scenario=Scenario(liars=("backstabber",), contested=40, crossed=4, isolations=8, duration=12_000),
    ),
    Mutant(
        "r2-forgets-at-restart",
        "R2 holds after a restart",
        (Edit(f"{_HEIGHT}.restore", "if signed and message.digest in bodies:", "if False:"),),
        profiles=("crashes", "contested"),
        scenario=Scenario(
            liars=("backstabber",), contested=40, crossed=4, power_cuts=20, restarts_of_all=6, isolations=8, duration=12_000
        ),
    ),
    Mutant(
        "prepare-without-durable-body",
        "a PREPARE is durable together with the block (a digest cannot evaluate R2)",
        (Edit("timecoin.replica.replica:Replica._send_draft", "if draft.block is not None:", "if False:"),),
        profiles=("crashes",),
    ),
    Mutant(
        "ack-of-void",
        "an ACK is for a pending transaction",
        (
            Edit(f"{_FASTPATH}.close", "self._close(txid, height, committed=False)", "self._release(txid)"),
            Edit(f"{_FASTPATH}.close", "if txid in self._inputs:", "if txid in self._inputs and txid not in void:"),
        ),
        profiles=("contested", "liars"),
    ),
    Mutant(
        "r1-counts-void",
        "R1 ignores void transactions",
        (
            Edit(
                f"{_FASTPATH}._close",
                "self._release(txid)\n",
                _KEEP_ACKS + "    if not committed:\n        self._acked, self._acked_outpoints = acked, points\n",
            ),
        ),
        profiles=("contested", "liars"),
        scenario=Scenario(liars=("ambusher",), contested=80, crossed=4, delay=5.0),
    ),
    Mutant(
        "closing-waits-for-void",
        "an epoch closes without void transactions",
        (
            Edit(
                f"{_FASTPATH}._close",
                "self._release(txid)\n",
                _KEEP_ACKS + "    if not committed:\n        self._acked = acked\n",
            ),
        ),
        profiles=("epochs", "contested"),
        scenario=Scenario(liars=("ambusher",), contested=80, crossed=4, delay=5.0),
    ),
    Mutant(
        "one-round-finality",
        "FINAL takes a second round",
        (
            Edit(f"{_FASTPATH}._count", "counted.certified += reached", "counted.final += reached"),
            Edit(f"{_FASTPATH}.is_final", "VoteKind.ACK", "VoteKind.LOCK"),
        ),
        profiles=("contested", "network"),
    ),
    Mutant(
        "votes-of-two-epochs",
        "votes of two epochs never meet in one certificate",
        (
            Edit(
                "timecoin.consensus.core:Core._applied",
                "self.fastpath.dropped = closed.dropped\n",
                "self.fastpath.dropped = closed.dropped\n"
                "        if self.fastpath._quorum == closed._quorum:\n"
                "            self.fastpath._tallies = closed._tallies\n",
            ),
        ),
        profiles=("epochs",),
        scenario=Scenario(transfers=40, contested=4, epoch_length=3, deaf_spells=6, crashes=6),
    ),
    Mutant(
        "ack-without-certificate",
        "an ACK is signed by one who holds CERT(T)",
        (
            Edit(f"{_FASTPATH}.admit", "    if self.is_certified(txid):\n", "    if True:\n"),
            Edit(
                f"{_FASTPATH}.seal",
                "elif not self._tallies[VoteKind.LOCK].reached(txid) or not self._can_show(txid):",
                "elif False:",
            ),
        ),
        profiles=("contested",),
    ),
    Mutant(
        "tally-counts-votes",
        "a voter counts once",
        patch=_count_votes_not_voters,
        profiles=("liars", "contested"),
        scenario=Scenario(liars=("double-locker",), contested=14, crossed=2),
    ),
    Mutant(
        "no-r4",
        "R4: no LOCK or ACK while the epoch drains",
        (
            Edit(f"{_FASTPATH}.seal", "or self.draining ", ""),
            Edit(f"{_FASTPATH}._try_lock", "or self.draining ", ""),
        ),
        profiles=("epochs",),
    ),
    Mutant(
        "lock-freed-by-timer",
        "a lock has no timer",
        patch=_free_locks,
        profiles=("contested", "network"),
    ),
    Mutant(
        "lock-before-signatures",
        "nothing invalid ever locks a coin",
        (
            Edit(
                f"{_ADMISSION}._offer",
                "    good = []\n",
                "    good = []\n"
                "    for candidate in prepared.candidates:\n"
                "        self._ledger.coins.lock(candidate.tx.inputs, candidate.tx.txid, now)\n",
            ),
        ),
        profiles=("contested",),
    ),
    Mutant(
        "signatures-unchecked",
        "a coin is spent by its owner",
        (Edit(f"{_ADMISSION}._verify", "prepared.finish(verdicts)", "prepared.finish(bytes([1]) * len(verdicts))"),),
        profiles=("contested",),
    ),
    Mutant(
        "lock-without-durable-body",
        "a LOCKed transaction's body is durable",
        (Edit(f"{_ADMISSION}._let_in", "self._out.write(POOL, tx.txid, tx.encoded)", "pass"),),
        profiles=("crashes",),
    ),
    Mutant(
        "conflict-is-rejection",
        "a lock conflict never enters the rejection cache",
        (
            Edit(
                f"{_ADMISSION}._let_in",
                "    try:\n",
                "    if any((self._ledger.coins.locker(point) or (tx.txid, 0))[0] != tx.txid for point in tx.inputs):\n"
                "        self._pool.rejected.reject(tx.wtxid, 'conflict', now)\n"
                "        return\n"
                "    try:\n",
            ),
        ),
        profiles=("contested",),
        scenario=Scenario(contested=6),
    ),
    Mutant(
        "cert-refused-when-full",
        "CERT(T) admits T whatever the pool holds",
        (Edit(f"{_ADMISSION}._add", "force=self._core.fastpath.is_certified(tx.txid)", "force=False"),),
        profiles=("contested",),
        scenario=Scenario(transfers=40, small_pool=True),
    ),
    Mutant(
        "certified-evicted",
        "certified transactions are exempt from eviction",
        (
            Edit(
                "timecoin.ledger.pool:TransactionPool.certify",
                "return self._promote(txid, core.CERTIFIED, PoolState.CERTIFIED)",
                "return False",
            ),
        ),
        profiles=("contested",),
        scenario=Scenario(transfers=40, small_pool=True),
    ),
    Mutant(
        "pool-wiped-by-block",
        "pending transactions outlive a block",
        (
            Edit(
                f"{_ADMISSION}.settle",
                "void = list(settled.void)\n",
                "void = list(settled.void)\n"
                "    for entry in list(self._pool):\n"
                "        self._pool.remove(entry.tx.txid)\n"
                "        self._out.write(POOL, entry.tx.txid, None)\n",
            ),
        ),
        profiles=("contested",),
    ),
    Mutant(
        "certificates-not-gossiped",
        "from its ACK on a masternode gossips CERT(T) and T",
        (Edit("timecoin.replica.gossip:Gossip._send_certificates", "if not acked:", "if True:"),),
        profiles=("contested", "network"),
        scenario=Scenario(transfers=20, stalls=1, duration=14_000),
    ),
    Mutant(
        "send-before-durable",
        "what is signed is durable before it is sent",
        (Edit("timecoin.replica.outbox:Outbox.vote", "self._after.append(Send(kind, payload))", "self.send(kind, payload)"),),
        profiles=("crashes",),
    ),
    Mutant(
        "votes-with-lost-store",
        "a key whose store is lost does not vote in that epoch",
        (Edit("timecoin.replica.replica:Replica.__init__", "carried = vote_anyway or", "carried = True or vote_anyway or"),),
        profiles=("crashes",),
        scenario=Scenario(lost_stores=1, contested=8),
    ),
    Mutant(
        "locks-forgotten-at-restart",
        "LOCKs and ACKs bind after a restart",
        (Edit("timecoin.replica.restart:Restart.resume", "if batch.voter == self._me:", "if False:"),),
        profiles=("crashes", "contested"),
    ),
    Mutant(
        "honest-relock-framed",
        "no evidence against a masternode that LOCKs again after its transaction became void",
        (Edit(f"{_FASTPATH}._accuse", "if second.header.decided <= self._height:", "if True:"),),
        profiles=("contested",),
        scenario=Scenario(overlapping=40, transfers=2, delay=200.0, slow_nodes=2, duration=12_000),
    ),
    Mutant(
        "double-lock-missed",
        "a double LOCK that is seen is proven",
        (Edit(f"{_FASTPATH}._accuse", "if second.header.decided <= self._height:", "if False:"),),
        profiles=("liars",),
        scenario=Scenario(liars=("double-locker",), contested=14, crossed=2),
    ),
)
