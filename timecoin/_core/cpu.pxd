"""How much of the processor may be used: all of it, or what the environment variable TIMECOIN_CPU names.

There is no module behind this file: its functions are compiled into whoever cimports it, and called when that is imported.
"""


cdef extern from "cpu.h" nogil:
    ctypedef enum tc_cpu_level:
        TC_CPU_PORTABLE
        TC_CPU_AVX2
        TC_CPU_ALL
    bint tc_cpu_has_avx2_fma()
    bint tc_cpu_has_ifma()


cdef inline list cpu_names():
    """What TIMECOIN_CPU may name on this machine, the least first."""
    cdef list names = ["portable"]
    if tc_cpu_has_avx2_fma():
        names.append("avx2")
    if tc_cpu_has_ifma():
        names.append("avx512ifma")
    return names


cdef inline str cpu_named():
    """What TIMECOIN_CPU names, '' for nothing; UnsupportedBackend when it is not a name for this machine."""
    import os

    from timecoin.errors import UnsupportedBackend

    cdef str name = os.environ.get("TIMECOIN_CPU", "")
    if name:
        names = cpu_names()
        if name not in names:
            raise UnsupportedBackend(f"TIMECOIN_CPU={name!r}: this machine runs {', '.join(names)}")
    return name


cdef inline tc_cpu_level cpu_level() except *:
    cdef str name = cpu_named()
    return TC_CPU_PORTABLE if name == "portable" else TC_CPU_AVX2 if name == "avx2" else TC_CPU_ALL
