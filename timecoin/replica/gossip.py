"""What replicas tell each other again, and how one that missed something catches up.

- Votes: a node lists the vote batches that it keeps (HAVE_VOTES) to a new peer and, while anything is pending, now and then to
  all; whoever lacks some asks for them. Whoever ACKed sends the certificate of what stays pending, with the transaction.
- Transactions: what stays uncertified is sent again, so that no lost message leaves a transaction behind. An id that others
  vote for and that does not arrive by itself is asked for, of one peer after the other.
- Blocks: a peer whose tip is higher is asked for blocks with their certificates, a page at a time.
- PBFT: our latest messages of the open height are sent again as long as it stays open.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from itertools import islice

from timecoin import params
from timecoin.consensus.certificates import VoteKind
from timecoin.consensus.core import Core
from timecoin.ledger.pool import PoolState, TransactionPool
from timecoin.ledger.transactions import Transaction
from timecoin.replica.admission import Admission
from timecoin.replica.outbox import Outbox
from timecoin.replica.payloads import Ranges, encode_get_blocks, encode_ids, encode_ranges, to_runs
from timecoin.replica.wire import Kind

_ASK_AFTER_MS = 100  # a wanted transaction usually comes by itself
_ASK_AGAIN_MS = 500
_ASK_TIMES = 8
_FETCH_AFTER_MS = 300  # who is one block behind usually decides by itself
_PAGE_TIMEOUT_MS = 3000
_AVOID_MS = 10_000
_REPEAT_MS = 1000  # between repetitions of what may have been missed; doubles while a height stays open
_MOST_PAUSE_MS = 8000
_STALE_MS = 2000  # an uncertified transaction that old is sent again
_MOST_REPEATED = 256  # of those at once
_MOST_CERTIFICATES = 64  # sent again at once
_MOST_SENT_BYTES = 512 * 1024  # of transactions in one message
_MOST_RUNS = 16_384  # offered or asked for at once
_MOST_BATCHES = 256  # answered to one request
_MOST_SENT_AT_ONCE = 4 * 1024 * 1024  # of transactions in all messages of one occasion


@dataclass(slots=True)
class _Wanted:
    hint: int | None
    at: int  # when to ask (again)
    asked: int = 0


@dataclass(slots=True)
class Peer:
    """What we know of a peer's chain."""

    height: int = 0
    avoid_until: int = 0  # it was slow, or had less than it said: others are asked first


@dataclass(slots=True)
class _Page:
    peer: int
    until: int


@dataclass(slots=True)
class Fetched:
    """Blocks with certificates that follow our tip, not applied yet."""

    blocks: deque[tuple[bytes, bytes]] = field(default_factory=deque)
    peer: int | None = None


