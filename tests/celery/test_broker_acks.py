"""A worker whose acknowledgement Redis does not answer takes messages again."""

import pytest
import redis
from kombu import Connection
from kombu.transport.redis import QoS

from ops.utils.broker_acks import release_failed_acks
from tests.support.redis import RedisServer


def test_message_that_could_not_be_acknowledged_takes_no_place(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(QoS, "ack", QoS.ack)  # restores it after the test
    release_failed_acks()
    release_failed_acks()
    with (
        Connection(redis_server.url(), transport_options={"socket_timeout": 0.3}) as connection,
        connection.SimpleQueue("place") as queue,
    ):
        queue.put("first")
        queue.consumer.qos(prefetch_count=1)
        message = queue.get(timeout=5)
        assert not message.channel.qos.can_consume()
        redis_server.freeze()
        try:
            with pytest.raises(redis.TimeoutError):
                message.ack()
            assert message.channel.qos.can_consume()
        finally:
            redis_server.thaw()
        queue.put("second")
        again = queue.get(timeout=5)
        assert again.payload == "second"
        again.ack()
        assert again.channel.qos.can_consume()
