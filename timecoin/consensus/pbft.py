"""PBFT for one height: from a proposal to a commit certificate, through as many views as it takes (protocol section 5).

    (h, 0) PRE-PREPARE by the leader --valid, admissible--> PREPARE --q PREPAREs, body--> COMMIT --q COMMITs--> decided
    timer runs out ------------------> VIEW-CHANGE(v+1) --q--> NEW-VIEW by the leader of v+1 --> PREPARE in v+1 ...

Invariants.
- Never look back: nothing is signed for a view below the current one, which rises when a VIEW-CHANGE is signed or a NEW-VIEW
  accepted. Late votes are still counted, and a commit certificate of any view decides.
- R1: a *fresh* proposal is signed only if it excludes no pending transaction that we ACKed. R3: one that a prepared certificate
  justifies is PREPAREd whatever we ACKed. R2 reads `signed_proposals`: what we signed at this height, in any view.
- Votes are kept per (voter, view, phase, digest); at most MAX_DIGESTS_PER_SLOT digests of one slot are counted.

The machine has no clock (time comes with `tick`), no key (drafts are unsigned; our own messages come back through `receive`
once they are durable) and no blocks but their `BlockInfo`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from timecoin import params
from timecoin.consensus.certificates import Phase, PhaseCertificate
from timecoin.consensus.evidence import Contradiction, statement
from timecoin.consensus.messages import NewView, PbftMessage, PhaseVote, Proposal, ViewChange
from timecoin.consensus.quorum import Quorum
from timecoin.consensus.viewchange import ViewChanges
from timecoin.errors import SafetyViolation

_PROPOSALS = ("Proposal", "NewView")  # what opens view 0, and a later one
_KEPT_VIEWS = 4  # bodies proposed in the last few views are kept even when nothing else needs them


@dataclass(frozen=True, slots=True)
class BlockInfo:
    """What consensus knows of a block: ids, and which transaction spends which outpoint."""

    digest: bytes
    height: int
    epoch: int
    proposer: int
    closes_epoch: bool
    txids: tuple[bytes, ...]
    spends: Mapping[bytes, bytes]


class Timing(NamedTuple):
    """The pace that the genesis document sets, in milliseconds."""

    block_interval: int
    heartbeat: int
    view_timeout: int
    view_timeout_cap: int

    @property
    def grace(self) -> int:
        """How long after the first transaction a block is due at the earliest: time for the votes to make it FINAL."""
        return self.block_interval // 4

    def timeout(self, view: int) -> int:
        return min(self.view_timeout << min(view, 20), self.view_timeout_cap)


class Votes(Protocol):
    """What PBFT asks of the fast path."""

    def excluded_ack(self, txids: tuple[bytes, ...], spends: Mapping[bytes, bytes], closes_epoch: bool) -> bytes | None: ...


class Draft(NamedTuple):
    """A message to sign, make durable and only then send, with what must be durable together with it."""

    message: PbftMessage
    block: bytes | None = None
    certificate: PhaseCertificate | None = None


class CheckRequest(NamedTuple):
    """A block that the ledger has to judge. `fresh`: also by the clock."""

    digest: bytes
    block: bytes
    fresh: bool


class BuildRequest(NamedTuple):
    """The leader wants a fresh block. `certified_only`: without uncertified transactions (R5)."""

    height: int
    view: int
    certified_only: bool


class Decision(NamedTuple):
    digest: bytes
    block: bytes
    certificate: PhaseCertificate


@dataclass(slots=True)
class Output:
    """What a height wants done since it was last asked."""

    drafts: list[Draft] = field(default_factory=list)
    checks: list[CheckRequest] = field(default_factory=list)
    build: BuildRequest | None = None
    decision: Decision | None = None
    wanted_body: bytes | None = None
    contradictions: list[Contradiction] = field(default_factory=list)


@dataclass(slots=True)
class _Candidate:
    block: bytes
    info: BlockInfo | None = None
    valid: bool | None = None  # None: not judged yet
    fresh: bool = False  # whether it was judged by the clock too


@dataclass(slots=True)
class _View:
    digest: bytes  # what its leader proposed
    justified: bool  # by a prepared certificate


class Height:
    """The consensus on one height, seen from voter `me` (None: from a node that does not vote)."""

    def __init__(
        self, epoch: int, height: int, quorum: Quorum, me: int | None, timing: Timing, votes: Votes, *, since: int
    ) -> None:
        self.epoch = epoch
        self.height = height
        self.view = 0
        self.signed_proposals: dict[bytes, BlockInfo] = {}
        self._quorum = quorum
        self._me = me
        self._timing = timing
        self._votes = votes
        self._since = since  # when the parent was decided here
        self._demand_since: int | None = None
        self._deadline: int | None = None  # of the current view, when its timer runs
        self._candidates: dict[bytes, _Candidate] = {}
        self._views: dict[int, _View] = {}
        self._opening: Proposal | NewView | None = None  # what another leader opened our current view with
        self._counted: dict[tuple[Phase, int, bytes], dict[int, bytes]] = {}
        self._first: dict[tuple[str, int, int], PbftMessage] = {}  # the first message of each slot, for evidence
        self._slots: dict[tuple[Phase, int, int], set[bytes]] = {}  # phase, view, voter -> digests counted
        self._changes = ViewChanges(quorum)
        self._prepared: dict[int, PhaseCertificate] = {}  # view -> prepared certificate
        self._committed: PhaseCertificate | None = None
        self._own: dict[tuple[str, int], PbftMessage] = {}  # (kind, view) -> durable own message
        self._signed: set[tuple[str, int]] = set()  # (kind, view) that we signed or drafted
        self._out = Output()
        self._decided = False

    # --- time

    def demand(self, wanted: bool, now: int) -> None:
        """Whether there is anything to put into a block."""
        if not wanted:
            self._demand_since = None
        elif self._demand_since is None:
            self._demand_since = now

    def _opens(self) -> int:
        """When view 0 is due: an interval after the parent if there is demand, else a heartbeat after it.

        Demand counts from `grace` on, so that a block that it brings about is not empty.
        """
        heartbeat = self._since + self._timing.heartbeat
        if self._demand_since is None:
            return heartbeat
        return min(heartbeat, max(self._demand_since + self._timing.grace, self._since + self._timing.block_interval))

    def deadline(self) -> int | None:
        """When `tick` has something to do, if nothing else happens."""
        if self._decided:
            return None
        if self.view > 0:
            return self._deadline
        opens = self._opens()
        if self._leads() and ("Proposal", 0) not in self._signed:
            return opens
        return opens + self._timing.timeout(0)

    def tick(self, now: int) -> None:
        if self._decided:
            return
        if self.view == 0:
            if self._leads() and ("Proposal", 0) not in self._signed and now >= self._opens():
                self._out.build = BuildRequest(self.height, 0, False)
            elif now >= self._opens() + self._timing.timeout(0):
                self._move_to(1)
        elif self._deadline is not None and now >= self._deadline:
            self._move_to(self.view + 1)
        self._advance(now)

    def _leads(self) -> bool:
        return self._me is not None and self._quorum.leader(self.height, self.view) == self._me

    # --- what comes in

    def receive(self, message: PbftMessage, now: int, *, own: bool = False) -> bool:
        """A message of this epoch and height whose signatures are verified and which `inspect` has passed.

        `own`: we drafted it, and it is durable now. True when it told anything new.
        """
        if self._decided:
            return False
        if own:
            self._own[_kind(message), message.view] = message
        news = self._watch(message)
        if isinstance(message, Proposal):
            self._propose(message, justified=False)
        elif isinstance(message, PhaseVote):
            news = self._count(message) or news
        elif isinstance(message, ViewChange):
            news = self._change_view(message)
        else:
            self._new_view(message, now)
        self._advance(now)
        return news

    def _watch(self, message: PbftMessage) -> bool:
        """Keep the first message of a slot and report a second one that differs. True for the first."""
        if message.view > self.view + params.MAX_BUFFERED_PER_VOTER:
            return False
        if isinstance(message, (Proposal, NewView)):
            message = replace(message, block=b"")  # the signature covers its hash
        first = self._first.setdefault((_kind(message), message.view, message.voter), message)
        if first.digest != message.digest:
            self._out.contradictions.append(Contradiction(statement(first), statement(message)))
        return first is message

    def compare(self, certificate: PhaseCertificate) -> None:
        """Hold the votes in a verified certificate of this height against what their voters said elsewhere."""
        slot = (certificate.phase, certificate.epoch, certificate.height, certificate.view)
        for voter, signature in certificate.votes:
            self._watch(PhaseVote(*slot, voter, certificate.digest, signature))

    def _propose(self, message: Proposal | NewView, *, justified: bool) -> None:
        if message.view in self._views:
            return
        self._views[message.view] = _View(message.digest, justified)
        if message.voter != self._me and message.view >= self.view:
            self._opening = message
        self.add_body(message.digest, message.block, fresh=not justified)

    def add_body(self, digest: bytes, block: bytes, *, fresh: bool = False) -> None:
        """A proposed block whose hash is `digest` (the caller has checked that)."""
        candidate = self._candidates.get(digest)
        if candidate is None:
            candidate = self._candidates[digest] = _Candidate(block)
        elif candidate.valid is not False or not (fresh or candidate.fresh):
            return
        else:
            candidate.valid = None  # refused by the clock as fresh; judged again now that it is justified
        candidate.fresh = fresh
        self._out.checks.append(CheckRequest(digest, block, fresh))

    def wants_body(self, digest: bytes) -> bool:
        """Whether a certificate or a new view is waiting for this block."""
        certificates = [*self._prepared.values(), *([self._committed] if self._committed else [])]
        return digest not in self._candidates and any(c.digest == digest for c in certificates)

    def judged(self, digest: bytes, info: BlockInfo | None, now: int) -> None:
        """The ledger's verdict on a requested block: its `info`, or None when it is invalid."""
        candidate = self._candidates.get(digest)
        if candidate is not None:
            candidate.info, candidate.valid = info, info is not None
            self._advance(now)

    def _count(self, vote: PhaseVote) -> bool:
        if vote.view > self.view + params.MAX_BUFFERED_PER_VOTER:
            return False
        digests = self._slots.setdefault((vote.phase, vote.view, vote.voter), set())
        if vote.digest in digests or len(digests) >= params.MAX_DIGESTS_PER_SLOT:
            return False
        digests.add(vote.digest)
        votes = self._counted.setdefault((vote.phase, vote.view, vote.digest), {})
        votes[vote.voter] = vote.signature
        if len(votes) >= self._quorum.q:
            self._certify(vote, votes)
        return True

    def _certify(self, vote: PhaseVote, votes: dict[int, bytes]) -> None:
        chosen = tuple(sorted(votes.items())[: self._quorum.q])
        certificate = PhaseCertificate(vote.phase, self.epoch, self.height, vote.view, vote.digest, chosen)
        if vote.phase is Phase.COMMIT:
            self._committed = self._committed or certificate
        else:
            self._prepared.setdefault(vote.view, certificate)

    def _change_view(self, message: ViewChange) -> bool:
        if message.prepared is not None:
            self._prepared.setdefault(message.prepared.view, message.prepared)
            self.compare(message.prepared)
        return self._changes.add(message)

    def _new_view(self, message: NewView, now: int) -> None:
        for change in message.view_changes:
            self._watch(change)
            self._change_view(change)
        if message.view < self.view:
            return
        if message.view in self._views:
            return
        self._propose(message, justified=message.highest() is not None)
        self._enter(message.view)
        self._deadline = now + self._timing.timeout(message.view)

    # --- what goes out

    def _advance(self, now: int) -> None:
        if self._decided or self._try_decide():
            return
        joined = self._changes.joined(self.view, self._me)
        if joined is not None:
            self._move_to(joined)
        if self.view > 0 and self._deadline is None and self._changes.starts_timer(self.view):
            self._deadline = now + self._timing.timeout(self.view)
        self._try_open_view()
        self._try_prepare()
        self._try_commit()

    def _try_decide(self) -> bool:
        if self._committed is None:
            return False
        candidate = self._candidates.get(self._committed.digest)
        if candidate is None:
            self._out.wanted_body = self._committed.digest
            return False
        if candidate.valid is False and not candidate.fresh:
            raise SafetyViolation(f"height {self.height}: a quorum committed block {self._committed.digest.hex()}, invalid here")
        if not candidate.valid:
            self.add_body(self._committed.digest, candidate.block)
            return False
        self._decided = True
        self._out.decision = Decision(self._committed.digest, candidate.block, self._committed)
        return True

    def _enter(self, view: int) -> None:
        if view <= self.view:
            return
        self.view = view
        self._deadline = None
        keep = {c.digest for c in self._prepared.values()} | set(self.signed_proposals)
        keep |= {proposed.digest for v, proposed in self._views.items() if v + _KEPT_VIEWS >= view}
        if self._committed is not None:
            keep.add(self._committed.digest)
        for digest in [d for d in self._candidates if d not in keep]:
            del self._candidates[digest]

    def _move_to(self, view: int) -> None:
        """Ask for `view`, and sign nothing for lower ones any more."""
        self._enter(view)
        if self._me is None:
            return
        held = [c for c in self._prepared.values() if c.view < view and c.digest in self._candidates]
        highest = max(held, key=lambda certificate: certificate.view, default=None)
        block = self._candidates[highest.digest].block if highest else None
        self._draft(ViewChange(self.epoch, self.height, view, self._me, highest), block)

    def _try_open_view(self) -> None:
        """As the leader of the current view, answer q VIEW-CHANGEs for it with the proposal that they demand."""
        if self.view == 0 or not self._leads() or ("NewView", self.view) in self._signed:
            return
        changes = self._changes.quorum_for(self.view)
        if changes is None:
            return
        highest = max((c.prepared for c in changes if c.prepared), key=lambda c: c.view, default=None)
        if highest is None:
            self._out.build = BuildRequest(self.height, self.view, True)
            return
        candidate = self._candidates.get(highest.digest)
        if candidate is None:
            self._out.wanted_body = highest.digest
        elif candidate.valid and candidate.info is not None:
            self.signed_proposals[highest.digest] = candidate.info
            self._send_new_view(changes, highest.digest, candidate.block)
        else:
            self.add_body(highest.digest, candidate.block)

    def _send_new_view(self, changes: tuple[ViewChange, ...], digest: bytes, block: bytes) -> None:
        assert self._me is not None
        self._draft(NewView(self.epoch, self.height, self.view, self._me, changes, digest, block), block)

    def built(self, request: BuildRequest, block: bytes, info: BlockInfo) -> bool:
        """The fresh block that we asked for; False when R1 forbids it, so that another has to be built."""
        if self._decided or request.view != self.view or self._me is None or not self._leads():
            return True
        if (_PROPOSALS[request.view > 0], request.view) in self._signed:
            return True
        changes: tuple[ViewChange, ...] = ()
        if request.view > 0:
            found = self._changes.quorum_for(self.view)
            if found is None or any(change.prepared is not None for change in found):
                return True  # a certificate came while the block was built: its block is to be proposed
            changes = found
        if self._votes.excluded_ack(info.txids, info.spends, info.closes_epoch) is not None:
            return False
        self._candidates.setdefault(info.digest, _Candidate(block, info, valid=True, fresh=True))
        self.signed_proposals[info.digest] = info
        if request.view > 0:
            self._send_new_view(changes, info.digest, block)
            return True
        self._draft(Proposal(self.epoch, self.height, self._me, info.digest, block), block)
        self._views.setdefault(0, _View(info.digest, False))
        self._try_prepare()
        return True

    def _try_prepare(self) -> None:
        view = self._views.get(self.view)
        if self._me is None or view is None or ("PREPARE", self.view) in self._signed:
            return
        candidate = self._candidates.get(view.digest)
        if candidate is None or not candidate.valid or candidate.info is None:
            return
        info = candidate.info
        if not view.justified:
            if info.proposer != self._quorum.leader(self.height, self.view):
                return
            if self._votes.excluded_ack(info.txids, info.spends, info.closes_epoch) is not None:
                return
        self.signed_proposals[info.digest] = info
        self._draft(PhaseVote(Phase.PREPARE, self.epoch, self.height, self.view, self._me, view.digest), candidate.block)

    def _try_commit(self) -> None:
        if self._me is None or ("COMMIT", self.view) in self._signed:
            return
        certificate = self._prepared.get(self.view)
        if certificate is None:
            return
        candidate = self._candidates.get(certificate.digest)
        if candidate is None:
            self._out.wanted_body = certificate.digest
        elif candidate.valid:
            vote = PhaseVote(Phase.COMMIT, self.epoch, self.height, self.view, self._me, certificate.digest)
            self._draft(vote, candidate.block, certificate)
        elif candidate.valid is False and candidate.fresh:
            self.add_body(certificate.digest, candidate.block)  # a quorum found it valid: the clock no longer matters

    def _draft(self, message: PbftMessage, block: bytes | None = None, certificate: PhaseCertificate | None = None) -> None:
        slot = (_kind(message), message.view)
        if slot not in self._signed:
            self._signed.add(slot)
            self._out.drafts.append(Draft(message, block, certificate))

    # --- what the owner asks

    def resign(self) -> None:
        """Sign nothing more."""
        self._me = None

    def has_signed(self, message: PbftMessage) -> bool:
        """Whether a message of this height with our index fills a slot that we filled, with the same digest."""
        own = self._own.get((_kind(message), message.view))
        return (_kind(message), message.view) in self._signed and (own is None or own.digest == message.digest)

    def take(self) -> Output:
        """What is to be done, handed over once."""
        out, self._out = self._out, Output()
        return out

    def incompatible(self, txid: bytes, inputs: tuple[bytes, ...]) -> bool:
        """R2: whether a proposal that we signed at this height excludes a pending transaction."""
        for info in self.signed_proposals.values():
            if info.closes_epoch and txid not in info.txids:
                return True
            if any(info.spends.get(outpoint, txid) != txid for outpoint in inputs):
                return True
        return False

    def latest(self) -> list[PbftMessage]:
        """Our own durable messages that a peer may have missed: of the current view, and the last VIEW-CHANGE."""
        changes = [view for kind, view in self._own if kind == "ViewChange"]
        wanted = [key for key in self._own if key[1] == self.view or (changes and key == ("ViewChange", max(changes)))]
        return [self._own[key] for key in wanted]

    def heard(self) -> list[PbftMessage]:
        """What others said of the current view, for a peer that did not hear it from them."""
        found: list[PbftMessage] = []
        if self._opening is not None and self._opening.view == self.view:
            found.append(self._opening)
        for message in self._first.values():
            if message.voter != self._me and message.view == self.view and isinstance(message, PhaseVote):
                found.append(message)
        return found + [change for change in self._changes.latest() if change.voter != self._me and change.view >= self.view]

    def body(self, digest: bytes) -> bytes | None:
        candidate = self._candidates.get(digest)
        return candidate.block if candidate else None

    def restore(self, messages: list[PbftMessage], bodies: Mapping[bytes, BlockInfo], blocks: Mapping[bytes, bytes]) -> None:
        """Our own durable messages of this height, with the blocks that they were signed for, after a restart."""
        for message in messages:
            slot = (_kind(message), message.view)
            self._signed.add(slot)
            self._own[slot] = message
            self.view = max(self.view, message.view)
            if isinstance(message, ViewChange) and message.prepared is not None:
                self._prepared.setdefault(message.prepared.view, message.prepared)
            signed = isinstance(message, (Proposal, NewView)) or (
                isinstance(message, PhaseVote) and message.phase is Phase.PREPARE
            )
            if signed and message.digest in bodies:
                self.signed_proposals[message.digest] = bodies[message.digest]
        for digest, block in blocks.items():
            self.add_body(digest, block)

    def restore_prepared(self, certificate: PhaseCertificate) -> None:
        """The certificate behind a COMMIT of ours, after a restart."""
        self._prepared.setdefault(certificate.view, certificate)


def _kind(message: PbftMessage) -> str:
    return message.phase.name if isinstance(message, PhaseVote) else type(message).__name__
