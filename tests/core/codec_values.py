"""Random transactions, headers and vote batches for the tests of their codecs, and a few that are always the same."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.core import twins_codec as twins
from tests.core.twins import merkle_root, tagged
from tests.core.twins_codec import Output, Parts, Votes
from timecoin import params
from timecoin._core import codec

MAX_U64 = 2**64 - 1
u64s = st.integers(0, MAX_U64) | st.sampled_from([0, 1, params.MAX_MONEY, 2**63, MAX_U64])
keys = st.integers(0, 255).map(lambda byte: bytes([byte]) * 32) | st.binary(min_size=32, max_size=32)
outpoints = st.builds(lambda key, index: key + index.to_bytes(4, "little"), keys, st.integers(0, 2**32 - 1))
payments = st.tuples(st.just(0), u64s, keys, st.just(b""), st.just(b""), st.just(0))
collaterals = st.tuples(st.just(1), u64s, keys, keys, st.binary(min_size=16, max_size=16), st.integers(0, 65535))
outputs = payments | collaterals


def make_witness(number: int) -> bytes:
    return number.to_bytes(8, "big") * 8


@st.composite
def transactions(draw: st.DrawFn) -> Parts:
    """A few inputs and outputs; the limits have tests of their own."""
    paid = draw(st.lists(outputs, min_size=1, max_size=4))
    if draw(st.integers(0, 4)) == 0:
        return twins.make_parts(1, draw(st.integers(1, MAX_U64)), [], paid, [])
    spent = draw(st.lists(outpoints, min_size=1, max_size=4))
    return twins.make_parts(0, 0, spent, paid, [make_witness(draw(u64s)) for _ in spent])


batches = st.lists(transactions(), max_size=5)
proofs = st.lists(st.binary(max_size=60), max_size=4)  # of offences, which the codec does not look into
headers = st.tuples(st.just(1), st.booleans(), st.integers(0, 65535), u64s, u64s, u64s, keys, keys, keys, keys)


def join(batch: list[Parts]) -> bytes:
    return b"".join(parts.encoded for parts in batch)


def encode(parts: Parts) -> bytes:
    return codec.encode_transaction(parts.kind, parts.height, parts.inputs, parts.outputs, parts.witnesses)


def payment(value: int = 5) -> Output:
    return 0, value, b"k" * 32, b"", b"", 0


def collateral() -> Output:
    return 1, 7, b"k" * 32, b"o" * 32, b"a" * 16, 24_100


def make_transfer(n_in: int = 1, n_out: int = 1, last: Output | None = None) -> Parts:
    spent = [tagged(b"test", b"%d" % i) + i.to_bytes(4, "little") for i in range(n_in)]
    paid = [payment(i) for i in range(n_out - (last is not None))] + ([last] if last else [])
    return twins.make_parts(0, 0, spent, paid, [make_witness(i) for i in range(n_in)])


def sample_batch() -> list[Parts]:
    return [
        make_transfer(2, 2, collateral()),
        twins.make_parts(1, 9, [], [payment()], []),
        make_transfer(1, 2),
    ]


def make_header(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "version": 1, "closes_epoch": False, "proposer": 3, "height": 4, "epoch": 5, "time_ms": 6,
        "parent": b"p" * 32, "tx_root": b"r" * 32, "commitment": b"c" * 32, "next_set": b"n" * 32,
    }  # fmt: skip
    return codec.encode_header(**(fields | changes))  # type: ignore[arg-type]


@st.composite
def vote_batches(draw: st.DrawFn) -> Votes:
    locks, acks = (draw(st.lists(keys, max_size=3)) for _ in range(2))
    voter = draw(st.integers(0, params.MAX_MASTERNODES - 1))
    roots = merkle_root(locks), merkle_root(acks)
    return Votes(draw(u64s), voter, draw(u64s), draw(u64s), *roots, b"".join(locks), b"".join(acks), make_witness(draw(u64s)))
