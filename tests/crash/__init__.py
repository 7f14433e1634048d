"""The campaign of `./dev crash-test`: stores whose writers are killed, whose last pages tear, and whose disks are full.

    scene (a made chain) -> writer (a process on the node's own path to the disk) -> SIGKILL -> checks beside the model
                         -> images (what a power failure may leave) and damage (what it may not) -> checks, examiner

What a store must hold at a height is worked out from the blocks by `model`, in plain Python, table by table.
"""
