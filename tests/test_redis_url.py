"""The forms of REDIS_URL, and what is refused."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis
from django.core.exceptions import ImproperlyConfigured

from homerack.config import env
from ops.utils.redaction import redact
from ops.utils.redis_client import redis_client
from ops.utils.redis_url import SentinelAddress, celery_address, parse_sentinel_url
from tests.test_redaction import shown_settings

PASSWORD = "pass;w@rd"
SENTINEL_PASSWORD = "s/e,cret"
URL = "sentinel://:pass%3Bw%40rd@h1:26379,h2,[fd00::3]:26380/2?service=lab&sentinel_password=s%2Fe%2Ccret"


def test_sentinel_address_has_hosts_service_and_both_passwords() -> None:
    assert parse_sentinel_url(URL) == SentinelAddress(
        sentinels=(("h1", 26379), ("h2", 26379), ("fd00::3", 26380)),
        service="lab",
        database=2,
        credentials={"password": PASSWORD},
        sentinel_credentials={"password": SENTINEL_PASSWORD},
    )
    least = parse_sentinel_url("sentinel://h1/?service=lab")
    assert (least.sentinels, least.database, least.credentials) == ((("h1", 26379),), 0, {})
    named = parse_sentinel_url("sentinel://ada:pw@h1?service=lab&sentinel_username=bob&sentinel_password=x")
    assert named.credentials == {"username": "ada", "password": "pw"}
    assert named.sentinel_credentials == {"username": "bob", "password": "x"}


def test_celery_gets_an_address_for_each_sentinel() -> None:
    address, options = celery_address(URL)
    assert address == ";".join(
        f"sentinel://:pass%3Bw%40rd@{host}/2" for host in ("h1:26379", "h2:26379", "[fd00::3]:26380")
    )
    assert options["master_name"] == "lab"
    assert options["sentinel_kwargs"]["password"] == SENTINEL_PASSWORD


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("", ""),
        ("redis://:pw@redis:6379/0", "redis://:pw@redis:6379/0"),
        ("unix:///run/redis.sock?db=1", "redis+socket:///run/redis.sock?db=1"),
    ],
)
def test_celery_gets_the_address_of_one_server(url: str, address: str) -> None:
    assert celery_address(url) == (address, {})


SENTINEL_EXAMPLE = "REDIS_URL=sentinel://:password@h1:26379,h2:26379,h3:26379/0?service=mymaster"
QUOTING = "write # / ? @ : , % in a password as %23 %2F %3F %40 %3A %2C %25"
ONE_EXAMPLE = "REDIS_URL=redis://:password@redis.lan:6379/0"


@pytest.mark.parametrize(
    ("url", "fault", "example"),
    [
        ("http://redis", "does not begin with one of redis://, rediss://, unix://, sentinel://", ONE_EXAMPLE),
        ("redis.lan:6379", "does not begin with one of redis://, rediss://, unix://, sentinel://", ONE_EXAMPLE),
        ("redis://:s3cret/t@redis", f"cannot be parsed; {QUOTING}", ONE_EXAMPLE),
        ("redis://h1:6379,h2:6379/0", "names several hosts; only sentinel:// does", SENTINEL_EXAMPLE),
        (
            "sentinel://:s3cret@h1,h2/0",
            "names no service; add ?service= and the name after 'sentinel monitor' in sentinel.conf",
            SENTINEL_EXAMPLE,
        ),
        (
            "sentinel://h1:26379;sentinel://h2:26379/0?service=lab",
            "has a semicolon; write the hosts with commas, and sentinel:// once",
            SENTINEL_EXAMPLE,
        ),
        (
            "sentinel://h1/0?service=lab&master_name=x",
            "has an unknown parameter 'master_name'; known are sentinel_password, sentinel_username, service",
            SENTINEL_EXAMPLE,
        ),
        ("sentinel://h1/zero?service=lab", "has a path that is not the number of a database", SENTINEL_EXAMPLE),
        (
            "sentinel://h1,,h2/0?service=lab",
            f"has a host that is not of the form host:port; {QUOTING}",
            SENTINEL_EXAMPLE,
        ),
        (
            "sentinel://h1:99999/0?service=lab",
            f"has a host that is not of the form host:port; {QUOTING}",
            SENTINEL_EXAMPLE,
        ),
        ("sentinel://:s3cret@[h1/0?service=lab", f"cannot be parsed; {QUOTING}", SENTINEL_EXAMPLE),
        ("sentinel://:s3#cret@h1/0?service=lab", f"cannot be parsed; {QUOTING}", SENTINEL_EXAMPLE),
    ],
)
def test_wrong_address_is_refused_with_a_right_one(
    url: str, fault: str, example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    with pytest.raises(ImproperlyConfigured) as refused:
        env.get_redis_url("REDIS_URL")
    assert str(refused.value) == f"REDIS_URL {fault}. Example: {example}"


def test_passwords_of_an_address_are_shown_nowhere(settings: Any) -> None:
    settings.REDIS_URL = URL
    settings.CELERY_BROKER_URL, settings.CELERY_BROKER_TRANSPORT_OPTIONS = celery_address(URL)
    for secret in (PASSWORD, SENTINEL_PASSWORD, "pass%3Bw%40rd", "s%2Fe%2Ccret"):
        assert secret not in redact(f"It refused {secret}.")
        assert secret not in repr(shown_settings())


def test_threads_that_ask_at_once_lose_no_sentinel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first does not answer, and all threads get the answer of the second before any puts it first."""
    barrier = threading.Barrier(4)

    def sentinel_masters(client: redis.Redis) -> dict[str, dict[str, Any]]:
        if client.connection_pool.connection_kwargs["host"] == "h1":
            raise redis.ConnectionError
        barrier.wait(10)
        state = {"is_master": True, "is_sdown": False, "is_odown": False, "num-other-sentinels": 2}
        return {"lab": {**state, "ip": "h4", "port": 6379}}

    monkeypatch.setattr(redis.Redis, "sentinel_masters", sentinel_masters)
    client = redis_client("sentinel://h1,h2,h3/0?service=lab&sentinel_password=of-this-test", timeout=1)
    pool = client.connection_pool
    with ThreadPoolExecutor(4) as threads:
        addresses = list(threads.map(lambda _: pool.get_master_address(), range(4)))
    assert addresses == 4 * [("h4", 6379)]
    hosts = [each.connection_pool.connection_kwargs["host"] for each in pool.sentinel_manager.sentinels]
    assert hosts == ["h2", "h1", "h3"]
