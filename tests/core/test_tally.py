from __future__ import annotations

import ctypes
import random
import struct
from collections.abc import Iterable
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.core.compiled import KERNELS, Object, load
from tests.core.twins_ledger import TallyTwin
from timecoin import params
from timecoin._core.tally import VoteTally


def make_id(number: int) -> bytes:
    return number.to_bytes(32, "little")


def column(*numbers: int) -> bytes:
    return b"".join(map(make_id, numbers))


def same(tally: VoteTally, twin: TallyTwin, items: Iterable[bytes]) -> None:
    """Every answer about every id, one by one and as columns."""
    items = list(items)
    assert len(tally) == len(twin.votes)
    assert (tally.refused, tally.duplicates) == (twin.refused, twin.duplicates)
    for item in items:
        assert (item in tally) == (item in twin.votes)
        assert tally.voters(item) == sorted(twin.votes.get(item, ()))
        assert tally.count(item) == twin.count(item)
        assert tally.reached(item) == twin.reached(item)
    assert tally.counts(b"".join(items)).tolist() == [twin.count(item) for item in items]
    assert tally.reached_many(b"".join(items)) == bytes(twin.reached(item) for item in items)


def test_a_new_tally_is_empty() -> None:
    tally = VoteTally(4, 3)
    assert len(tally) == 0
    assert (tally.refused, tally.duplicates) == (0, 0)
    assert make_id(1) not in tally
    assert tally.count(make_id(1)) == 0
    assert tally.voters(make_id(1)) == []
    assert not tally.reached(make_id(1))
    assert tally.counts(column(1, 2)).tolist() == [0, 0]
    assert tally.reached_many(column(1, 2)) == bytes(2)
    assert (tally.counts(b"").tolist(), tally.reached_many(b"")) == ([], b"")
    assert tally.add(0, b"") == []
    assert tally.remove(column(1)) == 0
    tally.clear()


def test_an_id_is_reported_once_and_by_the_vote_that_decides() -> None:
    tally = VoteTally(4, 3)
    assert tally.add(0, column(1, 2)) == []
    assert tally.add(3, column(2, 1)) == []
    assert not tally.reached(make_id(1))
    assert tally.add(1, column(3, 1)) == [make_id(1)]
    assert tally.reached(make_id(1))
    assert tally.add(1, column(1)) == []
    assert tally.add(2, column(1, 2)) == [make_id(2)]
    assert tally.count(make_id(1)) == 4
    assert tally.voters(make_id(2)) == [0, 2, 3]
    assert len(tally) == 3


def test_a_voter_counts_once_however_often_it_votes() -> None:
    tally = VoteTally(4, 2)
    assert tally.add(1, column(7, 7, 7)) == []
    assert tally.add(1, column(7)) == []
    assert tally.count(make_id(7)) == 1
    assert tally.duplicates == 3
    assert tally.add(2, column(7, 7)) == [make_id(7)]
    assert tally.duplicates == 4


def test_votes_of_an_equivocator_count_once_for_every_id() -> None:
    """Two batches of one voter that contradict each other, as protocol section 4 has it: both count, each id once."""
    tally = VoteTally(4, 3)
    tally.add(0, column(1, 2))
    tally.add(1, column(1, 3))
    for batch in (column(1, 2, 9), column(1, 3, 9)):  # 2 and 3 spend one coin
        reached = tally.add(3, batch)
        assert reached == ([make_id(1)] if batch == column(1, 2, 9) else [])
    assert tally.counts(column(1, 2, 3, 9)).tolist() == [3, 2, 2, 1]
    assert tally.duplicates == 2
    assert tally.add(2, column(2)) == [make_id(2)]
    assert tally.add(2, column(3)) == [make_id(3)]
    assert tally.voters(make_id(2)) == [0, 2, 3]
    assert tally.voters(make_id(3)) == [1, 2, 3]


def test_weights_are_summed() -> None:
    tally = VoteTally(4, 10, [6, 3, 0, 2**63])
    assert tally.add(0, column(1)) == []
    assert tally.add(1, column(1)) == []
    assert tally.add(2, column(1)) == []
    assert tally.count(make_id(1)) == 9
    assert tally.voters(make_id(1)) == [0, 1, 2]
    assert tally.add(3, column(1)) == [make_id(1)]
    assert tally.count(make_id(1)) == 2**63 + 9
    assert tally.counts(column(2, 1)).tolist() == [0, 2**63 + 9]


