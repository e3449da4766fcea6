"""Measures what connecting costs a request: ``python -m bench.connections [--requests N] [--rounds R]``.

Under gunicorn with threads, a view with one query is requested N times, one after the other: without reuse, with
Django's ``CONN_MAX_AGE`` and health checks, with the pool, and without a query. Rounds are interleaved, so that other
load on the machine affects all variants. Then 40 clients at once use a pool of 5 + 5. Prints milliseconds and ratios.
"""

import argparse
import http.client
import os
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

from tests.support.postgres import PostgresServer
from tests.support.web import WebServer

NO_REUSE, MAX_AGE, POOL, NO_QUERY = "no reuse", "CONN_MAX_AGE, health checks", "pool", "no query"
VARIANTS = {
    NO_REUSE: {"DB_POOL_SIZE": "0", "DB_POOL_RECYCLE": "0"},
    MAX_AGE: {"DB_POOL_SIZE": "0"},
    POOL: {"DB_POOL_SIZE": "20"},
}


def request_repeatedly(web: WebServer, path: str, number: int) -> float:
    """Mean milliseconds of `number` requests, one after the other, over one kept HTTP connection."""
    client = http.client.HTTPConnection("127.0.0.1", web.port)
    start = time.perf_counter()
    for _ in range(number):
        client.request("GET", path)
        response = client.getresponse()
        response.read()
        if response.status != 200:
            sys.exit(f"{path} answered {response.status}:\n{web.log.read_text()[-2000:]}")
    seconds = time.perf_counter() - start
    client.close()
    return seconds / number * 1000


def measure(runs: dict[str, Callable[[int], float]], *, requests: int, rounds: int) -> dict[str, list[float]]:
    """`requests` of each variant, spread over `rounds`; each round begins with another variant."""
    results: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(50)
    for number in range(rounds):
        for name in islice(cycle(runs), number, number + len(runs)):
            results[name].append(runs[name](requests // rounds))
    return results


def compare_variants(server: PostgresServer, *, requests: int, rounds: int) -> None:
    webs = {name: start(server, **environment) for name, environment in VARIANTS.items()}

    def runner(web: WebServer, path: str) -> Callable[[int], float]:
        return lambda number: request_repeatedly(web, path, number)

    try:
        runs = {name: runner(web, "/one-query/") for name, web in webs.items()}
        runs[NO_QUERY] = runner(webs[POOL], "/no-query/")
        results = measure(runs, requests=requests, rounds=rounds)
    finally:
        for web in webs.values():
            web.stop()
    print(f"{requests} requests each, in {rounds} interleaved rounds: milliseconds per request")
    for name, times in results.items():
        print(f"  {name:30} median {statistics.median(times):7.3f}   min {min(times):7.3f}")
    # Ratios are taken within each round, so that a slow minute affects both sides.
    print(f"  pool / CONN_MAX_AGE            {ratio(results[POOL], results[MAX_AGE]):.3f}   (aim: at most 1.1)")
    print(f"  no reuse / pool                {ratio(results[NO_REUSE], results[POOL]):.1f}   (aim: at least 10)")
    added = {
        name: [mine - base for mine, base in zip(results[name], results[NO_QUERY], strict=True)] for name in VARIANTS
    }
    print(f"  the same, minus the cost of a request without a query  {ratio(added[NO_REUSE], added[POOL]):.1f}")


def ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(mine / theirs for mine, theirs in zip(one, other, strict=True))


def crowd(server: PostgresServer, *, threads: int = 40, each: int = 25) -> None:
    """`threads` clients at once on a pool of 5 + 5; the view keeps its connection for 10 ms."""
    web = start(server, DB_POOL_SIZE="5", DB_MAX_OVERFLOW="5")
    try:
        start_time = time.perf_counter()
        with ThreadPoolExecutor(threads) as executor:
            list(executor.map(lambda _: request_repeatedly(web, "/slow-query/", each), range(threads)))
        seconds = time.perf_counter() - start_time
        served = threads * each
        print(f"{threads} clients on a pool of 5 + 5: all {served} requests served, {served / seconds:.0f}/s")
    finally:
        web.stop()


def start(server: PostgresServer, **environment: str) -> WebServer:
    return WebServer.start(
        *("--threads", "40"),
        application="bench.application",
        DATABASE_URL=server.url("postgres"),
        REDIS_URL="",
        **environment,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="per variant (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="default: %(default)s")
    options = parser.parse_args()
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "homerack.settings",
        "SECRET_KEY": "only-for-this-bench-" + "0123456789" * 4,
        "HTTPS": "false",
        "LOG_LEVEL": "WARNING",
    }
    server = PostgresServer.start()
    try:
        compare_variants(server, requests=options.requests, rounds=options.rounds)
        crowd(server)
    finally:
        server.stop()


if __name__ == "__main__":
    main()
