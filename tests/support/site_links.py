"""Check that every link of a folder of HTML pages leads to a file and an anchor in it."""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Gather what the tag links to, and what it can be linked by."""
        given = {name: value for name, value in attrs if value}
        self.links |= {given[name] for name in ("href", "src") if name in given}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}


def broken(site: Path) -> list[str]:
    """Return a line for each link of the pages under `site` that leads nowhere."""
    pages = {path.resolve(): _Page(path) for path in sorted(site.rglob("*.html"))}
    lines = [] if pages else [f"{site} has no pages"]
    for path, page in pages.items():
        # Addresses of the page for errors are those of a server's root.
        for link in sorted(page.links) if path.name != "404.html" else ():
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchor = unquote(parts.fragment)
            known = pages[target].anchors if target in pages else {anchor}
            if not target.is_file() or (anchor and anchor not in known):
                lines.append(f"{path.relative_to(site.resolve())}: {link}")
    return lines


if __name__ == "__main__":
    found = broken(Path(sys.argv[1]))
    sys.exit("\n".join(["Links that lead nowhere:", *found]) if found else 0)
