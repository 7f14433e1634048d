"""Ed25519 verification by ZIP-215: which of these signatures are good?

The rule (https://zips.z.cash/zip-0215): s is canonical (s < L); the key A and the point R are any 32 bytes that decode,
non-canonical encodings included; and [8][s]B = [8]R + [8][k]A with k = SHA-512(R || A || M). It is one rule for every
form, since nodes that disagree on one signature fork the chain: verify, verify_batch, verify_many and VerifyingKeys give
the same verdict on the same item, whatever stands beside it, on every machine and for any number of threads. libsodium's
own verification is stricter on points of small order and on non-canonical encodings; on honest signatures they agree.

How: k for many messages at once, points decoded in lanes of vector registers, and for the whole batch one random linear
combination, 8 (sum z R + sum (z k) A - (sum z s) B) = 0 with 128-bit z from the operating system, by one multi-scalar
multiplication (Straus's method for few items, Pippenger's for many). A combination that fails is halved until few items
are left, and those are verified one by one, each in a lane; all of that costs at most 1.5 times what verifying every item
by itself would, whatever the batch holds. The engine is c/ed25519/, where engine.h tells the steps and the sources.

Backends: 'portable' (any 64-bit machine), 'avx2' (AVX2, FMA and BMI2; 4 lanes), 'avx512ifma' (AVX-512 with IFMA; 8 lanes).
The best that the machine runs is chosen at import; the environment variable TIMECOIN_CPU forces one of them by name.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.number cimport PyNumber_Index
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free

from timecoin._core.columns cimport as_bytes, as_item
from timecoin._core.cpu cimport cpu_named
from timecoin._core.spans cimport PyObject_CheckBuffer, batch_as_spans, integers_of, rows_of, tc_span


cdef extern from "<sodium.h>" nogil:
    int sodium_init()


cdef extern from "<stdlib.h>" nogil:
    int posix_memalign(void **memory, size_t alignment, size_t size)


cdef extern from "ed25519/verify.h" nogil:
    enum:
        TC_MAX_VERIFY_THREADS

    ctypedef enum tc_method:
        TC_AUTO
        TC_LANES
        TC_STRAUS
        TC_PIPPENGER

    ctypedef struct tc_counts:
        uint64_t multiplications
        uint64_t combinations
        uint64_t failed_combinations
        uint64_t lane_items

    ctypedef struct tc_keys:
        const uint8_t *encodings
        const void *expanded
        const uint8_t *decoded

    ctypedef struct tc_items:
        const tc_keys *keys
        const uint32_t *key_indices
        const tc_span *messages
        const uint8_t *signatures

    ctypedef struct tc_backend:
        const char *name
        unsigned lanes
        size_t expanded_bytes
        void (*expand)(void *expanded, uint8_t *decoded, const uint8_t *encodings, size_t count) noexcept nogil

    void tc_ed25519_prepare()
    const tc_backend *tc_ed25519_backend(size_t i)
    size_t tc_ed25519_scratch_bytes(const tc_backend *backend, size_t count, tc_method method, unsigned threads)
    void tc_ed25519_verify(
        uint8_t *verdicts, const tc_backend *backend, const tc_items *items, size_t count, tc_method method,
        unsigned threads, void *scratch, tc_counts *counts)


cdef enum:
    KEY = 32
    SIGNATURE = 64
    ALIGNMENT = 64
    MAX_KEYS = 0xffffffff

cdef dict METHODS = {"auto": TC_AUTO, "lanes": TC_LANES, "straus": TC_STRAUS, "pippenger": TC_PIPPENGER}

if sodium_init() < 0:
    raise ImportError("libsodium cannot start (sodium_init failed)")
tc_ed25519_prepare()


cdef tuple names():
    cdef list found = []
    while tc_ed25519_backend(len(found)) is not NULL:
        found.append(tc_ed25519_backend(len(found)).name.decode())
    return tuple(found)


cdef tuple BACKENDS = names()


def backends():
    """The names of the backends that this machine can run, 'portable' first and the quickest last."""
    return BACKENDS


cdef const tc_backend *backend_of(object name) except NULL:
    if name not in BACKENDS:
        raise ValueError(f"backend {name!r}: this machine runs {', '.join(BACKENDS)}")
    return tc_ed25519_backend(BACKENDS.index(name))


cdef const tc_backend *BACKEND = backend_of(cpu_named() or BACKENDS[-1])


def cpu_backend():
    """The name of the backend in use: the best of this machine, or the one that TIMECOIN_CPU named at import."""
    return BACKEND.name.decode()


cdef void *aligned(size_t size) except NULL:
    cdef void *memory = NULL
    if posix_memalign(&memory, ALIGNMENT, size or 1) != 0:
        raise MemoryError
    return memory


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


cdef class Messages:
    """The messages of a batch where C finds them; keeps what they lie in alive."""

    cdef object held
    cdef tc_span *spans
    cdef Py_ssize_t count

    def __cinit__(self, messages, offsets, Py_ssize_t signatures):
        self.held = batch_as_spans(messages, offsets, "messages", signatures, "signatures", &self.spans, &self.count)

    def __dealloc__(self):
        free(self.spans)


cdef unsigned threads_of(object threads) except 0:
    threads = PyNumber_Index(threads)
    if not 1 <= threads <= TC_MAX_VERIFY_THREADS:
        raise ValueError(f"threads: {threads}, expected 1 to {TC_MAX_VERIFY_THREADS}")
    return threads


cdef int verify_into(
    uint8_t *verdicts, const uint8_t *keys, const tc_span *messages, const uint8_t *signatures, size_t count,
    unsigned threads,
) noexcept nogil:
    cdef tc_keys column
    cdef tc_items items
    cdef void *scratch = NULL
    if not 1 <= threads <= TC_MAX_VERIFY_THREADS:
        return -1
    if posix_memalign(&scratch, ALIGNMENT, tc_ed25519_scratch_bytes(BACKEND, count, TC_AUTO, threads) or 1) != 0:
        return -1
    column.encodings = keys
    column.expanded = NULL
    column.decoded = NULL
    items.keys = &column
    items.key_indices = NULL
    items.messages = messages
    items.signatures = signatures
    tc_ed25519_verify(verdicts, BACKEND, &items, count, TC_AUTO, threads, scratch, NULL)
    free(scratch)
    return 0


cdef bytes run(
    const tc_backend *backend, tc_method method, const tc_keys *keys, const uint32_t *key_indices, Messages messages,
    bytes signatures, unsigned threads, tc_counts *counts,
):
    cdef Py_ssize_t count = messages.count
    cdef bytes verdicts = PyBytes_FromStringAndSize(NULL, count)
    cdef uint8_t *out = <uint8_t *>(<char *>verdicts)
    cdef void *scratch = aligned(tc_ed25519_scratch_bytes(backend, count, method, threads))
    cdef tc_items items
    items.keys = keys
    items.key_indices = key_indices
    items.messages = messages.spans
    items.signatures = signatures
    with nogil:
        tc_ed25519_verify(out, backend, &items, count, method, threads, scratch, counts)
        free(scratch)
    return verdicts


cdef bytes verify_bytes(
    const tc_backend *backend, tc_method method, object public_keys, object messages, object offsets, object signatures,
    object threads, tc_counts *counts,
):
    cdef bytes key_column = column_of(public_keys, KEY, "public keys")
    cdef bytes signature_column = column_of(signatures, SIGNATURE, "signatures")
    cdef Messages spans = Messages(messages, offsets, len(signature_column) // SIGNATURE)
    cdef unsigned workers = threads_of(threads)
    cdef tc_keys keys
    if len(key_column) != KEY * spans.count or len(signature_column) != SIGNATURE * spans.count:
        raise ValueError(
            f"{len(key_column) // KEY} public keys, {spans.count} messages, {len(signature_column) // SIGNATURE}"
            " signatures: expected as many of each"
        )
    keys.encodings = key_column
    keys.expanded = NULL
    keys.decoded = NULL
    return run(backend, method, &keys, NULL, spans, signature_column, workers, counts)


cdef object as_bools(bytes verdicts):
    import numpy

    return numpy.frombuffer(bytearray(verdicts), dtype=numpy.bool_)


def verify(public_key, message, signature):
    """Whether a signature (64 bytes) of a message is valid under a public key (32 bytes). ValueError for other sizes."""
    cdef bytes key = as_item(public_key, KEY, "public key")
    cdef bytes proof = as_item(signature, SIGNATURE, "signature")
    return verify_bytes(BACKEND, TC_AUTO, key, (message,), None, proof, 1, NULL) == b"\1"


def verify_many(keys, messages, signatures, threads=1):
    """The verdicts on n signatures: n bytes, 1 for a valid one and 0 for another. Takes what verify_batch takes, and
    does not load numpy."""
    return verify_bytes(BACKEND, TC_AUTO, keys, messages, None, signatures, threads, NULL)


def verify_batch(public_keys, messages, signatures, *, threads=1, offsets=None):
    """The verdicts on n signatures: a writable numpy array of bool, shape (n,).

    public_keys   n keys: a column of 32*n bytes, a sequence of 32-byte bytes-likes, or a uint8 array of shape (n, 32)
    messages      n messages: a sequence of bytes-likes, a uint8 array of shape (n, m), or one buffer with `offsets`
    signatures    n signatures: as the keys, with 64
    threads       1 to 64: how many share the work, the calling one included; it does not change a verdict
    offsets       n + 1 integers, when messages is one buffer: message i is buffer[offsets[i]:offsets[i + 1]]

    The GIL is released for the whole computation, and any number of threads may call at once. An invalid signature, or a
    key or an R that does not decode, is a verdict, never an error; a wrong shape, or counts that differ, raise ValueError
    naming what was found and what was expected.
    """
    return as_bools(verify_bytes(BACKEND, TC_AUTO, public_keys, messages, offsets, signatures, threads, NULL))


cdef class VerifyingKeys:
    """Public keys, decoded and expanded once, for signers that sign again and again.

    public_keys: n keys, as verify_batch takes them. A key that does not decode is kept: all its verdicts are False.
    Takes about 2 KB of memory for a key. Immutable, so that any number of threads may use it at once.
    """

    cdef bytes encodings
    cdef bytes decoded
    cdef const tc_backend *backend
    cdef void *expanded

    def __cinit__(self, public_keys, *, str _backend=None):
        cdef Py_ssize_t count
        cdef const uint8_t *encodings
        cdef uint8_t *decoded
        self.backend = BACKEND if _backend is None else backend_of(_backend)
        self.encodings = column_of(public_keys, KEY, "public keys")
        count = len(self.encodings) // KEY
        if count > MAX_KEYS:
            raise ValueError(f"public keys: {count}, at most {MAX_KEYS}")
        self.decoded = PyBytes_FromStringAndSize(NULL, count)
        encodings = self.encodings
        decoded = <uint8_t *>(<char *>self.decoded)
        self.expanded = aligned(count * self.backend.expanded_bytes)
        with nogil:
            self.backend.expand(self.expanded, decoded, encodings, count)

    def __dealloc__(self):
        free(self.expanded)

    def __len__(self):
        return len(self.decoded)

    @property
    def valid(self):
        """Which of the keys decode: a numpy array of bool, shape (n,)."""
        return as_bools(self.decoded)

    cdef bytes verify(
        self, tc_method method, object key_indices, object messages, object offsets, object signatures, object threads,
        tc_counts *counts,
    ):
        cdef bytes signature_column = column_of(signatures, SIGNATURE, "signatures")
        cdef Messages spans = Messages(messages, offsets, len(signature_column) // SIGNATURE)
        cdef unsigned workers = threads_of(threads)
        cdef list numbers = list(integers_of(key_indices, "key indices"))
        cdef Py_ssize_t i, count = len(numbers)
        cdef uint32_t *indices
        cdef tc_keys keys
        if count != spans.count or len(signature_column) != SIGNATURE * spans.count:
            raise ValueError(
                f"{count} key indices, {spans.count} messages, {len(signature_column) // SIGNATURE} signatures:"
                " expected as many of each"
            )
        indices = <uint32_t *>aligned(count * sizeof(uint32_t))
        try:
            for i in range(count):
                index = PyNumber_Index(numbers[i])
                if not 0 <= index < len(self.decoded):
                    raise IndexError(f"key_indices[{i}]: {index}, expected 0 to {len(self.decoded) - 1}")
                indices[i] = index
            keys.encodings = self.encodings
            keys.expanded = self.expanded
            keys.decoded = self.decoded
            return run(self.backend, method, &keys, indices, spans, signature_column, workers, counts)
        finally:
            free(indices)

    def verify_batch(self, key_indices, messages, signatures, *, threads=1, offsets=None):
        """The verdicts on n signatures, signature i by key number key_indices[i] (n integers): a writable numpy array of
        bool, shape (n,). Everything else as in timecoin.verify_batch. IndexError names an index that is no key's."""
        return as_bools(self.verify(TC_AUTO, key_indices, messages, offsets, signatures, threads, NULL))


