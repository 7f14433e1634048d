"""Ed25519 verification: which of these signatures are good?

One rule for every form: verify, verify_batch and verify_many give the same verdict on the same item, whatever stands
beside it and however many threads share the work. The kernel is c/verify.h.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uint8_t
from libc.stdlib cimport free

from timecoin._core.columns cimport as_bytes, as_item
from timecoin._core.spans cimport as_messages, as_spans, tc_span


cdef extern from "Python.h":
    bint PyObject_CheckBuffer(object data)


cdef extern from "<sodium.h>" nogil:
    int sodium_init()


cdef extern from "verify.h" nogil:
    enum:
        TC_MAX_VERIFY_THREADS
    void tc_ed25519_verify(
        uint8_t *verdicts, const uint8_t *keys, const tc_span *messages, const uint8_t *signatures, size_t count,
        unsigned threads)


cdef enum:
    KEY = 32
    SIGNATURE = 64

if sodium_init() < 0:
    raise ImportError("libsodium cannot start (sodium_init failed)")


cdef bytes rows_of(object array, Py_ssize_t width, str name):
    """The bytes of a C-contiguous array of bytes: a flat column, or rows of `width` (any width when it is negative)."""
    view = memoryview(array)
    flat = view.ndim == 1 and width > 0 and len(view) % width == 0
    rows = view.ndim == 2 and (width < 0 or view.shape[1] == width)
    if view.itemsize != 1 or not view.c_contiguous or not (flat or rows):
        expected = f"({width}*n,) or (n, {width})" if width > 0 else "(n, m), or a sequence of bytes-likes"
        raise ValueError(
            f"{name}: shape {view.shape} of {view.itemsize}-byte items"
            f"{'' if view.c_contiguous else ', not contiguous'}, expected bytes of shape {expected}"
        )
    return as_bytes(array)


cdef bytes column_of(object items, Py_ssize_t width, str name):
    """A column of n items of `width` bytes from one buffer or from a sequence of n bytes-likes."""
    cdef list parts = []
    cdef bytes part
    if PyObject_CheckBuffer(items):
        return rows_of(items, width, name)
    for item in items:
        part = as_bytes(item)
        if len(part) != width:
            raise ValueError(f"{name}[{len(parts)}]: {len(part)} bytes, expected {width}")
        parts.append(part)
    return b"".join(parts)


cdef tuple messages_of(object messages):
    cdef Py_ssize_t i, width
    cdef bytes rows
    if not PyObject_CheckBuffer(messages):
        return as_messages(messages)
    rows = rows_of(messages, -1, "messages")
    width = memoryview(messages).shape[1]
    return tuple([rows[i * width:(i + 1) * width] for i in range(len(messages))])


def verify(public_key, message, signature):
    """Whether a signature (64 bytes) of a message is valid under a public key (32 bytes). ValueError for other sizes."""
    cdef bytes key = as_item(public_key, KEY, "public key")
    cdef bytes body = as_bytes(message)
    cdef bytes proof = as_item(signature, SIGNATURE, "signature")
    cdef const uint8_t *keys = key
    cdef const uint8_t *signatures = proof
    cdef tc_span span
    cdef uint8_t verdict
    span.data = body
    span.size = len(body)
    with nogil:
        tc_ed25519_verify(&verdict, keys, &span, signatures, 1, 1)
    return verdict == 1


def verify_many(keys, messages, signatures, threads=1):
    """The verdicts on n signatures: n bytes, 1 for a valid one and 0 for another. Takes what verify_batch takes, and
    does not load numpy."""
    cdef bytes key_column = column_of(keys, KEY, "public keys")
    cdef bytes signature_column = column_of(signatures, SIGNATURE, "signatures")
    cdef tuple held = messages_of(messages)
    cdef const uint8_t *key_data = key_column
    cdef const uint8_t *signature_data = signature_column
    cdef Py_ssize_t count = len(held)
    cdef unsigned workers
    cdef bytes verdicts
    cdef uint8_t *out
    cdef tc_span *spans
    threads = PyNumber_Index(threads)
    if not 1 <= threads <= TC_MAX_VERIFY_THREADS:
        raise ValueError(f"threads: {threads}, expected 1 to {TC_MAX_VERIFY_THREADS}")
    workers = threads
    if len(key_column) != KEY * count or len(signature_column) != SIGNATURE * count:
        raise ValueError(
            f"{len(key_column) // KEY} public keys, {count} messages, {len(signature_column) // SIGNATURE} signatures:"
            " expected as many of each"
        )
    verdicts = PyBytes_FromStringAndSize(NULL, count)
    out = <uint8_t *>(<char *>verdicts)
    spans = as_spans(held)
    with nogil:
        tc_ed25519_verify(out, key_data, spans, signature_data, <size_t>count, workers)
        free(spans)
    return verdicts


def verify_batch(public_keys, messages, signatures, *, threads=1):
    """The verdicts on n signatures: a writable numpy array of bool, shape (n,).

    public_keys   n keys: a column of 32*n bytes, a sequence of 32-byte bytes-likes, or a uint8 array of shape (n, 32)
    messages      n messages: a sequence of bytes-likes, or a uint8 array of shape (n, m)
    signatures    n signatures: as the keys, with 64
    threads       1 to 64: how many share the work, the calling one included; it does not change a verdict

    The GIL is released for the whole computation. An invalid signature is a verdict, never an error; a wrong shape, or
    counts that differ, raise ValueError naming what was found and what was expected.
    """
    import numpy

    return numpy.frombuffer(bytearray(verify_many(public_keys, messages, signatures, threads)), dtype=numpy.bool_)
