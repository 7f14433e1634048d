"""Masternodes that lie. Each runs a real replica, so that it knows what a correct one knows, and a strategy between that and the
network, which changes, withholds or adds messages. It signs with its own key only; all liars share what they heard.

`STRATEGIES` names them for scenarios; a liar may have several. A twin is no strategy but a second node with the same key (see
`world`): both run correct code, and neither hears what the key signs elsewhere.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from timecoin import params
from timecoin.consensus.certificates import Phase, PhaseCertificate, VoteCertificate, VoteKind
from timecoin.consensus.messages import Message, NewView, PbftMessage, PhaseVote, Proposal, ViewChange, VoteBatch, sign
from timecoin.errors import DecodeError
from timecoin.keys import Keypair
from timecoin.ledger.blocks import Block
from timecoin.replica.effects import Send
from timecoin.replica.payloads import decode_blocks, encode_blocks
from timecoin.replica.wire import Kind
from timecoin.sim.node import SimNode
from timecoin.sim.strategy import Plot, Strategy, decoded


class Silent(Strategy):
    """As a leader, says nothing."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        return () if send.kind in (Kind.PROPOSAL, Kind.NEW_VIEW) else (send,)


class Mute(Strategy):
    """Signs nothing at all, and still passes on what others say."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        return () if self.own(send) is not None else (send,)


class Equivocator(Strategy):
    """As a leader, proposes one block to some and another one to the rest."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        first = self.own(send)
        if target % 2 == 0 or not isinstance(first, Proposal):
            return (send,)
        return self.instead(first, self.block(first, [])) or (send,)


class Contrarian(Strategy):
    """As a leader, proposes what conflicts with what others certified; every other time to one victim only."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        first = self.own(send)
        if not isinstance(first, Proposal):
            return (send,)
        if first.height % 2 and target != first.height % len(self.node.replica.ledger.masternodes):
            return ()
        fastpath = self.node.replica.core.fastpath
        rivals = sorted(self.plot.rivals(), key=lambda tx: (fastpath.is_certified(tx.txid), tx.txid))
        return self.instead(first, self.block(first, rivals)) or (send,)


class Omitter(Strategy):
    """As a leader, leaves certified transactions out, and ends the epoch without them as soon as the height allows it."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        first = self.own(send)
        if not isinstance(first, Proposal):
            return (send,)
        return self.instead(first, self.block(first, [], closes=True)) or (send,)


class Spoiler(Strategy):
    """As a leader, proposes blocks that are invalid in one way or another."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        first = self.own(send)
        if not isinstance(first, Proposal):
            return (send,)
        block = Block.decode(first.block)
        header, rng = block.header, random.Random(first.digest)  # the same one for everybody
        spoilt = (
            replace(header, commitment=rng.randbytes(32)),
            replace(header, parent=rng.randbytes(32)),
            replace(header, next_set=rng.randbytes(32)),
            replace(header, tx_root=rng.randbytes(32)),
            replace(header, closes_epoch=not header.closes_epoch),
            replace(header, time_ms=header.time_ms + 10 * params.MAX_PROPOSAL_DRIFT_MS),
            replace(header, proposer=header.proposer + 1),
            replace(header, epoch=header.epoch + 1),
            replace(header, height=header.height + 1),
        )
        choice = rng.randrange(len(spoilt) + 2)
        if choice < len(spoilt):
            return self.instead(first, Block.create(spoilt[choice], block.transactions).encoded)
        if choice == len(spoilt):
            return self.instead(first, self.block(first, self.plot.clients.forged)) or (send,)
        return self.instead(first, Block.create(header, block.transactions * 2).encoded)


class HalfVoter(Strategy):
    """PREPAREs and COMMITs one block to some and another one to the rest."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        vote = self.own(send)
        if target % 2 == 0 or not isinstance(vote, PhaseVote):
            return (send,)
        others = [m.digest for m in self._heard() if (m.height, m.digest) != (vote.height, vote.digest)]
        digest = others[-1] if others else bytes(32)
        return (self.sent(replace(vote, digest=digest)),)

    def _heard(self) -> Iterator[PhaseVote]:
        for kind, payload in self.plot.heard:
            if kind in (Kind.PREPARE, Kind.COMMIT):
                message = decoded(kind, payload)
                if isinstance(message, PhaseVote):
                    yield message


class DoubleLocker(Strategy):
    """LOCKs and ACKs whatever conflicts: another batch with the same number for some, and all rivals one after the other."""

    every = 700.0

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        mine = self.own(send)
        if target % 2 == 0 or not isinstance(mine, VoteBatch):
            return (send,)
        rivals = [tx.txid for tx in self.plot.rivals()]
        other = self.batch(rivals[::-1], rivals, mine.header.sequence)
        return (self.sent(other),) if other is not None and rivals else (send,)

    def act(self) -> None:
        rivals = [tx.txid for tx in self.plot.rivals()]
        chosen = [txid for txid in rivals if self.plot.rng.random() < 0.5]
        batch = self.batch(chosen, chosen)
        if batch is not None and chosen:
            self.tell(batch)


