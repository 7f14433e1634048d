"""Messages from Python as the array of spans that the C kernels read.

There is no module behind this file: its functions are compiled into whoever cimports it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc

from timecoin._core.columns cimport PY_SSIZE_T_MAX, as_bytes, as_u64s


cdef extern from "Python.h":
    bint PyObject_CheckBuffer(object data)


cdef extern from "span.h" nogil:
    ctypedef struct tc_span:
        const uint8_t *data
        size_t size


cdef inline tuple as_messages(object messages):
    """The messages as `bytes`, each; the tuple keeps them alive. TypeError for what is not a sequence of bytes-likes."""
    cdef tuple held = tuple(messages)
    cdef object message
    for message in held:
        if not PyBytes_CheckExact(message):
            return tuple([as_bytes(other) for other in held])
    return held


cdef inline tc_span *spans_for(Py_ssize_t count) except NULL:
    """An array of spans, not filled, that the caller frees."""
    cdef tc_span *spans
    if count >= PY_SSIZE_T_MAX // <Py_ssize_t>sizeof(tc_span):
        raise MemoryError
    spans = <tc_span *>malloc((count + 1) * sizeof(tc_span))
    if spans is NULL:
        raise MemoryError
    return spans


cdef inline tc_span *as_spans(tuple messages) except NULL:
    """Where each of the messages lies, in an array that the caller frees; valid while the tuple lives."""
    cdef Py_ssize_t i, count = len(messages)
    cdef tc_span *spans = spans_for(count)
    cdef object message
    for i in range(count):
        message = messages[i]
        spans[i].data = <const uint8_t *>PyBytes_AS_STRING(message)
        spans[i].size = <size_t>PyBytes_GET_SIZE(message)
    return spans


cdef inline bytes rows_of(object array, Py_ssize_t width, str name):
    """The bytes of a C-contiguous array of bytes: a flat column, or rows of `width` (any width when it is negative)."""
    view = memoryview(array)
    flat = view.ndim == 1 and width > 0 and len(view) % width == 0
    rows = view.ndim == 2 and (width < 0 or view.shape[1] == width)
    if view.itemsize != 1 or not view.c_contiguous or not (flat or rows):
        expected = (
            f"({width}*n,) or (n, {width})"
            if width > 0
            else "(n, m), a sequence of bytes-likes, or one buffer with offsets"
        )
        raise ValueError(
            f"{name}: shape {view.shape} of {view.itemsize}-byte items"
            f"{'' if view.c_contiguous else ', not contiguous'}, expected bytes of shape {expected}"
        )
    return as_bytes(array)


cdef inline object integers_of(object values, str name):
    """A sequence of integers, from an array of them quicker than one by one."""
    if not PyObject_CheckBuffer(values):
        return values
    view = memoryview(values)
    try:
        return view.tolist()
    except NotImplementedError:
        raise TypeError(f"{name}: items of format {view.format!r}, expected integers in the machine's byte order") from None


cdef inline int refuse_more(Py_ssize_t count, str name, Py_ssize_t most, str others) except -1:
    if count > most:
        raise ValueError(f"{count} {name}, {most} {others}: expected as many of each")
    return 0


cdef inline object rows_as_spans(
    object array, str name, Py_ssize_t most, str others, tc_span **spans, Py_ssize_t *count,
):
    """Rows of an array, whose shape is asked for once: what asks may run other code, and that may change it."""
    cdef const uint8_t *data
    cdef Py_ssize_t i, height, width
    cdef bytes rows
    view = memoryview(array)
    rows = rows_of(view, -1, name)
    height, width = view.shape
    refuse_more(height, name, most, others)
    if len(rows) != height * width:
        raise ValueError(f"{name}: {len(rows)} bytes, expected {height} rows of {width}")
    data = rows
    spans[0] = spans_for(height)
    count[0] = height
    for i in range(height):
        spans[0][i].data = data + i * width
        spans[0][i].size = width
    return rows


cdef inline object pieces_as_spans(
    object buffer, object offsets, str name, Py_ssize_t most, str others, tc_span **spans, Py_ssize_t *count,
):
    """Pieces of one buffer: message i lies from offsets[i] to offsets[i + 1]."""
    cdef bytes whole
    cdef const uint8_t *data
    cdef Py_ssize_t i, pieces = len(offsets) - 1
    cdef uint64_t size
    cdef uint64_t *ends
    view = memoryview(buffer)
    if view.ndim != 1 or view.itemsize != 1:
        raise ValueError(
            f"{name}: shape {view.shape} of {view.itemsize}-byte items, expected one buffer of bytes with offsets"
        )
    whole = as_bytes(buffer)
    data = whole
    size = len(whole)
    if pieces < 0:
        raise ValueError(f"offsets: 0 values, expected one more than there are {name}")
    refuse_more(pieces, name, most, others)
    ends = as_u64s(integers_of(offsets, "offsets"), pieces + 1, "offsets")
    try:
        for i in range(pieces):
            if not ends[i] <= ends[i + 1] <= size:
                raise ValueError(
                    f"offsets[{i}] to offsets[{i + 1}]: {ends[i]} to {ends[i + 1]},"
                    f" expected a part of the buffer's {size} bytes"
                )
        spans[0] = spans_for(pieces)
        count[0] = pieces
        for i in range(pieces):
            spans[0][i].data = data + ends[i]
            spans[0][i].size = ends[i + 1] - ends[i]
    finally:
        free(ends)
    return whole


cdef inline object batch_as_spans(
    object messages, object offsets, str name, Py_ssize_t most, str others, tc_span **spans, Py_ssize_t *count,
):
    """Messages in any of three forms: a sequence of bytes-likes, rows of an array, or with offsets the pieces of one buffer.

    Rows and pieces of no bytes cost a caller nothing: of them there may be `most`, as many as there are `others`, before
    memory is taken, and ValueError names both numbers. The spans are in an array that the caller frees, set on success
    alone; valid while the object that is returned lives.
    """
    cdef tuple held
    if offsets is not None:
        return pieces_as_spans(messages, offsets, name, most, others, spans, count)
    if PyObject_CheckBuffer(messages):
        return rows_as_spans(messages, name, most, others, spans, count)
    held = as_messages(messages)
    spans[0] = as_spans(held)
    count[0] = len(held)
    return held
