"""What `timecoin bench ledger` measures of the pieces that keep nothing: hashing, the commitment, decoding, and of the pool."""

from __future__ import annotations

from typing import Any

from timecoin import params
from timecoin._core import codec, hashing, lthash, pool
from timecoin.cli import bench_plain
from timecoin.cli.bench_data import TX_BYTES, encoded_transfers, random_bytes
from timecoin.cli.bench_plain import pieces
from timecoin.cli.bench_rows import MILLISECONDS, Run, Side, Target

MESSAGE_BYTES = 200
ELEMENT_BYTES = 100
LEAVES = 4_096
LTHASH_BATCHES = (1, 16, 256, 4096)
BLOCK = params.MAX_BLOCK_TXS  # items in one call
SELECTED = 5_000
# Figures of one Zen 5 core, from the task that this package was written for.
LTHASH_NS = 240.0
MUHASH_NS = (2_170.0, 3_500.0)

_MOST_ITEMS = 1_000_000  # beyond that only the memory for the messages grows
_MOST_POOLED = 100_000  # ten times what a node's pool holds
_PEER_ITEMS = 2_000  # where the peer takes long, and takes as long for every item
_MUHASHED = 64
_WIDE = 16  # elements in a batch that fill the lanes of a backend
_TAG = b"timecoin/txid"


def _sizes(run: Run, most: int) -> list[int]:
    return [n for n in run.sizes if n <= most]


def measure_hashing(run: Run) -> None:
    """SHA-256 and tagged ids of messages, and Merkle roots, beside loops over hashlib."""
    for n in _sizes(run, _MOST_ITEMS):
        _measure_messages(run, n)
    for n in sorted({LEAVES, *_sizes(run, _MOST_ITEMS)}):
        _measure_merkle_root(run, n)


def _measure_messages(run: Run, n: int) -> None:
    batches = [pieces(random_bytes(min(BLOCK, n), MESSAGE_BYTES, first), MESSAGE_BYTES) for first in range(0, n, BLOCK)]
    sample = batches[-1][:_PEER_ITEMS]
    run.compare(
        f"SHA-256 of {MESSAGE_BYTES} bytes",
        n,
        "ns a message",
        Side(
            "sha256_many",
            n,
            lambda _: [hashing.sha256_many(batch) for batch in batches],
            check=lambda _, found: found[-1].startswith(bench_plain.sha256_loop(sample)),
        ),
        Side("hashlib loop", len(sample), lambda _: bench_plain.sha256_loop(sample)),
    )
    run.compare(
        f"tagged ids of {MESSAGE_BYTES} bytes",
        n,
        "ns a message",
        Side(
            "tagged_sha256_many",
            n,
            lambda _: [hashing.tagged_sha256_many(_TAG, batch) for batch in batches],
            check=lambda _, found: found[-1].startswith(bench_plain.tagged_loop(_TAG, sample)),
        ),
        Side("hashlib loop", len(sample), lambda _: bench_plain.tagged_loop(_TAG, sample)),
        targets=[Target.times(5)],
    )


def _measure_merkle_root(run: Run, n: int) -> None:
    column = random_bytes(n, 32)
    leaves = pieces(column, 32)
    root = bench_plain.merkle_root(leaves)
    del leaves[LEAVES:]
    run.compare(
        "Merkle root",
        n,
        "ns a leaf",
        Side("merkle_root", n, lambda _: hashing.merkle_root(column), check=lambda _, found: found == root),
        Side(f"hashlib loop over {len(leaves):,} leaves", len(leaves), lambda _: bench_plain.merkle_root(leaves)),
        targets=[Target.times(5)] if n == LEAVES else [],
    )


def measure_lthash(run: Run) -> None:
    """Elements added to LtHash in batches, beside an insertion into MuHash3072 in Python's integers."""
    for n in _sizes(run, _MOST_ITEMS):
        elements = pieces(random_bytes(n, ELEMENT_BYTES), ELEMENT_BYTES)
        whole = lthash.sum_with(elements, backend="portable")
        for size in LTHASH_BATCHES:
            _measure_additions(run, elements, size, whole)


def _measure_additions(run: Run, elements: list[bytes], size: int, whole: lthash.LtHash) -> None:
    batches = [elements[at : at + size] for at in range(0, len(elements), size)]
    muhash = f"0.15 times MuHash3072's {MUHASH_NS[0]:,.0f} to {MUHASH_NS[1]:,.0f} ns, in C++ on a Zen 5 core"
    targets = [Target.most(1.2 * LTHASH_NS, f"1.2 times {LTHASH_NS:.0f} ns"), Target.most(0.15 * MUHASH_NS[0], muhash)]
    run.compare(
        f"LtHash of {ELEMENT_BYTES} bytes, batches of {size:,}",
        len(elements),
        "ns an element",
        Side(
            "LtHash.add",
            len(elements),
            lambda state: _add_all(state, batches),
            lthash.LtHash,
            lambda _, found: bool(found == whole),
        ),
        Side("MuHash3072 in Python (SHAKE128 and int)", _MUHASHED, lambda _: _insert_all(elements[:_MUHASHED])),
        targets=targets if size >= _WIDE else [],
    )


