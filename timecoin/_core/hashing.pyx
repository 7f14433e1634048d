"""SHA-256, domain-separated hashes and Merkle trees.

Every id of the protocol comes from here or from the same C kernel (c/sha256.h, c/merkle.h). The plain Python twin of
each function stands in tests/core/twins.py.

Many messages are hashed side by side: 'avx512' (16 lanes), 'avx2' (8 lanes), 'sha' (two in turns on the processor's own
SHA-256 instructions, which single messages take too), 'avx512+sha', or 'portable' (one by one, in C). The best that the
machine runs is chosen at import; TIMECOIN_CPU in the environment bounds it as it does for signatures: portable leaves
'portable' alone, avx2 leaves 'avx2' and 'sha'.
"""

cimport cython
from libc.stdint cimport uint8_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from timecoin._core.columns cimport as_bytes, as_column, as_item
from timecoin._core.cpu cimport cpu_level, tc_cpu_level
from timecoin._core.spans cimport as_messages, as_spans, tc_span


cdef extern from "sha256_many.h" nogil:
    ctypedef struct tc_sha256_ctx:
        pass
    void tc_sha256_init(tc_sha256_ctx *ctx)
    void tc_sha256_tag_bytes(tc_sha256_ctx *ctx, const void *tag, size_t len)
    void tc_sha256_from(uint8_t *out, const tc_sha256_ctx *start, const void *data, size_t len)

    ctypedef struct tc_sha256_backend:
        const char *name
    void tc_sha256_many_choose(tc_cpu_level most)
    const tc_sha256_backend *tc_sha256_backend_number(size_t i)
    const tc_sha256_backend *tc_sha256_in_use()
    void tc_sha256_use(const tc_sha256_backend *backend)
    void tc_sha256_many(uint8_t *out, const tc_sha256_ctx *start, const tc_span *messages, size_t count)


cdef extern from "merkle.h" nogil:
    enum:
        TC_MERKLE_MAX_BRANCH
    ctypedef struct tc_merkle_tags:
        pass
    void tc_merkle_tags_init(tc_merkle_tags *tags)
    ctypedef struct tc_merkle_tree:
        uint64_t count

    void tc_merkle_append(
        tc_merkle_tree *tree, uint8_t *scratch, const tc_merkle_tags *tags, const uint8_t *leaves, size_t n)
    void tc_merkle_tree_root(uint8_t *out, const tc_merkle_tree *tree, const tc_merkle_tags *tags)
    void tc_merkle_root(
        uint8_t *out, uint8_t *scratch, const tc_merkle_tags *tags, const uint8_t *leaves, size_t count)
    size_t tc_merkle_branch(
        uint8_t *out, uint8_t *scratch, const tc_merkle_tags *tags, const uint8_t *leaves, size_t count, size_t index)
    bint tc_merkle_check(
        const tc_merkle_tags *tags, const uint8_t *root, const uint8_t *leaf, uint64_t index, uint64_t count,
        const uint8_t *branch, size_t siblings)


cdef enum:
    HASH = 32
    # Below this many bytes a hash is done before another thread could have taken the GIL and given it back.
    KEEP_GIL = 4096

cdef tc_sha256_ctx PLAIN
cdef tc_merkle_tags MERKLE

tc_sha256_many_choose(cpu_level())
tc_sha256_init(&PLAIN)
tc_merkle_tags_init(&MERKLE)


def backends():
    """The names of the backends that this machine can run and TIMECOIN_CPU allows, 'portable' first and the quickest last."""
    cdef list found = []
    while tc_sha256_backend_number(len(found)) is not NULL:
        found.append(tc_sha256_backend_number(len(found)).name.decode())
    return tuple(found)


def backend():
    """The name of the backend in use."""
    return tc_sha256_in_use().name.decode()


def use_backend(name):
    """Hashes by this backend from now on, in all threads; what is returned does not depend on it. For tests and
    benchmarks. The other modules of the core keep the one that was chosen at their import. ValueError for an unknown name."""
    if name not in backends():
        raise ValueError(f"backend {name!r}: this machine runs {', '.join(backends())}")
    tc_sha256_use(tc_sha256_backend_number(backends().index(name)))


cdef bytes hash_one(const tc_sha256_ctx *start, object data):
    cdef bytes held = as_bytes(data)
    cdef const uint8_t *message = held
    cdef size_t size = len(held)
    cdef uint8_t[HASH] out
    if size < KEEP_GIL:
        tc_sha256_from(out, start, message, size)
    else:
        with nogil:
            tc_sha256_from(out, start, message, size)
    return out[:HASH]


cdef bytes hash_many(const tc_sha256_ctx *start, object messages):
    cdef tuple held = as_messages(messages)
    cdef size_t count = len(held)
    cdef tc_span *spans = as_spans(held)
    cdef uint8_t *out = <uint8_t *>malloc(HASH * count + 1)
    try:
        if out is NULL:
            raise MemoryError
        with nogil:
            tc_sha256_many(out, start, spans, count)
        return out[:HASH * count]
    finally:
        free(out)
        free(spans)


