"""The tags of an HTML page and what they refer to."""

from collections import Counter
from html.parser import HTMLParser


class Tags(HTMLParser):
    """Collects the tags and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]


def parse(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags
