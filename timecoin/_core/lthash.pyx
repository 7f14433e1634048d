"""BLAKE3, and LtHash: the homomorphic multiset hash behind the commitment to the UTXO set.

Adding or removing a coin costs the same whatever the set holds, and the order never matters. The kernels are
c/blake3.h, c/lthash.h and c/lthash/sum.h; the plain Python twin stands in tests/core/twins.py.

Backends, under the names that ed25519 has: 'portable' (4 lanes), 'avx2' (8 lanes), 'avx512ifma' (16 lanes). The best that the
machine runs is chosen at import, or the one that the environment variable TIMECOIN_CPU names. All give the same state.
"""

from libc.stdint cimport uint8_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memset

from timecoin._core.columns cimport PY_SSIZE_T_MAX, as_bytes, as_item
from timecoin._core.cpu cimport cpu_level, cpu_named, tc_cpu_level
from timecoin._core.spans cimport batch_as_spans, tc_span


cdef extern from "Python.h":
    bytes PyBytes_FromStringAndSize(const char *data, Py_ssize_t size)
    char *PyBytes_AS_STRING(bytes data)


cdef extern from "blake3.h" nogil:
    void tc_blake3(uint8_t *out, size_t out_len, const uint8_t *data, size_t len)


cdef extern from "sha256.h" nogil:
    void tc_sha256_choose(tc_cpu_level most)


cdef extern from "lthash.h" nogil:
    enum:
        TC_LTHASH_BYTES

    ctypedef struct tc_lthash:
        pass

    ctypedef struct tc_lthash_backend:
        const char *name
        void (*sum)(tc_lthash *out, const tc_span *items, size_t count) noexcept nogil

    void tc_lthash_prepare()
    const tc_lthash_backend *tc_lthash_backend_at(size_t i)
    void tc_lthash_add(tc_lthash *state, const tc_lthash *other)
    void tc_lthash_subtract(tc_lthash *state, const tc_lthash *other)
    void tc_lthash_store(uint8_t *out, const tc_lthash *state)
    void tc_lthash_load(tc_lthash *state, const uint8_t *data)
    void tc_lthash_digest(uint8_t *out, const tc_lthash *state)


tc_sha256_choose(cpu_level())
tc_lthash_prepare()


cdef tuple names():
    cdef list found = []
    while tc_lthash_backend_at(len(found)) is not NULL:
        found.append(tc_lthash_backend_at(len(found)).name.decode())
    return tuple(found)


cdef tuple BACKENDS = names()


def backends():
    """The names of the backends that this machine can run, 'portable' first and the quickest last."""
    return BACKENDS


cdef const tc_lthash_backend *backend_of(object name) except NULL:
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r}: this machine runs {', '.join(BACKENDS)}")
    return tc_lthash_backend_at(BACKENDS.index(name))


cdef const tc_lthash_backend *BACKEND = backend_of(cpu_named() or BACKENDS[-1])


def cpu_backend():
    """The name of the backend in use: the best of this machine, or the one that TIMECOIN_CPU named at import."""
    return BACKEND.name.decode()


def blake3(data, Py_ssize_t length=32):
    """The first `length` bytes of BLAKE3 (plain hash mode) of one bytes-like. ValueError for a negative length."""
    if length < 0:
        raise ValueError(f"length: {length} bytes, expected 0 or more")
    cdef bytes held = as_bytes(data)
    cdef const uint8_t *message = held
    cdef size_t size = len(held)
    cdef bytes result = PyBytes_FromStringAndSize(NULL, length)
    cdef uint8_t *out = <uint8_t *>PyBytes_AS_STRING(result)
    with nogil:
        tc_blake3(out, <size_t>length, message, size)
    return result


cdef int sum_of(tc_lthash *out, const tc_lthash_backend *backend, object items, object offsets) except -1:
    """The hash of the multiset of items, computed without the GIL."""
    cdef tc_span *spans = NULL
    cdef Py_ssize_t count = 0
    # What the spans lie in stays alive while they are read.
    cdef object _held = batch_as_spans(items, offsets, "items", PY_SSIZE_T_MAX, "", &spans, &count)
    with nogil:
        backend.sum(out, spans, <size_t>count)
        free(spans)
    return 0


cdef class LtHash:
    """The hash of a multiset of bytes-likes: 1024 lanes of 16 bits, each the sum over the items modulo 2**16.

    An item's lanes are the first 2048 bytes of its BLAKE3 output, little-endian. `state`, when given, is what state()
    of another one returned (2048 bytes; ValueError for another size). Methods may be called from several threads: only
    the final addition touches the object, and it holds the GIL. Two with the same state are equal.

    Items come as a sequence of bytes-likes, as an array of bytes of shape (n, m), or as one buffer with `offsets`, n + 1
    integers that do not decrease: item i lies from offsets[i] to offsets[i + 1]. ValueError for other shapes and offsets, and
    then nothing is added or removed.

    A state cannot say whether an item is in it: removing one that was never added gives the state of no real set.
    """

    cdef tc_lthash lanes

    def __init__(self, state=None):
        if state is None:
            memset(&self.lanes, 0, sizeof(tc_lthash))
        else:
            tc_lthash_load(&self.lanes, as_item(state, TC_LTHASH_BYTES, "state"))

    def add(self, items, *, offsets=None):
        """Adds each item; one that comes twice counts twice."""
        cdef tc_lthash total
        sum_of(&total, BACKEND, items, offsets)
        tc_lthash_add(&self.lanes, &total)

    def remove(self, items, *, offsets=None):
        """Takes each item out again."""
        cdef tc_lthash total
        sum_of(&total, BACKEND, items, offsets)
        tc_lthash_subtract(&self.lanes, &total)

    def combine(self, LtHash other not None):
        """Adds everything that is in the other one."""
        tc_lthash_add(&self.lanes, &other.lanes)

    def subtract(self, LtHash other not None):
        """Takes out everything that is in the other one."""
        tc_lthash_subtract(&self.lanes, &other.lanes)

    def copy(self):
        """Another one with the same state."""
        cdef LtHash twin = LtHash.__new__(LtHash)
        twin.lanes = self.lanes
        return twin

    def state(self):
        """The lanes, little-endian: 2048 bytes, from which LtHash(state) goes on."""
        cdef uint8_t[TC_LTHASH_BYTES] out
        tc_lthash_store(out, &self.lanes)
        return out[:TC_LTHASH_BYTES]

    def digest(self):
        """tagged_sha256(b"timecoin/lthash", state()): the 32 bytes that a header carries."""
        cdef uint8_t[32] out
        tc_lthash_digest(out, &self.lanes)
        return out[:32]

    def __eq__(self, other):
        if not isinstance(other, LtHash):
            return NotImplemented
        return memcmp(&self.lanes, &(<LtHash>other).lanes, sizeof(tc_lthash)) == 0

    __hash__ = None

    def __reduce__(self):
        return LtHash, (self.state(),)


def sum_with(items, *, backend, offsets=None):
    """An LtHash of these items by a backend of this name, for tests and benchmarks. ValueError for another name."""
    cdef LtHash result = LtHash.__new__(LtHash)
    sum_of(&result.lanes, backend_of(backend), items, offsets)
    return result
