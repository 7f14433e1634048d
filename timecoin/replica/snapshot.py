"""The UTXO set at a height, with all that proves it to somebody who has the genesis document and nothing else.

Place in the flow: a store -> `write_snapshot` -> a file -> `SnapshotReader` -> a new store. What proves the coins: the masternode
set of genesis signs the header that closes epoch 0, which names the set of epoch 1, and so on to the tip's header, whose
commitment is that of the coins. Their sum is what may exist at that height, and where the tip closes an epoch, the set that votes
next is the one that their collaterals make.

Invariants: nothing is proven before `finish` has returned, so whoever keeps what a reader hands out keeps it apart until then;
outpoints rise through the whole file, so that no coin comes twice (a commitment alone cannot tell 2**16 copies from none).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain
from operator import lt
from typing import Any, NamedTuple, TypeAlias

from timecoin import params
from timecoin._core import codec, lthash
from timecoin.consensus.certificates import PhaseCertificate
from timecoin.errors import CertificateError, DecodeError, SnapshotError, StorageError, WrongNetwork
from timecoin.ledger.blocks import Header
from timecoin.ledger.coins import coin_element, height_of
from timecoin.ledger.genesis import Genesis
from timecoin.ledger.registry import MasternodeSet, Registry
from timecoin.ledger.transactions import Output
from timecoin.light.trust import TrustedSet
from timecoin.replica import audit, epochs, journal, layout, tables
from timecoin.replica.layout import BlockRecorder
from timecoin.replica.snapshotfile import (
    COLLATERAL_ROW,
    HEIGHT_BYTES,
    PAYMENT_ROW,
    Head,
    Read,
    SnapshotInput,
    SnapshotOutput,
    Step,
)
from timecoin.replica.tables import Bulk, Change, Keeping, Store, Write, height_key

# A coin as the store has it: outpoint, record.
Row: TypeAlias = tuple[bytes, bytes]

_RECORD_AT = params.OUTPOINT_BYTES
_KIND_AT = _RECORD_AT + HEIGHT_BYTES
_LOOKED_AT = 256  # kinds at once, so that each collateral in a page costs no more than that
_PAYMENTS = struct.Struct(f"{_RECORD_AT}s{PAYMENT_ROW - _RECORD_AT}s")


class Summary(NamedTuple):
    """What a snapshot was found to be. epoch, epoch_start, masternodes: of the height above; value: of all coins together."""

    chain_id: bytes
    height: int
    tip: bytes
    time_ms: int
    epoch: int
    epoch_start: int
    masternodes: int
    coins: int
    value: int
    pages: int
    commitment: bytes
    lthash: bytes


class Link(NamedTuple):
    """A step that was checked: the epoch that is open above its header, the height that began it, and the set that votes."""

    step: Step
    header: Header
    hash: bytes
    epoch: int
    epoch_start: int
    masternodes: MasternodeSet


class _Proof:
    """The headers from genesis to the tip, each signed by a quorum of the set that the one before it names.

    genesis: None while a store is exported, which knows its chain id and its first set without the document.
    """

    def __init__(self, head: Head, first: MasternodeSet, genesis: Genesis | None) -> None:
        self.voters = self.masternodes = first  # who voted for the last header, and who votes above it
        self.header: Header | None = None
        self.epoch_start = 0
        self._head = head
        self._genesis = genesis
        self._trusted = TrustedSet(head.chain_id, 0, 0, first)

    def add(self, step: Step) -> Link:
        """The next step. Raises SnapshotError."""
        epoch = self._trusted.epoch
        try:
            header = Header.decode(step.header)
            certificate = PhaseCertificate.decode(step.certificate)
            masternodes = MasternodeSet.decode(step.masternodes) if step.masternodes else None
        except DecodeError as error:
            raise SnapshotError("bad-proof", f"snapshot: the step of epoch {epoch} does not decode: {error}") from error
        self._check_place(header, is_last=epoch + 1 == self._head.steps)
        try:
            digest = self._trusted.check_commit(header, certificate)
            above = self._trusted.after(header, masternodes)
        except CertificateError as error:
            raise SnapshotError("bad-proof", f"snapshot: the step of epoch {epoch} proves nothing: {error}") from error
        self.voters, self.masternodes = self.masternodes, masternodes or self.masternodes
        self.header, self._trusted = header, above
        if header.closes_epoch:
            self.epoch_start = header.height
        return Link(step, header, digest, above.epoch, self.epoch_start, self.masternodes)

    def _check_place(self, header: Header, *, is_last: bool) -> None:
        epoch = self._trusted.epoch
        where = f"snapshot: the header at height {header.height} in the step of epoch {epoch}"
        if header.epoch != epoch:
            raise SnapshotError("bad-proof", f"{where} is of epoch {header.epoch}")
        if is_last and header.height != self._head.height:
            raise SnapshotError("bad-proof", f"{where} is the last one, the snapshot's height is {self._head.height}")
        if not is_last and not (header.closes_epoch and header.height < self._head.height):
            raise SnapshotError("bad-proof", f"{where} does not close the epoch below height {self._head.height}")
        length = self._genesis.epoch_length if self._genesis is not None and header.closes_epoch else 1
        if header.height < self.epoch_start + length:
            raise SnapshotError("bad-proof", f"{where} is below height {self.epoch_start + length}")


class _Tally:
    """The coins of a snapshot, page by page: their order, their sum, their commitment, and the masternodes among them."""

    def __init__(self, height: int, genesis: Genesis | None) -> None:
        self.coins = 0
        self.value = 0
        self.lthash = lthash.LtHash()
        self.registry = Registry()
        self._height = height
        self._genesis = genesis
        self._most = params.MAX_MONEY if genesis is None else genesis.supply_at(height)
        self._last = b""

    def add(self, payload: bytes, count: int) -> list[Row]:
        """The rows of a page, which must be `count`. Raises SnapshotError."""
        rows: list[Row] = []
        at = 0
        while at < len(payload):
            run = _run_of_payments(payload, at)
            if run:
                end = at + run * PAYMENT_ROW
                rows += _PAYMENTS.iter_unpack(payload[at:end])
                self._add_payments(payload[at:end])
            else:
                end = at + COLLATERAL_ROW
                rows.append((payload[at : at + _RECORD_AT], payload[at + _RECORD_AT : end]))
                self._add_single(*rows[-1])
            at = end
        if len(rows) != count:
            raise self._refusal("bad-page", f"{len(rows)} coins in a page of {count}")
        self._check_order(rows)
        self.coins += count
        if self.value > self._most:
            raise self._refusal("bad-supply", f"coins worth {self.value} and more, there are {self._most} at this height")
        return rows

    def _check_order(self, rows: list[Row]) -> None:
        points = [point for point, _ in rows]
        if not all(map(lt, chain((self._last,), points), points)):
            before = self._last
            for point in points:
                if point <= before:
                    raise self._refusal("bad-order", f"coin {point.hex()} comes after coin {before.hex()}")
                before = point
        self._last = points[-1]

    def _add_payments(self, payload: bytes) -> None:
        heights, values, elements = _columns(payload)
        self._check_height(max(heights))
        self._check_value(min(values))
        self._check_value(max(values))
        self.value += sum(values)
        self.lthash.add(elements)

    def _add_single(self, point: bytes, record: bytes) -> None:
        try:
            layout.checked(point, record)
            output = Output.from_parts(codec.decode_coin(point + record[HEIGHT_BYTES:])[1])
        except DecodeError as error:
            raise self._refusal("bad-coin", str(error)) from error
        height = height_of(record)
        self._check_height(height)
        self._check_value(output.value)
        if self._genesis is not None and output.value != self._genesis.collateral:
            raise self._refusal("bad-coin", f"collateral {point.hex()} of {output.value}, not {self._genesis.collateral}")
        self.value += output.value
        self.lthash.add([coin_element(point, record)])
        self.registry.add(point, output, height)

    def _check_height(self, height: int) -> None:
        if height > self._height:
            raise self._refusal("bad-coin", f"a coin of height {height}")

    def _check_value(self, value: int) -> None:
        if not 0 < value <= params.MAX_MONEY:
            raise self._refusal("bad-coin", f"a coin of {value}, from 1 to {params.MAX_MONEY}")

    def finish(self, proof: _Proof) -> None:
        """That these are the coins of the proven tip. Raises SnapshotError."""
        header = proof.header
        assert header is not None, "steps come before coins"
        if self.lthash.digest() != header.commitment:
            found, wanted = self.lthash.digest().hex(), header.commitment.hex()
            raise self._refusal("bad-commitment", f"the coins give the commitment {found}, the header has {wanted}")
        if self._genesis is None:
            return
        if self.value != self._most:
            raise self._refusal("bad-supply", f"coins worth {self.value}, there are {self._most} at this height")
        if header.closes_epoch:
            # Who voted and is registered may be missing: convicted of an offence by a block that is not in the snapshot.
            voters = {member.operator for member in proof.voters}
            gone = {operator for operator in voters if proof.masternodes.index_of(operator) is None}
            new = self.registry.masternode_set(exclude=gone)
            expected = new if len(new) >= self._genesis.min_masternodes else proof.voters
            may_stay = len(self.registry.masternode_set(exclude=voters)) < self._genesis.min_masternodes
            if proof.masternodes != expected and not (may_stay and proof.masternodes == proof.voters):
                raise self._refusal("bad-set", "the masternode set of the new epoch is not that of the collaterals")

    def _refusal(self, reason: str, what: str) -> SnapshotError:
        return SnapshotError(reason, f"snapshot at height {self._height}: {what}")


def _run_of_payments(payload: bytes, at: int) -> int:
    """How many payments lie back to back from `at` on."""
    found = 0
    while True:
        start = at + found * PAYMENT_ROW
        whole = min((len(payload) - start) // PAYMENT_ROW, _LOOKED_AT)
        kinds = payload[start + _KIND_AT : start + whole * PAYMENT_ROW : PAYMENT_ROW]
        run = len(kinds) - len(kinds.lstrip(bytes([params.OUTPUT_PAYMENT])))
        found += run
        if run < _LOOKED_AT:
            return found


@cache
def _layouts() -> tuple[Any, Any]:
    """A payment in a page, and the same as an element of the commitment."""
    import numpy as np

    fields = {
        "names": ["outpoint", "height", "output", "value"],
        "formats": [f"V{_RECORD_AT}", ">u4", f"V{params.PAYMENT_BYTES}", "<u8"],
        "offsets": [0, _RECORD_AT, _KIND_AT, _KIND_AT + 1],
        "itemsize": PAYMENT_ROW,
    }
    element = [("outpoint", f"V{_RECORD_AT}"), ("output", f"V{params.PAYMENT_BYTES}"), ("height", "<u8")]
    return np.dtype(fields), np.dtype(element)  # type: ignore[call-overload]


def _columns(payments: bytes) -> tuple[list[int], list[int], Any]:
    """(heights, values, elements of the commitment as an array of bytes of shape (n, 85)) of payments back to back."""
    import numpy as np

    stored_layout, element_layout = _layouts()
    stored = np.frombuffer(payments, stored_layout)
    elements = np.empty(len(stored), element_layout)
    for name in element_layout.names:
        elements[name] = stored[name]
    shaped = elements.view(np.uint8).reshape(len(stored), element_layout.itemsize)
    return stored["height"].tolist(), stored["value"].tolist(), shaped


def _summary(head: Head, proof: _Proof, tally: _Tally) -> Summary:
    header = proof.header
    assert header is not None, "steps come before the end"
    return Summary(
        chain_id=head.chain_id,
        height=head.height,
        tip=header.hash(),
        time_ms=header.time_ms,
        epoch=header.epoch + header.closes_epoch,
        epoch_start=proof.epoch_start,
        masternodes=len(proof.masternodes),
        coins=tally.coins,
        value=tally.value,
        pages=head.pages,
        commitment=header.commitment,
        lthash=tally.lthash.state(),
    )


# Reading


class SnapshotReader:
    """A snapshot from its beginning to its end: `head`, then all of `steps`, all of `pages`, and `finish`, which proves them.

    Everything raises SnapshotError, and a head of another network WrongNetwork. One page is in memory at a time.
    """

    def __init__(self, genesis: Genesis, read: Read) -> None:
        self._input = SnapshotInput(read)
        self.head = self._input.head()
        if self.head.chain_id != genesis.chain_id:
            found, wanted = self.head.chain_id.hex(), genesis.chain_id.hex()
            raise WrongNetwork(f"the snapshot belongs to chain {found}, the genesis document makes {wanted}")
        self._proof = _Proof(self.head, genesis.masternode_set(), genesis)
        self._tally = _Tally(self.head.height, genesis)

    def steps(self) -> Iterator[Link]:
        """The headers that lead to the tip's, which is the last one."""
        for epoch in range(self.head.steps):
            yield self._proof.add(self._input.step(epoch))

    def pages(self) -> Iterator[list[Row]]:
        """The coins as a store has them."""
        for index in range(self.head.pages):
            yield self._tally.add(self._input.page(self.head, index), self.head.page_coins(index))

    def finish(self) -> Summary:
        self._input.end()
        self._tally.finish(self._proof)
        return _summary(self.head, self._proof, self._tally)


