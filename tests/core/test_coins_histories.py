"""Long histories of the set of coins beside its twin: in memory, with a store and all the room, and with a store and no room."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.core.twin_coins import TwinCoin, Undo, UtxoSetTwin, coin, columns, outpoint
from timecoin import params
from timecoin._core.coins import UtxoSet
from timecoin._core.lthash import LtHash

SEED = bytes(range(16))
NUMBERS = 24
EVERYTHING = [outpoint(number) for number in range(NUMBERS)]
FINAL = params.FINAL_HEIGHT

numbers = st.lists(st.integers(0, NUMBERS - 1), max_size=5)
heights = st.sampled_from([0, 1, 2, FINAL])
txids = st.integers(0, 1).map(lambda number: bytes([number]) * 32)


@dataclass
class Store:
    """What is durable, and the changes on their way there, the oldest first."""

    records: dict[bytes, bytes] = field(default_factory=dict)
    waiting: deque[tuple[list[bytes], dict[bytes, bytes]]] = field(default_factory=deque)

    def read(self, outpoints: bytes) -> list[bytes | None]:
        return [self.records.get(outpoints[i : i + 36]) for i in range(0, len(outpoints), 36)]

    def change(self, spent: list[bytes], created: dict[bytes, TwinCoin]) -> None:
        """What a call did to coins that blocks have made."""
        self.waiting.append((spent, {point: one.record for point, one in created.items()}))

    def write_one(self) -> tuple[list[bytes], dict[bytes, bytes]]:
        spent, created = self.waiting.popleft()
        for point in spent:
            del self.records[point]
        self.records.update(created)
        return spent, created

    def unsaved(self, point: bytes) -> int:
        """How many changes of an outpoint are not durable."""
        return sum((point in spent) + (point in created) for spent, created in self.waiting)


def outcome(call: Callable[[], object]) -> tuple[str, object]:
    """The class of the error that a call ends with, "" for none, and its result."""
    try:
        return "", call()
    except KeyError:
        return "KeyError", None
    except ValueError:
        return "ValueError", None


class Histories(RuleBasedStateMachine):
    """The same calls to the set and to its twin, with few outpoints, so that they meet. Here without a store."""

    def __init__(self) -> None:
        super().__init__()
        self.twin = UtxoSetTwin()
        self.store = Store()
        self.undos: list[tuple[bytes, Undo]] = []
        self.coins = self.new_set()

    def new_set(self) -> UtxoSet:
        return UtxoSet(SEED)

    def is_known(self, point: bytes) -> bool:
        """Whether the set must see that a coin is there, if it is."""
        return True

    def both(self, ours: Callable[[], object], twins: Callable[[], object]) -> tuple[bool, Any, Any]:
        """Whether it was done, and both results."""
        error, expected = outcome(twins)
        found_error, found = outcome(ours)
        assert found_error == error
        return not error, found, expected

    # Coin by coin

    @rule(chosen=numbers, height=heights)
    def add(self, chosen: list[int], height: int) -> None:
        points = [outpoint(number) for number in chosen if self.is_known(outpoint(number))]
        made = [coin(number, height) for number in chosen if self.is_known(outpoint(number))]
        column = columns(points, made)
        done, _, _ = self.both(
            lambda: self.coins.add(*column[:4], height, column.collaterals), lambda: self.twin.add(points, made)
        )
        if done and height != FINAL:
            self.store.change([], dict(zip(points, made, strict=True)))

    @rule(chosen=numbers)
    def spend(self, chosen: list[int]) -> None:
        points = [outpoint(number) for number in chosen]
        committed = [point for point in points if point in self.twin.coins and not self.twin.coins[point].final]
        done, _, _ = self.both(lambda: self.coins.spend(b"".join(points)), lambda: self.twin.spend(points))
        if done:
            self.store.change(committed, {})

    @rule(chosen=numbers, height=st.sampled_from([0, 1, 2]))
    def set_height(self, chosen: list[int], height: int) -> None:
        points = [outpoint(number) for number in chosen]
        done, _, _ = self.both(
            lambda: self.coins.set_height(b"".join(points), height), lambda: self.twin.set_height(points, height)
        )
        if done:
            self.store.change([], {point: self.twin.coins[point] for point in points})

    # Locks

    @rule(chosen=numbers, txid=txids, since_ms=st.integers(0, 9))
    def lock(self, chosen: list[int], txid: bytes, since_ms: int) -> None:
        points = [outpoint(number) for number in chosen]
        _, found, expected = self.both(
            lambda: self.coins.lock(b"".join(points), txid, since_ms), lambda: self.twin.lock(points, txid, since_ms)
        )
        assert found == expected

    @precondition(lambda self: self.twin.coins)
    @rule(picks=st.lists(st.lists(st.integers(0, 99), max_size=3), max_size=4), ids=st.data())
    def lock_many(self, picks: list[list[int]], ids: st.DataObject) -> None:
        there = sorted(self.twin.coins)
        wanted = [[there[pick % len(there)] for pick in some] for some in picks]
        chosen = [ids.draw(txids) for _ in picks]
        starts = [sum(map(len, wanted[:i])) for i in range(len(wanted) + 1)]
        found = self.coins.lock_many(b"".join(map(b"".join, wanted)), starts, b"".join(chosen), 5)
        assert found == [self.twin.lock(points, txid, 5) for points, txid in zip(wanted, chosen, strict=True)]

    @rule(chosen=numbers, txid=txids)
    def unlock(self, chosen: list[int], txid: bytes) -> None:
        points = [outpoint(number) for number in chosen]
        assert self.coins.unlock(b"".join(points), txid) == self.twin.unlock(points, txid)

    # Blocks

    @rule(data=st.data(), height=st.sampled_from([1, 2]), foresee=st.booleans())
    def apply(self, data: st.DataObject, height: int, foresee: bool) -> None:
        there = sorted(self.twin.coins)
        likely = st.sampled_from([*there, *EVERYTHING]) if there else st.sampled_from(EVERYTHING)
        spent = data.draw(st.lists(st.sampled_from(there), max_size=4, unique=True)) if there else []
        spent += data.draw(st.lists(likely, max_size=1))
        finals = [point for point in there if self.twin.coins[point].final]
        inside = data.draw(st.lists(st.sampled_from([*finals, *EVERYTHING]), max_size=2, unique=True))
        inside = [point for point in inside if point not in self.twin.coins or self.is_known(point)]
        chosen = [number for number in data.draw(numbers) if self.is_known(outpoint(number)) or outpoint(number) in spent]
        points, made = [outpoint(number) for number in chosen], [coin(number) for number in chosen]
        committed = [point for point in spent if point in self.twin.coins and not self.twin.coins[point].final]
        column = columns(points, made)
        after = outcome(lambda: self.coins.commitment_after(b"".join(spent), *column, height))[1] if foresee else None
        assert after is not None or not foresee or committed != spent or len(set(spent)) < len(spent)
        done, data_of_undo, undo = self.both(
            lambda: self.coins.apply(
                b"".join(spent), *column, height, inside=b"".join(inside), commitment=cast("LtHash | None", after)
            ),
            lambda: self.twin.apply(spent, points, made, inside, height),
        )
        if done:
            self.undos.append((data_of_undo, undo))
            self.store.change(committed, {point: one.at(height) for point, one in zip(points, made, strict=True)})

    @precondition(lambda self: self.undos)
    @rule()
    def undo(self) -> None:
        data, record = self.undos.pop()
        done, _, _ = self.both(lambda: self.coins.undo(data), lambda: self.twin.undo(record))
        if done:
            returned = {point: one for point, one in record.spent.items() if not one.final}
            self.store.change(list(record.was_final), returned)

    # What is

    @invariant()
    def same_answers(self) -> None:
        column = b"".join(EVERYTHING)
        found = self.coins.get(column)
        expected = [self.twin.coins.get(point) for point in EVERYTHING]
        assert [found.row(i) for i in range(NUMBERS)] == [one and tuple(one[:4]) for one in expected]
        assert found.collaterals == b"".join(one.collateral for one in expected if one is not None)
        assert self.coins.contains(column) == bytes(found.found) == bytes(one is not None for one in expected)
        assert [self.coins.locker(point) for point in EVERYTHING] == [self.twin.locks.get(point) for point in EVERYTHING]
        assert self.coins.state() == self.twin.state()
        assert len(self.coins) == len(self.twin.coins)

    @invariant()
    def same_memory(self) -> None:
        assert self.coins.resident == len(self.coins)
        records = {point: one.record for point, one in self.twin.coins.items() if not one.final}
        assert {point: record for page in self.coins.pages(3) for point, record in page} == records


class HistoriesWithStore(Histories):
    """The set as a cache without a bound."""

    def new_set(self) -> UtxoSet:
        return UtxoSet(SEED, read=self.store.read)

    def is_known(self, point: bytes) -> bool:
        one = self.twin.coins.get(point)
        return one.final if one is not None else not self.store.unsaved(point)

    @precondition(lambda self: self.store.waiting)
    @rule(times=st.integers(1, 3))
    def write(self, times: int) -> None:
        for _ in range(min(times, len(self.store.waiting))):
            spent, created = self.store.write_one()
            self.coins.flushed(b"".join(spent), b"".join(created))

    @invariant()
    def same_memory(self) -> None:
        pinned = {
            point
            for point in EVERYTHING
            if self.store.unsaved(point) or point in self.twin.locks or ((one := self.twin.coins.get(point)) and one.final)
        }
        assert self.coins.dirty == len(pinned)
        self.check_resident(len(pinned & set(self.twin.coins)))

    def check_resident(self, pinned: int) -> None:
        assert pinned <= self.coins.resident <= len(self.coins)


class HistoriesWithoutRoom(HistoriesWithStore):
    """The same with a bound that is below what an empty set takes: whatever may go is gone after every call."""

    def new_set(self) -> UtxoSet:
        return UtxoSet(SEED, read=self.store.read, cache_bytes=1)

    def check_resident(self, pinned: int) -> None:
        assert self.coins.resident == pinned
        assert self.coins.excess_bytes > 0


SETTINGS = settings(max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])

TestHistories = Histories.TestCase
TestHistories.settings = SETTINGS
TestHistoriesWithStore = HistoriesWithStore.TestCase
TestHistoriesWithStore.settings = SETTINGS
TestHistoriesWithoutRoom = HistoriesWithoutRoom.TestCase
TestHistoriesWithoutRoom.settings = SETTINGS
