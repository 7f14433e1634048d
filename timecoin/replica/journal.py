"""What a store holds of a replica's own past, and how a replica finds its way back after a crash at any instant.

Every vote is durable before it is sent, with what is needed to honour it: a LOCK with its body, an ACK with the LOCK batches
behind it, a PRE-PREPARE or PREPARE with the block, a COMMIT with the prepared certificate. `restore` reads all of it back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain

from timecoin import params
from timecoin.consensus.certificates import Phase, PhaseCertificate, VoteCertificate
from timecoin.consensus.messages import NewView, PbftMessage, PhaseVote, Proposal, ViewChange, VoteBatch
from timecoin.errors import StorageError, TimecoinError, WrongNetwork
from timecoin.ledger.coins import commit_coins
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.registry import MasternodeSet
from timecoin.ledger.state import Ledger, StoredState
from timecoin.ledger.transactions import Transaction, split
from timecoin.replica import audit, tables
from timecoin.replica.layout import BlockRecorder
from timecoin.replica.outbox import Outbox
from timecoin.replica.tables import Change, Keeping, Store, Write, height_key
from timecoin.replica.wire import Kind

_CODES: dict[Kind, int] = {
    Kind.PROPOSAL: 0,
    Kind.PREPARE: 1,
    Kind.COMMIT: 2,
    Kind.VIEW_CHANGE: 3,
    Kind.NEW_VIEW: 4,
}
_ADVICE = "`timecoin inspect` shows all of it, `timecoin reindex` rebuilds what follows from the stored blocks"
_PAGE = 4096  # coins that are read at once
_KINDS = {code: kind for kind, code in _CODES.items()}


def kind_of(message: PbftMessage) -> Kind:
    """How a PBFT message is marked on the wire."""
    if isinstance(message, PhaseVote):
        return Kind.PREPARE if message.phase is Phase.PREPARE else Kind.COMMIT
    return {Proposal: Kind.PROPOSAL, ViewChange: Kind.VIEW_CHANGE, NewView: Kind.NEW_VIEW}[type(message)]


def decode_pbft(kind: Kind, payload: bytes) -> PbftMessage:
    """Raises DecodeError."""
    if kind is Kind.PROPOSAL:
        return Proposal.decode(payload)
    if kind is Kind.PREPARE:
        return PhaseVote.decode(Phase.PREPARE, payload)
    if kind is Kind.COMMIT:
        return PhaseVote.decode(Phase.COMMIT, payload)
    return ViewChange.decode(payload) if kind is Kind.VIEW_CHANGE else NewView.decode(payload)


def initialise(genesis: Genesis, operator: bytes | None, keeping: Keeping | None = None) -> list[Change]:
    """The first changes of a new store; `operator`: the key whose votes it is going to carry from genesis on."""
    changes: list[Change] = [Write(tables.META, tables.META_CHAIN_ID, genesis.chain_id)]
    if operator is not None:
        changes.append(Write(tables.META, tables.META_VOTER, operator))
    recorder = BlockRecorder(keeping or Keeping(), coins=0, first_block=1)
    return changes + recorder.genesis(genesis, commit_coins(genesis.records()).state())


class VoteKeys:
    """The keys under which PBFT votes of the undecided height are stored, so that a decision can remove them."""

    def __init__(self) -> None:
        self._keys: dict[tuple[str, bytes], int] = {}

    def note(self, table: str, key: bytes, height: int) -> None:
        self._keys[table, key] = height

    def clear(self, decided: int, out: Outbox) -> None:
        for (table, key), height in list(self._keys.items()):
            if height <= decided:
                out.write(table, key, None)
                del self._keys[table, key]


def batch_key(batch: VoteBatch) -> bytes:
    return batch.voter.to_bytes(4, "big") + batch.header.sequence.to_bytes(8, "big") + batch.digest()


def proof_key(certificate: VoteCertificate) -> bytes:
    return bytes([certificate.kind]) + certificate.txid


def vote_key(message: PbftMessage) -> bytes:
    return height_key(message.height) + message.view.to_bytes(4, "big") + bytes([_CODES[kind_of(message)]])


def prepared_key(certificate: PhaseCertificate) -> bytes:
    return height_key(certificate.height) + certificate.view.to_bytes(4, "big")


def split_ids(column: bytes) -> list[bytes]:
    """The ids of an id column."""
    return [column[at : at + 32] for at in range(0, len(column), 32)]


@dataclass(slots=True)
class Past:
    """What a store says that we did."""

    sequence: int = 0
    batches: list[VoteBatch] = field(default_factory=list)
    proofs: list[VoteCertificate] = field(default_factory=list)
    transactions: list[Transaction] = field(default_factory=list)
    messages: list[PbftMessage] = field(default_factory=list)
    bodies: dict[bytes, bytes] = field(default_factory=dict)
    prepared: list[PhaseCertificate] = field(default_factory=list)


def restore_ledger(
    genesis: Genesis, store: Store, *, coin_cache_bytes: int | None = None, progress: audit.Progress | None = None
) -> Ledger:
    """The ledger at the stored tip, once all of the store that it rests on agrees; every coin is hashed.

    coin_cache_bytes: what the coins may take in memory, where they are read from the store again; None keeps them all.
    `progress` is told how many coins have been read, of how many. StorageError says what is wrong and what may help.
    """
    check_chain(genesis, store)
    check_whole(store)
    try:
        at = audit.standing(store)
        for problem in audit.quick_problems(store, at):
            raise StorageError(f"the store is damaged: {problem}")
        coins = audit.told(chain.from_iterable(store.pages(tables.COINS, _PAGE)), at.coins, progress)
        stored = StoredState(at.encoded_header, coins, at.masternodes.encode(), at.epoch_start)
        if coin_cache_bytes is None:
            return Ledger.restore(genesis, stored)
        return Ledger.restore(genesis, stored, read=partial(_read_coins, store), coin_cache_bytes=coin_cache_bytes)
    except StorageError as error:
        raise StorageError(f"{error}; {_ADVICE}") from error
    except TimecoinError as error:
        raise StorageError(f"the store is damaged: {error}; {_ADVICE}") from error


def _read_coins(store: Store, outpoints: bytes) -> Sequence[bytes | None]:
    return store.get_many(tables.COINS, split(outpoints, params.OUTPOINT_BYTES))


def check_chain(genesis: Genesis, store: Store) -> None:
    """WrongNetwork unless the store is that of this genesis document."""
    chain_id = store.get(tables.META, tables.META_CHAIN_ID)
    if chain_id != genesis.chain_id:
        found = chain_id.hex() if chain_id is not None else "none"
        raise WrongNetwork(f"the data directory belongs to chain {found}, the genesis document makes {genesis.chain_id.hex()}")


def check_whole(store: Store) -> None:
    """StorageError while the store is being filled from a snapshot or rebuilt: that has begun and not ended."""
    if store.get(tables.META, tables.META_IMPORT) is not None:
        raise StorageError("the store is not complete: `timecoin snapshot import` was interrupted; run it again")
    if store.get(tables.META, tables.META_REINDEX) is not None:
        raise StorageError("the store is being rebuilt: `timecoin reindex` was interrupted; run it again")


def operators_of(masternodes: MasternodeSet) -> tuple[bytes, ...]:
    return tuple(member.operator for member in masternodes)


def read_past(store: Store, ledger: Ledger) -> Past:
    """Own and others' votes of the open epoch and the undecided height. StorageError when something does not decode."""
    past = Past()
    try:
        sequence = store.get(tables.META, tables.META_SEQUENCE)
        if sequence is not None and int.from_bytes(sequence[:8], "big") == ledger.epoch:
            past.sequence = int.from_bytes(sequence[8:], "big")
        past.batches = [VoteBatch.decode(value) for _, value in store.items(tables.BATCHES)]
        past.proofs = [VoteCertificate.decode(value) for _, value in store.items(tables.PROOFS)]
        past.transactions = [Transaction.decode(value) for _, value in store.items(tables.POOL)]
        for key, value in store.items(tables.VOTES):
            past.messages.append(decode_pbft(_KINDS[key[12]], value))
        past.bodies = dict(store.items(tables.BODIES))
        past.prepared = [PhaseCertificate.decode(value) for _, value in store.items(tables.PREPARED)]
    except (TimecoinError, KeyError, IndexError) as error:
        raise StorageError(f"the store is damaged: {error}") from error
    return past
