"""What connecting costs a request.

Under gunicorn with threads and the whole middleware, a view with one query is requested 2,000 times, one request after
the other: without reuse, with Django's ``CONN_MAX_AGE`` and health checks, with the pool, and without a query. Rounds
are interleaved. Then 40 clients at once use a pool of 5 + 5.
"""

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

from bench.lab_file import environment
from bench.measuring import Program, ProgramFailed, stopwatch
from bench.results import Results, Sample
from bench.session import Session
from bench.site import Site, serving

POOL, MAX_AGE = "HomeRack's pool", "`CONN_MAX_AGE` with health checks (`DB_POOL_SIZE=0`)"
NO_REUSE, NO_QUERY = "no reuse (`DB_POOL_SIZE=0`, `DB_POOL_RECYCLE=0`)", "a view without a query"
VARIANTS = {
    POOL: {"DB_POOL_SIZE": "20"},
    MAX_AGE: {"DB_POOL_SIZE": "0"},
    NO_REUSE: {"DB_POOL_SIZE": "0", "DB_POOL_RECYCLE": "0"},
}
CROWD = "40 clients at once on a pool of 5 + 5, queries of 10 ms"
THREADS = 40
REQUESTS, ROUNDS, EACH = 2000, 20, 25
"""Requests of each variant; the rounds over which they are spread; those of each client of the crowd."""


def run(session: Session, results: Results) -> None:
    rounds, requests = (1, 20) if session.tiny else (ROUNDS, REQUESTS // ROUNDS)
    with contextlib.ExitStack() as stack:
        sites = {name: stack.enter_context(start(session, **variables)) for name, variables in VARIANTS.items()}
        programs = {name: requesting(site, "/one-query/", requests) for name, site in sites.items()}
        programs[NO_QUERY] = requesting(sites[POOL], "/no-query/", requests)
        for program in programs.values():
            program()  # the first requests import modules
        session.compare(results, programs, rounds=rounds)
    session.compare(results, {CROWD: lambda: crowd(session)}, rounds=1)
    results.ratio(POOL, MAX_AGE, name="one request / `CONN_MAX_AGE` with health checks", at_most=1.05)
    results.ratio(POOL, NO_REUSE, name="one request / no reuse of connections", at_most=0.2)


def start(session: Session, **variables: str) -> contextlib.AbstractContextManager[Site]:
    env = environment(session.server.url("postgres"), settings="homerack.settings") | variables
    return serving(env, "--threads", str(THREADS))


def requesting(site: Site, path: str, number: int) -> Program:
    """The mean of `number` requests, one after the other, over one kept HTTP connection."""

    def request_repeatedly() -> Sample:
        client = site.connect()
        started = time.perf_counter()
        for _ in range(number):
            status = site.get(path, client)
            if status != 200:
                raise ProgramFailed(f"{path} answered {status}:\n{site.log.read_text()[-2000:]}")
        seconds = time.perf_counter() - started
        client.close()
        return Sample(seconds=round(seconds / number, 7))

    return request_repeatedly


def crowd(session: Session) -> Sample:
    """Seconds for each request; the view keeps its connection for 10 ms, so the pool serves 1,000 a second at most."""
    each = 2 if session.tiny else EACH
    with start(session, DB_POOL_SIZE="5", DB_MAX_OVERFLOW="5") as site:
        request_slowly = requesting(site, "/slow-query/", each)
        with stopwatch(None) as watch, ThreadPoolExecutor(THREADS) as executor:
            list(executor.map(lambda _: request_slowly(), range(THREADS)))
    served, seconds = THREADS * each, watch.seconds
    return Sample(seconds=round(seconds / served, 7), parts={"requests per second": round(served / seconds)})
