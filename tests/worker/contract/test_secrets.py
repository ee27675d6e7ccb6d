"""Secrets in addresses: told from what only looks like one."""

import pytest

from worker.contract.secrets import holds_secret


@pytest.mark.parametrize(
    "source",
    [
        "https://me:word@host/news.csv",
        "sftp://me:word@host/news.csv",
        "s3://key:word@bucket/news.csv",
        "https://word@host/news.csv",
        "HTTP://word@host/news.csv",
        "simplecache::https://word@host/news.csv",
        "https://host/news.csv?token=word",
        "https://host/news.csv?access_token=word",
        "https://host/news.csv?v=1&api-key=word",
        "https://host/news.csv?sv=2024&sig=word",
        "https://host/news.csv?Expires=1&Signature=word&AWSAccessKeyId=word",
        "https://host/news.csv?X-Amz-Credential=word",
        "https://host/news.csv?X-Goog-Signature=word",
        "https://host/news.csv#password=word",
    ],
)
def test_a_secret_in_an_address_is_found(source: str) -> None:
    assert holds_secret(source)


@pytest.mark.parametrize(
    "source",
    [
        "acme/news",
        "./token=word/me:word@host.csv",
        "https://host/news.csv?version=2&monkey=1#top",
        "https://host/@me/news.csv",
        "sftp://me@host/news.csv",
        "s3://bucket/key=1/token=2/news.csv?versionId=3",
        "https://host/download?file=news.csv",
    ],
)
def test_an_address_without_one_may_be_kept(source: str) -> None:
    assert not holds_secret(source)
