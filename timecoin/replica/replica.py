"""One node's share of the protocol without any I/O: ledger, pool and consensus, driven by messages, time and verdicts.

    receive(peer, kind, payload) -> decode, known? -> signature job -> finish -> consensus.step -> ready
    ready -> drafts signed -> one Commit (what must be durable, what may then be sent) -> durable -> counted

The driver (a node with sockets and LMDB, or the simulator with virtual ones) calls `clock` before anything else, passes in what
happens, and after each call carries out `effects()`. It verifies the jobs wherever it likes, and it must complete commits in
the order in which it got them. Errors: DecodeError and ProtocolError from `receive` are the peer's fault; SafetyViolation means
that the node must stop.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from timecoin import params
from timecoin._core import hashing
from timecoin.consensus.certificates import BatchHeader, Check, PhaseCertificate, VoteCertificate
from timecoin.consensus.core import (
    Admit,
    Applied,
    Body,
    Certified,
    Core,
    Durable,
    Judged,
    Ready,
    Receive,
    Tick,
)
from timecoin.consensus.evidence import Contradiction, DoubleLock, Evidence
from timecoin.consensus.messages import Message, NewView, Proposal, VoteBatch, sign
from timecoin.consensus.pbft import BlockInfo, Draft, Timing
from timecoin.errors import ProtocolError, ValidationError
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.pool import TransactionPool
from timecoin.ledger.transactions import Transaction
from timecoin.replica import audit, journal, payloads, tables
from timecoin.replica.admission import Admission
from timecoin.replica.catchup import CatchUp
from timecoin.replica.chain import Chain, body_matches
from timecoin.replica.effects import Commit, Committed, Effects, Final, Resigned, SignatureJob, Void
from timecoin.replica.gossip import Gossip
from timecoin.replica.layout import BlockRecorder
from timecoin.replica.misconduct import Misconduct
from timecoin.replica.outbox import Outbox
from timecoin.replica.restart import Restart
from timecoin.replica.wire import Kind

_SEEN_MS = 5000  # the same message from several peers is looked at once in that time
_MOST_RELAYED = 1000  # messages a second of all voters that are passed on, shared evenly,
_LEAST_RELAYED = 20  # and of each one at least; what is not passed on is asked for (votes) or repeated (PBFT)
_PBFT = frozenset({Kind.PROPOSAL, Kind.PREPARE, Kind.COMMIT, Kind.VIEW_CHANGE, Kind.NEW_VIEW})
_FLOODED = _PBFT | {Kind.VOTE_BATCH, Kind.VOTE_CERTIFICATE, Kind.EVIDENCE}  # most copies of these are known already

Signer = Callable[[bytes], bytes]


class Replica:
    """A node's state and the rules that change it. All calls belong to one thread.

    `operator` and `signer`: the public operator key and what signs with it, on a masternode. `store`: what an earlier run
    left (after `journal.initialise`). `vote_anyway`: vote although the store does not carry this key's votes since genesis.
    `keeping`: what is kept for other purposes. `coin_cache_bytes`: what coins may take in memory, None for all of them.
    `progress`: told while the coins are read.
    """

    def __init__(
        self,
        genesis: Genesis,
        store: tables.Store,
        *,
        now: int,
        wall: int,
        operator: bytes | None = None,
        signer: Signer | None = None,
        vote_anyway: bool = False,
        keeping: tables.Keeping | None = None,
        coin_cache_bytes: int | None = None,
        progress: audit.Progress | None = None,
    ) -> None:
        self.genesis = genesis
        self.now = now
        self.wall = self._started = wall
        self.out = Outbox()
        self.ledger = journal.restore_ledger(genesis, store, coin_cache_bytes=coin_cache_bytes, progress=progress)
        self.pool = TransactionPool(params.MAX_PENDING, params.MAX_PENDING_BYTES)
        self._operator = operator
        self._signer = signer
        carried = vote_anyway or operator is None or store.get(tables.META, tables.META_VOTER) == operator
        self._may_vote = carried  # otherwise only from the next epoch on, whose beginning it will have seen
        timing = Timing(genesis.block_interval_ms, genesis.heartbeat_ms, genesis.view_timeout_ms, genesis.view_timeout_cap_ms)
        recorder = BlockRecorder(
            keeping or tables.Keeping(),
            coins=tables.number(store, tables.META_COINS),
            first_block=tables.number(store, tables.META_FIRST_BLOCK),
        )
        self.misconduct = Misconduct(self.ledger, store, self.out)
        self._chain = Chain(self.ledger, self.pool, timing, self.out, recorder, operator=operator, misconduct=self.misconduct)
        past = journal.read_past(store, self.ledger)
        seat = self._chain.seat(may_vote=self._may_vote)
        self.core = Core(seat, self.ledger.height, timing, self.ledger.coins, now, sequence=past.sequence)
        self.admission = Admission(self.ledger, self.pool, self.core, self.out)
        self.gossip = Gossip(self.core, self.admission, self.out)
        self._operators = journal.operators_of(self.ledger.masternodes)
        self._handlers: Mapping[Kind, Callable[[int, bytes], None]] = {
            Kind.TRANSACTIONS: self._receive_transactions,
            Kind.VOTE_BATCH: self._receive_batch,
            Kind.VOTE_CERTIFICATE: self._receive_certificate,
            Kind.STATUS: self._receive_status,
            Kind.GET_BLOCKS: self._receive_get_blocks,
            Kind.BLOCKS: self._receive_blocks,
            Kind.GET_TRANSACTIONS: self._receive_get_transactions,
            Kind.HAVE_VOTES: self._receive_have,
            Kind.GET_VOTES: self._receive_get_votes,
            Kind.GET_BODY: self._receive_get_body,
            Kind.BODY: self._receive_body,
            Kind.EVIDENCE: self.misconduct.receive,
        }
        self._seen: OrderedDict[bytes, int] = OrderedDict()
        self._vote_keys = journal.VoteKeys()
        self._relaying = 0  # the second that `_relayed` counts
        self._relayed: dict[int, int] = {}  # voter -> its messages that were passed on
        self._hint: int | None = None  # the peer whose votes were counted last: it has the transactions
        self._catchup = CatchUp(
            self._chain, self.gossip, self.out, lambda digest, certificate: self._apply(digest, certificate, voted=False)
        )
        Restart(self.ledger, self.core, self.admission, self.out, seat.me, now).resume(past, self._vote_keys)
        self._pump()

    @property
    def me(self) -> int | None:
        """Our index in the set that decides the next height, when we vote in it."""
        return self._chain.seat(may_vote=self._may_vote).me

    # --- what the driver calls

    def clock(self, now: int, wall: int) -> None:
        """The time: monotonic for timers, wall for blocks; both in milliseconds."""
        self.now, self.wall = now, wall

    def tick(self) -> None:
        """Do what is due by now."""
        self.core.step(Tick(), self.now)
        if self.gossip.tick(self.now):
            self.gossip.repeat_transactions(self.pool, self.now)
            self.misconduct.tell()
            for message in self.core.height.latest():
                self.out.send(journal.kind_of(message), message.encode())
            peer = self.gossip.next_peer()
            if peer is not None:
                self._tell_heard(peer)
            self.out.send(Kind.STATUS, payloads.encode_status(self.ledger.height, self.ledger.tip))
        self._pump()

    def _tell_heard(self, peer: int) -> None:
        """What others said of the open height: who said it may not be connected to this peer."""
        for message in self.core.height.heard():
            self.out.send(journal.kind_of(message), message.encode(), to=peer)

    def deadline(self) -> int | None:
        """When `tick` is wanted at the latest."""
        times = [at for at in (self.core.deadline(), self.gossip.deadline()) if at is not None]
        return min(times, default=None)

    def effects(self) -> Effects:
        return self.out.take()

    def durable(self, commit: Commit) -> None:
        """The writes of a commit are durable: our messages in it count from now on, and its coins may leave the memory."""
        for delta in commit.applied:
            self.ledger.flushed(delta)
        for message in commit.messages:
            self.core.step(Durable(message), self.now)
        self._pump()

    def finish(self, job: SignatureJob, verdicts: bytes) -> None:
        """The verdicts of a job, one byte for each signature."""
        self.out.finish(job, verdicts)
        self._pump()

    def peer_joined(self, peer: int) -> None:
        self.gossip.greet(peer, [entry.tx for entry in self.pool])
        self.misconduct.tell(peer)
        self.out.send(Kind.STATUS, payloads.encode_status(self.ledger.height, self.ledger.tip), to=peer)
        for message in self.core.height.latest():
            self.out.send(journal.kind_of(message), message.encode(), to=peer)
        self._tell_heard(peer)

    def peer_left(self, peer: int) -> None:
        self.gossip.forget(peer)

    def submit(self, raw: bytes) -> Transaction:
        """A transaction from a user. Whether it is accepted comes as an event. Raises DecodeError or TransactionError."""
        tx = self.admission.submit(raw)
        self.admission.offer([tx], None, self.now)
        self._pump()
        return tx

    def status(self, txid: bytes) -> str:
        """How far a transaction is: unknown, pending, certified, final, or (not long ago) committed or void."""
        fastpath = self.core.fastpath
        if self.admission.body(txid) is not None:
            return "final" if fastpath.is_final(txid) else "certified" if fastpath.is_certified(txid) else "pending"
        if not fastpath.is_closed(txid):
            return "unknown"
        return "committed" if fastpath.was_committed(txid) else "void"

    # --- messages

    def receive(self, peer: int, kind: Kind, payload: bytes) -> None:
        """A message from a peer, within the limits of its kind. Raises DecodeError or ProtocolError when it is at fault."""
        if peer not in self.gossip.peers:
            return
        if kind in _FLOODED and not self._is_new(kind, payload):
            return  # nothing has changed, so there is nothing to carry out either
        if kind in _PBFT:
            self._receive_pbft(peer, kind, payload)
        else:
            self._handlers[kind](peer, payload)
        self._pump()

    def _is_new(self, kind: Kind, payload: bytes) -> bool:
        """False for a message that came a moment ago; repetitions are looked at again after a while."""
        while self._seen and (len(self._seen) >= params.MAX_SEEN or next(iter(self._seen.values())) + _SEEN_MS <= self.now):
            self._seen.popitem(last=False)
        digest = _name_of(kind, payload)
        if digest in self._seen:
            return False
        self._seen[digest] = self.now
        return True

    def _too_early(self, kind: Kind, payload: bytes) -> None:
        """A message of a height or epoch that we have not reached was not looked at: it may be when it comes again."""
        self._seen.pop(_name_of(kind, payload), None)

    def _receive_transactions(self, peer: int, payload: bytes) -> None:
        self.admission.offer(self.admission.decode(payload), peer, self.now)

    def _receive_batch(self, peer: int, payload: bytes) -> None:
        batch = VoteBatch.decode(payload)
        if batch.epoch == self.ledger.epoch:
            self._inspect(batch, peer)
            self._verify(batch, peer, Kind.VOTE_BATCH, payload)
        elif batch.epoch > self.ledger.epoch:
            self._too_early(Kind.VOTE_BATCH, payload)

    def _receive_pbft(self, peer: int, kind: Kind, payload: bytes) -> None:
        message = journal.decode_pbft(kind, payload)
        if message.height <= self.ledger.height:
            status = payloads.encode_status(self.ledger.height, self.ledger.tip)
            if message.height == self.ledger.height - 1 or kind in (Kind.VIEW_CHANGE, Kind.NEW_VIEW):
                self.out.send(Kind.STATUS, status, to=peer)
            return
        if message.epoch != self.ledger.epoch or message.height > self.ledger.height + 2:
            self._too_early(kind, payload)
            return
        self._inspect(message, peer)
        if isinstance(message, Proposal | NewView) and not body_matches(message.digest, message.block):
            raise ProtocolError(f"height {message.height}: a block that is not the one of its hash")
        self._verify(message, peer, kind, payload)

    def _inspect(self, message: Message, peer: int) -> None:
        try:
            message.inspect(self.core.quorum)
        except ValidationError as error:
            raise ProtocolError(f"invalid message: {error}") from error
        if isinstance(message, VoteBatch):
            self._inspect_header(message.header)

    def _inspect_header(self, header: BatchHeader) -> None:
        """R4: no correct masternode seals a batch after the height before the epoch's nominal last is decided.

        So a batch that claims a height which never comes, to escape conviction for its LOCKs, is no vote.
        """
        latest = self.ledger.nominal_last - 2
        if not self.ledger.epoch_start <= header.decided <= latest:
            raise ProtocolError(f"a vote batch of height {header.decided}, from {self.ledger.epoch_start} to {latest}")

    def _verify(self, message: Message, peer: int, kind: Kind, payload: bytes) -> None:
        """Verify what is signed in a message; then relay it and step it in.

        The sender's own signature comes first: only a masternode makes others verify the signatures of a whole NEW-VIEW.
        """
        epoch = self.ledger.epoch
        checks = message.checks(self.genesis.chain_id)

        def then(verdicts: bytes) -> None:
            if not all(verdicts):
                self.out.charge(peer, 50, f"{kind.name}: a signature does not verify")
            elif epoch == self.ledger.epoch:
                self._verified(message, peer, kind, payload)

        def enveloped(verdicts: bytes) -> None:
            if all(verdicts) and epoch == self.ledger.epoch:
                self._check(checks[1:], then)
            else:
                then(verdicts)

        if isinstance(message, NewView):
            self._check(checks[:1], enveloped)
        else:
            self._check(checks, then)

    def _check(self, checks: Sequence[Check], then: Callable[[bytes], None]) -> None:
        self.out.urgent.add(
            [self._operators[check.voter] for check in checks],
            [check.message for check in checks],
            [check.signature for check in checks],
            then,
        )

    def _verified(self, message: Message, peer: int, kind: Kind, payload: bytes) -> None:
        if self.core.is_foreign(message):
            self._resign()
        self._hint = peer
        if self.core.step(Receive(message), self.now) and self._may_relay(message.voter):
            self.out.send(kind, payload, exclude=peer)
        if isinstance(message, VoteBatch):
            self._store_batch(message, payload)

    def _may_relay(self, voter: int) -> bool:
        """A voter's messages are passed on at a bounded rate, so that none makes correct nodes flood each other."""
        second = self.now // 1000
        if self._relaying != second:
            self._relaying, self._relayed = second, {}
        self._relayed[voter] = self._relayed.get(voter, 0) + 1
        return self._relayed[voter] <= max(_LEAST_RELAYED, _MOST_RELAYED // self.core.quorum.n)

    def _resign(self) -> None:
        """Our key has signed what this store does not know: another vote of ours could contradict it."""
        self.out.write(tables.META, tables.META_VOTER, None)
        self.out.event(Resigned(self.me or 0, self.ledger.epoch))
        self._may_vote = False
        self.core.resign()

    def _forget_dropped(self) -> None:
        """What is no longer kept leaves the store, before the same batch may come and be kept again."""
        for batch in self.core.fastpath.dropped:
            self.out.write(tables.BATCHES, journal.batch_key(batch), None)
        self.core.fastpath.dropped.clear()

    def _store_batch(self, batch: VoteBatch, payload: bytes) -> None:
        """On a masternode, LOCKs are durable before our ACK that rests on them is: it is sealed and written after this."""
        self._forget_dropped()
        if self.me is not None and self.core.fastpath.keeps(batch):
            self.out.write(tables.BATCHES, journal.batch_key(batch), payload)

    def _receive_certificate(self, peer: int, payload: bytes) -> None:
        certificate = VoteCertificate.decode(payload)
        epoch = self.ledger.epoch
        if certificate.proofs[0].header.epoch > epoch:
            self._too_early(Kind.VOTE_CERTIFICATE, payload)
        if certificate.proofs[0].header.epoch != epoch or self.core.fastpath.is_closed(certificate.txid):
            return
        try:
            certificate.check_votes(epoch, self.core.quorum)
        except ValidationError as error:
            raise ProtocolError(f"invalid certificate: {error}") from error
        for proof in certificate.proofs:
            self._inspect_header(proof.header)
        if len(certificate.proofs) < self.core.quorum.q:
            raise ProtocolError(f"a certificate of {len(certificate.proofs)} votes, {self.core.quorum.q} needed")
        checks = certificate.signatures(self.genesis.chain_id)

        def then(verdicts: bytes) -> None:
            if not all(verdicts):
                self.out.charge(peer, 50, "VOTE_CERTIFICATE: a signature does not verify")
            elif epoch == self.ledger.epoch:
                self._hint = peer
                if self.core.step(Certified(certificate), self.now):
                    self.out.send(Kind.VOTE_CERTIFICATE, payload, exclude=peer)

        self._check(checks, then)

    def _receive_status(self, peer: int, payload: bytes) -> None:
        height, _ = payloads.decode_status(payload)
        self.gossip.peers[peer].height = height
        self.gossip.fetch(self.now)

    def _receive_get_blocks(self, peer: int, payload: bytes) -> None:
        first, count = payloads.decode_get_blocks(payload)
        if 1 <= first <= self.ledger.height:
            self.out.read_blocks(peer, first, min(count, self.ledger.height - first + 1))

    def _receive_blocks(self, peer: int, payload: bytes) -> None:
        if not self.gossip.expects_page(peer):
            return
        self.gossip.page_arrived(peer, payloads.decode_blocks(payload))

    def _receive_get_transactions(self, peer: int, payload: bytes) -> None:
        found = [self.admission.body(txid) for txid in dict.fromkeys(payloads.decode_ids(payload))]
        self.gossip.send_transactions([tx for tx in found if tx is not None], to=peer)

    def _receive_have(self, peer: int, payload: bytes) -> None:
        epoch, theirs = payloads.decode_ranges(payload)
        request = self.gossip.missing_votes(epoch, theirs)
        if request is not None:
            self.out.send(Kind.GET_VOTES, request, to=peer)

    def _receive_get_votes(self, peer: int, payload: bytes) -> None:
        self.gossip.answer_votes(peer, *payloads.decode_ranges(payload))

    def _receive_get_body(self, peer: int, payload: bytes) -> None:
        body = self.core.height.body(payload)
        if body is not None:
            self.out.send(Kind.BODY, body, to=peer)

    def _receive_body(self, peer: int, payload: bytes) -> None:
        if len(payload) < params.HEADER_BYTES:
            raise ProtocolError(f"BODY of {len(payload)} bytes, at least {params.HEADER_BYTES}")
        digest = hashing.tagged_sha256(b"timecoin/header", payload[: params.HEADER_BYTES])
        if not self.core.height.wants_body(digest):
            return
        if not body_matches(digest, payload):
            raise ProtocolError("a BODY that is not the one of its hash")
        self.core.step(Body(digest, payload), self.now)

    # --- consensus

    def _pump(self) -> None:
        """Carry out what consensus wants until it wants nothing more."""
        while True:
            self._admit()
            self._catchup.advance(self.now)
            ready = self.core.ready()
            if not ready and not self.admission.admitted:
                return
            self._carry_out(ready)

    def _admit(self) -> None:
        admitted, self.admission.admitted = self.admission.admitted, []
        by_peer: dict[int | None, list[Transaction]] = {}
        for tx, peer in admitted:
            if self.admission.body(tx.txid) is None:
                continue  # it made room for another one in the meantime
            self.core.step(Admit(tx.txid, tx.inputs, tx.size), self.now)
            by_peer.setdefault(peer, []).append(tx)
        for peer, transactions in by_peer.items():
            self.gossip.send_transactions(transactions, exclude=peer)
        missing, self.admission.missing = self.admission.missing, []
        for txid, peer in missing:
            self.gossip.want([txid], peer, self.now)

    def _carry_out(self, ready: Ready) -> None:
        self._forget_dropped()
        for txid in ready.certified:
            self.admission.certify(txid, self.now)
        for txid in ready.final:
            if self.admission.finalize(txid, self.now) or self.core.fastpath.was_committed(txid):
                self.out.event(Final(txid))
        self.gossip.want(ready.wanted, self._hint, self.now)
        self._report(ready.contradictions, ready.double_locks)
        if ready.batch is not None:
            self._send_batch(ready.batch)
        for draft in ready.drafts:
            self._send_draft(draft)
        for check in ready.checks:
            self._chain.check(check.block, self.wall if check.fresh else None, self._judged, check.digest)
        if ready.wanted_body is not None:
            self.gossip.want_body(ready.wanted_body, self.now)
        if ready.build is not None:
            for certified_only in (False, True):
                block, info = self._chain.build(
                    ready.build, self.core.fastpath, self.now, self.wall, certified_only=certified_only
                )
                if self.core.built(ready.build, block, info):
                    break
        if ready.decision is not None:
            self._apply(ready.decision.digest, ready.decision.certificate, voted=True)

    def _report(self, contradictions: Sequence[Contradiction], double_locks: Sequence[DoubleLock]) -> None:
        """What voters of the epoch that `_operators` is of have done."""
        for contradiction in contradictions:
            self.misconduct.found(Evidence.of(self._operators[contradiction.first.voter], contradiction))
        for double_lock in double_locks:
            self._report_locks(double_lock)

    def _report_locks(self, found: DoubleLock) -> None:
        bodies = [self.admission.body(txid) for txid in (found.first_txid, found.second_txid)]
        first, second = (tx.encoded if tx is not None else b"" for tx in bodies)
        if first and second:
            self.misconduct.found(Evidence.of_locks(self._operators[found.voter], found, first, second))

    def _judged(self, digest: bytes, info: BlockInfo | None) -> None:
        self.core.step(Judged(digest, info), self.now)

    def _sign(self, message: Message) -> Message:
        assert self._signer is not None, "a voter has a signer"
        return sign(message, self._signer(message.signed_bytes(self.genesis.chain_id)))

    def _send_batch(self, batch: VoteBatch) -> None:
        signed = self._sign(batch)
        assert isinstance(signed, VoteBatch)
        payload = signed.encode()
        for txid in journal.split_ids(signed.acks):
            shown = self.core.fastpath.shown(txid)
            if shown is not None:
                self.out.write(tables.PROOFS, journal.proof_key(shown), shown.encode())
        self.out.write(tables.BATCHES, journal.batch_key(signed), payload)
        sequence = batch.epoch.to_bytes(8, "big") + batch.header.sequence.to_bytes(8, "big")
        self.out.write(tables.META, tables.META_SEQUENCE, sequence)
        self._is_new(Kind.VOTE_BATCH, payload)
        self.out.vote(signed, Kind.VOTE_BATCH, payload)

    def _send_draft(self, draft: Draft) -> None:
        message = self._sign(draft.message)
        assert not isinstance(message, VoteBatch)
        kind, payload = journal.kind_of(message), message.encode()
        self._keep(tables.VOTES, journal.vote_key(message), payload, message.height)
        if draft.block is not None:
            digest = hashing.tagged_sha256(b"timecoin/header", draft.block[: params.HEADER_BYTES])
            self._keep(tables.BODIES, digest, draft.block, message.height)
        if draft.certificate is not None:
            self._keep(tables.PREPARED, journal.prepared_key(draft.certificate), draft.certificate.encode(), message.height)
        self._is_new(kind, payload)
        self.out.vote(message, kind, payload)

    def _keep(self, table: str, key: bytes, value: bytes, height: int) -> None:
        self.out.write(table, key, value)
        self._vote_keys.note(table, key, height)

    # --- blocks

    def _apply(self, digest: bytes, certificate: PhaseCertificate, *, voted: bool) -> None:
        """`voted`: decided by votes that came here, not fetched.

        A closing was seen while running if its votes came here and its time is after our start: then this key, whose
        store may have been lost before, has not voted in the epoch that begins. Clocks differ by so much, once each way.
        """
        epoch = self.ledger.epoch
        check = self._chain.checked(digest)
        assert check is not None, "a decided block has been judged"
        delta = self._chain.apply(digest, certificate)
        live = voted and delta.header.time_ms >= self._started + 2 * params.MAX_PROPOSAL_DRIFT_MS
        if self.ledger.epoch != epoch and (self._may_vote or live):
            self._may_vote = True
            if self._operator is not None:
                self.out.write(tables.META, tables.META_VOTER, self._operator)
        seat = self._chain.seat(may_vote=self._may_vote)
        info = BlockInfo(
            delta.hash, delta.height, epoch, delta.header.proposer, delta.header.closes_epoch, delta.txids, delta.spends
        )
        self.core.step(Applied(info, seat, certificate), self.now)
        self._report(*self.core.take_offences())
        void = self.admission.settle(delta.spends, delta.txids, delta.created, self.now)
        for txid in void:
            self.out.event(Void(txid))
        self._forget_votes((*delta.txids, *void), delta.height)
        if self.ledger.epoch != epoch:
            self._begin_epoch()
        self.out.event(Committed(delta.height, delta.hash, delta.txids, certificate.view))
        self.out.send(Kind.STATUS, payloads.encode_status(self.ledger.height, self.ledger.tip))

    def _forget_votes(self, closed: tuple[bytes, ...], height: int) -> None:
        self._vote_keys.clear(height, self.out)
        for txid in closed if self.me is not None else ():
            for kind in range(2):
                self.out.write(tables.PROOFS, bytes([kind]) + txid, None)

    def _begin_epoch(self) -> None:
        """The set that votes may have changed: votes of the closed epoch count for nothing, pending transactions start anew."""
        self._operators = journal.operators_of(self.ledger.masternodes)
        self.misconduct.begin_epoch()
        self.admission.end_epoch()
        for entry in self.pool:
            self.core.step(Admit(entry.tx.txid, entry.tx.inputs, entry.tx.size), self.now)


def _name_of(kind: Kind, payload: bytes) -> bytes:
    """What tells two messages apart."""
    return hashing.sha256(bytes([kind]) + payload)