# Writing


def write_snapshot(
    store: Store, coins: Iterator[list[Row]], write: Callable[[bytes], object], progress: audit.Progress | None = None
) -> Summary:
    """Write the state at a store's tip, whose table of coins comes in pages of PAGE_COINS rows.

    `progress` is told how many coins are written, of how many.

    What is written proves itself: signatures and commitment are verified on the way. Raises StorageError when the store is not
    whole or stands at height 0, where the genesis document says all.
    """
    journal.check_whole(store)
    at = audit.standing(store)
    for problem in audit.quick_problems(store, at):
        raise StorageError(f"the store is damaged: {problem}")
    if at.height == 0:
        raise StorageError("there is nothing to export: the chain stands at height 0, which the genesis document describes")
    head = Head.of(epochs.required(store, tables.META, tables.META_CHAIN_ID), at.height, at.header.epoch + 1, at.coins)
    first = epochs.opening(store, 0).masternodes
    proof, tally, output = _Proof(head, first, None), _Tally(at.height, None), SnapshotOutput(write)
    try:
        output.put(head)
        _write_steps(store, at, proof, output)
        _write_pages(coins, head, tally, output, progress)
        tally.finish(proof)
    except SnapshotError as error:
        raise StorageError(f"the store is damaged: {error}; `timecoin inspect` shows all of it") from error
    output.end()
    return _summary(head, proof, tally)


