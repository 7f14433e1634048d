"""Vote batches, many at once, from their canonical bytes into columns.

The batches that arrive from peers become columns in one pass: the signed messages, signatures and voters that signature
verification takes, and the ids that the tally takes. The structure is checked here and no more: whether the lists have the
roots that are signed, whether there is such a voter and whether the signature is his are for the caller to find out. The
format stands in c/votes.h.
"""

cimport cython
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc

from timecoin._core.columns cimport as_bytes, as_item, as_u64
from timecoin._core.decoding cimport (
    KEEP_GIL, TC_CODEC_MANY, TC_CODEC_OK, TC_CODEC_TRAILING, TC_CODEC_UNTIL_END, below, column, column_object, inside,
    items_as_spans, room, room_for, tc_codec_code, tc_codec_error, tc_codec_join,
)
from timecoin._core.spans cimport tc_span

from timecoin._core import hashing
from timecoin.errors import DecodeError


cdef extern from "votes.h" nogil:
    enum:
        TC_CODEC_MANY_ACKS
        TC_CODEC_MANY_LOCKS
        TC_CODEC_SHORT_ACKS
        TC_CODEC_SHORT_LOCKS
        TC_CODEC_SHORT_VOTES
        TC_CODEC_VOTER
        TC_MAX_KEPT_BATCHES
        TC_SIGNATURE_BYTES
        TC_VOTES_MESSAGE_BYTES

    ctypedef struct tc_votes_totals:
        uint32_t batches
        uint32_t locks
        uint32_t acks

    ctypedef struct tc_votes_batch:
        uint64_t epoch
        uint64_t sequence
        uint64_t decided
        uint16_t voter
        uint32_t locks
        uint32_t acks
        const uint8_t *lock_root
        const uint8_t *ack_root
        const uint8_t *signature
        const uint8_t *lock_ids
        const uint8_t *ack_ids

    ctypedef struct tc_votes_columns:
        uint8_t *epochs
        uint8_t *voters
        uint8_t *sequences
        uint8_t *decided
        uint8_t *lock_roots
        uint8_t *ack_roots
        uint8_t *signatures
        uint8_t *offsets
        uint8_t *lock_starts
        uint8_t *ack_starts
        uint8_t *lock_ids
        uint8_t *ack_ids

    tc_codec_code tc_votes_scan(
        tc_votes_totals *totals, tc_codec_error *error, const uint8_t *data, size_t size, uint32_t count, uint32_t most)
    size_t tc_votes_scan_items(tc_votes_totals *totals, uint8_t *codes, const tc_span *items, size_t count)
    tc_votes_batch tc_votes_read(const uint8_t *batch)
    void tc_votes_fill(const tc_votes_columns *columns, const uint8_t *data, uint32_t count)
    void tc_votes_messages(
        uint8_t *messages, const uint8_t *domain, const uint8_t *data, const uint8_t *offsets, uint32_t count)
    uint64_t tc_get_u64(const uint8_t *column, size_t i)


cdef enum:
    HASH = 32
    MOST = 0xFFFFF  # batches at once, so that their votes' number fits 32 bits

cdef enum:
    EPOCHS
    VOTERS
    SEQUENCES
    DECIDED
    LOCK_ROOTS
    ACK_ROOTS
    SIGNATURES
    OFFSETS
    LOCK_STARTS
    ACK_STARTS
    LOCKS
    ACKS
    JOINED  # the encodings, when they were not in one buffer already
    COLUMNS

# '' is `bytes`.
cdef tuple FORMATS = ("Q", "H", "Q", "Q", "", "", "", "Q", "I", "I", "", "", "")

cdef bytes SIGNED_TAG = hashing.sha256(b"timecoin/vote-batch")

# Keys are the codes that the kernel returns; the field at fault, and what is said of it.
cdef dict FAULTS = {
    TC_CODEC_MANY: ("end", "vote batch {item}: {value} bytes left, at most {bound} batches"),
    TC_CODEC_TRAILING: ("end", "vote batch {item}: {value} bytes left after all {bound} batches"),
    TC_CODEC_SHORT_VOTES: ("fixed part", "vote batch {item}: {value} bytes left, its fixed part takes {bound}"),
    TC_CODEC_VOTER: ("voter", "vote batch {item}: voter {value}, at most {bound}"),
    TC_CODEC_MANY_LOCKS: ("locks", "vote batch {item}: {value} locks, at most {bound}"),
    TC_CODEC_MANY_ACKS: ("acks", "vote batch {item}: {value} acks, at most {bound}"),
    TC_CODEC_SHORT_LOCKS: ("locks", "vote batch {item}: {value} bytes left, its locks take {bound}"),
    TC_CODEC_SHORT_ACKS: ("acks", "vote batch {item}: {value} bytes left, its acks take {bound}"),
}


