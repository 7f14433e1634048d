"""Counting votes: which ids has a quorum of voters voted for?

The fast path counts LOCKs and ACKs here, thousands of ids per vote batch. A voter counts once per id; an id is
reported once, by the call that takes it to the quorum. The hash is seeded, because peers choose ids.

Memory is bounded by `capacity` ids. The bound is shared by all voters: whoever must not be able to fill the table
for the others has to be held to a number of ids of its own before its votes come here.

A tally belongs to the thread that uses it; a call while another one is at work in it raises RuntimeError.
"""

cimport cython
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from timecoin._core.columns cimport as_column, as_item, as_u64, as_u64s

from os import urandom

from timecoin.params import MAX_TALLIED


cdef extern from "tally.h" nogil:
    enum:
        TC_MAX_MASTERNODES
        TC_SIPHASH_SEED_BYTES
    const uint32_t TC_KEYINDEX_MAX_ROWS

    ctypedef struct tc_tally:
        uint32_t count
        uint32_t voters
        uint64_t quorum

    int tc_tally_init(
        tc_tally *tally, const uint8_t *seed, uint32_t voters, uint64_t quorum, const uint64_t *weights,
        uint32_t capacity)
    void tc_tally_free(tc_tally *tally)
    int tc_tally_reserve(tc_tally *tally, size_t n)
    size_t tc_tally_add(
        size_t *reached, size_t *n_reached, tc_tally *tally, uint32_t voter, const uint8_t *ids, size_t n)
    size_t tc_tally_remove(tc_tally *tally, const uint8_t *ids, size_t n)
    const uint8_t *tc_tally_find(const tc_tally *tally, const uint8_t *id)
    uint64_t tc_tally_weight(const uint8_t *row)
    bint tc_tally_voted(const uint8_t *row, uint32_t voter)


cdef enum:
    ID = 32


@cython.final
cdef class Tally:
    """Votes of `voters` voters (1 to 4096), numbered from 0, for 32-byte ids.

    quorum: the weight that decides, 1 to the sum of all weights. weights: one integer of 0..2^64-1 per voter, 1 each
    when it is None. capacity: how many ids are counted at once. `refused` counts votes for an id that was new when
    the table was full; they are not counted, and may be given again.
    """

    cdef tc_tally tally
    cdef bint busy
    cdef readonly object refused

    def __cinit__(self, voters, quorum, weights=None, capacity=MAX_TALLIED):
        cdef bytes seed = urandom(TC_SIPHASH_SEED_BYTES)
        cdef uint64_t *given = NULL
        cdef int status
        voters, quorum, capacity = PyNumber_Index(voters), PyNumber_Index(quorum), PyNumber_Index(capacity)
        if not 1 <= voters <= TC_MAX_MASTERNODES:
            raise ValueError(f"voters: {voters}, expected 1 to {TC_MAX_MASTERNODES}")
        if not 0 <= capacity <= TC_KEYINDEX_MAX_ROWS:
            raise ValueError(f"capacity: {capacity}, expected 0 to {TC_KEYINDEX_MAX_ROWS}")
        total = voters if weights is None else sum(weights)
        if total >= 2**64:
            raise ValueError(f"weights: their sum is {total}, expected less than 2**64")
        if not 1 <= quorum <= total:
            raise ValueError(f"quorum: {quorum}, expected 1 to {total}, the sum of all weights")
        self.refused = 0
        if weights is not None:
            given = as_u64s(weights, voters, "weights")
        try:
            status = tc_tally_init(&self.tally, seed, voters, quorum, given, capacity)
        finally:
            free(given)
        if status != 0:
            raise MemoryError

    def __dealloc__(self):
        tc_tally_free(&self.tally)

    cdef int enter(self) except -1:
        if self.busy:
            raise RuntimeError("Tally: called while another call is at work in it")
        self.busy = True
        return 0

    cdef const uint8_t *row(self, object item) except? NULL:
        cdef bytes wanted = as_item(item, ID, "id")
        self.enter()
        cdef const uint8_t *found = tc_tally_find(&self.tally, wanted)
        self.busy = False
        return found

    def __len__(self):
        return self.tally.count

    def __contains__(self, item):
        return self.row(item) is not NULL

    def add(self, voter, ids):
        """Counts a voter's vote for each of the ids (32*n bytes); the ids that this took to the quorum, in order."""
        cdef bytes column = as_column(ids, ID, "ids")
        cdef size_t i, n = len(column) // ID, n_reached = 0, refused = 0
        cdef const uint8_t *ids_at = column
        cdef uint64_t number = as_u64(voter, "voter")
        cdef size_t *reached
        cdef int status
        if number >= self.tally.voters:
            raise ValueError(f"voter: {voter}, expected 0 to {self.tally.voters - 1}")
        reached = <size_t *>malloc((n + 1) * sizeof(size_t))
        if reached is NULL:
            raise MemoryError
        try:
            self.enter()
            with nogil:
                status = tc_tally_reserve(&self.tally, n)
                if status == 0:
                    refused = tc_tally_add(reached, &n_reached, &self.tally, <uint32_t>number, ids_at, n)
            self.busy = False
            if status != 0:
                raise MemoryError
            self.refused += refused
            return [column[reached[i] * ID:(reached[i] + 1) * ID] for i in range(n_reached)]
        finally:
            free(reached)

    def count(self, id):
        """The weight of those who voted for an id; 0 when nobody did."""
        cdef const uint8_t *row = self.row(id)
        return 0 if row is NULL else tc_tally_weight(row)

    def voters(self, id):
        """The voters who voted for an id, ascending."""
        cdef const uint8_t *row = self.row(id)
        cdef uint32_t voter
        if row is NULL:
            return []
        return [voter for voter in range(self.tally.voters) if tc_tally_voted(row, voter)]

    def reached(self, id):
        """Whether an id has its quorum."""
        cdef const uint8_t *row = self.row(id)
        return row is not NULL and tc_tally_weight(row) >= self.tally.quorum

    def remove(self, ids):
        """Forgets ids and their votes; how many of them were there. Votes for them count from nothing afterwards."""
        cdef bytes column = as_column(ids, ID, "ids")
        cdef size_t n = len(column) // ID, removed
        cdef const uint8_t *ids_at = column
        self.enter()
        with nogil:
            removed = tc_tally_remove(&self.tally, ids_at, n)
        self.busy = False
        return removed