def _write_steps(store: Store, at: audit.Standing, proof: _Proof, output: SnapshotOutput) -> None:
    for epoch in range(at.header.epoch + 1):
        height, masternodes = at.height, at.masternodes
        if epoch < at.header.epoch:
            height, masternodes = epochs.opening(store, epoch + 1)
        changed = b"" if masternodes == proof.masternodes else masternodes.encode()
        step = Step(*epochs.certified(store, height), changed)
        proof.add(step)
        output.put(step)


def _write_pages(
    coins: Iterator[list[Row]], head: Head, tally: _Tally, output: SnapshotOutput, progress: audit.Progress | None
) -> None:
    for page in coins:
        payload = b"".join(chain.from_iterable(page))
        tally.add(payload, len(page))
        output.page(len(page), payload)
        if progress is not None:
            progress(tally.coins, head.coins)


# A store that is filled from a snapshot. Its coins are appended between the steps and the end.


def first_changes(genesis: Genesis, head: Head) -> list[Change]:
    """What makes a new store one of this network that no node starts with yet."""
    return [
        Write(tables.META, tables.META_CHAIN_ID, genesis.chain_id),
        Write(tables.META, tables.META_IMPORT, height_key(head.height)),
        Write(tables.HEADERS, height_key(0), genesis.header()),
        Write(tables.EPOCHS, layout.epoch_key(0), layout.encode_epoch(0, genesis.masternode_set())),
    ]


def step_changes(link: Link) -> list[Change]:
    """A header with its certificate, so that the store can be exported again."""
    key = height_key(link.header.height)
    changes: list[Change] = [
        Write(tables.HEADERS, key, link.step.header),
        Write(tables.CERTIFICATES, key, link.step.certificate),
        Write(tables.HASHES, link.hash, key),
    ]
    if link.header.closes_epoch or link.step.masternodes:
        epoch = layout.encode_epoch(link.epoch_start, link.masternodes)
        changes.append(Write(tables.EPOCHS, layout.epoch_key(link.epoch), epoch))
    return changes


def address_rows(rows: list[Row]) -> Bulk:
    """The rows of coins in the index of addresses."""
    return Bulk(tables.ADDRESSES, (), [layout.address_key(point, record) for point, record in rows], [b""] * len(rows))


def last_changes(summary: Summary, keeping: Keeping) -> list[Change]:
    """What makes the store whole. It carries nobody's votes, and its blocks begin above the snapshot."""
    recorder = BlockRecorder(keeping, coins=summary.coins, first_block=summary.height + 1)
    return [Write(tables.META, tables.META_IMPORT, None), *recorder.standing(summary.height, summary.tip, summary.lthash)]