cdef object refusal(const tc_codec_error *error):
    field, text = FAULTS[error.code]
    return DecodeError(text.format(item=error.item, value=error.value, bound=error.bound), error.offset, field=field)


@cython.final
cdef class VoteBatches:
    """Vote batches decoded together, as columns; `decode` and `decode_many` make it.

    With n batches, l LOCKs and a ACKs in all:

    epochs, sequences, decided    n integers (format Q); `decided` is the voter's last committed height
    voters                        n (H): places in the epoch's set
    lock_roots, ack_roots         32 bytes for each batch, as `bytes`
    signatures                    64 bytes for each batch, as `bytes`
    offsets                       n + 1 (Q): batch i is data[offsets[i]:offsets[i + 1]]
    lock_starts, ack_starts       n + 1 (I): the LOCKs of batch i are number lock_starts[i] to lock_starts[i + 1]
    locks, acks                   32 bytes for each vote, as `bytes`: the transactions' ids

    Integers are read-only memoryviews, which numpy takes without a copy. A column becomes an object when it is first asked
    for. `data` is all that was decoded. Immutable, so that any number of threads may use it at once.
    """

    cdef readonly Py_ssize_t count
    cdef column places[COLUMNS]
    cdef bytes memory
    cdef bytes held  # the buffer that was decoded, None when the encodings are in the memory of the columns
    cdef const uint8_t *encodings  # offsets count from here
    cdef list objects

    def __init__(self):
        raise TypeError("a VoteBatches is made by VoteBatches.decode or VoteBatches.decode_many")

    def __len__(self):
        return self.count

    @staticmethod
    def decode(data, *, count=None, max_count=TC_MAX_KEPT_BATCHES):
        """The vote batches that `data` is made of, back to back.

        count: how many there must be, neither more nor less; None for as many as there are. More than max_count (at most
        1,048,575) raise DecodeError, as does everything that is not an encoding. The error names the batch, the field and
        the offset, which counts from the start of data. `bytes` are not copied.
        """
        cdef bytes held = as_bytes(data)
        cdef uint32_t most = <uint32_t>below(max_count, MOST + 1, "max_count")
        cdef uint32_t exactly = TC_CODEC_UNTIL_END
        cdef tc_votes_totals totals
        cdef tc_codec_error error
        cdef const uint8_t *at = held
        cdef size_t size = len(held)
        if count is not None:
            if as_u64(count, "count") > most:
                raise DecodeError(f"{count} vote batches, at most {most}", 0, field="count")
            exactly = count
        if tc_votes_scan(&totals, &error, at, size, exactly, most) != TC_CODEC_OK:
            raise refusal(&error)
        cdef VoteBatches batch = make_batch(&totals, 0)
        batch.held = held
        return fill(batch, at)

    @staticmethod
    def decode_many(items, *, offsets=None):
        """(the good ones of n items, (index, DecodeError) for each of the others), both in order.

        items: a sequence of n bytes-likes (at most 1,048,575), each the encoding of one vote batch; or one buffer with
        `offsets`, n + 1 integers that do not decrease: item i lies from offsets[i] to offsets[i + 1]. The offset of an
        error counts from the start of its item. `data` is the good items back to back.
        """
        return decode_many(items, offsets)

    cdef object get(self, int which):
        found = self.objects[which]
        if found is None:
            found = self.objects[which] = column_object(self.memory, self.places[which], FORMATS[which])
        return found

    cdef uint8_t *start(self, int which) noexcept:
        return inside(self.memory) + self.places[which].start

    @property
    def data(self):
        return self.get(JOINED) if self.held is None else self.held

    @property
    def epochs(self):
        return self.get(EPOCHS)

    @property
    def voters(self):
        return self.get(VOTERS)

    @property
    def sequences(self):
        return self.get(SEQUENCES)

    @property
    def decided(self):
        return self.get(DECIDED)

    @property
    def lock_roots(self):
        return self.get(LOCK_ROOTS)

    @property
    def ack_roots(self):
        return self.get(ACK_ROOTS)

    @property
    def signatures(self):
        return self.get(SIGNATURES)

    @property
    def offsets(self):
        return self.get(OFFSETS)

    @property
    def lock_starts(self):
        return self.get(LOCK_STARTS)

    @property
    def ack_starts(self):
        return self.get(ACK_STARTS)

    @property
    def locks(self):
        return self.get(LOCKS)

    @property
    def acks(self):
        return self.get(ACKS)

    def signing_messages(self, chain_id):
        """What the voter of each batch signs on the chain of this id (32 bytes): 162 bytes for each batch, in order."""
        cdef bytes domain = SIGNED_TAG + as_item(chain_id, HASH, "chain id")
        cdef bytes made = room(TC_VOTES_MESSAGE_BYTES * <size_t>self.count)
        tc_votes_messages(inside(made), domain, self.encodings, self.start(OFFSETS), <uint32_t>self.count)
        return made

    def parts(self, Py_ssize_t i):
        """(epoch, voter, sequence, decided, lock root, ack root, LOCK ids, ACK ids, signature) of batch i; the ids are
        columns. IndexError outside."""
        if not 0 <= i < self.count:
            raise IndexError(f"vote batch {i}, expected 0 to {self.count - 1}")
        return parts_at(self.encodings + tc_get_u64(self.start(OFFSETS), i))