class Spiteful(Strategy):
    """LOCKs what a proposal excludes once others may have signed it, or when its view fails; its own proposals too."""

    def __init__(self, node: SimNode, key: Keypair, plot: Plot) -> None:
        super().__init__(node, key, plot)
        self._seen: set[bytes] = set()
        self._excluded: dict[int, list[bytes]] = {}  # height -> transactions

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        self.hears(send.kind, send.payload)
        return (send,)

    def hears(self, kind: Kind, payload: bytes) -> None:
        if kind not in (Kind.PROPOSAL, Kind.NEW_VIEW, Kind.VIEW_CHANGE) or payload in self._seen:
            return
        self._seen.add(payload)
        message = decoded(kind, payload)
        if isinstance(message, (Proposal, NewView)):
            self._look(message)
        elif isinstance(message, ViewChange):
            self._lock_after(0, self._excluded.pop(message.height, []))

    def _look(self, message: Proposal | NewView) -> None:
        try:
            spends = Block.decode(message.block).spends
        except DecodeError:
            return
        rivals = [tx.txid for tx in self.plot.rivals() if any(spends.get(point, tx.txid) != tx.txid for point in tx.inputs)]
        if self.plot.rng.random() < 0.5:
            self._excluded[message.height] = rivals
        else:
            self._lock_after(self.plot.rng.uniform(1, self.plot.rng.choice((60, 2_500))), rivals)

    def _lock_after(self, delay: float, rivals: Sequence[bytes]) -> None:
        if rivals:
            self.plot.clock.after(delay, lambda: self._lock(rivals))

    def _lock(self, rivals: Sequence[bytes]) -> None:
        batch = self.batch(rivals, ()) if self.node.alive else None
        if batch is not None:
            self.tell(batch)


class LateCertifier(Strategy):
    """Lets nobody see its votes, and shows certificates that have them to one victim, late."""

    every = 900.0

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        hidden = send.kind in (Kind.VOTE_BATCH, Kind.VOTE_CERTIFICATE) and self.own(send) is not None
        return () if hidden else (send,)

    def act(self) -> None:
        fastpath = self.node.replica.core.fastpath
        for tx in self.plot.rivals():
            certificate = fastpath.certificate(VoteKind.LOCK, tx.txid)
            if certificate is not None:
                victim = self.plot.rng.choice(sorted(self.node.replica.gossip.peers) or [0])
                self.plot.tell(self.node, Send(Kind.VOTE_CERTIFICATE, certificate.encode(), to=victim))
                self.plot.tell(self.node, Send(Kind.TRANSACTIONS, tx.encoded, to=victim))


class EagerVoter(Strategy):
    """PREPAREs and COMMITs every proposal that any liar hears of, in its view, and LOCKs and ACKs every transaction."""

    every = 40.0

    def __init__(self, node: SimNode, key: Keypair, plot: Plot) -> None:
        super().__init__(node, key, plot)
        self._voted: set[bytes] = set()

    def act(self) -> None:
        if self.me is None:
            return
        for kind, payload in list(self.plot.heard):
            message = decoded(kind, payload)
            if isinstance(message, (Proposal, NewView)) and payload not in self._voted:
                self._voted.add(payload)
                for phase in Phase:
                    self.tell(PhaseVote(phase, message.epoch, message.height, message.view, self.me, message.digest))
        fresh = [txid for txid in self.plot.clients.known if txid not in self._voted]
        self._voted.update(fresh)
        batch = self.batch(fresh, fresh)
        if batch is not None and fresh:
            self.tell(batch)


class Forgetful(Strategy):
    """Its VIEW-CHANGEs leave out its prepared certificate, or have an old one."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        change = self.own(send)
        if not isinstance(change, ViewChange) or change.prepared is None:
            return (send,)
        stale = [m.prepared for m in self._heard(change) if m.prepared is not None and m.prepared.view < change.prepared.view]
        return (self.sent(replace(change, prepared=stale[0] if stale and target % 2 else None)),)

    def _heard(self, like: ViewChange) -> Iterator[ViewChange]:
        for kind, payload in self.plot.heard:
            message = decoded(kind, payload)
            if isinstance(message, ViewChange) and (message.epoch, message.height) == (like.epoch, like.height):
                yield message


class Usurper(Strategy):
    """As the leader of a later view, proposes a fresh block despite a certificate, or with grounds that are none."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        view = self.own(send)
        if not isinstance(view, NewView):
            return (send,)
        block = self.block(view, [])
        if block is None:
            return (send,)
        fresh = replace(view, digest=Block.decode(block).hash, block=block)
        bare = tuple(replace(change, prepared=None) for change in view.view_changes)
        few = [change for change in view.view_changes if change.prepared is None]
        forged = (fresh, replace(fresh, view_changes=bare), replace(fresh, view_changes=tuple(few) or bare[:1]))
        lie = forged[(view.height + view.view) % len(forged)]
        return (self.sent(lie),) if target % 2 else (self.sent(lie), send)


