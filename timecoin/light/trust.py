"""Who votes, as far as somebody knows who trusts one masternode set: the step from each epoch to the next.

Place in the flow: a genesis document, or a header that is trusted for other reasons, gives the first `TrustedSet`. Each header
that a quorum of it has committed names the set that votes above it, and so leads to the next one. Light proofs and snapshots
both walk this way.

Invariants: a set is never taken for more than the hash in a certified header; heights rise; epochs follow one another.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from timecoin.consensus.certificates import PhaseCertificate, check_commit_signatures
from timecoin.consensus.encoding import U8, Reader
from timecoin.errors import CertificateError
from timecoin.ledger.blocks import Header
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.registry import MasternodeSet

_VERSION = 1
_PLACE = struct.Struct("<QQ")  # epoch, height


@dataclass(frozen=True, slots=True)
class TrustedSet:
    """The masternodes that vote in `epoch`, at every height above `height`, on the chain `chain_id` (32 bytes).

    Who is convicted votes on until the epoch ends, so light proofs do without the marks: sets stand here as the epoch began.
    """

    chain_id: bytes
    epoch: int
    height: int
    masternodes: MasternodeSet

    @classmethod
    def of_genesis(cls, genesis: Genesis) -> TrustedSet:
        """What the genesis document says: epoch 0 and its masternodes."""
        return cls(genesis.chain_id, 0, 0, genesis.masternode_set())

    @classmethod
    def of_header(cls, chain_id: bytes, header: bytes, masternodes: bytes) -> TrustedSet:
        """What an encoded header that is trusted says, with the encoded set that votes above it.

        Raises DecodeError, or CertificateError(wrong-set) when the header names another set.
        """
        trusted, members = Header.decode(header), MasternodeSet.decode(masternodes)
        _check_named(trusted, members)
        return cls(chain_id, trusted.epoch + trusted.closes_epoch, trusted.height, members.unmarked())

    def encode(self) -> bytes:
        """For a wallet that keeps how far it has come (docs/formats.md)."""
        return U8.pack(_VERSION) + self.chain_id + _PLACE.pack(self.epoch, self.height) + self.masternodes.encode()

    @classmethod
    def decode(cls, data: bytes) -> TrustedSet:
        """Raises DecodeError. It proves nothing: only what one has stored oneself is trusted."""
        reader = Reader(data, "trusted set")
        reader.count(U8, _VERSION, _VERSION, "version")
        chain_id = reader.take(32, "chain id")
        epoch, height = reader.fields(_PLACE)
        start = reader.offset
        masternodes = MasternodeSet.decode(reader.rest())
        if not masternodes or masternodes.convicted:
            raise reader.error(f"{len(masternodes)} masternodes, {len(masternodes.convicted)} of them convicted", start)
        return cls(chain_id, epoch, height, masternodes)

    @property
    def operators(self) -> list[bytes]:
        """The operator keys in canonical order."""
        return [member.operator for member in self.masternodes]

    def check_commit(self, header: Header, certificate: PhaseCertificate) -> bytes:
        """The hash of a block above `height` that a quorum of this set has committed. Raises CertificateError."""
        if header.epoch != self.epoch:
            raise CertificateError(
                "wrong-epoch", f"block {header.height} is of epoch {header.epoch}, the set votes in {self.epoch}"
            )
        if header.height <= self.height:
            raise CertificateError(
                "wrong-height", f"block {header.height} is not above height {self.height}, where its epoch begins"
            )
        digest = header.hash()
        if (certificate.height, certificate.digest) != (header.height, digest):
            raise CertificateError("wrong-certificate", f"the certificate of block {header.height} is that of another block")
        check_commit_signatures(certificate, chain_id=self.chain_id, epoch=self.epoch, operators=self.operators)
        return digest

    def after(self, header: Header, masternodes: MasternodeSet | None) -> TrustedSet:
        """Who votes above a header that `check_commit` has passed; `masternodes`: None when they are the same as there.

        Within an epoch nothing but who is convicted may change. Raises CertificateError(wrong-set) when it is otherwise, when
        the header names another set, or the same one is written out.
        """
        if masternodes == self.masternodes:
            raise CertificateError("wrong-set", f"the masternode set above height {header.height} is the one that voted there")
        members = self.masternodes if masternodes is None else masternodes
        _check_named(header, members)
        if members.unmarked() != (members if header.closes_epoch else self.masternodes):
            what = f"the masternode set above height {header.height} is not the one that the epoch began with"
            raise CertificateError("wrong-set", what)
        return TrustedSet(self.chain_id, self.epoch + header.closes_epoch, header.height, members.unmarked())


def _check_named(header: Header, masternodes: MasternodeSet) -> None:
    if not masternodes or masternodes.hash() != header.next_set:
        raise CertificateError(
            "wrong-set", f"the masternode set above height {header.height} is not the one that the header names"
        )
