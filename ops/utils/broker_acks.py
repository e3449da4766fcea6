"""Let a worker take messages again after one that it could not acknowledge."""

from typing import Any


def release_failed_acks() -> None:
    """Count a message as acknowledged in this worker, too, if Redis did not answer; the error is raised as before.

    Kombu's transport goes on counting it, and a worker that takes as many messages as it has processes takes none any
    more: it has no request open whose silence would show that the connection is lost. Celery has only logged the error,
    and the task runs. Redis delivers the message again, which changes nothing: the run or the start has begun.
    """
    from kombu.transport.redis import QoS  # noqa: PLC0415  # imports redis, and only workers need it
    from kombu.transport.virtual import QoS as LocalQoS  # noqa: PLC0415  # as above

    original: Any = QoS.ack
    acknowledge_here: Any = LocalQoS.ack
    if original.__module__ == __name__:
        return

    def ack(self: Any, delivery_tag: str) -> None:
        try:
            original(self, delivery_tag)
        except Exception:
            acknowledge_here(self, delivery_tag)
            raise

    QoS.ack = ack  # type: ignore[method-assign]
