"""A sequence of messages from Python as the array of spans that the C kernels read.

There is no module behind this file: its functions are compiled into whoever cimports it.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE
from libc.stdint cimport uint8_t
from libc.stdlib cimport malloc

from timecoin._core.columns cimport as_bytes


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


cdef inline tc_span *as_spans(tuple messages) except NULL:
    """Where each of the messages lies, in an array that the caller frees; valid while the tuple lives."""
    cdef Py_ssize_t i, count = len(messages)
    cdef tc_span *spans = <tc_span *>malloc((count + 1) * sizeof(tc_span))
    cdef object message
    if spans is NULL:
        raise MemoryError
    for i in range(count):
        message = messages[i]
        spans[i].data = <const uint8_t *>PyBytes_AS_STRING(message)
        spans[i].size = <size_t>PyBytes_GET_SIZE(message)
    return spans
