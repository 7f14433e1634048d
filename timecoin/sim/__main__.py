"""Run simulations: `--seed N` replays one with a readable trace, `--seeds A..B` runs many and names those that fail."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import sys

from timecoin.sim.invariants import InvariantError
from timecoin.sim.world import World, scenario_of


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when every invariant held, 1 when one did not."""
    parser = argparse.ArgumentParser(prog="python -m timecoin.sim", description=__doc__)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="replay this seed and print what happens")
    which.add_argument("--seeds", type=_seeds, metavar="A..B", help="run the seeds from A to B")
    parser.add_argument("--quiet", action="store_true", help="with --seed: print the summary only")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return _replay(options.seed, quiet=options.quiet)
    failed = [seed for seed in options.seeds if not _passes(seed, len(options.seeds))]
    print(f"{len(options.seeds) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def _seeds(text: str) -> range:
    first, _, last = text.partition("..")
    return range(int(first), int(last) + 1)


def _replay(seed: int, *, quiet: bool) -> int:
    scenario = scenario_of(seed)
    print(f"seed {seed}: " + ", ".join(f"{key} {value}" for key, value in dataclasses.asdict(scenario).items()))
    digest = hashlib.sha256()

    def trace(line: str) -> None:
        digest.update(line.encode() + b"\n")
        if not quiet:
            print(line)

    world = World(seed, scenario, trace)
    code = 0
    try:
        world.run()
    except InvariantError as error:
        print(f"VIOLATION {error}")
        code = 1
    seen = world.invariants
    print(
        f"virtual time {world.clock.now / 1000:.1f} s, messages {world.network.messages}, height {seen.height}, "
        f"final {len(seen.final)}, committed {len(seen.committed)}, trace {digest.hexdigest()[:16]}"
    )
    return code


def _passes(seed: int, total: int) -> bool:
    try:
        World(seed, scenario_of(seed)).run()
    except InvariantError as error:
        print(f"seed {seed}: {error}")
        return False
    if total > 1 and sys.stderr.isatty():
        print(f"\rseed {seed}", end="", file=sys.stderr)
    return True


if __name__ == "__main__":
    sys.exit(main())