def test_one_heavy_voter_may_decide_alone() -> None:
    tally = VoteTally(2, 5, [5, 1])
    assert tally.add(0, column(1, 1, 2)) == [make_id(1), make_id(2)]


def test_a_quorum_of_all_the_weight_that_64_bits_hold() -> None:
    tally = VoteTally(2, 2**64 - 1, [2**63, 2**63 - 1])
    assert tally.add(0, column(1)) == []
    assert tally.add(1, column(1)) == [make_id(1)]


@pytest.mark.parametrize("voters", [1, 2, 63, 64, 65, 128, 129, params.MAX_MASTERNODES])
def test_every_voter_has_a_bit_of_its_own(voters: int) -> None:
    tally = VoteTally(voters, voters)
    order = random.Random(voters).sample(range(voters), voters)
    for voter in order[:-1]:
        assert tally.add(voter, column(1, 2)) == []
    assert tally.voters(make_id(1)) == sorted(order[:-1])
    assert tally.add(order[-1], column(1)) == [make_id(1)]
    assert tally.voters(make_id(1)) == list(range(voters))
    assert tally.voters(make_id(2)) == sorted(order[:-1])


def test_a_full_tally_refuses_new_ids_only() -> None:
    tally = VoteTally(3, 2, capacity=2)
    assert tally.add(0, column(1, 2, 3, 4, 3)) == []
    assert tally.refused == 3
    assert make_id(3) not in tally
    assert tally.add(1, column(1, 3)) == [make_id(1)]
    assert tally.refused == 4
    assert tally.remove(column(1)) == 1
    assert tally.add(1, column(3)) == []
    assert make_id(3) in tally
    assert tally.refused == 4
    assert len(tally) == 2


def test_a_tally_without_room_counts_nothing() -> None:
    tally = VoteTally(1, 1, capacity=0)
    assert tally.add(0, column(1, 2)) == []
    assert (tally.refused, len(tally)) == (2, 0)


def test_a_removed_id_starts_again() -> None:
    tally = VoteTally(2, 2)
    tally.add(0, column(1))
    assert tally.remove(column(1, 1, 2)) == 1
    assert tally.add(1, column(1)) == []
    assert tally.voters(make_id(1)) == [1]
    assert tally.add(0, column(1)) == [make_id(1)]


def test_a_cleared_tally_starts_again() -> None:
    tally = VoteTally(70, 2, capacity=3_000)
    for _ in range(2):
        for first in range(0, 3_000, 1_000):
            assert tally.add(69, column(*range(first, first + 1_000))) == []
        assert tally.add(69, column(7, 3_000)) == []
        assert tally.add(3, column(7)) == [make_id(7)]
        assert len(tally) == 3_000
        tally.clear()
        assert len(tally) == 0
        assert make_id(7) not in tally
    assert (tally.refused, tally.duplicates) == (2, 2)


def test_the_default_capacity_is_the_protocol_s() -> None:
    tally = VoteTally(1, 1)
    numbers = range(params.MAX_TALLIED + 3)
    assert len(tally.add(0, column(*numbers))) == params.MAX_TALLIED
    assert tally.refused == 3


@pytest.mark.parametrize("wrap", [bytes, bytearray, memoryview])
def test_any_bytes_like_is_taken(wrap: type) -> None:
    tally = VoteTally(1, 1)
    assert tally.add(0, wrap(column(1))) == [make_id(1)]
    assert tally.count(wrap(make_id(1))) == 1
    assert wrap(make_id(1)) in tally
    assert tally.remove(wrap(make_id(1))) == 1


def test_wrong_arguments_are_refused() -> None:
    for voters in (-1, 0, params.MAX_MASTERNODES + 1):
        with pytest.raises(ValueError, match=f"voters: {voters}, expected 1 to 4096"):
            VoteTally(voters, 1)
    for quorum in (-1, 0, 5):
        with pytest.raises(ValueError, match=f"quorum: {quorum}, expected 1 to 4"):
            VoteTally(4, quorum)
    with pytest.raises(ValueError, match="quorum: 7, expected 1 to 6, the sum of all weights"):
        VoteTally(2, 7, [1, 5])
    with pytest.raises(ValueError, match="weights: 3 values, expected 2"):
        VoteTally(2, 2, [1, 5, 1])
    with pytest.raises(ValueError, match="weights: -1, expected 0 to"):
        VoteTally(2, 2, [-1, 5])
    with pytest.raises(ValueError, match="weights: their sum is 18446744073709551616, expected less"):
        VoteTally(2, 2, [2**63, 2**63])
    with pytest.raises(ValueError, match="capacity: -1, expected 0 to 2147483648"):
        VoteTally(2, 2, capacity=-1)
    with pytest.raises(TypeError):
        VoteTally(2.5, 2)  # type: ignore[arg-type]


