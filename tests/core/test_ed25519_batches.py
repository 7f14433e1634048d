"""Batches: the verdict on an item is its own, whatever stands beside it, and a bad neighbour costs little."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import zip215
from tests.core.ed25519_items import (
    LARGE_SIZES,
    METHODS,
    SIZES,
    SPOILERS,
    check,
    check_alone,
    columns,
    combinations,
    honest,
    scalar_of,
    signed,
    signed_by_one,
    small_commitments,
    small_keys,
    spoil,
    torsion_misused,
    torsioned,
    undecodable_items,
    with_scalar,
)
from tests.core.peers import SIGNERS, signed_by, sodium_verdict
from tests.core.zip215 import ORDER, Item
from timecoin._core import ed25519


def places(size: int, full: bool, step: int = 1) -> list[int]:
    """Positions in a batch: all of them in the full run, else the ends and the middle, or one alone where it is long."""
    if full:
        return sorted({*range(0, size, step), size - 1})
    return sorted({0, size // 2, size - 1}) if size < 1000 else [size - 1]


# Honest signatures, and one bad among them


@pytest.mark.parametrize("signer", SIGNERS)
def test_honest_signatures_of_other_implementations_are_valid(signer: str, backend: str, method: str) -> None:
    items = signed_by(signer, 40)
    check(items, [True] * 40, backend, method)
    check_alone(items[:8], [True] * 8, backend, method)


@pytest.mark.parametrize("size", [*SIZES, 64, 100, 257, 1025])
def test_all_good_and_all_bad(size: int, backend: str, method: str) -> None:
    good = honest()[:size]
    check(good, [True] * size, backend, method)
    check([spoil(item, i) for i, item in enumerate(good)], [False] * size, backend, method)


def one_bad(size: int, place: int, kind: int) -> tuple[list[Item], list[bool]]:
    items, verdicts = honest()[:size], [True] * size
    items[place], verdicts[place] = spoil(items[place], kind), False
    return items, verdicts


@pytest.mark.parametrize("kind", range(len(SPOILERS)))
def test_each_kind_of_bad_item_is_found(kind: int, backend: str, method: str) -> None:
    for size in (1, 2, 9, 33):
        check(*one_bad(size, size // 2, kind), backend, method)


def test_one_bad_at_each_position_of_a_small_batch(full: bool, backend: str, method: str) -> None:
    for size in range(1, 41):
        for place in places(size, full):
            check(*one_bad(size, place, size + place), backend, method)


@pytest.mark.parametrize("size", LARGE_SIZES)
def test_one_bad_at_each_position_of_a_large_batch(size: int, full: bool, backend: str, method: str) -> None:
    """In the full run: every position with the method that is in use; every seventh with the others beyond 1,000."""
    step = 1 if method == "auto" or size < 1000 else 7
    for place in places(size, full, step):
        check(*one_bad(size, place, size + place), backend, method)


def test_two_bad_ones_anywhere(full: bool, backend: str, method: str) -> None:
    rng = random.Random(22)
    for size in range(2, 41) if full else (2, 3, 8, 17, 40):
        for _ in range(20 if full else 2):
            items, verdicts = honest()[:size], [True] * size
            for place in rng.sample(range(size), 2):
                items[place], verdicts[place] = spoil(items[place], place), False
            check(items, verdicts, backend, method)


def test_random_patterns_in_batches_of_thousands(full: bool, backend: str) -> None:
    rng = random.Random(23)
    for size, share in [(2100, 0.01), (4097, 0.0003), (5000, 0.3)] if full else [(2100, 0.01)]:
        verdicts = [rng.random() >= share for _ in range(size)]
        items = [rng.choice(honest()) for _ in range(size)]
        items = [item if verdict else spoil(item, i) for i, (item, verdict) in enumerate(zip(items, verdicts, strict=True))]
        for method in METHODS if full else ("auto",):
            check(items, verdicts, backend, method)


# Points of small order in a batch


def test_torsion_at_each_position(full: bool, backend: str, method: str) -> None:
    """In A, in R and in both: harmless where the signature was made with it, refused where it was not."""
    valid = torsioned()[1:] + small_keys() + small_commitments()
    turn = 0
    for size in range(1, 41) if full else SIZES:
        for place in places(size, full):
            items = honest()[:size]
            items[place] = valid[turn % len(valid)]
            check(items, [True] * size, backend, method)
            items[place] = torsion_misused()[turn % len(torsion_misused())]
            check(items, [i != place for i in range(size)], backend, method)
            turn += 1


def test_batches_full_of_torsion(full: bool, backend: str, method: str) -> None:
    for size in range(1, 41) if full else SIZES:
        items = [torsioned()[(7 * size + i) % 64] for i in range(size)]
        check(items, [True] * size, backend, method)
        items = [torsion_misused()[(5 * size + i) % 28] for i in range(size)]
        check(items, [False] * size, backend, method)


def test_hostile_and_honest_items_mixed(backend: str, method: str) -> None:
    rng = random.Random(24)
    pool = [(item, verdict) for item, verdict in zip(*judged(), strict=True) for _ in range(2)]
    rng.shuffle(pool)
    check([item for item, _ in pool], [verdict for _, verdict in pool], backend, method)


# Items that are related


def test_the_same_item_many_times(backend: str, method: str) -> None:
    good, bad = honest()[3], spoil(honest()[3], 0)
    for count in (2, 8, 33, 100):
        check([good] * count, [True] * count, backend, method)
        check([bad] * count, [False] * count, backend, method)
        check([good, bad] * count, [True, False] * count, backend, method)
        check([bad] + [good] * count, [False] + [True] * count, backend, method)


def test_the_same_key_with_different_messages(backend: str, method: str) -> None:
    for count in (2, 9, 40, 100):
        items = signed_by_one(count, seed=count)
        verdicts = [True] * count
        check(items, verdicts, backend, method)
        items[count // 2], verdicts[count // 2] = spoil(items[count // 2], 0), False
        items[-1], verdicts[-1] = spoil(items[-1], 2), False
        check(items, verdicts, backend, method)
        between = [item for pair in zip(items, honest(), strict=False) for item in pair]
        check(between, [verdict for own in verdicts for verdict in (own, True)], backend, method)


def test_signatures_exchanged_between_two_items(backend: str, method: str) -> None:
    """What is summed up over the batch hardly changes, but both are bad."""
    for pair in (signed(2, seed=30), signed_by_one(2, seed=31)):
        (key1, text1, proof1), (key2, text2, proof2) = pair
        exchanged = [(key1, text1, proof2), (key2, text2, proof1)]
        check(exchanged, [False, False], backend, method)
        check([*honest()[:14], *exchanged], [True] * 14 + [False] * 2, backend, method)


def test_errors_that_cancel_each_other(backend: str, method: str) -> None:
    """With equal weights, or with small ones, these sums would come out as zero."""
    for pool in (honest()[:3], signed_by_one(3, seed=32)):
        for steps in ((1, -1, 0), (1, 1, -2), (2**128, -(2**128), 0), (5, -2, -3)):
            bad = [with_scalar(item, (scalar_of(item) + step) % ORDER) for item, step in zip(pool, steps, strict=True)]
            verdicts = [step == 0 for step in steps]
            check(bad, verdicts, backend, method)
            check(bad[:1] + honest()[10:25] + bad[1:], verdicts[:1] + [True] * 15 + verdicts[1:], backend, method)
        same = pool[0]
        opposite = [with_scalar(same, (scalar_of(same) + step) % ORDER) for step in (7, -7)]
        check(opposite * 9, [False] * 18, backend, method)


def test_one_key_in_two_encodings(backend: str, method: str) -> None:
    """Of small order, because no other key has two; and A beside A + T, which differ only by a point of small order."""
    bad = [with_scalar(item, (scalar_of(item) + 1) % ORDER) for item in small_keys()]
    items = [item for pair in zip(small_keys(), bad, strict=True) for item in pair]
    check(items, [True, False] * 14, backend, method)
    check(items[::-1], [False, True] * 14, backend, method)
    near = [zip215.sign(777, 888, b"near", in_key=point) for point in zip215.torsion()]
    check(near, [True] * 8, backend, method)
    check([near[0], *(with_scalar(item, 5) for item in near[1:])], [True] + [False] * 7, backend, method)


# Messages


def test_messages_of_every_length_around_the_blocks_of_sha512(backend: str, method: str) -> None:
    items = messages_of_every_length()
    check(items, [True] * len(items), backend, method)
    shorter = [(key, message[:-1], signature) for key, message, signature in items[1:]]
    check(shorter, [False] * len(shorter), backend, method)
    at_ends = [n for n in range(301) if (64 + n) % 128 in (0, 1, 111, 112, 113, 127)]
    check_alone([items[n] for n in at_ends], [True] * len(at_ends), backend, method)


@cache
def messages_of_every_length() -> list[Item]:
    rng = random.Random(40)
    return [signed(1, seed=rng.randrange(2**32), size=n)[0] for n in range(301)]


@cache
def long_and_short() -> tuple[list[Item], list[bool]]:
    sizes = [0, 2**20, 1, 0, 2**20 - 1, 47, 2**16 + 17, 48, 0]
    items = [signed(1, seed=50 + i, size=size)[0] for i, size in enumerate(sizes)]
    key, message, signature = items[1]
    items.append((key, message[:-1] + bytes([message[-1] ^ 1]), signature))
    return items, [True] * len(sizes) + [False]


def test_empty_and_very_long_messages(backend: str, method: str) -> None:
    items, verdicts = long_and_short()
    check(items, verdicts, backend, method)
    check_alone(items, verdicts, backend, method)


# Other judges


@cache
def compared(count: int) -> tuple[list[Item], list[bool]]:
    """Items with A and R of prime order, half of them corrupted, and libsodium's verdicts."""
    rng = random.Random(count)
    signers = [SIGNERS["libsodium"](rng.randbytes(32)) for _ in range(100)]
    items = []
    for _ in range(count):
        key, sign = rng.choice(signers)
        message = rng.randbytes(rng.choice([0, 1, 32, 47, 48, rng.randrange(400)]))
        item = key, message, sign(message)
        if rng.random() < 0.3:
            item = spoil(item, rng.randrange(len(SPOILERS)))
        elif rng.random() < 0.3:
            item = rng.choice(signers)[0], message, item[2]
        items.append(item)
    return items, [sodium_verdict(item) for item in items]


