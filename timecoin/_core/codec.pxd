"""What another Cython module may read without the GIL: `from timecoin._core.codec cimport columns_of, transaction_columns`."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t


# The columns of a TransactionBatch of n transactions with m inputs and k outputs, c of these collaterals. Nothing may be
# written; the memory lives as long as the batch.
ctypedef struct transaction_columns:
    size_t transactions  # n
    size_t inputs  # m
    size_t outputs  # k
    size_t collaterals  # c
    const uint8_t *data  # all that was decoded
    const uint8_t *txids  # 32 n
    const uint8_t *wtxids  # 32 n
    const uint8_t *kinds  # n
    const uint64_t *heights  # n
    const uint64_t *offsets  # n + 1, into data
    const uint32_t *input_starts  # n + 1
    const uint32_t *output_starts  # n + 1
    const uint8_t *outpoints  # 36 m
    const uint8_t *signatures  # 64 m
    const uint64_t *output_values  # k
    const uint8_t *output_kinds  # k
    const uint8_t *output_keys  # 32 k
    const uint8_t *collateral_records  # 50 c


# TypeError when `batch` is no TransactionBatch. The module has been imported before.
cdef int columns_of(object batch, transaction_columns *columns) except -1
