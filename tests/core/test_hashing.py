from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core import twins
from timecoin._core import hashing

ZERO = bytes(32)
ids = st.binary(min_size=32, max_size=32)


def make_leaves(count: int) -> list[bytes]:
    return [twins.sha256(b"leaf %d" % i) for i in range(count)]


def split(column: bytes) -> list[bytes]:
    return [column[i : i + 32] for i in range(0, len(column), 32)]


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


# SHA-256


@pytest.mark.parametrize("size", [*range(300), 4095, 4096, 4097, 1_000_003])
def test_sha256_agrees_with_hashlib(size: int) -> None:
    data = random.Random(size).randbytes(size)
    assert hashing.sha256(data) == twins.sha256(data)


@given(st.lists(st.binary(max_size=400), max_size=20))
@settings(deadline=None)
def test_sha256_many_is_one_hash_each(messages: list[bytes]) -> None:
    assert split(hashing.sha256_many(messages)) == [twins.sha256(message) for message in messages]


@given(st.binary(max_size=200), st.lists(st.binary(max_size=200), max_size=10))
@settings(deadline=None)
def test_tagged_agrees_with_the_twin(tag: bytes, messages: list[bytes]) -> None:
    expected = [twins.tagged(tag, message) for message in messages]
    assert [hashing.tagged_sha256(tag, message) for message in messages] == expected
    assert split(hashing.tagged_sha256_many(tag, messages)) == expected


def test_every_bytes_like_is_taken() -> None:
    data = bytes(range(64))
    likes: list[Any] = [data, bytearray(data), memoryview(data), numpy.frombuffer(data, numpy.uint8)]
    assert {hashing.sha256(like) for like in likes} == {twins.sha256(data)}
    assert split(hashing.sha256_many(likes)) == [twins.sha256(data)] * 4
    assert {hashing.merkle_root(like) for like in likes} == {twins.merkle_root([data[:32], data[32:]])}


@pytest.mark.parametrize("bad", ["text", 5, None, [b"nested"]])
def test_what_is_not_bytes_like_is_a_type_error(bad: object) -> None:
    with pytest.raises(TypeError):
        hashing.sha256(bad)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        hashing.sha256_many([b"good", bad])  # type: ignore[list-item]
    with pytest.raises(TypeError):
        hashing.merkle_root(bad)  # type: ignore[arg-type]


def test_one_message_in_place_of_a_sequence_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        hashing.sha256_many(b"abc")  # type: ignore[arg-type]


def test_memory_with_gaps_is_refused() -> None:
    with pytest.raises(BufferError):
        hashing.sha256(memoryview(bytes(64))[::2])


def test_threads_do_not_disturb_each_other() -> None:
    batches = [[b"%d/%d" % (i, j) for j in range(200)] for i in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(hashing.sha256_many, batches))
    assert found == [b"".join(twins.sha256(message) for message in batch) for batch in batches]


# Merkle trees


@pytest.mark.parametrize("count", range(71))
def test_merkle_agrees_with_the_twin(count: int) -> None:
    leaves = make_leaves(count)
    column = b"".join(leaves)
    root = hashing.merkle_root(column)
    assert root == twins.merkle_root(leaves)
    rng = random.Random(count)
    for index, leaf in enumerate(leaves):
        branch = hashing.merkle_branch(column, index)
        assert branch == twins.merkle_branch(leaves, index)
        assert hashing.merkle_check(root, leaf, index, count, branch)
        assert not hashing.merkle_check(flip(root, rng.randrange(256)), leaf, index, count, branch)
        assert not hashing.merkle_check(root, flip(leaf, rng.randrange(256)), index, count, branch)
        if branch:
            assert not hashing.merkle_check(root, leaf, index, count, flip(branch, rng.randrange(8 * len(branch))))


@pytest.mark.parametrize(("count", "index"), [(1, 0), (2, 1), (3, 2), (5, 4), (8, 3), (70, 0), (70, 37), (70, 69)])
def test_every_changed_bit_breaks_a_merkle_proof(count: int, index: int) -> None:
    leaves = make_leaves(count)
    root, branch = hashing.merkle_root(b"".join(leaves)), hashing.merkle_branch(b"".join(leaves), index)
    for bit in range(256):
        assert not hashing.merkle_check(flip(root, bit), leaves[index], index, count, branch)
        assert not hashing.merkle_check(root, flip(leaves[index], bit), index, count, branch)
    for bit in range(8 * len(branch)):
        assert not hashing.merkle_check(root, leaves[index], index, count, flip(branch, bit))


@pytest.mark.parametrize("count", range(1, 13))
def test_a_proof_is_good_for_its_own_index_and_count_alone(count: int) -> None:
    leaves = make_leaves(count)
    column = b"".join(leaves)
    root = hashing.merkle_root(column)
    for index, leaf in enumerate(leaves):
        branch = hashing.merkle_branch(column, index)
        for i in range(-1, 20):
            for n in range(20):
                assert hashing.merkle_check(root, leaf, i, n, branch) == ((i, n) == (index, count))


