"""Export files that only a forger makes: with any content, and the digest that it should have."""

import io
import zipfile
from hashlib import sha256
from pathlib import Path


def members(path: Path) -> dict[str, bytes]:
    """The content of each member of an export."""
    with zipfile.ZipFile(path) as good:
        return {name: good.read(name) for name in good.namelist()}


def seal(content: bytes) -> bytes:
    """The archive with the digest that it should have: what only a forger does."""
    body = content[: -len("sha256:") - 64]
    return body + b"sha256:" + sha256(body).hexdigest().encode()


def packed(parts: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive of these members."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as made:
        for name, content in parts.items():
            made.writestr(zipfile.ZipInfo(name), content, compression)
        made.comment = b"sha256:" + b"0" * 64
    return seal(out.getvalue())
