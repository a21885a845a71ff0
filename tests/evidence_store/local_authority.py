"""A time-stamp authority without a network: ``openssl ts`` answers our own requests."""

from __future__ import annotations

from collections.abc import Callable

from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from tests.local_tsa import Tsa

__all__ = ["Tsa", "asking"]


def asking(tsa: Tsa) -> Callable[[bytes], bytes]:
    """Gives the reply of an authority over some bytes."""

    def ask(data: bytes) -> bytes:
        query = (
            TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).cert_request(cert_request=True)
        )
        return tsa.reply(query.nonce(nonce=True).build().as_bytes())

    return ask