def verify_with(keys, messages, signatures, *, backend, method="auto", threads=1, cached=None):
    """verify_many by a given backend and method, and the work that it took: (verdicts, counts). For tests and benchmarks.

    method   'lanes': every item by itself, one in each lane; 'straus' or 'pippenger': random linear combinations by that
             method, halved while they fail; 'auto': what every other function does
    cached   a VerifyingKeys; `keys` are then n indices of keys
    counts   'multiplications': field multiplications and squarings, each in all lanes at once; 'combinations',
             'failed_combinations'; 'lane_items': items verified by themselves
    """
    cdef tc_counts counts
    cdef bytes verdicts
    cdef const tc_backend *forced = backend_of(backend)
    cdef VerifyingKeys expanded
    if method not in METHODS:
        raise ValueError(f"method {method!r}: expected one of {', '.join(METHODS)}")
    if cached is None:
        verdicts = verify_bytes(forced, METHODS[method], keys, messages, None, signatures, threads, &counts)
    else:
        expanded = cached
        if expanded.backend is not forced:
            expanded = VerifyingKeys(expanded.encodings, _backend=backend)
        verdicts = expanded.verify(METHODS[method], keys, messages, None, signatures, threads, &counts)
    return verdicts, {
        "multiplications": counts.multiplications,
        "combinations": counts.combinations,
        "failed_combinations": counts.failed_combinations,
        "lane_items": counts.lane_items,
    }
