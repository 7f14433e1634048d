"""The set of coins at sizes where its index and its rows grow, and against who would slow it down."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tests.core.twin_coins import UtxoSetTwin, coin, columns, outpoint
from timecoin import params
from timecoin._core.coins import UtxoSet, siphash13

SEED = bytes(range(16))
FINAL = params.FINAL_HEIGHT
Words = np.ndarray[tuple[int], np.dtype[np.uint64]]


def add_final(coins: UtxoSet, points: bytes) -> None:
    """Final coins, which cost no hashing."""
    n = len(points) // 36
    coins.add(points, bytes(8 * n), bytes(32 * n), bytes(n), FINAL)


def random_points(n: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(36 * n)


# Growth


def test_a_hundred_thousand_operations() -> None:
    """Batches of all sizes come, go and change height; rows cross the borders of segments, parts of the index grow and shrink."""
    rng = random.Random(5)
    coins, twin = UtxoSet(SEED), UtxoSetTwin()
    done, number = 0, 0
    while done < 100_000:
        size = rng.choice([1, 10, 300, 4000]) if done < 60_000 else rng.choice([1, 1000, 9000])
        if done < 60_000 or rng.random() < 0.2:
            new = [(outpoint(number + i), coin(number + i, rng.choice([3, FINAL]))) for i in range(size)]
            number += size
            column = columns([point for point, _ in new], [one for _, one in new])
            coins.add(*column[:4], [one.height for _, one in new], column.collaterals)
            twin.coins.update(new)
        there = rng.sample(list(twin.coins), min(size // 2, len(twin.coins))) if size > 1 else list(twin.coins)[-1:]
        if rng.random() < 0.2:
            coins.set_height(b"".join(there), 4)
            twin.coins.update({point: twin.coins[point].at(4) for point in there})
        elif done >= 60_000 or rng.random() < 0.3:
            coins.spend(b"".join(there))
            for point in there:
                del twin.coins[point]
        done += size + len(there)
    assert len(coins) == len(twin.coins)
    everything = list(map(outpoint, range(number)))
    found = coins.get(b"".join(everything))
    wanted = [twin.coins.get(point) for point in everything]
    assert [found.row(i) for i in range(number)] == [one and tuple(one[:4]) for one in wanted]
    assert found.collaterals == b"".join(one.collateral for one in wanted if one is not None)
    for point, one in twin.coins.items():
        twin.put(point, one)
    assert coins.state() == twin.state()


def test_memory_for_a_coin_at_any_fill() -> None:
    coins = UtxoSet(SEED)
    step, size = 10_000, 1_100_000
    points = random_points(size)
    for n in range(0, size, step):
        add_final(coins, points[36 * n : 36 * (n + step)])
        if n + step >= 800_000:
            assert 84 < coins.memory_bytes() / (n + step) <= 110
    assert coins.contains(points).count(1) == size
    for n in range(0, size, step):
        coins.spend(points[36 * n : 36 * (n + step)])
        assert coins.contains(points[36 * (n + step) : 36 * (n + step) + 3600]).count(0) == 0
    assert len(coins) == 0
    assert coins.memory_bytes() < 8 << 20


def test_a_small_set_is_small() -> None:
    coins = UtxoSet()
    assert coins.memory_bytes() < 4096
    add_final(coins, random_points(100))
    assert coins.memory_bytes() < 40_000


def test_memory_does_not_grow_with_age() -> None:
    coins = UtxoSet(SEED)
    points = random_points(40_000)
    add_final(coins, points)
    held = coins.memory_bytes()
    for _ in range(10):
        coins.spend(points[: 36 * 20_000])
        add_final(coins, points[: 36 * 20_000])
    assert coins.memory_bytes() < 1.1 * held


# Flooding


def mix(v: list[Words], times: int) -> None:
    for _ in range(times):
        for a, b, bits in ((0, 1, 13), (2, 3, 16)):
            v[a] += v[b]
            v[b] = (v[b] << np.uint64(bits) | v[b] >> np.uint64(64 - bits)) ^ v[a]
        v[0] = v[0] << np.uint64(32) | v[0] >> np.uint64(32)
        for a, b, bits in ((2, 1, 17), (0, 3, 21)):
            v[a] += v[b]
            v[b] = (v[b] << np.uint64(bits) | v[b] >> np.uint64(64 - bits)) ^ v[a]
        v[2] = v[2] << np.uint64(32) | v[2] >> np.uint64(32)


def unseeded_hashes(points: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> Words:
    """SipHash-1-3 with the key zero, of all rows at once."""
    n = len(points)
    padded = np.zeros((n, 40), dtype=np.uint8)
    padded[:, :36] = points
    padded[:, 39] = 36
    words = padded.view("<u8")
    v = [
        np.full(n, int.from_bytes(text, "big"), dtype=np.uint64) for text in (b"somepseu", b"dorandom", b"lygenera", b"tedbytes")
    ]
    for i in range(5):
        v[3] ^= words[:, i]
        mix(v, 1)
        v[0] ^= words[:, i]
    v[2] ^= np.uint64(0xFF)
    mix(v, 3)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def colliding_points(n: int) -> bytes:
    """Outpoints that an index without a seed has to put into a sixteenth of its slots: by the last 12 bits of their hash."""
    trials = np.random.default_rng(3).integers(0, 256, (20 * n, 36), dtype=np.uint8)
    hashes = unseeded_hashes(trials)
    assert int(hashes[0]) == siphash13(bytes(16), trials[0].tobytes())
    chosen = trials[hashes & np.uint64(0xF00) == 0]
    assert len(chosen) >= n
    return chosen[:n].tobytes()


def mean_and_longest(seed: bytes, points: bytes) -> tuple[float, int]:
    coins = UtxoSet(seed)
    add_final(coins, points)
    longest, total = coins.probes()
    return total / len(coins), longest


N = 30_000
ORDERLY = {
    "colliding": lambda: colliding_points(N),
    "counting": lambda: b"".join(number.to_bytes(36, "big") for number in range(N)),
    "outputs of one transaction": lambda: b"".join(bytes(32) + number.to_bytes(4, "little") for number in range(N)),
    "one bit apart": lambda: b"".join((1 << 200 | number << 50).to_bytes(36, "little") for number in range(N)),
    "the same end": lambda: b"".join(number.to_bytes(4, "little") * 2 + bytes(28) for number in range(N)),
}


def test_without_a_seed_the_colliding_ones_would_collide() -> None:
    mean, longest = mean_and_longest(bytes(16), colliding_points(N))
    usual_mean, usual_longest = mean_and_longest(bytes(16), random_points(N))
    assert mean > 4 * usual_mean
    assert longest > usual_longest


@pytest.mark.parametrize("name", ORDERLY)
def test_chosen_outpoints_are_found_as_quickly_as_random_ones(name: str) -> None:
    """By the number of slots looked at, which no other program on the machine changes."""
    mean, longest = mean_and_longest(SEED, ORDERLY[name]())
    usual_mean, usual_longest = mean_and_longest(SEED, random_points(N))
    assert mean < 1.2 * usual_mean < 4
    assert longest < 2 * usual_longest