@pytest.mark.parametrize(("index", "count"), [(0, 0), (-1, 5), (5, 5), (0, -1), (2**64, 2**65), (1, 2**64), (3, 2**70)])
def test_an_impossible_index_or_count_proves_nothing(index: int, count: int) -> None:
    assert not hashing.merkle_check(ZERO, ZERO, index, count, bytes(96))


def test_a_branch_of_the_wrong_length_proves_nothing() -> None:
    leaves = make_leaves(11)
    column = b"".join(leaves)
    root, branch = hashing.merkle_root(column), hashing.merkle_branch(column, 4)
    for bad in (b"", branch[:-1], branch[:-32], branch[32:], branch + b"x", branch + ZERO, branch * 40):
        assert not hashing.merkle_check(root, leaves[4], 4, 11, bad)
    assert not hashing.merkle_check(root, leaves[4], 4, 2**64 - 1, bytes(32 * 64))


def test_a_list_is_not_confused_with_its_padded_self() -> None:
    leaves = make_leaves(3)
    assert hashing.merkle_root(b"".join(leaves)) != hashing.merkle_root(b"".join([*leaves, leaves[2]]))


def test_an_inner_node_is_not_a_leaf() -> None:
    leaves = make_leaves(4)
    pairs = [
        twins.tagged(
            b"timecoin/merkle-node",
            twins.tagged(b"timecoin/merkle-leaf", left) + twins.tagged(b"timecoin/merkle-leaf", right),
        )
        for left, right in (leaves[:2], leaves[2:])
    ]
    assert hashing.merkle_root(b"".join(leaves)) != hashing.merkle_root(b"".join(pairs))


@given(st.lists(ids, min_size=1, max_size=200), st.data())
@settings(deadline=None, max_examples=40)
def test_any_leaf_of_any_tree_can_be_proved(leaves: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    column = b"".join(leaves)
    branch = hashing.merkle_branch(column, index)
    assert branch == twins.merkle_branch(leaves, index)
    assert hashing.merkle_check(twins.merkle_root(leaves), leaves[index], index, len(leaves), branch)


@given(ids, ids, st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70), st.binary(max_size=200))
@settings(deadline=None)
def test_a_made_up_proof_is_false_and_never_raises(root: bytes, leaf: bytes, i: int, n: int, branch: bytes) -> None:
    assert hashing.merkle_check(root, leaf, i, n, branch) is False


@pytest.mark.parametrize("size", [1, 31, 33, 65])
def test_wrong_sizes_name_what_was_found(size: int) -> None:
    with pytest.raises(ValueError, match=f"leaves: {size} bytes, expected a multiple of 32"):
        hashing.merkle_root(bytes(size))
    with pytest.raises(ValueError, match=f"leaves: {size} bytes, expected a multiple of 32"):
        hashing.merkle_branch(bytes(size), 0)
    with pytest.raises(ValueError, match=f"root: {size} bytes, expected 32"):
        hashing.merkle_check(bytes(size), ZERO, 0, 1, b"")
    with pytest.raises(ValueError, match=f"leaf: {size} bytes, expected 32"):
        hashing.merkle_check(ZERO, bytes(size), 0, 1, b"")


@pytest.mark.parametrize(("count", "index"), [(0, 0), (3, 3), (3, -1), (3, 2**80)])
def test_there_is_no_branch_of_a_leaf_that_is_not_there(count: int, index: int) -> None:
    with pytest.raises(IndexError, match=f"leaf {index}: there are {count} leaves"):
        hashing.merkle_branch(bytes(32 * count), index)


@given(st.lists(st.integers(0, 70), max_size=12))
def test_a_tree_that_grows_has_the_root_of_all_its_leaves(steps: list[int]) -> None:
    tree, leaves = hashing.MerkleTree(), b""
    assert (len(tree), tree.root()) == (0, hashing.merkle_root(b""))
    for number, step in enumerate(steps):
        added = b"".join(hashing.sha256(bytes([number, item])) for item in range(step))
        before = tree.copy()
        tree.append(added)
        leaves += added
        assert (len(tree), tree.root()) == (len(leaves) // 32, hashing.merkle_root(leaves))
        before.append(added)
        assert before.root() == tree.root()


def test_a_tree_grows_leaf_by_leaf_as_the_twin_says() -> None:
    tree, leaves = hashing.MerkleTree(), []
    for number in range(300):
        leaves.append(hashing.sha256(number.to_bytes(4, "big")))
        tree.append(leaves[-1])
        assert tree.root() == twins.merkle_root(leaves)
    with pytest.raises(ValueError, match="leaves: 33 bytes"):
        tree.append(bytes(33))
    assert len(tree) == 300