def _add_all(state: lthash.LtHash, batches: list[list[bytes]]) -> lthash.LtHash:
    for batch in batches:
        state.add(batch)
    return state


def _insert_all(elements: list[bytes]) -> None:
    state = bench_plain.MuHash3072()
    for element in elements:
        state.insert(element)


def measure_codec(run: Run) -> None:
    """Transactions decoded into columns, a full block a call, beside the plain decoder and beside hashing their ids alone."""
    for n in _sizes(run, _MOST_ITEMS):
        _measure_decoding(run, n)


def _measure_decoding(run: Run, n: int) -> None:
    batches = [encoded_transfers(min(BLOCK, n), first) for first in range(0, n, BLOCK)]
    sample = batches[-1][: _PEER_ITEMS * TX_BYTES]
    encoded = pieces(sample, TX_BYTES)
    txids = b"".join([txid for txid, _ in bench_plain.ids_loop(encoded)])
    core = Side(
        "TransactionBatch.decode",
        n,
        lambda _: [codec.TransactionBatch.decode(batch).txids for batch in batches],
        check=lambda _, found: found[-1].startswith(txids),
    )
    run.compare(
        f"decode transfers of {TX_BYTES} bytes, ids included",
        n,
        "ns a transaction",
        core,
        Side(
            "plain Python decoder",
            len(encoded),
            lambda _: bench_plain.read_transactions(sample),
            check=lambda _, found: b"".join([decoded.txid for decoded in found]) == txids,
        ),
        targets=[Target.times(30), Target.most(1000, "1,000,000 a second")],
    )
    run.compare(
        "txids and wtxids of the same, decoded as well",
        n,
        "ns a transaction",
        core,
        Side("hashlib loop over slices", len(encoded), lambda _: bench_plain.ids_loop(encoded)),
        targets=[Target.times(5)],
    )


def measure_pool(run: Run) -> None:
    """Insertion one by one and in a batch, and a block's worth selected, beside dicts and a sorted list."""
    for n in _sizes(run, _MOST_POOLED):
        _measure_pool(run, n)


def _measure_pool(run: Run, n: int) -> None:
    arriving = _arriving(n)
    joined = [b"".join(tx.inputs) for tx in arriving]
    txids, inputs = b"".join(tx.txid for tx in arriving), b"".join(joined)
    columns = (txids, [tx.fee for tx in arriving], [tx.size for tx in arriving], inputs, [2] * n, [2] * n)
    rows = [(tx.txid, tx.fee, tx.size, points, 2) for tx, points in zip(arriving, joined, strict=True)]
    plain = Side(
        "dicts and bisect",
        n,
        lambda made: _fill_plain(made, arriving),
        lambda: bench_plain.PlainPool(n),
        lambda made, _: len(made.entries) == n,
    )

    def empty() -> pool.FeePool:
        return pool.FeePool(max_count=n)

    def is_full(made: pool.FeePool, _: object) -> bool:
        return len(made) == n

    one_by_one = Side("FeePool.add", n, lambda made: [made.add(*row) for row in rows], empty, is_full)
    batch = Side("FeePool.add_many", n, lambda made: made.add_many(*columns), empty, is_full)
    run.compare("insert one by one", n, "ns a transaction", one_by_one, plain)
    run.compare("insert as one batch", n, "ns a transaction", batch, plain)
    _measure_selection(run, n, columns, arriving)


def _measure_selection(run: Run, n: int, columns: tuple[Any, ...], arriving: list[bench_plain.Arriving]) -> None:
    full, full_plain = pool.FeePool(max_count=n), bench_plain.PlainPool(n)
    full.add_many(*columns)
    _fill_plain(full_plain, arriving)
    wanted = min(SELECTED, n // 2)
    run.compare(
        f"select {wanted:,}",
        n,
        "ms",
        Side(
            "FeePool.select",
            1,
            lambda _: full.select(_all_committed, wanted, 10**9),
            check=lambda _, found: len(set(found)) == wanted,
        ),
        Side("dicts and bisect", 1, lambda _: full_plain.select(wanted), check=lambda _, found: len(set(found)) == wanted),
        scale=MILLISECONDS,
    )


def _arriving(n: int) -> list[bench_plain.Arriving]:
    """None of them related to another."""
    points = iter(pieces(random_bytes(2 * n, params.OUTPOINT_BYTES), params.OUTPOINT_BYTES))
    numbers = iter(memoryview(random_bytes(n, 8)).cast("I"))
    return [
        bench_plain.Arriving(txid, next(numbers) % 10**6, 200 + next(numbers) % 2800, (next(points), next(points)))
        for txid in pieces(random_bytes(n, 32), 32)
    ]


def _fill_plain(made: bench_plain.PlainPool, arriving: list[bench_plain.Arriving]) -> None:
    for tx in arriving:
        made.add(tx)


def _all_committed(outpoints: bytes) -> bytes:
    return b"\1" * (len(outpoints) // params.OUTPOINT_BYTES)