class Gossip:
    """The repeating and asking part of a replica."""

    def __init__(self, core: Core, admission: Admission, out: Outbox) -> None:
        self._core = core
        self._admission = admission
        self._out = out
        self.peers: dict[int, Peer] = {}
        self.fetched = Fetched()
        self._wanted: OrderedDict[bytes, _Wanted] = OrderedDict()
        self._page: _Page | None = None
        self._behind = (-1, 0)  # at this height since then a peer has been one block ahead
        self._repeat_at = 0
        self._repeated_height = -1
        self._pause = _REPEAT_MS
        self._body_asked: tuple[bytes, int] = (b"", 0)
        self._rotation = 0
        self._shown = 0  # where in our ACKs the next certificates are that we repeat

    # --- transactions

    def want(self, txids: list[bytes], hint: int | None, now: int) -> None:
        """Others vote for these, or a transaction that waits needs them."""
        for txid in txids:
            if txid not in self._wanted and not self._admission.is_known(txid):
                self._wanted[txid] = _Wanted(hint, now + _ASK_AFTER_MS)
        while len(self._wanted) > params.MAX_UNKNOWN_VOTES:
            self._wanted.popitem(last=False)

    def _ask(self, now: int) -> None:
        asks: dict[int, list[bytes]] = {}
        while self._wanted:
            txid, wanted = next(iter(self._wanted.items()))  # the first to be asked for
            if wanted.at > now:
                break
            if self._admission.is_known(txid) or wanted.asked >= _ASK_TIMES or not self.peers:
                del self._wanted[txid]
                continue
            peer = wanted.hint if wanted.asked == 0 and wanted.hint in self.peers else self.next_peer()
            wanted.asked += 1
            wanted.at = now + _ASK_AGAIN_MS
            self._wanted.move_to_end(txid)
            if peer is not None:
                asks.setdefault(peer, []).append(txid)
        for peer, txids in asks.items():
            for at in range(0, len(txids), params.MAX_ASKED_TXS):
                self._out.send(Kind.GET_TRANSACTIONS, encode_ids(txids[at : at + params.MAX_ASKED_TXS]), to=peer)

    def next_peer(self) -> int | None:
        """One peer after the other."""
        self._rotation += 1
        return list(self.peers)[self._rotation % len(self.peers)] if self.peers else None

    def send_transactions(self, transactions: list[Transaction], *, to: int | None = None, exclude: int | None = None) -> None:
        """As TRANSACTIONS messages of a bounded size, up to a bounded number of bytes."""
        chunk: list[bytes] = []
        size = 0
        left = _MOST_SENT_AT_ONCE
        for tx in transactions:
            left -= tx.size
            if left < 0:
                break
            if chunk and size + tx.size > _MOST_SENT_BYTES:
                self._out.send(Kind.TRANSACTIONS, b"".join(chunk), to=to, exclude=exclude)
                chunk, size = [], 0
            chunk.append(tx.encoded)
            size += tx.size
        if chunk:
            self._out.send(Kind.TRANSACTIONS, b"".join(chunk), to=to, exclude=exclude)

    def repeat_transactions(self, pool: TransactionPool, now: int) -> None:
        """Send again what has no certificate although the votes had time for it: perhaps the voters never got it."""
        stale = (entry.tx for entry in pool if entry.state is PoolState.PENDING and entry.added_ms + _STALE_MS <= now)
        self.send_transactions(list(islice(stale, _MOST_REPEATED)))

    # --- peers

    def greet(self, peer: int, pending: list[Transaction]) -> None:
        """A new peer: what it may not know of the open height and the pending transactions."""
        self.peers[peer] = Peer()
        self.send_transactions(pending, to=peer)
        self._send_have(peer)

    def forget(self, peer: int) -> None:
        self.peers.pop(peer, None)
        if self._page is not None and self._page.peer == peer:
            self._page = None

    # --- votes

    def _send_have(self, to: int | None) -> None:
        fastpath = self._core.fastpath
        ranges: list[Ranges] = []
        left = _MOST_RUNS
        for voter in range(self._core.quorum.n):
            runs = to_runs(fastpath.offered(voter))
            if runs and len(runs) <= left:
                left -= len(runs)
                ranges.append(Ranges(voter, runs))
        if ranges:
            self._out.send(Kind.HAVE_VOTES, encode_ranges(fastpath.epoch, ranges), to=to)

    def missing_votes(self, epoch: int, theirs: list[Ranges]) -> bytes | None:
        """The request for what a peer has and we do not, or None."""
        fastpath = self._core.fastpath
        if epoch != fastpath.epoch:
            return None
        wanted: list[Ranges] = []
        left = _MOST_RUNS
        for voter, runs in theirs:
            if voter >= self._core.quorum.n or left <= 0:
                break
            held = fastpath.kept(voter)
            gaps: list[tuple[int, int]] = []
            for first, last in runs:
                for number in held[bisect_left(held, first) : bisect_right(held, last)]:
                    if first < number:
                        gaps.append((first, number - 1))
                    first = number + 1
                if first <= last:
                    gaps.append((first, last))
            if gaps:
                gaps = gaps[-min(left, params.MAX_VOTE_RANGES) :]
                left -= len(gaps)
                wanted.append(Ranges(voter, tuple(gaps)))
        return encode_ranges(epoch, wanted) if wanted else None

    def answer_votes(self, peer: int, epoch: int, wanted: list[Ranges]) -> None:
        fastpath = self._core.fastpath
        if epoch != fastpath.epoch:
            return
        left, left_bytes = _MOST_BATCHES, _MOST_SENT_AT_ONCE
        for voter, runs in wanted:
            for batch in fastpath.batches(voter, runs) if voter < self._core.quorum.n else ():
                payload = batch.encode()
                left -= 1
                left_bytes -= len(payload)
                if left < 0 or left_bytes < 0:
                    return
                self._out.send(Kind.VOTE_BATCH, payload, to=peer)

    def _send_certificates(self) -> None:
        """CERT(T) and T for what we ACKed and what is still in no block: some now, the next ones the next time."""
        fastpath = self._core.fastpath
        acked = list(fastpath.acked())
        if not acked:
            return
        self._shown %= len(acked)
        chosen = (acked[self._shown :] + acked[: self._shown])[:_MOST_CERTIFICATES]
        self._shown += len(chosen)
        bodies = []
        for txid in chosen:
            tx = self._admission.body(txid)
            certificate = fastpath.certificate(VoteKind.LOCK, txid)
            if tx is not None and certificate is not None:
                bodies.append(tx)
                self._out.send(Kind.VOTE_CERTIFICATE, certificate.encode())
        self.send_transactions(bodies)

    # --- blocks

    def fetch(self, now: int) -> None:
        """Ask one of the peers that are ahead for the blocks after ours, unless a page is on its way or not yet applied."""
        if self._page is not None:
            if self._page.until > now:
                return
            if self._page.peer in self.peers:
                self.peers[self._page.peer].avoid_until = now + _AVOID_MS
            self._page = None
        if self.fetched.blocks or not self.peers:
            return
        decided = self._core.decided
        ahead = [peer for peer, known in self.peers.items() if known.height > decided]
        if not ahead:
            return
        highest = max(self.peers[peer].height for peer in ahead)
        if self._behind[0] != decided:
            self._behind = (decided, now)
        if highest == decided + 1 and now < self._behind[1] + _FETCH_AFTER_MS:
            return
        self._behind = (-1, 0)
        ahead = [peer for peer in ahead if self.peers[peer].avoid_until <= now] or ahead
        self._rotation += 1
        best = ahead[self._rotation % len(ahead)]
        self._page = _Page(best, now + _PAGE_TIMEOUT_MS)
        first = self._core.decided + 1
        self._out.send(Kind.GET_BLOCKS, encode_get_blocks(first, params.MAX_PAGE_BLOCKS), to=best)

    def expects_page(self, peer: int) -> bool:
        return self._page is not None and self._page.peer == peer

    def page_arrived(self, peer: int, blocks: list[tuple[bytes, bytes]]) -> None:
        self._page = None
        if not blocks:
            self.peers[peer].height = 0  # it has less than it said
        self.fetched = Fetched(deque(blocks), peer)

    def want_body(self, digest: bytes, now: int) -> None:
        """A certificate is here, its block is not."""
        if self._body_asked[0] != digest or self._body_asked[1] + _ASK_AGAIN_MS <= now:
            self._body_asked = (digest, now)
            peer = self.next_peer()
            if peer is not None:
                self._out.send(Kind.GET_BODY, digest, to=peer)

    # --- time

    def deadline(self) -> int | None:
        waits = [self._repeat_at] if self._core.fastpath.pending or self._wanted or self.peers else []
        if self._wanted:
            waits.append(next(iter(self._wanted.values())).at)
        if self._page is not None:
            waits.append(self._page.until)
        elif self._behind[0] == self._core.decided:
            waits.append(self._behind[1] + _FETCH_AFTER_MS)
        return min(waits, default=None)

    def tick(self, now: int) -> bool:
        """Do what is due. True when it is time to repeat the latest PBFT messages."""
        self._ask(now)
        self.fetch(now)
        if now < self._repeat_at:
            return False
        if self._core.decided != self._repeated_height:
            self._repeated_height, self._pause = self._core.decided, _REPEAT_MS
        self._repeat_at = now + self._pause
        self._pause = min(2 * self._pause, _MOST_PAUSE_MS)
        if self._core.fastpath.pending:
            self._send_have(None)
            self._send_certificates()
        return True
