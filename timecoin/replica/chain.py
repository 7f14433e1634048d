"""Blocks: judging what is proposed, building what we propose, and making a decided one part of the chain.

A block is judged on the present tip, and what `check` found (what it spends and creates, the commitment after it) is kept
until a block is applied; so applying a decided block costs no second check. Block, coins, undo record, commitment, indexes and
the removal from the pool are one durable transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from timecoin._core import codec
from timecoin.consensus.certificates import PhaseCertificate, VoteKind
from timecoin.consensus.core import Seat
from timecoin.consensus.fastpath import FastPath
from timecoin.consensus.pbft import BlockInfo, BuildRequest, Timing
from timecoin.errors import BlockError, DecodeError
from timecoin.ledger.blocks import EVIDENCE_OVERHEAD_BYTES, Delta
from timecoin.ledger.pool import PoolState, TransactionPool
from timecoin.ledger.state import BlockCheck, Ledger
from timecoin.replica.layout import BlockRecorder
from timecoin.replica.misconduct import Misconduct, judge
from timecoin.replica.outbox import Outbox

_EVIDENCE_SHARE = 4  # evidence takes at most so small a part of our blocks
_MOST_BACKOFF = 64  # heights without contested transactions after failed first views


def body_matches(digest: bytes, block: bytes) -> bool:
    """Whether `block` is the one body that `digest` stands for: the hash covers the header, the header the transactions."""
    try:
        decoded = codec.decode_block(block)
    except DecodeError:
        return False
    return decoded.hash == digest and decoded.is_bound()


class Chain:
    """The ledger with the blocks that are being decided."""

    def __init__(
        self,
        ledger: Ledger,
        pool: TransactionPool,
        timing: Timing,
        out: Outbox,
        recorder: BlockRecorder,
        *,
        operator: bytes | None,
        misconduct: Misconduct | None = None,
    ) -> None:
        self.ledger = ledger
        self._misconduct = misconduct
        self._judge = partial(judge, chain_id=ledger.chain_id)
        self._recorder = recorder
        self._pool = pool
        self._out = out
        self._timing = timing
        self._operator = operator
        self._checks: dict[bytes, BlockCheck] = {}
        self._backoff = 0
        self._contest_from = 0  # height from which we include contested transactions again
        self._contesting: bytes | None = None  # our last proposal of a view 0, if it had contested transactions

    def seat(self, *, may_vote: bool = True) -> Seat:
        """Our place in the set that decides the next height."""
        masternodes = self.ledger.masternodes
        me = masternodes.index_of(self._operator) if self._operator is not None and may_vote else None
        return Seat(self.ledger.epoch, len(masternodes), me, self.ledger.nominal_last)

    # --- judging

    def check(self, block: bytes, wall: int | None, then: Callable[[bytes, BlockInfo | None], None], digest: bytes) -> None:
        """Judge a block on the present tip; `then(digest, info)` at once or when its signatures are verified."""
        try:
            check = self.ledger.check_block(block, now_ms=wall, verified=self._pool.wtxids, judge=self._judge)
        except BlockError:
            then(digest, None)
            return
        if not check.signatures:
            check.complete(b"")
            self._checks[digest] = check
            then(digest, info_of(check))
            return

        def verified(verdicts: bytes) -> None:
            try:
                check.complete(verdicts)
            except BlockError:
                then(digest, None)
                return
            self._checks[digest] = check
            then(digest, info_of(check))

        self._out.urgent.add(*check.signatures.rows(), verified)

    def checked(self, digest: bytes) -> BlockCheck | None:
        return self._checks.get(digest)

    # --- building

    def build(
        self, request: BuildRequest, fastpath: FastPath, now: int, wall: int, *, certified_only: bool
    ) -> tuple[bytes, BlockInfo]:
        """A fresh block for a height that we lead, judged already."""
        genesis = self.ledger.genesis
        exclude: set[bytes] = set()
        if not certified_only:
            exclude = self._too_early(fastpath, now)
        room, size = genesis.block_room()
        evidence = self._misconduct.for_block(size // _EVIDENCE_SHARE) if self._misconduct is not None else []
        size -= sum(len(item) + EVIDENCE_OVERHEAD_BYTES for item in evidence)
        chosen = self._pool.select(
            self.ledger.coins, room, size, certified_only=certified_only or request.certified_only, exclude=exclude
        )
        closes = request.height >= self.ledger.nominal_last and self._may_close({tx.txid for tx in chosen}, fastpath)
        me = self.seat().me
        assert me is not None, "only a leader builds"
        block = self.ledger.build_block(
            chosen, proposer=me, time_ms=wall, closes_epoch=closes, evidence=evidence, judge=self._judge
        )
        check = self.ledger.check_block(block, verified={tx.wtxid for tx in chosen}, judge=self._judge)
        check.complete(b"")
        self._checks[check.block.hash] = check
        if request.view == 0 and any(fastpath.contested(tx.txid) for tx in chosen):
            self._contesting = check.block.hash
        return block, info_of(check)

    def _may_close(self, chosen: set[bytes], fastpath: FastPath) -> bool:
        """Whether every certified pending transaction whose body is here is in the block, and all that we ACKed (R1)."""
        if not all(txid in chosen for txid in fastpath.acked()):
            return False
        return all(entry.tx.txid in chosen for entry in self._pool if entry.state is not PoolState.PENDING)

    def _too_early(self, fastpath: FastPath, now: int) -> set[bytes]:
        """What the votes shall have more time for: transactions that are not FINAL and not older than an interval.

        Older ones take their chance in view 0 (a missed vote, or a coin whose owner signed twice); of those that contend for
        a coin only the best backed. An epoch that may close waits for nobody.
        """
        exclude: set[bytes] = set()
        closing = self.ledger.height + 1 >= self.ledger.nominal_last
        for entry in self._pool:
            if entry.state is PoolState.FINAL or (closing and entry.state is PoolState.CERTIFIED):
                continue
            txid = entry.tx.txid
            if entry.added_ms + self._timing.block_interval > now:
                exclude.add(txid)
            elif entry.state is PoolState.PENDING and fastpath.contested(txid):
                rivals = self._pool.conflicts(txid)
                best = max((fastpath.votes(VoteKind.LOCK, other), other) for other in (txid, *rivals))[1]
                if best != txid or self.ledger.height + 1 < self._contest_from:
                    exclude.add(txid)
        return exclude

    # --- applying

    def apply(self, digest: bytes, certificate: PhaseCertificate) -> Delta:
        """Make a decided block, which has been judged valid, part of the chain."""
        check = self._checks[digest]
        delta = self.ledger.apply(check)
        self._checks.clear()
        self._note_contest(digest, delta.height)
        if self._misconduct is not None:
            self._misconduct.committed(delta.block)
        self._out.record(delta, self._recorder.changes(delta, certificate.encode()))
        return delta

    def _note_contest(self, decided: bytes, height: int) -> None:
        """A proposal of ours with contested transactions was decided, or it was not and the next ones have to wait."""
        if self._contesting == decided:
            self._backoff = 0
        elif self._contesting is not None:
            self._backoff = min(max(len(self.ledger.masternodes), 2 * self._backoff), _MOST_BACKOFF)
            self._contest_from = height + 1 + self._backoff
        self._contesting = None


def info_of(check: BlockCheck) -> BlockInfo:
    """What consensus knows of a block."""
    header = check.block.header
    return BlockInfo(
        check.block.hash,
        header.height,
        header.epoch,
        header.proposer,
        header.closes_epoch,
        check.delta.txids,
        check.delta.spends,
    )