def test_wrong_votes_are_refused() -> None:
    tally = VoteTally(4, 3)
    for voter in (4, 2**32, 2**64 - 1):
        with pytest.raises(ValueError, match=f"voter: {voter}, expected 0 to 3"):
            tally.add(voter, column(1))
    with pytest.raises(ValueError, match="voter: -1, expected"):
        tally.add(-1, column(1))
    with pytest.raises(ValueError, match="ids: 33 bytes, expected a multiple of 32"):
        tally.add(0, column(1) + b"x")
    with pytest.raises(ValueError, match="ids: 31 bytes, expected a multiple of 32"):
        tally.remove(column(1)[:31])
    with pytest.raises(ValueError, match="id: 0 bytes, expected 32"):
        tally.count(b"")
    for ask in (tally.counts, tally.reached_many):
        with pytest.raises(ValueError, match="ids: 33 bytes, expected a multiple of 32"):
            ask(column(1) + b"x")
    assert (len(tally), tally.refused, tally.duplicates) == (0, 0, 0)


def test_threads_that_take_turns_or_collide_never_disagree() -> None:
    """A call meanwhile is refused with RuntimeError and counts nothing; whoever tries again gets through."""
    tally, ids = VoteTally(4, 3), column(*range(5_000))
    reached: list[bytes] = []

    def vote(voter: int) -> None:
        while True:
            try:
                reached.extend(tally.add(voter, ids))
            except RuntimeError:
                continue
            return

    threads = [Thread(target=vote, args=(voter,)) for voter in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reached == list(map(make_id, range(5_000)))
    assert set(tally.counts(ids).tolist()) == {4}
    assert tally.duplicates == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200))
def test_long_random_histories(seed: int, voters: int) -> None:
    """Ids come and go by the hundred: growth, wrapped probes and moved rows."""
    rng = random.Random(seed)
    quorum = (voters + 1) // 2
    tally, twin = VoteTally(voters, quorum), TallyTwin(quorum, [1] * voters, params.MAX_TALLIED)
    for step in range(30):
        voted = [make_id(number) for number in rng.choices(range(step * 20, step * 20 + 200), k=rng.randrange(150))]
        voter = rng.randrange(voters)
        assert tally.add(voter, b"".join(voted)) == twin.add(voter, voted)
        old = rng.sample(sorted(twin.votes), len(twin.votes) // 4)
        assert tally.remove(b"".join(old)) == twin.remove(old)
        assert len(tally) == len(twin.votes)
    same(tally, twin, map(make_id, range(30 * 20 + 200)))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 20), st.sampled_from((1, 7, 64, 65, 300)))
def test_batches_in_the_order_of_the_first_one(seed: int, voters: int, size: int) -> None:
    """What most voters' batches look like: the same ids in the same order, but for some that are missing, new or swapped."""
    rng = random.Random(seed)
    quorum = voters // 2 + 1
    tally, twin = VoteTally(voters, quorum, capacity=700), TallyTwin(quorum, [1] * voters, 700)
    order = [rng.randbytes(32) for _ in range(600)]
    for voter in range(voters):
        voted = [item for item in order if rng.random() > 0.02]
        for _ in range(rng.randrange(20)):
            at = rng.randrange(len(voted))
            voted[at:at] = [rng.choice((rng.randbytes(32), rng.choice(voted)))]
        for first in range(0, len(voted), size):
            batch = voted[first : first + size]
            assert tally.add(voter, b"".join(batch)) == twin.add(voter, batch)
        if rng.random() < 0.3:
            gone = rng.sample(order, 30)
            assert tally.remove(b"".join(gone)) == twin.remove(gone)
    same(tally, twin, order)


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32))
def test_ids_are_asked_for_and_taken_out_while_the_index_grows(seed: int) -> None:
    """Small batches at every size, so that most of it happens while entries are in two indexes."""
    rng = random.Random(seed)
    tally, twin = VoteTally(9, 2), TallyTwin(2, [1] * 9, params.MAX_TALLIED)
    known: list[bytes] = []
    while len(known) < 1_800:
        batch = [rng.randbytes(32) for _ in range(rng.randrange(1, 12))] + rng.sample(known, min(len(known), 3))
        assert tally.add(len(known) % 9, b"".join(batch)) == twin.add(len(known) % 9, batch)
        known += batch
        gone = rng.sample(known, min(len(known), 2))
        assert tally.remove(b"".join(gone)) == twin.remove(gone)
        asked = rng.sample(known, min(len(known), 8))
        assert tally.counts(b"".join(asked)).tolist() == [twin.count(item) for item in asked]
    same(tally, twin, set(known))


