"""The virtual disk: a prefix of what was under way survives, a full one keeps what it has, a copy brings the past back."""

from __future__ import annotations

import random

import pytest

from timecoin.replica.tables import META, POOL, Bulk, Write
from timecoin.sim.disk import DiskFull, VirtualDisk


def commits(count: int) -> VirtualDisk:
    """A disk with so many commits under way, each of two rows."""
    disk = VirtualDisk()
    for number in range(count):
        disk.submit([Write(META, b"%d" % number, b"first"), Write(POOL, b"%d" % number, b"second")])
    return disk


def test_what_is_submitted_is_there_when_it_is_flushed() -> None:
    disk = commits(2)
    assert disk.count(META) == 0
    disk.flush()
    assert (disk.get(META, b"0"), disk.get(META, b"1")) == (b"first", None)


def test_a_crash_keeps_a_prefix_of_whole_commits() -> None:
    kept: set[int] = set()
    for seed in range(100):
        disk = commits(4)
        survived = disk.crash(random.Random(seed))
        assert [key for key, _ in disk.items(META)] == [b"%d" % number for number in range(survived)]
        assert disk.count(POOL) == disk.count(META)
        with pytest.raises(IndexError):
            disk.flush()
        kept.add(survived)
    assert kept == {0, 1, 2, 3, 4}


def test_a_full_disk_takes_nothing_and_loses_nothing() -> None:
    disk = commits(2)
    disk.flush()
    disk.full = True
    with pytest.raises(DiskFull):
        disk.flush()
    assert disk.crash(random.Random(1)) == 0
    assert disk.count(META) == 1


def test_a_copy_is_not_changed_by_what_follows() -> None:
    disk = commits(2)
    disk.flush()
    copy = disk.backup()
    disk.flush()
    disk.write([Bulk(META, [b"0"], [b"x", b"y"], [b"1", b"2"])])
    assert sorted(disk.values(META)) == [b"1", b"2", b"first"]
    disk.submit([Write(META, b"z", b"z")])
    for _ in range(2):
        disk.restore(copy)
        assert list(disk.items(META)) == [(b"0", b"first")]
        disk.write([Write(META, b"0", None)])
