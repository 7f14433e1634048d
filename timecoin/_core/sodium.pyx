"""The libsodium that the core is linked with: where it lies, its version, and signing of many messages at once.

`timecoin.keys` hands library_path() to pysodium, so that a process holds one copy of libsodium. A secret key is read
where the caller keeps it, by libsodium alone; it is not copied and not named in an error.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t
from libc.stdlib cimport free

from timecoin._core.spans cimport as_messages, as_spans, tc_span

import os


cdef extern from "<dlfcn.h>" nogil:
    ctypedef struct Dl_info:
        const char *dli_fname
    int dladdr(const void *address, Dl_info *info)


cdef extern from "<sodium.h>" nogil:
    int sodium_init()
    const char *sodium_version_string()
    int crypto_sign_detached(
        unsigned char *signature, unsigned long long *signature_size, const unsigned char *message,
        unsigned long long size, const unsigned char *secret_key)


cdef enum:
    SECRET_KEY = 64
    SIGNATURE = 64

if sodium_init() < 0:
    raise ImportError("libsodium cannot start (sodium_init failed)")


def library_path():
    """The file that libsodium was loaded from (dladdr on one of its symbols). OSError when the loader cannot say."""
    cdef Dl_info info
    if dladdr(<const void *>&sodium_init, &info) == 0 or info.dli_fname is NULL:
        raise OSError("the loader does not say which file libsodium was loaded from")
    return os.fsdecode(<bytes>info.dli_fname)


def version():
    """libsodium's own version, e.g. "1.0.18"."""
    return (<bytes>sodium_version_string()).decode("ascii")


def sign_batch(secret_key, messages):
    """The Ed25519 signatures (RFC 8032) of n messages by one key: a column of 64*n bytes.

    secret_key is libsodium's form: the 32-byte seed, then the 32-byte public key. ValueError for another size.
    """
    cdef tuple held = as_messages(messages)
    cdef size_t i, count = len(held)
    cdef bytes result = PyBytes_FromStringAndSize(NULL, SIGNATURE * count)
    cdef uint8_t *out = <uint8_t *>(<char *>result)
    cdef int failed = 0
    cdef tc_span *spans
    cdef Py_buffer key
    PyObject_GetBuffer(secret_key, &key, PyBUF_SIMPLE)
    try:
        if key.len != SECRET_KEY:
            raise ValueError(f"secret key: {key.len} bytes, expected {SECRET_KEY}")
        spans = as_spans(held)
        with nogil:
            for i in range(count):
                failed |= crypto_sign_detached(
                    out + SIGNATURE * i, NULL, spans[i].data, spans[i].size, <const unsigned char *>key.buf)
            free(spans)
        if failed:
            raise RuntimeError("libsodium did not sign")
    finally:
        PyBuffer_Release(&key)
    return result