cdef tuple parts_at(const uint8_t *start):
    """The parts of the accepted batch that begins here."""
    cdef tc_votes_batch batch = tc_votes_read(start)
    return (
        batch.epoch, batch.voter, batch.sequence, batch.decided, batch.lock_root[:HASH], batch.ack_root[:HASH],
        batch.lock_ids[:HASH * <Py_ssize_t>batch.locks], batch.ack_ids[:HASH * <Py_ssize_t>batch.acks],
        batch.signature[:TC_SIGNATURE_BYTES],
    )


def decode_vote_batch(data):
    """The parts, as VoteBatches.parts gives them, of one encoded vote batch, without columns; DecodeError when it is none."""
    cdef bytes held = as_bytes(data)
    cdef const uint8_t *start = held
    cdef tc_votes_totals totals
    cdef tc_codec_error error
    if tc_votes_scan(&totals, &error, start, len(held), 1, 1) != TC_CODEC_OK:
        raise refusal(&error)
    return parts_at(start)


cdef VoteBatches make_batch(const tc_votes_totals *totals, size_t joined):
    """A batch with room for the columns of vote batches with these totals, and for so many bytes of their encodings."""
    cdef VoteBatches batch = VoteBatches.__new__(VoteBatches)
    cdef size_t n = totals.batches
    cdef size_t[COLUMNS] sizes = [
        8 * n, 2 * n, 8 * n, 8 * n, HASH * n, HASH * n, TC_SIGNATURE_BYTES * n, 8 * (n + 1), 4 * (n + 1), 4 * (n + 1),
        HASH * <size_t>totals.locks, HASH * <size_t>totals.acks, joined,
    ]
    for i in range(COLUMNS):
        batch.places[i].size = sizes[i]
    batch.memory = room_for(batch.places, COLUMNS)
    batch.objects = [None] * COLUMNS
    batch.count = n
    return batch


cdef VoteBatches fill(VoteBatches batch, const uint8_t *encodings):
    """The batch with the columns of the vote batches at encodings[0..], which have been scanned."""
    cdef tc_votes_columns columns
    cdef uint32_t count = <uint32_t>batch.count
    columns.epochs = batch.start(EPOCHS)
    columns.voters = batch.start(VOTERS)
    columns.sequences = batch.start(SEQUENCES)
    columns.decided = batch.start(DECIDED)
    columns.lock_roots = batch.start(LOCK_ROOTS)
    columns.ack_roots = batch.start(ACK_ROOTS)
    columns.signatures = batch.start(SIGNATURES)
    columns.offsets = batch.start(OFFSETS)
    columns.lock_starts = batch.start(LOCK_STARTS)
    columns.ack_starts = batch.start(ACK_STARTS)
    columns.lock_ids = batch.start(LOCKS)
    columns.ack_ids = batch.start(ACKS)
    batch.encodings = encodings
    if len(batch.memory) < KEEP_GIL:
        tc_votes_fill(&columns, encodings, count)
    else:
        with nogil:
            tc_votes_fill(&columns, encodings, count)
    return batch


cdef tuple decode_many(object items, object offsets):
    cdef tc_span *spans = NULL
    cdef uint8_t *codes = NULL
    cdef uint8_t *joined
    cdef Py_ssize_t count = 0
    cdef size_t size
    cdef tc_votes_totals totals, own
    cdef tc_codec_error error
    cdef VoteBatches batch
    cdef list refused = []
    # What the spans lie in stays alive while they are read.
    cdef object _held = items_as_spans(items, offsets, MOST, &spans, &count)
    try:
        codes = <uint8_t *>malloc(count + 1)
        if codes is NULL:
            raise MemoryError
        with nogil:
            size = tc_votes_scan_items(&totals, codes, spans, count)
        for i in range(count):
            if codes[i] != TC_CODEC_OK:
                tc_votes_scan(&own, &error, spans[i].data, spans[i].size, 1, 1)
                error.item = i
                refused.append((i, refusal(&error)))
        batch = make_batch(&totals, size)
        joined = batch.start(JOINED)
        with nogil:
            tc_codec_join(joined, codes, spans, count)
        return fill(batch, joined), refused
    finally:
        free(codes)
        free(spans)