class Quitter(Strategy):
    """Helps a block to be prepared in view 0, and then leaves the others alone with it."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        message = self.own(send)
        later = isinstance(message, (PhaseVote, NewView, ViewChange)) and message.view > 0
        return () if later or send.kind is Kind.COMMIT else (send,)


class Ambusher(Strategy):
    """Keeps its votes for itself. As a leader, shows certificates with them to one victim, and proposes rivals to the rest."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        if send.kind in (Kind.VOTE_BATCH, Kind.VOTE_CERTIFICATE) and self.own(send) is not None:
            return ()
        first = self.own(send)
        if not isinstance(first, Proposal):
            return (send,)
        if target == self._victim(first.height):
            return self._shown()
        return self.instead(first, self._against(first)) or (send,)

    def _victim(self, height: int) -> int:
        """Another one every time that it leads."""
        seats = len(self.node.replica.ledger.masternodes)
        return (self.node.index + 1 + height // seats % (seats - 1)) % seats

    def _against(self, first: Proposal) -> bytes | None:
        """A block against what is certified by its own vote only, so that nobody else has ACKed that."""
        fastpath, needed = self.node.replica.core.fastpath, self.node.replica.core.quorum.q
        lost: set[bytes] = set()  # outpoints of which others decide
        for tx in self.plot.rivals():
            if fastpath.votes(VoteKind.LOCK, tx.txid) - fastpath.has_voted(tx.txid) >= needed:
                lost.update(tx.inputs)
        open_ones = [tx for tx in self.plot.rivals() if lost.isdisjoint(tx.inputs)]
        return self.block(first, sorted(open_ones, key=lambda tx: (fastpath.is_certified(tx.txid), tx.txid)))

    def _shown(self) -> list[Send]:
        """All certificates of contested transactions, and these."""
        shown = []
        for tx in self.plot.rivals():
            certificate = self.node.replica.core.fastpath.certificate(VoteKind.LOCK, tx.txid)
            if certificate is not None:
                shown += [Send(Kind.TRANSACTIONS, tx.encoded), Send(Kind.VOTE_CERTIFICATE, certificate.encode())]
        return shown


class Backstabber(Ambusher):
    """As a leader, proposes the rivals to one victim only, and shows everybody the certificates while the height is open."""

    every = 30.0

    def __init__(self, node: SimNode, key: Keypair, plot: Plot) -> None:
        super().__init__(node, key, plot)
        self._proposed: Proposal | None = None

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        first = self.own(send)
        if not isinstance(first, Proposal):
            return super().outgoing(send, target)
        self._proposed = first
        return self.instead(first, self._against(first)) if target == self._victim(first.height) else ()

    def act(self) -> None:
        if self._proposed is not None and self._proposed.height == self.node.replica.ledger.height + 1:
            for send in self._shown():
                self.plot.tell(self.node, send)


class Counterfeiter(Strategy):
    """Serves blocks with certificates that prove nothing: of another view, of few votes, of another height."""

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        if send.kind is not Kind.BLOCKS:
            return (send,)
        return (Send(Kind.BLOCKS, encode_blocks([self._spoilt(*served) for served in decode_blocks(send.payload)]), to=send.to),)

    def _spoilt(self, block: bytes, encoded: bytes) -> tuple[bytes, bytes]:
        certificate = PhaseCertificate.decode(encoded)
        lies = (replace(certificate, votes=certificate.votes[:1]), replace(certificate, phase=Phase.PREPARE))
        return block, self.plot.rng.choice(lies).encode()


class Replayer(Strategy):
    """Sends what others signed again, later, and with other heights, views, epochs and chains."""

    every = 120.0

    def act(self) -> None:
        if not self.plot.heard:
            return
        rng = self.plot.rng
        kind, payload = rng.choice(self.plot.heard)
        self.plot.tell(self.node, Send(kind, payload))
        message = decoded(kind, payload)
        if message is None or self.me is None:
            return
        if isinstance(message, VoteBatch):
            header = replace(message.header, sequence=message.header.sequence + 1)
            forged: Message = replace(message, header=header)
        else:
            forged = self._moved(message)
        self.plot.tell(self.node, Send(kind, forged.encode()))
        foreign = self._key.sign(message.signed_bytes(bytes(32)))
        self.plot.tell(self.node, Send(kind, sign(_by(message, self.me), foreign).encode()))

    def _moved(self, message: PbftMessage) -> PbftMessage:
        ledger = self.node.replica.ledger
        if isinstance(message, Proposal):
            return replace(message, epoch=ledger.epoch, height=ledger.height + 1)
        return replace(message, epoch=ledger.epoch, height=ledger.height + 1, view=message.view + self.plot.rng.choice((0, 1)))


class Flooder(Strategy):
    """VIEW-CHANGEs for ever higher views, messages of far heights and views, batches full of ids that nobody knows."""

    every = 150.0

    def __init__(self, node: SimNode, key: Keypair, plot: Plot) -> None:
        super().__init__(node, key, plot)
        self._view = 0

    def act(self) -> None:
        if self.me is None:
            return
        ledger, rng = self.node.replica.ledger, self.plot.rng
        epoch, height, me = ledger.epoch, ledger.height + 1, self.me
        for _ in range(5):
            self._view += rng.choice((1, 1, 10_000))
            self.tell(ViewChange(epoch, height, self._view % 2**32, me, None))
        far = rng.choice((1, 2, 3, 2**40))
        self.tell(PhaseVote(rng.choice(tuple(Phase)), epoch, height + far, rng.choice((0, 1, 2**31)), me, rng.randbytes(32)))
        for digest in range(4):
            self.tell(PhaseVote(Phase.COMMIT, epoch, height, 0, me, bytes([digest]) * 32))
        unknown = [rng.randbytes(32) for _ in range(params.MAX_BATCH_VOTES if self._sequence == 1_000_001 else 20)]
        batch = self.batch(unknown, unknown)
        assert batch is not None
        self.tell(batch)


class BadCertifier(Strategy):
    """Certificates that prove nothing: repeated voters, votes of two views, of another epoch, too few."""

    every = 400.0

    def outgoing(self, send: Send, target: int) -> Sequence[Send]:
        change = self.own(send)
        if not isinstance(change, ViewChange) or self.me is None:
            return (send,)
        return (self.sent(replace(change, prepared=self._mixed(change))), send) if target % 2 else (send,)

    def _mixed(self, change: ViewChange) -> PhaseCertificate | None:
        """PREPAREs of whatever view, and its own."""
        found: dict[int, PhaseVote] = {}
        for kind, payload in self.plot.heard:
            vote = decoded(kind, payload)
            if isinstance(vote, PhaseVote) and (vote.epoch, vote.height) == (change.epoch, change.height):
                found[vote.voter] = vote
        if not found:
            return None
        last = max(found.values(), key=lambda vote: vote.view)
        votes = tuple((voter, vote.signature) for voter, vote in sorted(found.items()))
        return PhaseCertificate(Phase.PREPARE, change.epoch, change.height, min(last.view, change.view - 1), last.digest, votes)

    def act(self) -> None:
        fastpath, rng = self.node.replica.core.fastpath, self.plot.rng
        for tx in self.plot.rivals():
            certificate = fastpath.certificate(VoteKind.LOCK, tx.txid)
            if certificate is not None:
                proofs = certificate.proofs
                padded = rng.choice((proofs[:-1], proofs[:-1] + proofs[:1], proofs[:1] * len(proofs)))
                for forged in (replace(certificate, proofs=padded), replace(certificate, kind=VoteKind.ACK)):
                    self.plot.tell(self.node, Send(Kind.VOTE_CERTIFICATE, forged.encode()))
                other = rng.choice(self.plot.rivals()).txid
                self.plot.tell(self.node, Send(Kind.VOTE_CERTIFICATE, VoteCertificate(VoteKind.LOCK, other, proofs).encode()))


def _by(message: Message, voter: int) -> Message:
    """The same message as if another voter had made it."""
    if isinstance(message, VoteBatch):
        return replace(message, header=replace(message.header, voter=voter))
    return replace(message, voter=voter)


STRATEGIES: Mapping[str, type[Strategy]] = {
    "silent": Silent,
    "mute": Mute,
    "equivocator": Equivocator,
    "contrarian": Contrarian,
    "omitter": Omitter,
    "spoiler": Spoiler,
    "half-voter": HalfVoter,
    "double-locker": DoubleLocker,
    "spiteful": Spiteful,
    "late-certifier": LateCertifier,
    "eager-voter": EagerVoter,
    "forgetful": Forgetful,
    "usurper": Usurper,
    "quitter": Quitter,
    "ambusher": Ambusher,
    "backstabber": Backstabber,
    "counterfeiter": Counterfeiter,
    "replayer": Replayer,
    "flooder": Flooder,
    "bad-certifier": BadCertifier,
    "twin": Strategy,
}