def cut(count: int, rng: random.Random) -> Iterator[slice]:
    start = 0
    while start < count:
        end = start + rng.choice([1, 2, rng.randrange(1, 20), rng.randrange(1, 400)])
        yield slice(start, end)
        start = end


def test_verdicts_are_libsodiums_where_the_rules_agree(full: bool, backend: str, method: str) -> None:
    items, verdicts = compared(100_000 if full else 2_000)
    assert {True, False} == set(verdicts)
    for part in cut(len(items) if full or method == "auto" else 600, random.Random(method)):
        check(items[part], verdicts[part], backend, method)


@cache
def judged() -> tuple[list[Item], list[bool]]:
    """Good, bad and hostile items with the twin's verdicts."""
    items = honest()[:20] + [spoil(item, i) for i, item in enumerate(honest()[20:44])]
    items += signed_by_one(8, seed=60) + [spoil(item, i) for i, item in enumerate(signed_by_one(8, seed=60))]
    items += torsioned()[::3] + torsion_misused() + small_keys() + small_commitments()
    items += [with_scalar(item, 1) for item in small_keys()] + combinations()[::17] + undecodable_items()[::11]
    items += [with_scalar(item, scalar_of(item) + ORDER) for item in small_commitments()]
    return items, zip215.verdicts(items)


