"""What the decoders of batches have in common: items in one buffer or many, and columns that share one piece of memory.

A batch has one `bytes` for all of its columns: one allocation, which a program that decodes again and again gets back warm
instead of taking a page fault for every 4 KB of every column. A column becomes a Python object when it is asked for.
There is no module behind this file: its functions are compiled into whoever cimports it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from timecoin._core.columns cimport as_u64
from timecoin._core.spans cimport as_messages, as_spans, pieces_as_spans, tc_span


cdef extern from "decoding.h" nogil:
    const uint32_t TC_CODEC_UNTIL_END

    ctypedef enum tc_codec_code:
        TC_CODEC_OK
        TC_CODEC_MANY
        TC_CODEC_TRAILING

    ctypedef struct tc_codec_error:
        tc_codec_code code
        uint32_t item
        size_t offset
        uint64_t value
        uint64_t bound

    void tc_codec_join(uint8_t *out, const uint8_t *codes, const tc_span *items, size_t count)


cdef enum:
    # Below this many bytes the work is done before another thread could have taken the GIL and given it back.
    KEEP_GIL = 4096
    COLUMN_ALIGNMENT = 16


cdef struct column:
    size_t start, size  # in bytes, in the memory of the batch


cdef inline bytes room(size_t size):
    """A `bytes` of this size that is still to be written, before anybody else sees it."""
    return PyBytes_FromStringAndSize(NULL, <Py_ssize_t>size)


cdef inline uint8_t *inside(bytes memory) noexcept:
    return <uint8_t *>PyBytes_AS_STRING(memory)


cdef inline bytes room_for(column *columns, int count):
    """Room for columns of the sizes that are set; sets where each of them starts."""
    cdef size_t total = 0
    for i in range(count):
        columns[i].start = total
        total += (columns[i].size + COLUMN_ALIGNMENT - 1) // COLUMN_ALIGNMENT * COLUMN_ALIGNMENT
    return room(total)


cdef inline object column_object(bytes memory, column place, str kind):
    """A column as `bytes` when `kind` is '', else as a read-only memoryview of that format."""
    if not kind:
        return memory[place.start:place.start + place.size]
    return memoryview(memory)[place.start:place.start + place.size].cast(kind)


cdef inline uint64_t below(object value, uint64_t bound, str name) except? 0:
    """An integer from 0 to bound - 1; ValueError for another one."""
    cdef uint64_t number = as_u64(value, name)
    if number >= bound:
        raise ValueError(f"{name}: {number}, at most {bound - 1}")
    return number


cdef inline object items_as_spans(object items, object offsets, Py_ssize_t most, tc_span **spans, Py_ssize_t *count):
    """A sequence of bytes-likes, or with offsets the pieces of one buffer; ValueError for more than `most`.

    The spans are in an array that the caller frees, set on success alone; valid while the object that is returned lives.
    """
    cdef tuple held
    cdef Py_ssize_t found
    if offsets is None:
        held = as_messages(items)
        found = len(held)
    else:
        found = len(offsets) - 1
    if found > most:
        raise ValueError(f"items: {found}, at most {most}")
    if offsets is not None:
        return pieces_as_spans(items, offsets, "items", found, "pieces", spans, count)
    spans[0] = as_spans(held)
    count[0] = found
    return held
