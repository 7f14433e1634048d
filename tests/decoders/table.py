"""Every decoder of the package: what it decodes, and how what it made is encoded again.

For whatever bytes a decoder gets (`check`): it refuses them with its error, which names an offset inside of them, or what it
makes of them encodes to the same bytes; and it takes no more memory than the bytes justify.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.core import codec_values
from tests.core.twins_codec import encode_votes
from tests.decoders import values
from tests.light import chain as light_chain
from timecoin import params
from timecoin._core import codec
from timecoin._core.codec import TransactionBatch
from timecoin._core.coins import UtxoSet
from timecoin._core.votes import VoteBatches, decode_vote_batch
from timecoin.consensus.certificates import Phase, PhaseCertificate, VoteCertificate
from timecoin.consensus.evidence import Evidence
from timecoin.consensus.messages import NewView, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.errors import CertificateError, DecodeError, ProtocolError, TransactionError
from timecoin.keys import Keypair
from timecoin.ledger import checks
from timecoin.ledger.blocks import Block, Header
from timecoin.ledger.registry import MasternodeSet
from timecoin.ledger.transactions import Transaction
from timecoin.light import proofs
from timecoin.light.trust import TrustedSet
from timecoin.node import discovery, handshake
from timecoin.node.framing import FrameReader, encode_frame, unpack
from timecoin.node.handshake import Handshake, HandshakeError, Reason
from timecoin.replica import journal, layout, misconduct, payloads
from timecoin.replica.wire import Kind

# What decoding may take at once: Python's objects for a transaction of 55 bytes are 30 times as large.
MEMORY_FOR_A_BYTE = 64
MEMORY_FOR_ANY = 128 * 1024


class Decoder(NamedTuple):
    """One way from bytes to a value.

    function    what decodes, by its name in the package; `variant` tells two uses of it apart
    encodings   good ones
    encode      of what `decode` returns; None where values have more than one encoding
    refusals    what `decode` raises for bad ones
    open_ended  an encoding may go on with more bytes, or be cut, and still be one
    extra       bytes of memory that it may take beside what follows from its input
    """

    function: str
    encodings: st.SearchStrategy[bytes]
    decode: Callable[[bytes], Any]
    encode: Callable[[Any], bytes] | None
    variant: str = ""
    refusals: tuple[type[Exception], ...] = (DecodeError,)
    open_ended: bool = False
    extra: int = 0

    @property
    def name(self) -> str:
        return f"{self.function}, {self.variant}" if self.variant else self.function


def check_offset(refusal: Exception, data: bytes) -> None:
    if isinstance(refusal, DecodeError):
        assert 0 <= refusal.offset <= len(data), f"offset {refusal.offset} of {len(data)} bytes"


def check(decoder: Decoder, data: bytes) -> bool:
    """Whether the decoder accepts the bytes. AssertionError, or whatever else it raises, when it does what it must not."""
    try:
        value = decoder.decode(data)
    except decoder.refusals as refusal:
        check_offset(refusal, data)
        return False
    if decoder.encode is not None:
        assert decoder.encode(value) == data, "accepted, and encodes to other bytes"
    return True


def check_memory(decoder: Decoder, data: bytes) -> bool:
    """The same with the memory watched."""
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        accepted = check(decoder, data)
        taken = tracemalloc.get_traced_memory()[1] - before
    finally:
        if not tracing:
            tracemalloc.stop()
    allowed = MEMORY_FOR_ANY + MEMORY_FOR_A_BYTE * len(data) + decoder.extra
    assert taken <= allowed, f"{taken} bytes of memory for {len(data)} bytes of input, at most {allowed}"
    return accepted


def written(strategy: st.SearchStrategy[Any], encode: Callable[..., bytes] = lambda value: value.encode()) -> Any:
    return strategy.map(encode)


# Transactions, headers, blocks

GOOD = codec_values.make_transfer(2, 2).encoded
VOTES = VoteBatch.seal(1, 2, 3, 4, bytes(64), bytes(32)).encode()
transactions = written(codec_values.transactions(), lambda parts: parts.encoded)
batches = written(codec_values.batches, codec_values.join)
encoded_headers = codec_values.headers.map(lambda fields: codec.encode_header(*fields))
blocks = st.builds(
    lambda header, batch, proofs: codec.encode_block(header, [parts.encoded for parts in batch], proofs),
    encoded_headers,
    codec_values.batches,
    codec_values.proofs,
)
coins = st.builds(codec.encode_coin, codec_values.outpoints, codec_values.outputs)


def encode_parts(batch: TransactionBatch, index: int) -> bytes:
    kind, height, inputs, outputs, witnesses, *_ = batch.parts(index)
    return codec.encode_transaction(kind, height, inputs, outputs, witnesses)


def encode_batch(batch: TransactionBatch) -> bytes:
    return b"".join(encode_parts(batch, index) for index in range(batch.count))


def encode_transaction(tx: Transaction) -> bytes:
    outputs = [output.parts() for output in tx.outputs]
    return codec.encode_transaction(tx.kind, tx.height, tx.inputs, outputs, tx.witnesses)


def encode_columns(block: codec.BlockColumns) -> bytes:
    batch = block.transactions
    header, bodies = codec.encode_header(*block.header), [encode_parts(batch, i) for i in range(batch.count)]
    return codec.encode_block(header, bodies, block.evidence)


def encode_block(block: Block) -> bytes:
    return codec.encode_block(block.header.encode(), list(map(encode_transaction, block.transactions)), block.evidence)


def decode_good(data: bytes) -> TransactionBatch:
    good, error = TransactionBatch.decode_good(data)
    if error is not None:
        assert data.startswith(encode_batch(good))
        raise error
    return good


def decode_one_of_many(data: bytes) -> TransactionBatch:
    """As one of three items, of which the others are good."""
    good, errors = TransactionBatch.decode_many([GOOD, data, GOOD])
    assert good.data.startswith(GOOD)
    assert good.data.endswith(GOOD)
    assert good.txids[:32] == good.txids[-32:]
    for index, error in errors:
        assert (index, good.count, error.transaction) == (1, 2, 1)
        raise error
    return good


def decode_piece(data: bytes) -> TransactionBatch:
    ends = [len(GOOD), len(GOOD) + len(data), 2 * len(GOOD) + len(data)]
    good, errors = TransactionBatch.decode_many(GOOD + data + GOOD, offsets=[0, *ends])
    for _, error in errors:
        raise error
    return good


def transaction_itself(data: bytes) -> bytes:
    codec.transaction_ids(data)
    return data


CODEC = (
    Decoder("_core.codec.TransactionBatch.decode", batches, TransactionBatch.decode, encode_batch, open_ended=True),
    Decoder("_core.codec.TransactionBatch.decode_good", batches, decode_good, encode_batch, open_ended=True),
    Decoder(
        "_core.codec.TransactionBatch.decode_many",
        transactions,
        decode_one_of_many,
        lambda good: encode_parts(good, 1),
        "a sequence",
    ),
    Decoder("_core.codec.TransactionBatch.decode_many", transactions, decode_piece, lambda good: encode_parts(good, 1), "pieces"),
    Decoder("_core.codec.transaction_ids", transactions, transaction_itself, bytes),
    Decoder("_core.codec.decode_header", encoded_headers, codec.decode_header, lambda fields: codec.encode_header(*fields)),
    Decoder("_core.codec.decode_block", blocks, codec.decode_block, encode_columns),
    Decoder("_core.codec.decode_coin", coins, codec.decode_coin, lambda coin: codec.encode_coin(*coin)),
    Decoder("ledger.transactions.Transaction.decode", transactions, Transaction.decode, encode_transaction),
    Decoder("ledger.checks.decode", transactions, checks.decode, encode_transaction, refusals=(DecodeError, TransactionError)),
    Decoder("ledger.blocks.Header.decode", encoded_headers, Header.decode, Header.encode),
    Decoder("ledger.blocks.Block.decode", blocks, Block.decode, encode_block),
    Decoder(
        "ledger.registry.MasternodeSet.decode", written(values.masternode_sets()), MasternodeSet.decode, MasternodeSet.encode
    ),
)


# Votes, messages, certificates


def encode_votes_columns(batch: VoteBatches) -> bytes:
    return b"".join(encode_votes(values_of) for values_of in map(batch.parts, range(batch.count)))


def decode_votes_of_many(data: bytes) -> VoteBatches:
    good, errors = VoteBatches.decode_many([VOTES, data, VOTES])
    assert good.data.startswith(VOTES)
    assert good.data.endswith(VOTES)
    for index, error in errors:
        assert (index, good.count) == (1, 2)
        raise error
    return good


def pbft(kind: Kind, strategy: st.SearchStrategy[Any]) -> Decoder:
    open_ended = kind in (Kind.PROPOSAL, Kind.NEW_VIEW)
    decode = lambda data: journal.decode_pbft(kind, data)  # noqa: E731
    encodings = written(strategy)
    return Decoder("replica.journal.decode_pbft", encodings, decode, lambda m: m.encode(), kind.name, open_ended=open_ended)


many_votes = st.lists(values.vote_batches(), max_size=3).map(lambda some: b"".join(batch.encode() for batch in some))
CONSENSUS = (
    Decoder("_core.votes.VoteBatches.decode", many_votes, VoteBatches.decode, encode_votes_columns, open_ended=True),
    Decoder(
        "_core.votes.VoteBatches.decode_many",
        written(values.vote_batches()),
        decode_votes_of_many,
        lambda good: encode_votes(good.parts(1)),
    ),
    Decoder(
        "_core.votes.decode_vote_batch", written(values.vote_batches()), decode_vote_batch, lambda parts: encode_votes(parts)
    ),
    Decoder("consensus.messages.VoteBatch.decode", written(values.vote_batches()), VoteBatch.decode, VoteBatch.encode),
    *(
        Decoder(
            "consensus.messages.PhaseVote.decode",
            written(values.phase_votes(phase)),
            lambda data, phase=phase: PhaseVote.decode(phase, data),
            PhaseVote.encode,
            phase.name,
        )
        for phase in Phase
    ),
    Decoder("consensus.messages.Proposal.decode", written(values.proposals), Proposal.decode, Proposal.encode, open_ended=True),
    Decoder("consensus.messages.ViewChange.decode", written(values.view_changes), ViewChange.decode, ViewChange.encode),
    Decoder("consensus.messages.NewView.decode", written(values.new_views()), NewView.decode, NewView.encode, open_ended=True),
    Decoder(
        "consensus.certificates.PhaseCertificate.decode",
        written(values.phase_certificates),
        PhaseCertificate.decode,
        PhaseCertificate.encode,
    ),
    Decoder(
        "consensus.certificates.VoteCertificate.decode",
        written(values.vote_certificates()),
        VoteCertificate.decode,
        VoteCertificate.encode,
    ),
    Decoder("consensus.evidence.Evidence.decode", written(values.evidences()), Evidence.decode, Evidence.encode),
    pbft(Kind.PROPOSAL, values.proposals),
    pbft(Kind.PREPARE, values.phase_votes(Phase.PREPARE)),
    pbft(Kind.COMMIT, values.phase_votes(Phase.COMMIT)),
    pbft(Kind.VIEW_CHANGE, values.view_changes),
    pbft(Kind.NEW_VIEW, values.new_views()),
)


# Light proofs: nothing but what a quorum has signed is accepted


def verifying(verify: Callable[..., object]) -> Callable[[bytes], object]:
    return lambda data: verify(data, trusted=light_chain.TRUSTED)


acked = st.builds(light_chain.acks, st.just((0, 1, 3)), st.just(0), others=st.integers(0, 3), locks=st.integers(0, 1))
numbers = st.integers(0, 2**64 - 1)
unmarked_sets = values.masternode_sets().filter(len).map(MasternodeSet.unmarked)
light_refusals = (DecodeError, CertificateError)
LIGHT = (
    Decoder(
        "light.trust.TrustedSet.decode",
        written(st.builds(TrustedSet, st.binary(min_size=32, max_size=32), numbers, numbers, unmarked_sets)),
        TrustedSet.decode,
        TrustedSet.encode,
    ),
    Decoder(
        "light.proofs.verify_epochs",
        st.builds(light_chain.epoch_proof, st.just(0), st.integers(0, 4)),
        verifying(proofs.verify_epochs),
        None,
        refusals=light_refusals,
    ),
    Decoder(
        "light.proofs.verify_commit",
        st.builds(light_chain.commit_proof, st.integers(1, 8), st.just(0)),
        verifying(proofs.verify_commit),
        None,
        refusals=light_refusals,
    ),
    Decoder(
        "light.proofs.verify_finality",
        st.builds(light_chain.finality_proof, st.just(0), acked),
        verifying(proofs.verify_finality),
        None,
        refusals=light_refusals,
    ),
)


# What nodes tell and ask each other


def decode_frame(data: bytes) -> tuple[Kind, bytes] | None:
    reader = FrameReader(set(Kind))
    view = memoryview(data)
    while view:
        room = reader.get_buffer()
        size = min(len(room), len(view))
        if size == 0:
            break
        room[:size] = view[:size]
        reader.buffer_updated(size)
        view = view[size:]
    frame = reader.next_frame()
    return None if frame is None else (frame.kind, unpack(frame))


def receive_hello(data: bytes) -> list[tuple[Kind, bytes]]:
    return Handshake(NODE_KEY, CHAIN, dialer=False).receive(Kind.HELLO, data)


CHAIN = bytes(32)
NODE_KEY = Keypair.from_seed(bytes(32))
hellos = st.builds(
    lambda seed, port, height: Handshake(
        Keypair.from_seed(seed), CHAIN, dialer=True, listen_port=port, height=height, nonce=seed
    ).hello(),
    st.binary(min_size=32, max_size=32).filter(any),
    st.integers(0, 65_535),
    st.integers(0, 2**63 - 1),
)
frames = st.builds(
    encode_frame, st.sampled_from([Kind.TRANSACTIONS, Kind.BLOCKS, Kind.STATUS]), st.binary(max_size=64)
) | st.builds(encode_frame, st.just(Kind.BLOCKS), st.integers(1024, 3000).map(bytes))  # these are compressed

WIRE = (
    Decoder(
        "replica.payloads.decode_status",
        values.statuses.map(lambda fields: payloads.encode_status(*fields)),
        payloads.decode_status,
        lambda fields: payloads.encode_status(*fields),
    ),
    Decoder(
        "replica.payloads.decode_get_blocks",
        values.asked_blocks.map(lambda fields: payloads.encode_get_blocks(*fields)),
        payloads.decode_get_blocks,
        lambda fields: payloads.encode_get_blocks(*fields),
    ),
    Decoder(
        "replica.payloads.decode_blocks",
        written(values.pages, payloads.encode_blocks),
        payloads.decode_blocks,
        payloads.encode_blocks,
    ),
    Decoder(
        "replica.payloads.decode_ids",
        written(values.asked_ids, payloads.encode_ids),
        payloads.decode_ids,
        payloads.encode_ids,
        open_ended=True,
    ),
    Decoder(
        "replica.payloads.decode_ranges",
        values.vote_ranges.map(lambda fields: payloads.encode_ranges(*fields)),
        payloads.decode_ranges,
        lambda fields: payloads.encode_ranges(*fields),
    ),
    Decoder(
        "node.discovery.decode_addresses",
        written(values.addresses, discovery.encode_addresses),
        discovery.decode_addresses,
        discovery.encode_addresses,
        refusals=(ProtocolError,),
        open_ended=True,
    ),
    Decoder(
        "node.handshake.decode_goodbye",
        written(st.sampled_from(Reason), handshake.encode_goodbye),
        handshake.decode_goodbye,
        None,
        refusals=(),
        open_ended=True,
    ),
    Decoder("node.handshake.Handshake.receive", hellos, receive_hello, None, refusals=(HandshakeError,)),
    Decoder(
        "node.framing.unpack",
        frames,
        decode_frame,
        None,
        refusals=(ProtocolError,),
        open_ended=True,
        extra=2 * params.MAX_FRAME_BYTES,
    ),
)

# What stands on a disk


def undo_record(coins: dict[bytes, int], made: int) -> bytes:
    """What the set returns for a block that spends all these coins, values by outpoint, and makes so many."""
    points, values = b"".join(coins), list(coins.values())
    held = UtxoSet()
    held.add(points, values, bytes(32 * len(coins)), bytes(len(coins)), 1)
    created = b"".join(b"\xff" * 32 + number.to_bytes(4, "little") for number in range(made))
    return held.apply(points, created, [1] * made, bytes(32 * made), bytes(made), b"", 2)


outpoints = st.binary(min_size=36, max_size=36).filter(lambda point: not point.startswith(b"\xff"))
undo_records = st.builds(undo_record, st.dictionaries(outpoints, st.integers(1, 2**60), max_size=4), st.integers(0, 3))
STORE: tuple[Decoder, ...] = (
    Decoder("replica.layout.decode_undo", undo_records, layout.decode_undo, None),
    Decoder(
        "replica.layout.decode_epoch",
        st.builds(layout.encode_epoch, st.integers(0, 2**64 - 1), values.masternode_sets()),
        layout.decode_epoch,
        lambda epoch: layout.encode_epoch(*epoch),
    ),
    Decoder(
        "replica.misconduct.decode_row",
        st.builds(misconduct.encode_row, written(values.evidences()), st.integers(0, 2**64 - 1)),
        misconduct.decode_row,
        lambda row: misconduct.encode_row(row[1].encode(), row[0]),
    ),
)

DECODERS: tuple[Decoder, ...] = (*CODEC, *CONSENSUS, *LIGHT, *WIRE, *STORE)

# Functions that are called so and are in the table under another name.
ELSEWHERE = {
    "replica.admission.Admission.decode": "passes its payload to TransactionBatch.decode",
    "replica.tables.decode_indexes": "a list of names that a start compares with what it wants; any bytes are one",
}
