"""What everybody signs, seen from outside: the votes are counted once more, and every promise of a signer is held against it.

Place in the flow: `World.transmit` shows each signed message when it is sent for the first time. Votes of all keys are counted,
also those that come inside of certificates; the promises bind the keys of correct nodes only.

    one voice     no key signs two digests in one slot, across restarts
    looking back  nothing is signed for a view below one that its key asked to leave
    locks         a key's votes for conflicting transactions have a block between them that voided the first; nothing is voted
                  for that is void or in a block
    views         the timer of a view runs only once q VIEW-CHANGEs or a NEW-VIEW opened it; f+1 others may be joined
    grounds       an ACK has q LOCKs before it, a COMMIT q PREPAREs of its view, a PREPARE its leader's proposal, a block q
                  COMMITs of one view; a VIEW-CHANGE has the certificate behind the last COMMIT; a NEW-VIEW has q VIEW-CHANGEs
                  and the block that they demand, or only certified transactions
    R1, R2, R4    of protocol section 6
    certificates  no two pending transactions that conflict are certified, no two digests prepared in one view, nothing else
                  than what is committed in a view is prepared in a later one

Every quorum is counted here anew: over operator keys, of one epoch, with `votes_needed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from timecoin.consensus.certificates import Phase, PhaseCertificate, VoteCertificate, VoteKind
from timecoin.consensus.evidence import statement
from timecoin.consensus.messages import Message, NewView, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.errors import DecodeError
from timecoin.ledger.blocks import Block
from timecoin.ledger.transactions import Transaction, split
from timecoin.replica.journal import decode_pbft
from timecoin.replica.payloads import decode_blocks
from timecoin.replica.wire import Kind
from timecoin.sim.invariants import Chain, InvariantError, votes_needed
from timecoin.sim.node import Verifier

PBFT = frozenset({Kind.PROPOSAL, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW})
_CERTIFICATES = (VoteCertificate, PhaseCertificate)
_MOST_EARLY = 20_000
SIGNED = PBFT | {Kind.VOTE_BATCH, Kind.VOTE_CERTIFICATE}


class Proposed(NamedTuple):
    """What a proposed block does."""

    height: int
    closes_epoch: bool
    txids: frozenset[bytes]
    spends: Mapping[bytes, bytes]


class Signer:
    """What one key has signed."""

    def __init__(self) -> None:
        self.slots: dict[tuple[object, ...], bytes] = {}
        self.left: dict[int, int] = {}  # height -> the highest view that it asked for
        self.committed: dict[int, int] = {}  # height -> the highest view in which it sent COMMIT
        self.proposals: dict[int, dict[bytes, None]] = {}  # height -> digests that it PRE-PREPAREd or PREPAREd
        self.votes: dict[VoteKind, dict[int, dict[bytes, int]]] = {kind: {} for kind in VoteKind}  # epoch -> txid -> decided


class SignedTraffic:
    """All signed messages of a run."""

    def __init__(self, chain_id: bytes, chain: Chain, transactions: Mapping[bytes, Transaction], verifier: Verifier) -> None:
        self._chain_id = chain_id
        self._chain = chain
        self._transactions = transactions
        self._verifier = verifier
        self._seen: set[bytes] = set()
        self._changes: dict[bytes, ViewChange | NewView] = {}
        self._asked: dict[tuple[int, int], dict[int, int]] = {}  # epoch, height -> voter -> the highest view that it asks for
        self._early: list[Message | VoteCertificate | PhaseCertificate] = []  # of an epoch whose set is not known yet
        self._signers: dict[bytes, Signer] = {}
        self._votes: dict[tuple[VoteKind, int, bytes], set[int]] = {}  # kind, epoch, txid
        self._phases: dict[tuple[Phase, int, int, int, bytes], set[int]] = {}  # phase, epoch, height, view, digest
        self._prepared: dict[int, dict[int, bytes]] = {}  # height -> view -> digest
        self._committed: dict[int, dict[int, bytes]] = {}
        self._certified: dict[int, dict[bytes, None]] = {}  # epoch -> txids
        self._blocks: dict[bytes, Proposed | None] = {}
        self._offers: dict[tuple[int, int, int, bytes], bool] = {}  # epoch, height, view, digest -> whether it is justified
        self._messages: dict[bytes, Message] = {}  # of nodes that may lie, as long as they verify

    def is_new(self, payload: bytes) -> bool:
        """True once for each payload."""
        if payload in self._seen:
            return False
        self._seen.add(payload)
        return True

    # --- what is sent

    def from_correct(self, kind: Kind, payload: bytes, key: bytes | None) -> Message | None:
        """A message that a correct node sends for the first time; what it signed itself, with `key`, is judged and given back."""
        if kind is Kind.VOTE_CERTIFICATE:
            self._count_certificate(VoteCertificate.decode(payload))
            return None
        message = VoteBatch.decode(payload) if kind is Kind.VOTE_BATCH else decode_pbft(kind, payload)
        own = key is not None and key == self._operator(message)
        if own:
            assert key is not None
            self._judge(self._signers.setdefault(key, Signer()), message)
        self._record(message)
        self._note_change(payload, message)
        return message if own else None

    def remember(self, messages: Iterable[Message]) -> None:
        """Messages in the store of a correct node: they count as votes, and are judged when they are sent."""
        for message in messages:
            if message.epoch in self._chain.sets:
                self._record(message)

    def from_faulty(self, kind: Kind, payload: bytes) -> None:
        """A message of a node that may lie: what does not decode or verify says nothing."""
        try:
            if kind is Kind.BLOCKS:
                for _, encoded in decode_blocks(payload):
                    self._consider(PhaseCertificate.decode(encoded))
            elif kind is Kind.VOTE_CERTIFICATE:
                self._consider(VoteCertificate.decode(payload))
            else:
                message = VoteBatch.decode(payload) if kind is Kind.VOTE_BATCH else decode_pbft(kind, payload)
                if self._consider(message):
                    self._messages[payload] = message
                    self._note_change(payload, message)
        except DecodeError:
            return

    def epoch_opened(self) -> None:
        """A correct node knows who votes next: what liars that were ahead signed for that epoch can be looked at."""
        waiting, self._early = self._early, []
        for said in waiting:
            self._consider(said)

    def of_a_view(self, payload: bytes) -> ViewChange | NewView | None:
        """A valid VIEW-CHANGE or NEW-VIEW that somebody has sent, or None."""
        return self._changes.get(payload)

    def _note_change(self, payload: bytes, message: Message) -> None:
        if isinstance(message, ViewChange) or (isinstance(message, NewView) and self._flaw(message) is None):
            self._changes[payload] = message

    def doubtful(self, payload: bytes) -> Message | None:
        """A message with a good signature that a node which may lie has sent first, or None."""
        return self._messages.get(payload)

    def _consider(self, said: Message | VoteCertificate | PhaseCertificate) -> bool:
        """Count what is signed well; whether it is."""
        epoch = said.proofs[0].header.epoch if isinstance(said, VoteCertificate) else said.epoch
        if epoch not in self._chain.sets:
            if epoch == self._chain.epoch + 1 and len(self._early) < _MOST_EARLY:
                self._early.append(said)
            return False
        operators = self._chain.sets[epoch]
        if isinstance(said, VoteCertificate) and any(proof.header.epoch != epoch for proof in said.proofs):
            return False
        checks = said.signatures(self._chain_id) if isinstance(said, _CERTIFICATES) else said.checks(self._chain_id)
        if any(check.voter >= len(operators) for check in checks):
            return False
        if not all(self._verifier.verdicts([(operators[c.voter], c.message, c.signature) for c in checks])):
            return False
        if isinstance(said, VoteCertificate):
            self._count_certificate(said)
        elif isinstance(said, PhaseCertificate):
            self._count_phases(said)
        else:
            self._record(said)
        return True

    def _operator(self, message: Message) -> bytes | None:
        operators = self._chain.sets.get(message.epoch, ())
        return operators[message.voter] if message.voter < len(operators) else None

    # --- counting

    def _needed(self, epoch: int) -> int:
        return votes_needed(len(self._chain.sets[epoch]))

    def has_votes(self, kind: VoteKind, epoch: int, txid: bytes) -> bool:
        return len(self._votes.get((kind, epoch, txid), ())) >= self._needed(epoch)

    def is_committed(self, epoch: int, height: int, digest: bytes, view: int) -> bool:
        """Whether a quorum signed COMMIT for a block in one view."""
        return len(self._phases.get((Phase.COMMIT, epoch, height, view, digest), ())) >= self._needed(epoch)

    def _record(self, message: Message) -> None:
        if isinstance(message, VoteBatch):
            for kind, ids in ((VoteKind.LOCK, message.locks), (VoteKind.ACK, message.acks)):
                for txid in split(ids, 32):
                    self._count_vote(kind, message.epoch, message.voter, txid)
            return
        if isinstance(message, PhaseVote):
            self._count_phase(message.phase, message, message.digest, message.voter)
        elif isinstance(message, ViewChange):
            asked = self._asked.setdefault((message.epoch, message.height), {})
            asked[message.voter] = max(message.view, asked.get(message.voter, 0))
            if message.prepared is not None:
                self._count_phases(message.prepared)
        else:
            self._offer(message)

    def _offer(self, message: Proposal | NewView) -> None:
        """A proposal: what is in it counts, and it may be signed if it is one that its leader may make."""
        if isinstance(message, NewView):
            for change in message.view_changes:
                self._record(change)
        if message.digest not in self._blocks:
            self._blocks[message.digest] = _proposed(message.block)
        if self._flaw(message) is None:
            slot = (message.epoch, message.height, message.view, message.digest)
            justified = isinstance(message, NewView) and message.highest() is not None
            self._offers[slot] = self._offers.get(slot, False) or justified

    def _flaw(self, message: Proposal | NewView) -> str | None:
        """Why nobody may sign what a leader proposes, or None."""
        voters = len(self._chain.sets[message.epoch])
        if message.voter != (message.height + message.view) % voters:
            return f"is by voter {message.voter}, who does not lead"
        if isinstance(message, Proposal):
            return None
        needed = votes_needed(voters)
        if len({change.voter for change in message.view_changes}) < needed:
            return f"has fewer than {needed} VIEW-CHANGEs"
        for change in message.view_changes:
            slot = (change.epoch, change.height, change.view)
            if slot != (message.epoch, message.height, message.view):
                return f"has a VIEW-CHANGE of {slot}"
            prepared = change.prepared
            if prepared is None:
                continue
            if len({voter for voter, _ in prepared.votes}) < needed or prepared.phase is not Phase.PREPARE:
                return "has a certificate that is none"
            if slot[:2] != (prepared.epoch, prepared.height) or prepared.view >= message.view:
                return f"has a certificate of height {prepared.height}, view {prepared.view}"
        highest = message.highest()
        if highest is not None and highest.digest != message.digest:
            return f"is not for the block that is prepared in view {highest.view}"
        return None

    def _count_certificate(self, certificate: VoteCertificate) -> None:
        for proof in certificate.proofs:
            if proof.holds(certificate.kind, certificate.txid):
                self._count_vote(certificate.kind, proof.header.epoch, proof.header.voter, certificate.txid)

    def _count_vote(self, kind: VoteKind, epoch: int, voter: int, txid: bytes) -> None:
        if txid not in self._transactions or epoch not in self._chain.sets:
            return
        voters = self._votes.setdefault((kind, epoch, txid), set())
        if voter in voters:
            return
        voters.add(voter)
        if len(voters) == self._needed(epoch):
            if kind is VoteKind.ACK:
                self._chain.add_final(txid, epoch)
            else:
                self._certify(epoch, txid)

    def _certify(self, epoch: int, txid: bytes) -> None:
        certified = self._certified.setdefault(epoch, {})
        height = self._chain.height
        for other in certified if epoch == self._chain.epoch and self._chain.is_pending(txid, height) else ():
            if self._chain.conflict(txid, other) and self._chain.is_pending(other, height):
                raise InvariantError("certificates", f"{txid.hex()[:12]} and {other.hex()[:12]} conflict, both are certified")
        certified[txid] = None

    def _count_phases(self, certificate: PhaseCertificate) -> None:
        for voter, _ in certificate.votes:
            self._count_phase(certificate.phase, certificate, certificate.digest, voter)

    def _count_phase(self, phase: Phase, slot: PhaseVote | PhaseCertificate, digest: bytes, voter: int) -> None:
        if slot.epoch not in self._chain.sets:
            return
        voters = self._phases.setdefault((phase, slot.epoch, slot.height, slot.view, digest), set())
        if voter in voters:
            return
        voters.add(voter)
        if len(voters) == self._needed(slot.epoch):
            self._phase_reached(phase, slot.height, slot.view, digest)

    def _phase_reached(self, phase: Phase, height: int, view: int, digest: bytes) -> None:
        prepared, committed = self._prepared.setdefault(height, {}), self._committed.setdefault(height, {})
        if phase is Phase.COMMIT:
            committed.setdefault(view, digest)
        elif prepared.setdefault(view, digest) != digest:
            raise InvariantError("certificates", f"height {height}: two blocks are prepared in view {view}")
        if len(set(committed.values())) > 1:
            raise InvariantError("agreement", f"height {height}: two blocks have a quorum of COMMITs")
        for first, decided in committed.items():
            for later, other in prepared.items():
                if later > first and other != decided:
                    raise InvariantError(
                        "certificates", f"height {height}: view {later} prepares another block than view {first} committed"
                    )

    # --- what binds a correct key

    def _judge(self, signer: Signer, message: Message) -> None:
        said = statement(message)
        slot, digest = said.slot, said.content
        if signer.slots.setdefault(slot, digest) != digest:
            raise InvariantError("one voice", f"voter {message.voter} signed {digest.hex()[:12]} and another digest in {slot}")
        if isinstance(message, VoteBatch):
            self._judge_batch(signer, message)
        elif isinstance(message, ViewChange):
            self._judge_view_change(signer, message)
        else:
            if message.view < signer.left.get(message.height, 0):
                raise InvariantError(
                    "looking back", f"voter {message.voter} signed {slot} after asking for view {signer.left[message.height]}"
                )
            if isinstance(message, PhaseVote):
                self._judge_phase(signer, message)
            else:
                self._offer(message)
                self._judge_leader(message)
                self._judge_proposal(signer, message)

    def _judge_phase(self, signer: Signer, vote: PhaseVote) -> None:
        slot = (vote.epoch, vote.height, vote.view, vote.digest)
        if vote.phase is Phase.COMMIT:
            if len(self._phases.get((Phase.PREPARE, *slot), ())) < self._needed(vote.epoch):
                raise InvariantError("grounds", f"voter {vote.voter} COMMITs {slot[:3]} without a prepared certificate")
            signer.committed[vote.height] = max(vote.view, signer.committed.get(vote.height, 0))
        else:
            if slot not in self._offers:
                raise InvariantError("grounds", f"voter {vote.voter} PREPAREs at {slot[:3]} what its leader may not propose")
            self._judge_proposal(signer, vote)

    def _judge_view_change(self, signer: Signer, message: ViewChange) -> None:
        signer.left[message.height] = max(message.view, signer.left.get(message.height, 0))
        if not self._may_ask(message):
            raise InvariantError(
                "views",
                f"voter {message.voter} asks for view {message.view} of height {message.height} before the view below is open",
            )
        committed = signer.committed.get(message.height)
        if committed is None or committed >= message.view:
            return
        if message.prepared is None or message.prepared.view < committed:
            raise InvariantError(
                "grounds",
                f"voter {message.voter} asks for view {message.view} of height {message.height} without the "
                f"certificate of view {committed} that it has",
            )

    def _judge_leader(self, message: Proposal | NewView) -> None:
        slot = f"the proposal of height {message.height}, view {message.view}"
        flaw = self._flaw(message)
        if flaw is not None:
            raise InvariantError("grounds", f"{slot} {flaw}")
        block = self._blocks.get(message.digest)
        if message.view == 0 or block is None or (isinstance(message, NewView) and message.highest() is not None):
            return
        for txid in block.txids:
            if txid in self._transactions and not any(self.has_votes(kind, message.epoch, txid) for kind in VoteKind):
                raise InvariantError("R5", f"{slot} has the uncertified transaction {txid.hex()[:12]}")

    def _may_ask(self, message: ViewChange) -> bool:
        """Whether the timer of the view below ran, or f+1 others ask for that view or a higher one."""
        slot, below = (message.epoch, message.height), message.view - 1
        if below == 0 or any(offer[:3] == (*slot, below) for offer in self._offers):
            return True
        asked = self._asked.get(slot, {})
        if sum(view >= below for view in asked.values()) >= self._needed(message.epoch):
            return True
        others = sum(view >= message.view for voter, view in asked.items() if voter != message.voter)
        return others > (len(self._chain.sets[message.epoch]) - 1) // 3

    def _judge_proposal(self, signer: Signer, message: Proposal | NewView | PhaseVote) -> None:
        """R1, for what is signed like a PREPARE; what it is remembered for is R2."""
        signer.proposals.setdefault(message.height, {})[message.digest] = None
        if self._offers.get((message.epoch, message.height, message.view, message.digest), False):
            return  # R3
        block = self._blocks.get(message.digest)
        for txid in signer.votes[VoteKind.ACK].get(message.epoch, {}) if block is not None else ():
            assert block is not None
            if self._excludes(block, txid) and self._chain.is_pending(txid, message.height - 1):
                raise InvariantError(
                    "R1",
                    f"voter {message.voter} signs a block of height {message.height}, view {message.view} against its own "
                    f"ACK of {txid.hex()[:12]}",
                )

    def _excludes(self, block: Proposed, txid: bytes) -> bool:
        """Whether a block is incompatible with a pending transaction."""
        tx = self._transactions.get(txid)
        if tx is None:
            return False
        if any(block.spends.get(point, txid) != txid for point in tx.inputs):
            return True
        return block.closes_epoch and txid not in block.txids

    def _judge_batch(self, signer: Signer, batch: VoteBatch) -> None:
        chain, decided = self._chain, batch.header.decided
        if decided >= chain.nominal_last(batch.epoch) - 1:
            raise InvariantError("R4", f"voter {batch.voter} votes at height {decided} of epoch {batch.epoch}, which drains")
        for kind, ids in ((VoteKind.LOCK, batch.locks), (VoteKind.ACK, batch.acks)):
            for txid in split(ids, 32):
                if txid not in self._transactions:
                    raise InvariantError("locks", f"voter {batch.voter} votes for {txid.hex()[:12]}, which nobody made")
                if not chain.is_pending(txid, decided):
                    raise InvariantError(
                        "locks", f"voter {batch.voter} signs {kind.name} of {txid.hex()[:12]}, which is not pending at {decided}"
                    )
                self._judge_conflicts(signer, kind, batch, txid)
        for txid in split(batch.acks, 32):
            self._judge_ack(signer, batch, txid)

    def _judge_conflicts(self, signer: Signer, kind: VoteKind, batch: VoteBatch, txid: bytes) -> None:
        given = signer.votes[kind].setdefault(batch.epoch, {})
        for other in given:
            if self._chain.conflict(txid, other):
                void = self._chain.void_since(other)
                if void is None or void > batch.header.decided:
                    raise InvariantError(
                        "locks", f"voter {batch.voter} signs {kind.name} of {txid.hex()[:12]} and of {other.hex()[:12]}"
                    )
        given[txid] = batch.header.decided

    def _judge_ack(self, signer: Signer, batch: VoteBatch, txid: bytes) -> None:
        if not self.has_votes(VoteKind.LOCK, batch.epoch, txid):
            raise InvariantError("grounds", f"voter {batch.voter} ACKs {txid.hex()[:12]}, which is not certified")
        for digest in signer.proposals.get(batch.header.decided + 1, {}):
            block = self._blocks.get(digest)
            if block is not None and self._excludes(block, txid):
                raise InvariantError(
                    "R2", f"voter {batch.voter} ACKs {txid.hex()[:12]} against a proposal of height {block.height} that it signed"
                )


def _proposed(data: bytes) -> Proposed | None:
    try:
        block = Block.decode(data)
    except DecodeError:
        return None
    return Proposed(block.height, block.header.closes_epoch, frozenset(block.txids), block.spends)
