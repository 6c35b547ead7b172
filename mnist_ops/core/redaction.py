"""Keep secrets out of what people and stores get to read."""

import re

_HIDDEN = "***"
# SQLAlchemy takes a password up to the last @, slashes in it included.
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^\s:@/]*):\S+@")
# A token in the place of a user, as Git hosts take it; a database's user alone is no secret.
_TOKEN_AS_USER = re.compile(r"(?i)(?<=http://|ttps://)(?:[^\s:@/]+)@")
# How names of secrets end: of fields in addresses and connection strings, of variables, of JSON.
_NAME = (
    r"[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|signature|credentials?"
    r"|(?:api|access|account|private|secret)[_-]?key(?:[_-]?id)?)"
)
_SINGLE = r"'(?:[^'\\]|\\.|'')*'"
_DOUBLE = r'"(?:[^"\\]|\\.|"")*"'
_FIELD = re.compile(
    rf"(?i)(?<![\w.-])({_NAME}|sig)(\s?=\s?)(?:{_SINGLE}|{_DOUBLE}|[^\s&;]+)", re.DOTALL
)
# Also where JSON is a text in JSON, its quotes escaped. A number may be a password, too.
_JSON = re.compile(
    rf"""(?ix)(\\{{0,7}}["'])({_NAME}|authorization|(?:set-)?cookie)\1(\s*:\s*)
    (?:(?P<quote>["'])(?:\\.|(?!(?P=quote)).)*(?P=quote)|\\{{1,7}}(["']).*?\\{{1,7}}\5|[\d.+-]+)""",
    re.DOTALL,
)
_HEADER = re.compile(
    r"(?i)\b(authorization: *(?:basic|bearer|digest)|bearer) +[\w.~+/=-]{8,}"
    r"|\b((?:set-)?cookie:) +\S[^\r\n]*"
)
# What services make so that it can be found: GitHub, GitLab, Slack, AWS, Google, Hugging Face, JWT.
_KNOWN = re.compile(
    r"\b(?:gh[oprsu]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}"
    r"|A(?:KI|SI)A[0-9A-Z]{16}|AIza[\w-]{35}|hf_\w{24,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*)"
)


def redacted(text: str) -> str:
    """`text` with what signs someone in replaced by ``***``, the same when done again.

    That is a URI's password, or its token in the place of the user; fields that are named like a
    secret in a query, a connection string, an assignment or JSON; authorization headers and
    cookies; and tokens in the form of a service that is known for it.
    """
    text = _USER_AND_PASSWORD.sub(rf"\1:{_HIDDEN}@", text)
    text = _TOKEN_AS_USER.sub(f"{_HIDDEN}@", text)
    text = _JSON.sub(rf"\1\2\1\3\1{_HIDDEN}\1", text)
    text = _FIELD.sub(rf"\1\2{_HIDDEN}", text)
    text = _HEADER.sub(lambda found: f"{found[1] or found[2]} {_HIDDEN}", text)
    return _KNOWN.sub(_HIDDEN, text)