def test_no_verdict_depends_on_neighbours_order_backend_method_or_threads(full: bool) -> None:
    items, verdicts = judged()
    backends = ed25519.backends()

    @settings(max_examples=3000 if full else 120, deadline=None)
    @given(
        st.lists(st.integers(0, len(items) - 1), max_size=70),
        st.sampled_from(backends),
        st.sampled_from(METHODS),
        st.sampled_from([1, 1, 2, 3, 8]),
        st.randoms(use_true_random=False),
    )
    def hold(chosen: list[int], backend: str, method: str, threads: int, rng: random.Random) -> None:
        check([items[i] for i in chosen], [verdicts[i] for i in chosen], backend, method, threads)
        rng.shuffle(chosen)
        expected = [verdicts[i] for i in chosen]
        check([items[i] for i in chosen], expected, backend, "auto")
        assert list(ed25519.verify_many(*columns([items[i] for i in chosen]), threads)) == expected

    hold()


# Threads


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_the_number_of_threads_changes_no_verdict(threads: int, backend: str, method: str) -> None:
    items, verdicts = judged()
    for size in (1, 2, 7, 8, 64, len(items)):
        check(items[-size:], verdicts[-size:], backend, method, threads)
    check(honest()[:500], [True] * 500, backend, method, threads)


