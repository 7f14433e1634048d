"""What another Cython module may call without the GIL: `from timecoin._core.ed25519 cimport tc_span, verify_into`.

For C alone, c/ed25519/verify.h is the door.
"""

from libc.stdint cimport uint8_t

from timecoin._core.spans cimport tc_span


# verdicts[i] = 1 when signature i (64 bytes each) of messages[i] is valid under key i (32 bytes each), by ZIP-215, else 0, for
# i < count. threads: 1 to 64, the calling one included. 0, or -1 when threads is out of range or memory is short, and then
# no verdict is written. The module has been imported before.
cdef int verify_into(
    uint8_t *verdicts, const uint8_t *keys, const tc_span *messages, const uint8_t *signatures, size_t count,
    unsigned threads,
) noexcept nogil
