"""Keep secrets out of what people and stores get to read."""

import re

_HIDDEN = "***"
# SQLAlchemy takes a password up to the last @, slashes in it included.
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^\s:@/]*):\S+@")
# A token in the place of a user, as Git hosts take it; a database's user alone is no secret.
_TOKEN = re.compile(r"(?<=http://|ttps://)(?:[^\s:@/]+)@")
_FIELD = re.compile(
    r"(?i)([?&;\s](?:ssl)?(?:password|passwd|pwd|token|secret|api_?key|access_?key|signature)=)"
    r"[^\s&;]+"
)
_HEADER = re.compile(r"(?i)\b(authorization: *(?:basic|bearer)|bearer) +[\w.~+/=-]{8,}")


def redacted(text: str) -> str:
    """`text` with what signs someone in replaced by ``***``, the same when done again.

    That is a URI's password, or its token in the place of the user; fields of a query or of a
    connection string that are named like a secret; and the values of authorization headers.
    """
    text = _USER_AND_PASSWORD.sub(rf"\1:{_HIDDEN}@", text)
    text = _TOKEN.sub(f"{_HIDDEN}@", text)
    text = _FIELD.sub(rf"\1{_HIDDEN}", text)
    return _HEADER.sub(rf"\1 {_HIDDEN}", text)