def sha256(data):
    """SHA-256 (FIPS 180-4) of one bytes-like: 32 bytes."""
    return hash_one(&PLAIN, data)


def sha256_many(messages):
    """SHA-256 of each of n bytes-likes: one column of 32*n bytes, in their order."""
    return hash_many(&PLAIN, messages)


def tagged_sha256(tag, data):
    """SHA256(SHA256(tag) || SHA256(tag) || data): 32 bytes. What is hashed under one tag is never what is hashed under
    another (the construction is that of BIP-340)."""
    cdef tc_sha256_ctx start
    cdef bytes name = as_bytes(tag)
    tc_sha256_tag_bytes(&start, <const uint8_t *>name, len(name))
    return hash_one(&start, data)


def tagged_sha256_many(tag, messages):
    """The tagged hash of each of n bytes-likes: one column of 32*n bytes, in their order."""
    cdef tc_sha256_ctx start
    cdef bytes name = as_bytes(tag)
    tc_sha256_tag_bytes(&start, <const uint8_t *>name, len(name))
    return hash_many(&start, messages)


def merkle_root(leaves):
    """The Merkle root (32 bytes) of a column of n ids (32*n bytes); n may be 0.

    RFC 6962 shape: an odd node moves up unchanged. Leaves, nodes and the root with the count have a tag each.
    """
    cdef bytes column = as_column(leaves, HASH, "leaves")
    cdef const uint8_t *data = column
    cdef size_t count = len(column) // HASH
    cdef uint8_t[HASH] out
    cdef uint8_t *scratch = <uint8_t *>malloc(HASH * count + 1)
    if scratch is NULL:
        raise MemoryError
    with nogil:
        tc_merkle_root(out, scratch, &MERKLE, data, count)
        free(scratch)
    return out[:HASH]


@cython.final
cdef class MerkleTree:
    """The Merkle root of a list of ids that grows: appending n of them costs n hashes of leaves and about as many of nodes.

    `root()` is that of merkle_root over all ids so far. A tree belongs to the thread that uses it.
    """

    cdef tc_merkle_tree tree
    cdef bint busy

    def __cinit__(self):
        memset(&self.tree, 0, sizeof(tc_merkle_tree))

    def __len__(self):
        return self.tree.count

    def append(self, leaves):
        """Appends a column of n ids (32*n bytes). RuntimeError while another call is at work in the tree."""
        cdef bytes column = as_column(leaves, HASH, "leaves")
        cdef const uint8_t *data = column
        cdef size_t count = len(column) // HASH
        cdef uint8_t *scratch
        if self.busy:
            raise RuntimeError("MerkleTree: called while another call is at work in it")
        scratch = <uint8_t *>malloc(HASH * (count + 1))
        if scratch is NULL:
            raise MemoryError
        self.busy = True
        with nogil:
            tc_merkle_append(&self.tree, scratch, &MERKLE, data, count)
            free(scratch)
        self.busy = False

    def root(self):
        """The root (32 bytes), by at most 64 hashes."""
        cdef uint8_t[HASH] out
        if self.busy:
            raise RuntimeError("MerkleTree: called while another call is at work in it")
        tc_merkle_tree_root(out, &self.tree, &MERKLE)
        return out[:HASH]

    def copy(self):
        """Another tree with the same ids."""
        cdef MerkleTree other = MerkleTree.__new__(MerkleTree)
        if self.busy:
            raise RuntimeError("MerkleTree: called while another call is at work in it")
        other.tree = self.tree
        return other


def merkle_branch(leaves, index):
    """The siblings of leaf `index`, bottom up, that prove it under the root of the column: 32*k bytes.

    A level where the node moves up unchanged has no sibling. IndexError when there is no such leaf.
    """
    cdef bytes column = as_column(leaves, HASH, "leaves")
    cdef const uint8_t *data = column
    cdef size_t count = len(column) // HASH
    cdef size_t number, siblings
    cdef uint8_t[HASH * TC_MERKLE_MAX_BRANCH] out
    cdef uint8_t *scratch
    if not 0 <= index < count:
        raise IndexError(f"leaf {index}: there are {count} leaves")
    number = index
    scratch = <uint8_t *>malloc(HASH * count)
    if scratch is NULL:
        raise MemoryError
    with nogil:
        siblings = tc_merkle_branch(out, scratch, &MERKLE, data, count, number)
        free(scratch)
    return out[:HASH * siblings]


def merkle_check(root, leaf, index, count, branch):
    """Whether `branch` proves that `leaf` is number `index` of the `count` leaves under `root`.

    Meant for what a stranger sent: an index or a count out of range, or a branch of the wrong length, proves nothing
    and gives False. Only a root or a leaf that is not 32 bytes raises ValueError.
    """
    cdef bytes top = as_item(root, HASH, "root")
    cdef bytes item = as_item(leaf, HASH, "leaf")
    cdef bytes siblings = as_bytes(branch)
    if len(siblings) % HASH or not 0 <= index < count < 2**64:
        return False
    return tc_merkle_check(&MERKLE, top, item, index, count, siblings, len(siblings) // HASH)
