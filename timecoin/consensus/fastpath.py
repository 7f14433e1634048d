"""The fast path: a transaction is FINAL after two rounds of votes, before any block (protocol sections 4 and 6).

Theory. A masternode LOCKs a transaction that it has validated when none of its inputs carries a live lock of its own for
another one. q LOCKs certify it; two pending transactions that conflict are never both certified, because two quorums share
an honest voter. A masternode that sees the certificate ACKs; q ACKs make the transaction FINAL. The second round is what
makes it final *everywhere*: whoever ACKed refuses to PREPARE a block that would undo it (R1), whoever has signed such a block
does not ACK (R2), and the two groups are too large to be disjoint.

    admitted --LOCK--> locked --q LOCKs--> certified --ACK--> acked --q ACKs--> final --block--> closed
        |                                     ^                                           ^
        +-- a conflicting lock: contested ----+ (the others' votes)      void: an input was spent by another transaction

One `FastPath` lives for one epoch. It knows transactions by id and outpoints; whether a transaction is valid and its inputs
exist has been decided before `admit`. It has no clock and no key: `seal` gives an unsigned vote batch, and an own batch is
counted when it comes back as durable. Bounds: ids without a known transaction per voter (MAX_UNKNOWN_VOTES, the oldest
forgotten), batches kept per voter (MAX_KEPT_BATCHES), batches per sequence number (MAX_BATCHES_PER_SLOT).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from timecoin import params
from timecoin._core.tally import Tally
from timecoin.consensus.certificates import BatchHeader, VoteCertificate, VoteKind, VoteProof
from timecoin.consensus.evidence import Contradiction, DoubleLock, Statement, batch_statement
from timecoin.consensus.messages import VoteBatch
from timecoin.consensus.quorum import Quorum

_NO_END = 2**64
_BATCH_OVERHEAD = 512  # bytes of memory beside the ids
_RECENT_HEIGHTS = 2  # a batch is offered to others that long, and then as long as a transaction in it is pending
_KEEP_HEIGHTS = 8  # a batch none of whose transactions is pending is kept that long for those who lag


class Locks(Protocol):
    """The table of coins, as far as locks go: all inputs of a transaction are locked, or none."""

    def lock(self, outpoints: Sequence[bytes], txid: bytes, since_ms: int) -> bytes | None: ...

    def unlock(self, outpoints: Sequence[bytes], txid: bytes) -> int: ...


@dataclass(slots=True)
class _Kept:
    batch: VoteBatch
    height: int  # ours when it came
    open: bool = True  # whether a transaction in it was pending when we last looked


@dataclass(slots=True)
class Counted:
    """What a step of votes changed."""

    certified: list[bytes] = field(default_factory=list)
    final: list[bytes] = field(default_factory=list)
    wanted: list[bytes] = field(default_factory=list)  # voted for, but not known here
    contradictions: list[Contradiction] = field(default_factory=list)  # batches with one sequence number
    new: bool = False


class FastPath:
    """The votes of one epoch, seen from voter `me` (None: from a node that does not vote)."""

    def __init__(self, epoch: int, quorum: Quorum, me: int | None, locks: Locks, *, sequence: int = 0, height: int = 0) -> None:
        self.epoch = epoch
        self.draining = False  # R4
        self._quorum = quorum
        self._me = me
        self._sequence = sequence
        self._inputs: dict[bytes, tuple[bytes, ...]] = {}  # admitted pending transaction -> its outpoints
        self._sizes: dict[bytes, int] = {}  # of admitted or locked transactions, in bytes
        self._spenders: dict[bytes, dict[bytes, None]] = {}  # outpoint -> admitted pending transactions that spend it
        self._contested: dict[bytes, None] = {}  # admitted pending transactions that have a rival among these
        capacity = 2 * (params.MAX_PENDING + params.MAX_LOCKED) + quorum.n * params.MAX_UNKNOWN_VOTES
        self._tallies = {kind: Tally(quorum.n, quorum.q, capacity=capacity) for kind in VoteKind}
        self._unknown: list[OrderedDict[bytes, None]] = [OrderedDict() for _ in range(quorum.n)]
        self._kept: list[dict[tuple[int, bytes], _Kept]] = [{} for _ in range(quorum.n)]
        self._kept_bytes = [0] * quorum.n
        self._slots: dict[tuple[int, int], list[bytes]] = {}
        self._height = height  # of the last committed block
        self._accused: set[int] = set()  # voters whose double LOCK is found
        self._double_locks: list[DoubleLock] = []
        self._proofs: dict[tuple[VoteKind, bytes], dict[int, VoteProof]] = {}
        self._recent: OrderedDict[bytes, bool] = OrderedDict()  # closed not long ago: committed (True) or void
        self._late: OrderedDict[bytes, int] = OrderedDict()  # committed at this height: ACKs on their way still count
        self._locks = locks
        self._acked: dict[bytes, None] = {}  # live ACKs of our own
        self._acked_outpoints: dict[bytes, bytes] = {}
        self._locked: dict[bytes, None] = {}  # live LOCKs of our own
        self._locked_bytes = 0
        self.dropped: list[VoteBatch] = []  # no longer kept; the owner forgets them too and empties the list
        self._to_lock: dict[bytes, None] = {}
        self._to_ack: dict[bytes, None] = {}

    # --- transactions come and go

    def admit(self, txid: bytes, inputs: tuple[bytes, ...], size: int, now: int, *, lock: bool = True) -> None:
        """A transaction of `size` bytes is valid and pending, its inputs exist, its body is on its way to the disk.

        `lock=False` leaves the LOCK to a later `retry_locks`.
        """
        if txid in self._inputs:
            return
        self._inputs[txid] = inputs
        self._sizes[txid] = size
        for outpoint in inputs:
            spenders = self._spenders.setdefault(outpoint, {})
            spenders[txid] = None
            if len(spenders) > 1:
                self._contested.update(spenders)
        for unknown in self._unknown:
            unknown.pop(txid, None)
        if lock:
            self._try_lock(txid, now)
        if self.is_certified(txid):
            self._to_ack[txid] = None
        if txid in self._contested:
            self._find_double_locks(txid)

    def resign(self) -> None:
        """Vote no more. What was voted for stays in force."""
        self._me = None

    def retry_locks(self, now: int) -> None:
        """LOCK every admitted transaction that can be locked."""
        for txid in list(self._inputs):
            self._try_lock(txid, now)

    def withdraw(self, txid: bytes) -> None:
        """The pool no longer holds a transaction that we have not voted for: it is unknown again."""
        if txid not in self._inputs or self.has_voted(txid):
            return
        self._forget(txid)
        for kind in VoteKind:
            for voter in self._tallies[kind].voters(txid):
                self._note_unknown(voter, txid)

    def _try_lock(self, txid: bytes, now: int) -> None:
        if self._me is None or self.draining or txid in self._locked:
            return
        size = self._sizes[txid]
        if len(self._locked) >= params.MAX_LOCKED or self._locked_bytes + size > params.MAX_LOCKED_BYTES:
            return
        if self._locks.lock(self._inputs[txid], txid, now) is None:
            self._locked[txid] = None
            self._locked_bytes += size
            self._to_lock[txid] = None

    def close(self, committed: Iterable[bytes], spends: Mapping[bytes, bytes], height: int, now: int) -> list[bytes]:
        """A block is committed: its transactions are closed, and what conflicts with them is void.

        What is returned is void although it was FINAL: nothing, unless more than f masternodes lie.
        """
        contenders: set[bytes] = set()
        void: dict[bytes, None] = {}
        for outpoint, spender in spends.items():
            void.update((txid, None) for txid in self._spenders.get(outpoint, ()) if txid != spender)
        contradicted = [txid for txid in void if self.is_final(txid)]
        for txid in void:
            for outpoint in self._inputs[txid]:
                contenders.update(self._spenders[outpoint])
        for txid in committed:
            self._close(txid, height, committed=True)
        for txid in void:
            self._close(txid, height, committed=False)
        for txid in sorted(contenders):
            if txid in self._inputs:
                self._try_lock(txid, now)
        self._prune(height)
        self._height = height
        for txid in list(self._contested):
            self._find_double_locks(txid)
        return contradicted

    def _close(self, txid: bytes, height: int, *, committed: bool) -> None:
        self._release(txid)
        self._forget(txid)
        for kind in VoteKind if not committed else (VoteKind.LOCK,):
            self._forget_votes(kind, txid)
        for unknown in self._unknown:
            unknown.pop(txid, None)
        if committed:
            self._late[txid] = height
        self._recent[txid] = committed
        while len(self._recent) > params.MAX_SEEN:
            self._recent.popitem(last=False)

    def _release(self, txid: bytes) -> None:
        inputs = self._inputs.get(txid, ())
        if txid in self._locked:
            del self._locked[txid]
            self._locks.unlock(inputs, txid)
            self._locked_bytes -= self._sizes[txid]
        if txid in self._acked:
            del self._acked[txid]
            for outpoint in inputs:
                del self._acked_outpoints[outpoint]

    def end_epoch(self) -> None:
        """The epoch is closed: its LOCKs and ACKs count for nothing any more, and nothing of it is kept."""
        for txid in [*self._locked, *self._acked]:
            self._release(txid)
        for voter, kept in enumerate(self._kept):
            for key in list(kept):
                self._drop(voter, key)

    def _forget(self, txid: bytes) -> None:
        self._to_lock.pop(txid, None)
        self._to_ack.pop(txid, None)
        self._sizes.pop(txid, None)
        self._contested.pop(txid, None)
        for outpoint in self._inputs.pop(txid, ()):
            spenders = self._spenders[outpoint]
            del spenders[txid]
            if not spenders:
                del self._spenders[outpoint]
            elif len(spenders) == 1:
                rival = next(iter(spenders))
                if not any(len(self._spenders[other]) > 1 for other in self._inputs[rival]):
                    self._contested.pop(rival, None)

    # --- votes

    def count_batch(self, batch: VoteBatch, height: int) -> Counted:
        """Count the votes of a verified batch, whatever gaps or conflicting batches there are."""
        voter, sequence, digest = batch.voter, batch.header.sequence, batch.digest()
        kept = self._kept[voter]
        if (sequence, digest) in kept:
            return Counted()
        counted = Counted()
        if all(txid in self._recent and txid not in self._late for txid in _ids(batch.locks + batch.acks)):
            return counted  # about nothing that is open
        rivals = self._slots.setdefault((voter, sequence), [])
        self._compare(batch.header, batch.signature, counted)
        if len(rivals) >= params.MAX_BATCHES_PER_SLOT:
            return counted
        counted.new = True
        rivals.append(digest)
        kept[sequence, digest] = _Kept(batch, height)
        self._kept_bytes[voter] += _size(batch)
        if voter == self._me:
            self._sequence = max(self._sequence, sequence)
        else:
            while len(kept) > 1 and self._is_full(voter, spare=1):
                self._drop(voter, next(iter(kept)))
        for kind, ids in ((VoteKind.LOCK, batch.locks), (VoteKind.ACK, batch.acks)):
            self._count(kind, voter, ids, counted)
        if self._contested:
            for txid in _ids(batch.locks):
                if txid in self._contested:
                    self._find_double_locks(txid)
        return counted

    def _compare(self, header: BatchHeader, signature: bytes, counted: Counted) -> None:
        """A header of a vote batch beside those that are kept with its sequence number."""
        found: Statement | None = None
        for digest in self._slots.get((header.voter, header.sequence), ()):
            entry = self._kept[header.voter].get((header.sequence, digest))
            if entry is not None and entry.batch.header != header:
                found = found or batch_statement(header, signature)
                counted.contradictions.append(Contradiction(batch_statement(entry.batch.header, entry.batch.signature), found))

    def count_certificate(self, certificate: VoteCertificate) -> Counted:
        """Count the votes of a verified certificate, one by one."""
        counted = Counted()
        if certificate.txid in self._recent:
            return counted
        proofs = self._proofs.setdefault((certificate.kind, certificate.txid), {})
        for proof in certificate.proofs:
            if proof.header.voter not in proofs:
                proofs[proof.header.voter] = proof
                counted.new = True
                self._compare(proof.header, proof.signature, counted)
                self._count(certificate.kind, proof.header.voter, certificate.txid, counted)
        if certificate.kind is VoteKind.LOCK and certificate.txid in self._contested:
            self._find_double_locks(certificate.txid)
        return counted

    def _find_double_locks(self, txid: bytes) -> None:
        """Voters who LOCKed a contested transaction and a rival of it while both are pending here.

        That is an offence unless the voter has seen a block that we have not: those are looked at again after the next one.
        """
        voters = self._tallies[VoteKind.LOCK].voters(txid)
        rivals = dict.fromkeys(rival for point in self._inputs[txid] for rival in self._spenders[point] if rival != txid)
        for rival in rivals:
            for voter in self._tallies[VoteKind.LOCK].voters(rival):
                if voter in voters and voter not in self._accused:
                    self._accuse(voter, txid, rival)

    def _accuse(self, voter: int, txid: bytes, rival: bytes) -> None:
        found = [(self._proof(VoteKind.LOCK, item, voter), item) for item in (txid, rival)]
        locks = [(proof, item) for proof, item in found if proof is not None]
        if len(locks) < 2:
            return
        locks.sort(key=lambda lock: (lock[0].header.sequence, lock[0].header.encode(), lock[0].index))
        (first, first_txid), (second, second_txid) = locks
        if second.header.decided <= self._height:
            self._accused.add(voter)
            self._double_locks.append(DoubleLock(first, first_txid, second, second_txid))

    def take_double_locks(self) -> list[DoubleLock]:
        """What was found since the last call."""
        found, self._double_locks = self._double_locks, []
        return found

    def shown(self, txid: bytes) -> VoteCertificate | None:
        """CERT(T), if votes in it came as a certificate and not in a batch that we keep."""
        return self.certificate(VoteKind.LOCK, txid) if (VoteKind.LOCK, txid) in self._proofs else None

    def keeps(self, batch: VoteBatch) -> bool:
        return (batch.header.sequence, batch.digest()) in self._kept[batch.voter]

    def _count(self, kind: VoteKind, voter: int, ids: bytes, counted: Counted) -> None:
        fresh = []
        unknown = self._unknown[voter]
        for start in range(0, len(ids), 32):
            txid = ids[start : start + 32]
            if txid in self._recent:
                if kind is VoteKind.ACK and txid in self._late:
                    fresh.append(txid)
                continue
            fresh.append(txid)
            if txid not in self._inputs:
                unknown[txid] = None
                counted.wanted.append(txid)
            elif kind is VoteKind.LOCK and txid not in self._acked and self._tallies[kind].reached(txid):
                self._to_ack[txid] = None  # the certificate may have become complete, if only here
        reached = self._tallies[kind].add(voter, b"".join(fresh))
        self._trim_unknown(voter)
        if kind is VoteKind.LOCK:
            counted.certified += reached
        else:
            counted.final += reached
        for txid in reached:
            if txid in self._inputs:
                self._to_ack[txid] = None

    def _note_unknown(self, voter: int, txid: bytes) -> None:
        self._unknown[voter][txid] = None
        self._trim_unknown(voter)

    def _trim_unknown(self, voter: int) -> None:
        unknown = self._unknown[voter]
        while len(unknown) > params.MAX_UNKNOWN_VOTES:
            self._forget_unknown(unknown.popitem(last=False)[0])

    def _forget_unknown(self, txid: bytes) -> None:
        if any(txid in unknown for unknown in self._unknown):
            return
        for kind in VoteKind:
            self._forget_votes(kind, txid)

    def _forget_votes(self, kind: VoteKind, txid: bytes) -> None:
        self._tallies[kind].remove(txid)
        self._proofs.pop((kind, txid), None)

    def seal(self, decided: int, incompatible: Callable[[bytes, tuple[bytes, ...]], bool]) -> VoteBatch | None:
        """The next own batch, or None when there is nothing to vote for.

        `incompatible(txid, inputs)` is R2: whether a proposal that we signed at the undecided height excludes it. From here on
        R1 counts the ACKs in it as given.
        """
        if self._me is None or self.draining or self._is_full(self._me):
            return None
        locks = [txid for txid in list(self._to_lock)[: params.MAX_BATCH_VOTES] if txid in self._locked]
        acks: list[bytes] = []
        for txid in list(self._to_ack):
            if len(acks) == params.MAX_BATCH_VOTES:
                break
            inputs = self._inputs[txid]
            if txid in self._acked or self._conflicts_with_ack(txid, inputs):
                del self._to_ack[txid]
            elif not self._tallies[VoteKind.LOCK].reached(txid) or not self._can_show(txid):
                del self._to_ack[txid]  # until more votes for it come
            elif not incompatible(txid, inputs):
                del self._to_ack[txid]
                self._record_ack(txid, inputs)
                acks.append(txid)
        for txid in locks:
            del self._to_lock[txid]
        if not locks and not acks:
            return None
        self._sequence += 1
        return VoteBatch.seal(self.epoch, self._me, self._sequence, decided, b"".join(locks), b"".join(acks))

    def _record_ack(self, txid: bytes, inputs: tuple[bytes, ...]) -> None:
        self._acked[txid] = None
        for outpoint in inputs:
            self._acked_outpoints[outpoint] = txid

    def _conflicts_with_ack(self, txid: bytes, inputs: tuple[bytes, ...]) -> bool:
        return any(self._acked_outpoints.get(outpoint, txid) != txid for outpoint in inputs)

    def excluded_ack(self, txids: Iterable[bytes], spends: Mapping[bytes, bytes], closes_epoch: bool) -> bytes | None:
        """R1: a pending transaction that we ACKed and that a block with these spends would exclude, or None."""
        for outpoint, spender in spends.items():
            acked = self._acked_outpoints.get(outpoint)
            if acked is not None and acked != spender:
                return acked
        if closes_epoch:
            included = set(txids)
            return next((txid for txid in self._acked if txid not in included), None)
        return None

    # --- after a restart

    def restore_batch(self, batch: VoteBatch, height: int) -> None:
        """A batch from our own store: counted, and if it is our own, what it promises is remembered."""
        self.count_batch(batch, height)

    def restore_votes(self, txid: bytes, inputs: tuple[bytes, ...], size: int, *, locked: bool, acked: bool, now: int) -> bool:
        """Admit a pending transaction that we LOCKed or ACKed before the restart. False: the store contradicts itself."""
        if locked:
            if self._locks.lock(inputs, txid, now) is not None:
                return False
            self._locked[txid] = None
            self._locked_bytes += size
        if acked:
            if self._conflicts_with_ack(txid, inputs):
                return False
            self._record_ack(txid, inputs)
        self.admit(txid, inputs, size, now, lock=False)
        return True

    # --- questions

    @property
    def sequence(self) -> int:
        """The last sequence number that we used."""
        return self._sequence

    @property
    def pending(self) -> int:
        """How many admitted transactions are pending."""
        return len(self._inputs)

    def wants_to_vote(self) -> bool:
        return not self.draining and bool(self._to_lock or self._to_ack)

    def is_pending(self, txid: bytes) -> bool:
        return txid in self._inputs

    def is_certified(self, txid: bytes) -> bool:
        return self._tallies[VoteKind.LOCK].reached(txid) or self.is_final(txid)

    def is_final(self, txid: bytes) -> bool:
        return self._tallies[VoteKind.ACK].reached(txid)

    def is_closed(self, txid: bytes) -> bool:
        """Whether it was committed or became void not long ago."""
        return txid in self._recent

    def was_committed(self, txid: bytes) -> bool:
        """Whether it was committed not long ago."""
        return self._recent.get(txid, False)

    def has_voted(self, txid: bytes) -> bool:
        """Whether a LOCK or an ACK of ours for it is in force."""
        return txid in self._locked or txid in self._acked

    def acked(self) -> Iterator[bytes]:
        """Pending transactions that we ACKed, the oldest first."""
        return iter(self._acked)

    def votes(self, kind: VoteKind, txid: bytes) -> int:
        return self._tallies[kind].count(txid)

    def contested(self, txid: bytes) -> bool:
        """Whether another admitted pending transaction spends one of its inputs."""
        return txid in self._contested

    def certificate(self, kind: VoteKind, txid: bytes) -> VoteCertificate | None:
        """A quorum of votes with their branches, or None when they are not (or no longer) here."""
        proofs: list[VoteProof] = []
        for voter in self._tallies[kind].voters(txid):
            proof = self._proof(kind, txid, voter)
            if proof is not None:
                proofs.append(proof)
            if len(proofs) == self._quorum.q:
                return VoteCertificate(kind, txid, tuple(proofs))
        return None

    def _can_show(self, txid: bytes) -> bool:
        """Whether the LOCKs of a quorum are at hand, so that `certificate` would give CERT(T)."""
        known = self._proofs.get((VoteKind.LOCK, txid), {})
        shown = 0
        for voter in self._tallies[VoteKind.LOCK].voters(txid):
            shown += voter in known or any(
                kept.batch.place(VoteKind.LOCK, txid) is not None for kept in reversed(self._kept[voter].values())
            )
            if shown == self._quorum.q:
                return True
        return False

    def _proof(self, kind: VoteKind, txid: bytes, voter: int) -> VoteProof | None:
        """The vote of one voter with its branch, if it is (still) here."""
        known = self._proofs.get((kind, txid), {}).get(voter)
        if known is not None:
            return known
        for kept in reversed(self._kept[voter].values()):
            proof = kept.batch.proof(kind, txid)
            if proof is not None:
                return proof
        return None

    def kept(self, voter: int) -> list[int]:
        """Sequence numbers of the batches kept of a voter, rising."""
        return sorted({sequence for sequence, _ in self._kept[voter]})

    def offered(self, voter: int) -> list[int]:
        """Those of them that others may need, rising."""
        return sorted({sequence for (sequence, _), kept in self._kept[voter].items() if kept.open})

    def batches(self, voter: int, runs: Sequence[tuple[int, int]]) -> Iterator[VoteBatch]:
        """The kept batches of a voter whose sequence numbers are in one of the rising runs (both ends included)."""
        for (sequence, _), kept in self._kept[voter].items():
            at = bisect_right(runs, (sequence, _NO_END)) - 1
            if at >= 0 and sequence <= runs[at][1]:
                yield kept.batch

    # --- keeping it small

    def _prune(self, height: int) -> None:
        while self._late and next(iter(self._late.values())) + _KEEP_HEIGHTS <= height:
            self._forget_votes(VoteKind.ACK, self._late.popitem(last=False)[0])
        for voter, kept in enumerate(self._kept):
            newest = max(kept, default=None)
            for key, entry in list(kept.items()):
                if entry.height + _RECENT_HEIGHTS > height:
                    continue
                if entry.open:
                    entry.open = any(txid in self._inputs for txid in _ids(entry.batch.locks + entry.batch.acks))
                if entry.open or (voter == self._me and key == newest):
                    continue
                if entry.height + _KEEP_HEIGHTS <= height:
                    self._drop(voter, key)

    def _is_full(self, voter: int, *, spare: int = 0) -> bool:
        """Whether no more batches of a voter can be kept: others' oldest ones make room, our own hold the next one back."""
        kept = len(self._kept[voter]) - spare
        share = min(params.MAX_KEPT_BATCH_BYTES, params.MAX_ALL_KEPT_BYTES // self._quorum.n)
        return kept >= params.MAX_KEPT_BATCHES or self._kept_bytes[voter] >= share

    def _drop(self, voter: int, key: tuple[int, bytes]) -> None:
        batch = self._kept[voter].pop(key).batch
        self._kept_bytes[voter] -= _size(batch)
        self.dropped.append(batch)
        rivals = self._slots.get((voter, key[0]), [])
        if key[1] in rivals:
            rivals.remove(key[1])
        if not rivals:
            self._slots.pop((voter, key[0]), None)


def _size(batch: VoteBatch) -> int:
    return len(batch.locks) + len(batch.acks) + _BATCH_OVERHEAD


def _ids(column: bytes) -> Iterator[bytes]:
    return (column[at : at + 32] for at in range(0, len(column), 32))
