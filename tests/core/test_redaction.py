"""Secrets are hidden wherever they stand; what is none stays readable."""

import pytest

from mnist_ops.core.redaction import redacted

GITHUB = "ghp_" + "a1B2" * 9
HIDDEN = [
    ("postgresql://me:se/cr@t@host/db", "postgresql://me:***@host/db"),
    ("https://ghp_token@github.com/x", "https://***@github.com/x"),
    ("HTTPS://TOKEN@host/x", "HTTPS://***@host/x"),
    ("Http://ab:cd@host", "Http://ab:***@host"),
    (
        "postgresql://host/db?user=me&password=x%20y&a=b",
        "postgresql://host/db?user=me&password=***&a=b",
    ),
    ("host=db password=hunter2 user=me", "host=db password=*** user=me"),
    ("password='a b' user=me", "password=*** user=me"),
    (r"password='it\'s ours' user=me", "password=*** user=me"),
    ('PASSWORD="a b";x', "PASSWORD=***;x"),
    ("password = hunter2", "password = ***"),
    ("https://h/x?access_token=abc&y=1", "https://h/x?access_token=***&y=1"),
    (
        "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4&X-Amz-Credential=AK%2F1&X-Amz-Date=2"
        "&X-Amz-Security-Token=tok&X-Amz-Signature=0af",
        "https://b.s3.amazonaws.com/k?X-Amz-Algorithm=AWS4&X-Amz-Credential=***&X-Amz-Date=2"
        "&X-Amz-Security-Token=***&X-Amz-Signature=***",
    ),
    (
        "https://a.blob.core.windows.net/c?sv=2024&sig=a%2Bb%3D",
        "https://a.blob.core.windows.net/c?sv=2024&sig=***",
    ),
    ("AccountName=x;AccountKey=abc==;y=1", "AccountName=x;AccountKey=***;y=1"),
    ("AWS_SECRET_ACCESS_KEY=abc/def", "AWS_SECRET_ACCESS_KEY=***"),
    ("MLFLOW_TRACKING_PASSWORD=x", "MLFLOW_TRACKING_PASSWORD=***"),
    ('{"user": "me", "password":"x", "a": 1}', '{"user": "me", "password":"***", "a": 1}'),
    ("{'api_key': 'a b', 'b': 2}", "{'api_key': '***', 'b': 2}"),
    (r'{"token": "a\"b"}', '{"token": "***"}'),
    (r'"{\"token\": \"ab\", \"b\": 1}"', r'"{\"token\": \"***\", \"b\": 1}"'),
    ('{"password": 1234}', '{"password": "***"}'),
    ("Authorization: Basic YWRtaW46cGFzc3dvcmQ=", "Authorization: Basic ***"),
    ("{'Authorization': 'Basic YWRtaW46cGFzc3dvcmQ='}", "{'Authorization': '***'}"),
    ("Cookie: session=abc; other=d\nHost: x", "Cookie: ***\nHost: x"),
    ("Set-Cookie: session=abc; Path=/", "Set-Cookie: ***"),
    (f"fatal: {GITHUB} was refused", "fatal: *** was refused"),
    ("glpat-abcdefghij0123456789 x", "*** x"),
    ("key AKIAIOSFODNN7EXAMPLE is unknown", "key *** is unknown"),
]
KEPT = [
    "sqlite:////tmp/x.db",
    "postgresql://me@host/db",
    "no secret in here: a@b, token of appreciation",
    "the server refused the user or the password: check MLFLOW_TRACKING_PASSWORD",
    "monkey=banana, keys=3, max_tokens=100, tokenizer=bert, sigma=0.5, design=new",
    "unexpected token: '<' at line 1",
    "password, secret and token are words",
    "C=1.0 gamma=scale kernel=rbf",
    '{"tokens": "3", "monkey": "x", "passwords": []}',
    "--admin-password-file /run/secrets/admin",
]


@pytest.mark.parametrize(("text", "shown"), HIDDEN)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    assert redacted(text) == shown
    assert redacted(shown) == shown


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redacted(text) == text