def test_many_threads_of_python_at_once(backend: str, method: str) -> None:
    items, verdicts = judged()
    parts = [slice(start, start + 60) for start in range(0, len(items), 20)]

    def run(part: slice) -> None:
        check(items[part], verdicts[part], backend, method, threads=2)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, parts))


# What is counted

PATTERNS: dict[str, Callable[[int, int], bool]] = {
    "all bad": lambda i, size: False,
    "one bad": lambda i, size: i != size // 3,
    "every second bad": lambda i, size: i % 2 == 0,
    "all good": lambda i, size: True,
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("size", [8, 16, 64, 100, 256, 1024])
def test_bad_items_cost_at_most_half_as_much_again(size: int, pattern: str, full: bool, backend: str) -> None:
    """As all items by themselves would: nobody makes a node work for long by a few bad signatures in a batch. What is bad
    is s, which only the whole computation finds, or a signature of zeros, which is the quickest to verify by itself; in
    the full run everything else too."""
    verdicts = [PATTERNS[pattern](i, size) for i in range(size)]
    for kind in range(len(SPOILERS)) if full else (0, 7):
        items = [item if verdict else spoil(item, kind) for item, verdict in zip(honest(), verdicts, strict=False)]
        alone = check(items, verdicts, backend, "lanes")["multiplications"]
        together = check(items, verdicts, backend, "auto")["multiplications"]
        assert 0 < together <= 1.5 * alone
        if all(verdicts) and size >= 64:
            assert together < alone


def test_the_counts_tell_how_the_work_was_done(backend: str) -> None:
    good, bad = honest()[:64], [spoil(item, 0) for item in honest()[:64]]
    lanes = check(good, [True] * 64, backend, "lanes")
    assert set(lanes) == {"multiplications", "combinations", "failed_combinations", "lane_items"}
    assert (lanes["combinations"], lanes["failed_combinations"], lanes["lane_items"]) == (0, 0, 64)
    for method in ("straus", "pippenger"):
        counts = check(bad, [False] * 64, backend, method)
        assert 1 <= counts["failed_combinations"] <= counts["combinations"]
        assert counts["lane_items"] == 64
        for size in (2, 3, 17, 64, 257, 1025):
            counts = check(honest()[:size], [True] * size, backend, method)
            assert counts["combinations"] >= 1
            assert counts["lane_items"] == 0
            assert counts["multiplications"] > 0


def test_what_cannot_be_valid_is_left_out_of_combinations(backend: str, method: str) -> None:
    """Where A or R is no point, or s is not canonical, nothing needs to be computed to know it."""
    unreadable = undecodable_items()[::5] + [spoil(item, 5) for item in honest()[100:110]]
    for good in (honest()[:60], torsioned()):
        items = [(item, True) for item in good] + [(item, False) for item in unreadable]
        random.Random(80).shuffle(items)
        counts = check([item for item, _ in items], [verdict for _, verdict in items], backend, method)
        assert counts["failed_combinations"] == 0
