"""Blocks that others decided without us: fetched with their certificates, checked one after the other, applied.

Place in the flow: `Gossip.fetched` -> certificate verified -> block judged -> the replica's `apply`. A block that cannot
follow our tip costs the peer that sent it, and the rest of its page.
"""

from __future__ import annotations

from collections.abc import Callable

from timecoin import params
from timecoin._core import hashing
from timecoin.consensus.certificates import PhaseCertificate
from timecoin.consensus.pbft import BlockInfo
from timecoin.consensus.quorum import Quorum
from timecoin.errors import BlockError, DecodeError, ValidationError
from timecoin.replica.chain import Chain
from timecoin.replica.gossip import Gossip
from timecoin.replica.outbox import Outbox

Apply = Callable[[bytes, PhaseCertificate], None]


class CatchUp:
    """Applies what `gossip` has fetched, one block at a time."""

    def __init__(self, chain: Chain, gossip: Gossip, out: Outbox, apply: Apply) -> None:
        self._chain = chain
        self._ledger = chain.ledger
        self._gossip = gossip
        self._out = out
        self._apply = apply
        self._busy = False

    def advance(self, now: int) -> None:
        """Check the next fetched block: its certificate and the signatures in it, in one job. Or ask for more."""
        if self._busy:
            return
        fetched = self._gossip.fetched
        while fetched.blocks and _height_of(fetched.blocks[0][0]) <= self._ledger.height:
            fetched.blocks.popleft()
        if not fetched.blocks:
            self._gossip.fetch(now)
            return
        block, raw = fetched.blocks.popleft()
        try:
            self._check(block, PhaseCertificate.decode(raw))
        except (BlockError, DecodeError, ValidationError) as error:
            self._refuse(fetched.peer, f"a block that cannot follow height {self._ledger.height}: {error}")

    def _check(self, block: bytes, certificate: PhaseCertificate) -> None:
        digest = hashing.tagged_sha256(b"timecoin/header", block[: params.HEADER_BYTES])
        masternodes = self._ledger.masternodes
        height = self._ledger.height + 1
        certificate.check_commit(self._ledger.epoch, height, digest, Quorum.of(len(masternodes)))
        checks = certificate.signatures(self._ledger.chain_id)
        peer = self._gossip.fetched.peer
        self._busy = True

        def judged(digest: bytes, info: BlockInfo | None) -> None:
            self._busy = False
            if self._ledger.height + 1 != height:
                return  # decided by votes in the meantime
            if info is None:
                self._refuse(peer, f"an invalid block at height {height}")
            else:
                self._apply(digest, certificate)

        def certified(verdicts: bytes) -> None:
            self._busy = False
            if not all(verdicts):
                self._refuse(peer, f"a certificate of height {height} does not verify")
            elif self._ledger.height + 1 == height:
                self._busy = True
                self._chain.check(block, None, judged, digest)

        self._out.urgent.add(
            [masternodes[check.voter].operator for check in checks],
            [check.message for check in checks],
            [check.signature for check in checks],
            certified,
        )

    def _refuse(self, peer: int | None, why: str) -> None:
        self._gossip.fetched.blocks.clear()
        self._out.charge(peer, 100, why)


def _height_of(block: bytes) -> int:
    """The height in an encoded header (0 when there is none)."""
    return int.from_bytes(block[4:12], "little") if len(block) >= params.HEADER_BYTES else 0
