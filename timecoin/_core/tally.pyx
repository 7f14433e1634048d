"""Counting votes: which ids has a quorum of voters voted for?

The fast path counts LOCKs and ACKs here, thousands of ids per vote batch. A voter counts once per id; an id is
reported once, by the call that takes it to the quorum. The hash is seeded, because peers choose ids.

Memory is bounded by `capacity` ids. The bound is shared by all voters: whoever must not be able to fill the table
for the others has to be held to a number of ids of its own before its votes come here.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from timecoin._core.columns cimport as_column, as_item, as_u64, as_u64s

from os import urandom

from timecoin.params import MAX_TALLIED


cdef extern from "tally.h" nogil:
    enum:
        TC_MAX_MASTERNODES
        TC_TALLY_SEED_BYTES
    const uint32_t TC_KEYINDEX_MAX_ROWS

    ctypedef struct tc_tally:
        uint32_t count
        uint32_t voters
        uint64_t quorum

    ctypedef struct tc_tally_outcome:
        size_t *reached
        size_t n_reached
        size_t refused
        size_t duplicates

    int tc_tally_init(
        tc_tally *tally, const uint8_t *seed, uint32_t voters, uint64_t quorum, const uint64_t *weights,
        uint32_t capacity)
    void tc_tally_free(tc_tally *tally)
    int tc_tally_reserve(tc_tally *tally, size_t n)
    void tc_tally_add(tc_tally_outcome *outcome, tc_tally *tally, uint32_t voter, const uint8_t *ids, size_t n)
    size_t tc_tally_remove(tc_tally *tally, const uint8_t *ids, size_t n)
    void tc_tally_clear(tc_tally *tally)
    void tc_tally_counts(uint64_t *weights, const tc_tally *tally, const uint8_t *ids, size_t n)
    const uint8_t *tc_tally_find(const tc_tally *tally, const uint8_t *id)
    uint64_t tc_tally_weight(const uint8_t *row)
    uint32_t tc_tally_voter_count(const tc_tally *tally, const uint8_t *row)
    void tc_tally_voters(uint32_t *voters, const tc_tally *tally, const uint8_t *row)


cdef enum:
    ID = 32


cdef list ids_at(bytes column, const size_t *positions, size_t n):
    """The ids at these positions of a column of them."""
    cdef const char *at = PyBytes_AS_STRING(column)
    cdef size_t i
    return [PyBytes_FromStringAndSize(at + positions[i] * ID, ID) for i in range(n)]


@cython.final
cdef class VoteTally:
    """Votes of `voters` voters (1 to 4096), numbered from 0, for 32-byte ids.

    quorum: the weight that decides, 1 to the sum of all weights. weights: one integer of 0..2^64-1 per voter, 1 each
    when it is None; their sum is below 2^64. capacity: how many ids are counted at once, up to 2^31. Anything else raises
    ValueError.

    An id takes 40 bytes of memory and 8 for every 64 voters, up to a multiple of 64 bytes, and about 11 to 32 in the index.
    Room is made for a whole batch before any of it is counted, and given back by `clear`.

    A vote counts once per voter and id, and is never taken back. So the votes of an equivocator count as everyone's do
    (protocol section 4): in two batches that contradict each other both votes for rival ids count, each once, and an id that
    stands in both counts once. Who equivocates is found elsewhere, and what it voted for stays voted for.

    `refused` is how many votes were for an id that was new when the table was full: they are not counted, and may be given
    again. `duplicates` is how many were for an id that the voter had voted for, in an earlier batch or the same one. Both are of
    all calls of `add` since the tally was made.

    Calls release the GIL while they work, and one is at work at a time: another thread's meanwhile raises RuntimeError.
    """

    cdef tc_tally tally
    cdef bint busy
    cdef readonly object refused
    cdef readonly object duplicates

    def __cinit__(self, voters, quorum, weights=None, capacity=MAX_TALLIED):
        cdef bytes seed = urandom(TC_TALLY_SEED_BYTES)
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
        self.refused = self.duplicates = 0
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

    cdef int check_idle(self) except -1:
        if self.busy:
            raise RuntimeError("VoteTally: called while another call is at work in it")
        return 0

    cdef int enter(self) except -1:
        self.check_idle()
        self.busy = True
        return 0

    cdef const uint8_t *row(self, object item) except? NULL:
        """The row of an id, good as long as no other Python code runs."""
        cdef bytes wanted = as_item(item, ID, "id")
        self.check_idle()
        return tc_tally_find(&self.tally, wanted)

    def __len__(self):
        return self.tally.count

    def __contains__(self, item):
        return self.row(item) is not NULL

    def add(self, voter, ids):
        """Counts a voter's vote for each of the ids (32*n bytes); the ids that this took to the quorum, in order.

        ValueError for a voter that there is not, and for another length; MemoryError. Nothing is counted then.
        """
        cdef bytes column = as_column(ids, ID, "ids")
        cdef size_t n = len(column) // ID
        cdef const uint8_t *given = column
        cdef uint64_t number = as_u64(voter, "voter")
        cdef tc_tally_outcome outcome
        cdef int status
        if number >= self.tally.voters:
            raise ValueError(f"voter: {voter}, expected 0 to {self.tally.voters - 1}")
        outcome.reached = <size_t *>malloc((n + 1) * sizeof(size_t))
        if outcome.reached is NULL:
            raise MemoryError
        try:
            self.enter()
            with nogil:
                status = tc_tally_reserve(&self.tally, n)
                if status == 0:
                    tc_tally_add(&outcome, &self.tally, <uint32_t>number, given, n)
            self.busy = False
            if status != 0:
                raise MemoryError
            self.refused += outcome.refused
            self.duplicates += outcome.duplicates
            return ids_at(column, outcome.reached, outcome.n_reached)
        finally:
            free(outcome.reached)

    def count(self, id):
        """The weight of those who voted for an id; 0 when nobody did."""
        cdef const uint8_t *row = self.row(id)
        return 0 if row is NULL else tc_tally_weight(row)

    cdef bytes weights_of(self, bytes column):
        cdef size_t n = len(column) // ID
        cdef const uint8_t *given = column
        cdef bytes found = PyBytes_FromStringAndSize(NULL, n * sizeof(uint64_t))
        cdef uint64_t *weights = <uint64_t *>PyBytes_AS_STRING(found)
        self.enter()
        with nogil:
            tc_tally_counts(weights, &self.tally, given, n)
        self.busy = False
        return found

    def counts(self, ids):
        """The weight of those who voted for each of the ids (32*n bytes), as a column of n u64."""
        return memoryview(self.weights_of(as_column(ids, ID, "ids"))).cast("Q")

    def voters(self, id):
        """The voters who voted for an id, rising."""
        cdef const uint8_t *row = self.row(id)
        cdef uint32_t i, n
        cdef uint32_t *numbers
        if row is NULL:
            return []
        n = tc_tally_voter_count(&self.tally, row)
        numbers = <uint32_t *>malloc((n + 1) * sizeof(uint32_t))
        if numbers is NULL:
            raise MemoryError
        tc_tally_voters(numbers, &self.tally, row)
        try:
            return [numbers[i] for i in range(n)]
        finally:
            free(numbers)

    def reached(self, id):
        """Whether an id has its quorum."""
        cdef const uint8_t *row = self.row(id)
        return row is not NULL and tc_tally_weight(row) >= self.tally.quorum

    def reached_many(self, ids):
        """Whether each of the ids (32*n bytes) has its quorum: n bytes, 1 or 0."""
        cdef bytes found = self.weights_of(as_column(ids, ID, "ids"))
        cdef Py_ssize_t i, n = len(found) // <Py_ssize_t>sizeof(uint64_t)
        cdef const uint64_t *weights = <const uint64_t *>PyBytes_AS_STRING(found)
        cdef bytes verdicts = PyBytes_FromStringAndSize(NULL, n)
        cdef char *at = PyBytes_AS_STRING(verdicts)
        for i in range(n):
            at[i] = weights[i] >= self.tally.quorum
        return verdicts

    def remove(self, ids):
        """Forgets ids (32*n bytes) and their votes; how many of them were there. Votes for them count from nothing afterwards."""
        cdef bytes column = as_column(ids, ID, "ids")
        cdef size_t n = len(column) // ID, removed
        cdef const uint8_t *given = column
        self.enter()
        with nogil:
            removed = tc_tally_remove(&self.tally, given, n)
        self.busy = False
        return removed

    def clear(self):
        """Forgets all ids and their votes, and gives their memory back. `refused` and `duplicates` go on."""
        self.enter()
        tc_tally_clear(&self.tally)
        self.busy = False
