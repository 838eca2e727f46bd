"""Ten million pictures on 64 workers that fail and dawdle: how long it takes, and how much work is done twice.

    python benchmarks/fleet_simulation.py [--pictures 10000000] [--workers 64] [--rate 15] [--mtbf 24]

Simulates what `--ray` does: parts of 256 pictures go to whichever worker is free; a part is written when it is whole,
so a worker that dies loses what it had of one part, comes back after a while and loads its model again; a driver that
dies loses one part of every worker, and the next one reads every picture again to see what is done. Rates are images a
second of one worker (15: what an H100 should do with the 7B model, docs/scaling.md), times between
failures of a worker in hours. Prints a table and one JSON line.
"""

from __future__ import annotations

import argparse
import heapq
import json
import random
from dataclasses import asdict, dataclass

from measuring import option_parser

READING = 200.0  # pictures a second that a worker reads and hashes when a job goes on: 300 kB each over 60 MB/s


@dataclass(frozen=True)
class Case:
    """rate in images a second and worker; slow: the share of workers at `slowness` times it; times in seconds."""

    pictures: int
    workers: int
    rate: float
    part: int = 256
    mtbf: float = 24 * 3600.0
    restart: float = 180.0
    slow: float = 0.05
    slowness: float = 0.3
    jitter: float = 0.3
    driver_kills: int = 2
    seed: int = 0


@dataclass
class Outcome:
    """How it went.

    seconds  from the start to the end
    wasted   the share of the pictures that were judged twice
    lost     the share of all worker-seconds in which nothing was judged: restarts, reading again, waiting at the end
    """

    seconds: float
    wasted: float
    lost: float
    failures: int


def simulate(case: Case) -> Outcome:
    """Workers take parts from one list; the events are the ends of parts and the deaths of workers."""
    dice = random.Random(case.seed)
    rates = [case.rate * (case.slowness if w < case.slow * case.workers else 1.0) for w in range(case.workers)]
    dice.shuffle(rates)
    left, judged_twice, failures, busy = case.pictures, 0.0, 0, 0.0
    ideal = case.pictures / sum(rates)
    kills = sorted(dice.uniform(0.1, 0.9) * ideal for _ in range(case.driver_kills))
    deaths = [dice.expovariate(1 / case.mtbf) for _ in rates]
    now = [(case.restart, worker) for worker in range(case.workers)]
    heapq.heapify(now)
    end = 0.0
    while left > 0:
        start, worker = heapq.heappop(now)
        if kills and start >= kills[0]:
            kills.pop(0)  # every worker loses half a part on average, and all start again
            judged_twice += sum(dice.random() * case.part for _ in rates)
            again = (case.pictures - left) / (READING * case.workers)
            now = [(max(at, start) + case.restart + again, each) for at, each in [(start, worker), *now]]
            heapq.heapify(now)
            continue
        size = min(case.part, left)
        took = size / rates[worker] * dice.lognormvariate(0.0, case.jitter)
        if deaths[worker] < start + took:
            share = max(0.0, (deaths[worker] - start) / took)
            judged_twice += share * size
            failures += 1
            back = max(deaths[worker], start) + case.restart
            deaths[worker] = back + dice.expovariate(1 / case.mtbf)
            heapq.heappush(now, (back, worker))
            continue
        left -= size
        busy += took
        end = max(end, start + took)
        heapq.heappush(now, (start + took, worker))
    return Outcome(end, judged_twice / case.pictures, 1 - busy / (end * case.workers), failures)


def main() -> None:
    options = _options()
    base = Case(options.pictures, options.workers, options.rate, mtbf=options.mtbf * 3600)
    cases = {
        "as expected": base,
        "no failures": Case(options.pictures, options.workers, options.rate, mtbf=1e12, slow=0.0, driver_kills=0),
        "spot machines": Case(options.pictures, options.workers, options.rate, mtbf=2 * 3600.0, driver_kills=4),
        "one in five slow": Case(options.pictures, options.workers, options.rate, mtbf=options.mtbf * 3600, slow=0.2),
    }
    print(f"{options.pictures:,} pictures, {options.workers} workers, {options.rate:g} images/s each")
    print(f"{'case':<18} {'hours':>7} {'failures':>9} {'judged twice':>13} {'idle':>7}")
    found = {name: simulate(case) for name, case in cases.items()}
    for name, outcome in found.items():
        words = f"{outcome.seconds / 3600:>7.2f} {outcome.failures:>9} {outcome.wasted:>13.3%} {outcome.lost:>7.2%}"
        print(f"{name:<18} {words}")
    rows = {name: asdict(outcome) for name, outcome in found.items()}
    print(json.dumps({"benchmark": "fleet_simulation", **vars(options), "cases": rows}))


def _options() -> argparse.Namespace:
    parser = option_parser(__doc__)
    parser.add_argument("--pictures", type=int, default=10_000_000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--rate", type=float, default=15.0, help="images/s of one worker")
    parser.add_argument("--mtbf", type=float, default=24.0, help="hours between failures of a worker")
    return parser.parse_args()


if __name__ == "__main__":
    main()
