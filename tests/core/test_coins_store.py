"""The set of coins as a cache of a store: what is read, what is evicted, what has to stay."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.core.test_coins import expected, fill, filled
from tests.core.twin_coins import Columns, coin, columns, numbered, outpoint
from timecoin import params
from timecoin._core.coins import UtxoSet
from timecoin.errors import DecodeError, StorageError

FINAL = params.FINAL_HEIGHT
NOTHING = Columns(b"", [], b"", b"", b"")
SOME = list(range(20))


class Store:
    """Coins 0 to n - 1 at height 7, and a note of what was asked for."""

    def __init__(self, n: int) -> None:
        self.records: dict[bytes, object] = dict(expected(*range(n)))
        self.asked: list[bytes] = []

    def read(self, outpoints: bytes) -> Sequence[bytes | None]:
        points = [outpoints[i : i + 36] for i in range(0, len(outpoints), 36)]
        self.asked += points
        return [self.records.get(point) for point in points]  # type: ignore[misc]


def cached(n: int, cache_bytes: int | None = None) -> tuple[UtxoSet, Store]:
    store = Store(n)
    return UtxoSet(read=store.read, cache_bytes=cache_bytes, count=n, state=filled(*range(n)).state()), store


def points(*numbers: int) -> bytes:
    return numbered(numbers).outpoints


def test_what_is_not_here_is_read_once() -> None:
    coins, store = cached(20)
    assert len(coins) == 20
    assert coins.resident == 0
    assert coins.state() == filled(*SOME).state()
    found = coins.get(points(3, 30, 5, 3))
    assert [found.row(i) for i in range(4)] == [(*coin(3)[:4],), None, (*coin(5)[:4],), (*coin(3)[:4],)]
    assert found.collaterals == coin(3).collateral * 2
    assert store.asked == [outpoint(number) for number in (3, 30, 5, 3)]
    store.asked.clear()
    assert coins.contains(points(3, 5, 6)) == b"\1\1\1"
    assert store.asked == [outpoint(6)]
    assert coins.resident == 3
    assert coins.dirty == 0
    assert len(coins) == 20


@pytest.mark.parametrize("name", ["spend", "set_height", "lock", "apply", "commitment_after", "undo"])
def test_every_call_reads_what_it_needs(name: str) -> None:
    """With nothing in memory, each does what it does with everything there."""
    store = Store(20)
    cache = UtxoSet(read=store.read, cache_bytes=1, count=20, state=filled(*SOME).state())
    memory = filled(*SOME)
    results: list[object] = []
    for coins in (cache, memory):
        with pytest.raises(KeyError, match=r": outpoint .* is not in the set"):
            coins.spend(points(4, 3, 77))
        if name == "spend":
            coins.spend(points(4, 3))
        elif name == "set_height":
            coins.set_height(points(4, 3), 9)
        elif name == "lock":
            coins.lock(points(4, 3), b"x" * 32, 1)
            results.append(coins.locker(outpoint(4)))
        elif name == "commitment_after":
            results.append(coins.commitment_after(points(4, 3), *numbered([30]), 9).state())
        else:
            undo = coins.apply(points(4, 3), *numbered([30]), 9)
            results.append(undo)
            if name == "undo":
                if coins is cache:
                    store.records[outpoint(30)] = coin(30, 9).record
                    del store.records[outpoint(3)], store.records[outpoint(4)]
                    coins.flushed(points(4, 3), points(30))
                    assert coins.resident == 0
                coins.undo(undo)
        results.append([coins.get(points(*SOME, 30)).row(i) for i in range(21)])
        results.append(coins.state())
        results.append(len(coins))
    half = len(results) // 2
    assert results[:half] == results[half:]


def test_what_nobody_asked_for_is_evicted_first() -> None:
    coins, store = cached(3000, cache_bytes=400_000)
    coins.get(points(*range(100)))
    for start in range(100, 3000, 100):
        coins.get(points(*range(start, start + 100)))
        coins.get(points(*range(100)))  # stay in use
        assert coins.memory_bytes() <= 400_000
        assert coins.excess_bytes == 0
    assert 500 < coins.resident < 3000
    store.asked.clear()
    coins.get(points(*range(100)))
    assert store.asked == []
    coins.get(points(*range(200, 300)))
    assert len(store.asked) == 100
    assert len(coins) == 3000
    assert coins.state() == filled(*range(3000)).state()


def test_a_cache_without_a_bound_evicts_nothing() -> None:
    coins, _ = cached(3000)
    coins.get(points(*range(3000)))
    assert coins.resident == 3000
    assert coins.excess_bytes == 0


def test_what_must_stay_stays_and_is_told() -> None:
    coins, store = cached(100, cache_bytes=1)
    empty = coins.excess_bytes
    fill(coins, 100, 101)  # not in the store
    fill(coins, 102, height=FINAL)
    coins.lock(points(5, 6), b"x" * 32, 1)
    coins.get(points(*range(103)))
    assert coins.resident == coins.dirty == 5
    assert coins.excess_bytes > empty > 0
    store.records |= expected(100, 101)
    coins.flushed(b"", points(100, 101, 102))
    assert coins.resident == coins.dirty == 3
    coins.unlock(points(5), b"x" * 32)
    coins.spend(points(102))
    assert coins.resident == coins.dirty == 1
    assert coins.locker(outpoint(6)) == (b"x" * 32, 1)
    assert bytes(coins.get(points(*range(103))).found) == b"\1" * 102 + b"\0"
    assert len(coins) == 102


def test_a_spent_coin_is_never_read_again() -> None:
    for cache_bytes in (None, 1):
        coins, store = cached(10, cache_bytes)
        coins.spend(points(4, 3))
        store.asked.clear()
        assert coins.contains(points(4, 3)) == b"\0\0"
        assert coins.get(points(3)).row(0) is None
        with pytest.raises(KeyError, match="coin 0"):
            coins.spend(points(4))
        with pytest.raises(KeyError, match="coin 0"):
            coins.lock(points(4), bytes(32), 0)
        assert store.asked == []
        with pytest.raises(ValueError, match=r"coin 0: outpoint .* was spent, and the store may still have it"):
            fill(coins, 4)
        assert coins.dirty == 2
        assert len(coins) == 8
        del store.records[outpoint(4)], store.records[outpoint(3)]
        coins.flushed(points(4, 3), b"")
        assert coins.dirty == 0
        assert coins.contains(points(4, 3)) == b"\0\0"
        assert store.asked == [outpoint(4), outpoint(3)]


def test_every_change_has_to_be_flushed() -> None:
    """Made, spent, made again by taking back: the store is behind by three."""
    coins, store = cached(1, cache_bytes=1)
    undo_one = coins.apply(b"", *numbered([5]), 8)
    undo_two = coins.apply(points(5), *NOTHING, 9)
    coins.undo(undo_two)
    store.records[outpoint(5)] = coin(5, 8).record
    coins.flushed(b"", points(5))
    coins.flushed(points(5), b"")
    del store.records[outpoint(5)]
    assert coins.contains(points(5)) == b"\1"
    coins.undo(undo_one)
    coins.flushed(b"", points(5))
    store.records[outpoint(5)] = coin(5, 8).record
    assert coins.contains(points(5)) == b"\0"
    coins.apply(b"", *numbered([5]), 8)
    coins.flushed(points(5), b"")
    del store.records[outpoint(5)]
    assert coins.contains(points(5)) == b"\1"
    coins.flushed(b"", points(5))
    store.records[outpoint(5)] = coin(5, 8).record
    assert coins.resident == 0
    assert coins.contains(points(5)) == b"\1"


def test_pages_needs_all_coins_in_memory() -> None:
    coins, _ = cached(10)
    with pytest.raises(RuntimeError, match="0 of 10 coins are in memory, pages needs all"):
        coins.pages()
    coins.get(points(*range(10)))
    pages = coins.pages(4)
    assert {point: record for page in pages for point, record in page} == expected(*range(10))
    coins.spend(points(4))
    assert {point for page in coins.pages() for point, _ in page} == set(expected(*range(10))) - {outpoint(4)}


def test_a_set_larger_than_its_cache_is_loaded_page_by_page() -> None:
    store = Store(3000)
    coins = UtxoSet(read=store.read, cache_bytes=150_000)
    for start in range(0, 3000, 500):
        page = expected(*range(start, start + 500))
        coins.load(b"".join(page), list(page.values()))
    assert len(coins) == 3000
    assert coins.resident < 1000
    assert coins.state() == filled(*range(3000)).state()
    assert coins.contains(points(*range(3000))) == b"\1" * 3000


# What goes wrong


def test_an_error_of_the_store_goes_through() -> None:
    failing = True

    def read(outpoints: bytes) -> list[bytes | None]:
        if failing:
            raise OSError("the disk is gone")
        return [expected(*SOME).get(outpoints[i : i + 36]) for i in range(0, len(outpoints), 36)]

    coins = UtxoSet(read=read, count=20, state=filled(*SOME).state())
    for call in (
        lambda: coins.get(points(1)),
        lambda: coins.contains(points(1)),
        lambda: coins.spend(points(1)),
        lambda: coins.lock(points(1), bytes(32), 0),
        lambda: coins.apply(points(1), *numbered([30]), 9),
        lambda: coins.commitment_after(points(1), *numbered([30]), 9),
    ):
        with pytest.raises(OSError, match="the disk is gone"):
            call()
    assert coins.resident == 0
    assert len(coins) == 20
    assert coins.state() == filled(*SOME).state()
    failing = False
    assert coins.contains(points(1, 30)) == b"\1\0"


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        coin(4).record[:4],
        coin(4).record[:-1],
        coin(4).record + b"\0",
        coin(3).record[:-1],
        coin(4).record[:4] + b"\2" + coin(4).record[5:],
        coin(3).record[:45],
        coin(4).record + coin(3).collateral,
        coin(4, FINAL).record,
    ],
)
def test_a_record_that_is_none_is_refused(wrong: bytes) -> None:
    coins, store = cached(20)
    store.records[outpoint(4)] = wrong
    with pytest.raises(StorageError, match=f"outpoint {(4).to_bytes(32, 'big').hex()}:1 is no record of a coin"):
        coins.get(points(2, 4))
    assert coins.resident == 0
    loaded = filled(1)
    with pytest.raises(
        DecodeError, match=f"coin 1: no record of a committed coin for outpoint {(4).to_bytes(32, 'big').hex()}:1"
    ):
        loaded.load(points(2, 4), [coin(2).record, wrong])
    assert len(loaded) == 1
    assert loaded.state() == filled(1).state()


def test_an_answer_of_another_length_is_refused() -> None:
    coins = UtxoSet(read=lambda outpoints: [None], count=20)
    with pytest.raises(StorageError, match="store: 1 records, asked for 2"):
        coins.get(points(1, 2))
    for answer in (None, [1, 2], ["x", "y"]):
        with pytest.raises(TypeError):
            UtxoSet(read=lambda outpoints, answer=answer: answer, count=20).get(points(1, 2))  # type: ignore[misc]
    coins = UtxoSet(read=lambda outpoints: (record for record in [None, coin(2).record]), count=20)  # type: ignore[arg-type, return-value]
    assert coins.contains(points(1, 2)) == b"\0\1"


def test_load_is_all_or_none() -> None:
    coins = filled(1)
    with pytest.raises(ValueError, match=r"coin 1: outpoint .* is in the set already"):
        coins.load(points(2, 1), [coin(2).record, coin(1).record])
    with pytest.raises(ValueError, match=r"coin 1: outpoint .* is given twice"):
        coins.load(points(2, 2), [coin(2).record] * 2)
    with pytest.raises(ValueError, match="records: 1, expected 2"):
        coins.load(points(2, 3), [coin(2).record])
    with pytest.raises(TypeError, match="records: None"):
        coins.load(points(2, 3), [coin(2).record, None])  # type: ignore[list-item]
    assert coins.state() == filled(1).state()
    assert len(coins) == 1


def test_a_call_during_another_is_refused() -> None:
    inner: list[type[Exception]] = []

    def read(outpoints: bytes) -> list[bytes | None]:
        for call in (lambda: coins.get(points(1)), coins.commitment, coins.probes, lambda: coins.flushed(b"", b"")):
            with pytest.raises(RuntimeError, match="another call is at work"):
                call()
            inner.append(RuntimeError)
        assert len(coins) == 20
        return [coin(1).record]

    coins = UtxoSet(read=read, count=20)
    assert coins.contains(points(1)) == b"\1"
    assert inner == [RuntimeError] * 4


def test_arguments_about_the_store() -> None:
    for wrong in ({"cache_bytes": 1}, {"count": 1}, {"state": bytes(2048)}):
        with pytest.raises(ValueError, match="there is no `read`"):
            UtxoSet(**wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="read: int, expected a function"):
        UtxoSet(read=1)  # type: ignore[arg-type]
    for name, value in (("cache_bytes", -1), ("count", -1)):
        with pytest.raises(ValueError, match=f"{name}: -1, expected 0 to"):
            UtxoSet(read=Store(0).read, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="state: 2047 bytes, expected 2048"):
        UtxoSet(read=Store(0).read, state=bytes(2047))


def test_eviction_leaves_the_collaterals_of_others_alone() -> None:
    """All of them collaterals, which have a table beside the rows."""
    made = [coin(3)._replace(value=number) for number in range(500)]
    places = [outpoint(number) for number in range(500)]
    store = Store(0)
    store.records |= {point: one.record for point, one in zip(places, made, strict=True)}
    coins = UtxoSet(read=store.read, cache_bytes=100_000)
    coins.add(*columns(places, made)[:4], 7, columns(places, made).collaterals)
    coins.flushed(b"", b"".join(places))
    assert coins.resident < 500
    for start in range(0, 500, 7):
        chunk = places[start : start + 7]
        found = coins.get(b"".join(chunk))
        assert found.collaterals == coin(3).collateral * len(chunk)
        assert list(found.values) == list(range(start, start + len(chunk)))
