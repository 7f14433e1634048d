"""Arguments of the core's modules as plain bytes: columns of fixed-width items, single items, arrays of integers.

What is not already `bytes` is copied first, so that nothing can change under a loop that runs without the GIL.
There is no module behind this file: its functions are compiled into whoever cimports it.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_SIMPLE, PyBuffer_Release, PyObject_CheckBuffer, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_CheckExact, PyBytes_FromStringAndSize
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, strcmp


cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX


cdef inline bytes as_bytes(object data):
    """Any C-contiguous bytes-like; TypeError or BufferError for anything else."""
    cdef Py_buffer view
    if PyBytes_CheckExact(data):
        return <bytes>data
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


cdef inline bytes as_item(object data, Py_ssize_t size, str name):
    """A bytes-like of exactly `size` bytes; ValueError otherwise."""
    cdef bytes item = as_bytes(data)
    if len(item) != size:
        raise ValueError(f"{name}: {len(item)} bytes, expected {size}")
    return item


cdef inline bytes as_column(object data, Py_ssize_t width, str name):
    """A bytes-like of a multiple of `width` bytes; ValueError otherwise."""
    cdef bytes column = as_bytes(data)
    if len(column) % width:
        raise ValueError(f"{name}: {len(column)} bytes, expected a multiple of {width}")
    return column


cdef inline uint64_t as_u64(object value, str name) except? 0:
    """An integer of 0..2^64-1; ValueError for another one, TypeError for what is no integer."""
    try:
        return <uint64_t>PyNumber_Index(value)
    except OverflowError:
        raise ValueError(f"{name}: {value}, expected 0 to 2**64 - 1") from None


cdef inline uint64_t *as_u64s(object values, Py_ssize_t count, str name) except NULL:
    """`count` integers in an array that the caller frees; ValueError for another number of them."""
    cdef Py_ssize_t found = len(values), i = 0
    cdef uint64_t *out
    if found != count:
        raise ValueError(f"{name}: {found} values, expected {count}")
    if count >= PY_SSIZE_T_MAX // <Py_ssize_t>sizeof(uint64_t):
        raise MemoryError
    out = <uint64_t *>malloc((count + 1) * sizeof(uint64_t))
    if out is NULL:
        raise MemoryError
    try:
        for value in values:
            if i == count:
                break
            out[i] = as_u64(value, name)
            i += 1
        if i != count:
            raise ValueError(f"{name}: {i} values, expected {count}")
    except BaseException:
        free(out)
        raise
    return out


cdef inline bint holds_u64s(const Py_buffer *view) noexcept:
    """Whether a buffer's items are bytes, or unsigned integers of 64 bits in native order."""
    if view.format is NULL or strcmp(view.format, b"B") == 0:
        return True
    return view.itemsize == sizeof(uint64_t) and (strcmp(view.format, b"Q") == 0 or strcmp(view.format, b"L") == 0)


cdef inline uint64_t *as_u64_column(object values, Py_ssize_t count, str name) except NULL:
    """`count` integers in an array that the caller frees: from a column of them, 8 bytes each in native order, or as as_u64s."""
    cdef Py_buffer view
    cdef uint64_t *out
    if not PyObject_CheckBuffer(values):
        return as_u64s(values, count, name)
    PyObject_GetBuffer(values, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
    try:
        if not holds_u64s(&view):
            return as_u64s(memoryview(values).tolist(), count, name)
        if count > PY_SSIZE_T_MAX // <Py_ssize_t>sizeof(uint64_t) - 1 or view.len != count * <Py_ssize_t>sizeof(uint64_t):
            raise ValueError(f"{name}: {view.len} bytes, expected {8 * count}")
        out = <uint64_t *>malloc(view.len + sizeof(uint64_t))
        if out is NULL:
            raise MemoryError
        memcpy(out, view.buf, view.len)
        return out
    finally:
        PyBuffer_Release(&view)
