"""Remove passwords, tokens and other secrets from logs, messages and stored texts."""

import re

_HIDDEN = "***"
# As SQLAlchemy parses it: a password extends to the last @, and may have slashes.
_USER_AND_PASSWORD = re.compile(r"(?<=://)([^\s:@/]*):\S+@")
# A token in place of the user name, as Git hosts accept it; a database user alone is no secret.
_TOKEN_AS_USER = re.compile(r"(?i)(?<=http://|ttps://)(?:[^\s:@/]+)@")
# Names of fields, variables and JSON keys that hold secrets.
_NAME = (
    r"[\w.-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|signature|credentials?"
    r"|(?:api|access|account|private|secret)[_-]?key(?:[_-]?id)?)"
)
_SINGLE = r"'(?:[^'\\]|\\.|'')*'"
_DOUBLE = r'"(?:[^"\\]|\\.|"")*"'
_FIELD = re.compile(
    rf"(?i)(?<![\w.-])({_NAME}|sig)(\s?=\s?)(?:{_SINGLE}|{_DOUBLE}|[^\s&;]+)", re.DOTALL
)
# Also JSON within a JSON string, with escaped quotes. A number may be a password, too.
_JSON = re.compile(
    rf"""(?ix)(\\{{0,7}}["'])({_NAME}|authorization|(?:set-)?cookie)\1(\s*:\s*)
    (?:(?P<quote>["'])(?:\\.|(?!(?P=quote)).)*(?P=quote)|\\{{1,7}}(["']).*?\\{{1,7}}\5|[\d.+-]+)""",
    re.DOTALL,
)
_HEADER = re.compile(
    r"(?i)\b(authorization: *(?:basic|bearer|digest)|bearer) +[\w.~+/=-]{8,}"
    r"|\b((?:set-)?cookie:) +\S[^\r\n]*"
)
# Tokens with a known form: GitHub, GitLab, Slack, AWS, Google, Hugging Face, JWT.
_KNOWN = re.compile(
    r"\b(?:gh[oprsu]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|xox[abeoprs]-[\w-]{10,}"
    r"|A(?:KI|SI)A[0-9A-Z]{16}|AIza[\w-]{35}|hf_\w{24,}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*)"
)


def redacted(text: str) -> str:
    """Return `text` with its secrets replaced by ``***``; redacting twice changes nothing more.

    Secrets are the password or token in a URI; fields with a name such as ``password`` in a query,
    a connection string, an assignment or JSON; authorization headers and cookies; and tokens of
    well-known services.
    """
    text = _USER_AND_PASSWORD.sub(rf"\1:{_HIDDEN}@", text)
    text = _TOKEN_AS_USER.sub(f"{_HIDDEN}@", text)
    text = _JSON.sub(rf"\1\2\1\3\1{_HIDDEN}\1", text)
    text = _FIELD.sub(rf"\1\2{_HIDDEN}", text)
    text = _HEADER.sub(lambda found: f"{found[1] or found[2]} {_HIDDEN}", text)
    return _KNOWN.sub(_HIDDEN, text)