class Comparison(RuleBasedStateMachine):
    """The same calls to the tally and to its twin, with few ids and a capacity below their number."""

    @initialize(
        weights=st.none() | st.lists(st.integers(0, 5), min_size=1, max_size=9).filter(any),
        share=st.fractions(0, 1),
        capacity=st.integers(0, 25),
    )
    def start(self, weights: list[int] | None, share: float, capacity: int) -> None:
        count = len(weights) if weights else 5
        self.weights = weights or [1] * count
        quorum = max(1, int(share * sum(self.weights)))
        self.tally = VoteTally(count, quorum, weights, capacity)
        self.twin = TallyTwin(quorum, self.weights, capacity)

    @rule(voter=st.integers(0, 9), numbers=st.lists(st.integers(0, 19), max_size=8))
    def add(self, voter: int, numbers: list[int]) -> None:
        items = list(map(make_id, numbers))
        if voter < len(self.weights):
            assert self.tally.add(voter, column(*numbers)) == self.twin.add(voter, items)
            return
        for add, ids in ((self.tally.add, column(*numbers)), (self.twin.add, items)):
            with pytest.raises(ValueError, match=f"voter: {voter}"):
                add(voter, ids)

    @rule(numbers=st.lists(st.integers(0, 19), max_size=5))
    def remove(self, numbers: list[int]) -> None:
        assert self.tally.remove(column(*numbers)) == self.twin.remove(list(map(make_id, numbers)))

    @rule()
    def clear(self) -> None:
        self.tally.clear()
        self.twin.votes.clear()

    @invariant()
    def same(self) -> None:
        same(self.tally, self.twin, map(make_id, range(20)))


TestComparison = Comparison.TestCase
TestComparison.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


# The hash by which ids are found


def key_words(seed: bytes) -> tuple[int, ...]:
    return struct.unpack("=6Q", seed)


def hash_twin(key: tuple[int, ...], item: bytes) -> int:
    """NH of four words, and the halves of the sum multiplied under two more words of the key."""
    a, b, c, d = ((word + mask) % 2**64 for word, mask in zip(struct.unpack("=4Q", item), key, strict=False))
    total = (a * b + c * d) % 2**128
    mixed = (total % 2**64 ^ key[4]) * (total >> 64 ^ key[5])
    return (mixed ^ mixed >> 64) % 2**32


KEY = random.Random(5).randbytes(48)
ORDERLY = {
    "counting": lambda number: number.to_bytes(32, "big"),
    "counting from the other end": lambda number: number.to_bytes(32, "little"),
    "one bit apart": lambda number: (1 << 200 | number << 50).to_bytes(32, "little"),
    "the same word four times": lambda number: number.to_bytes(8, "little") * 4,
    "words that cancel": lambda number: struct.pack("=4Q", number, 2**64 - 1 - number, 2**64 - 1 - number, number),
    "without its first word": lambda number: bytes(8) + number.to_bytes(8, "big") + bytes(16),
}


def hashes(items: Iterable[bytes]) -> list[int]:
    kernel = load("tally", Object(KERNELS / "tally.c")).tc_tally_hash
    kernel.restype = ctypes.c_uint32
    key = ctypes.create_string_buffer(KEY, 48)
    return [kernel(key, ctypes.create_string_buffer(item, 32)) for item in items]


def test_the_hash_is_what_it_says() -> None:
    items = [random.Random(number).randbytes(32) for number in range(300)] + [bytes(32), b"\xff" * 32]
    assert hashes(items) == [hash_twin(key_words(KEY), item) for item in items]


@pytest.mark.parametrize("name", ORDERLY)
def test_chosen_ids_spread_as_random_ones_do(name: str) -> None:
    """20,000 of them over the slots of an index of 32,768: how many slots are home to one, and how far a vote has to look."""
    found = hashes(map(ORDERLY[name], range(20_000)))
    assert 14_700 < len({value % 2**15 for value in found}) < 15_200  # 32,768 (1 - exp(-20,000 / 32,768)) = 14,970
    taken = set()
    steps = 0
    for value in found:
        while value % 2**15 in taken:
            value += 1
            steps += 1
        taken.add(value % 2**15)
    assert steps / len(found) < 1.0  # 0.78 on the average, by Knuth's formula for linear probing
