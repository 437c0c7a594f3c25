"""Reading a report as a browser does."""

import dataclasses
from html.parser import HTMLParser

_VOID = {"meta", "input", "br", "img", "link"}


@dataclasses.dataclass
class Element:
    """A node of the page."""

    tag: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = dataclasses.field(default_factory=list)

    def find_all(self, tag: str = "", **attributes: str) -> list["Element"]:
        """Returns the elements below with this tag and these attributes; a class need only be among others."""
        return [element for element in self.walk() if element is not self and element.matches(tag, attributes)]

    def find(self, tag: str = "", **attributes: str) -> "Element":
        """Returns the only such element."""
        (found,) = self.find_all(tag, **attributes)
        return found

    def matches(self, tag: str, attributes: dict[str, str]) -> bool:
        """Whether it has the tag, if one is given, and the attributes."""
        for name, value in attributes.items():
            name = name.rstrip("_").replace("_", "-")
            there = self.attributes.get(name) or ""
            if value not in (there.split() if name == "class" else [there]):
                return False
        return not tag or self.tag == tag

    def walk(self):
        """Yields the element and all below, in the order of the page."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(child if isinstance(child, str) else child.text for child in self.children)


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag, attributes):
        if tag == "li" and self.open[-1].tag == "li":
            self.open.pop()  # its end tag may be left out before the next
        element = Element(tag, dict(attributes))
        self.open[-1].children.append(element)
        if tag not in _VOID:
            self.open.append(element)

    def handle_startendtag(self, tag, attributes):
        self.open[-1].children.append(Element(tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag in ("ul", "ol") and self.open[-1].tag == "li":
            self.open.pop()
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data):
        self.open[-1].children.append(data)


def parse(text: str) -> Element:
    """Returns the page's tree; fails if its tags are not nested properly."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [reader.root], reader.open[-1].tag
    return reader.root
