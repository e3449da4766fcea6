"""YAML documents as nodes that know their lines.

PyYAML's own loader keeps no lines, takes the last of two equal keys, expands aliases, which may multiply a small file
to gigabytes, and calls itself for each level of nesting. So this module takes the events of libyaml, and makes of them
texts, lists and mappings, nothing else. A scalar keeps the text of the file: `0123` is not 83, and `1:30` is not 90.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from homerack.inventory.imports.refusals import quote

MAX_DEPTH = 10
"""Levels of nesting. A device type has three: its lists hold mappings."""

MAX_NODES = 50_000
"""Values in one document. The largest device types of the public library have about 10,000."""


@dataclass(frozen=True, kw_only=True)
class Scalar:
    """A text. `is_plain` is False for one in quotes or in a block, which is a text whatever it looks like."""

    text: str
    is_plain: bool
    line: int


@dataclass(frozen=True, kw_only=True)
class Sequence:
    items: "tuple[Node, ...]"
    line: int


@dataclass(frozen=True, kw_only=True)
class Mapping:
    """`lines` are those of the keys."""

    values: "dict[str, Node]"
    lines: dict[str, int]
    line: int


Node = Scalar | Sequence | Mapping


class UnreadableDocument(Exception):
    """The text is not YAML, or uses more of YAML than device types need. `field` is the key, where there is one."""

    def __init__(self, reason: str, *, line: int | None, field: str = "") -> None:
        super().__init__(reason)
        self.reason, self.line, self.field = reason, line, field


def read_documents(content: bytes) -> Iterator[Node]:
    """The documents of a file, which ``---`` separates; empty ones are left out.

    Raises UnreadableDocument, after the documents before the fault.
    """
    try:
        yield from Composer(decode(content)).documents()
    except yaml.reader.ReaderError as error:
        line = content[: error.position].count(b"\n") + 1
        raise UnreadableDocument("This character is not allowed in YAML.", line=line) from error
    except yaml.MarkedYAMLError as error:
        raise UnreadableDocument(f"This is not YAML: {problem_of(error)}.", line=line_of(error)) from error


def decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UnreadableDocument("The file is not text in UTF-8. Save it in this encoding.", line=line) from error


def problem_of(error: yaml.MarkedYAMLError) -> str:
    return ", ".join(part for part in (error.context, error.problem) if part) or "it cannot be parsed"


def line_of(error: yaml.MarkedYAMLError) -> int | None:
    mark = error.problem_mark or error.context_mark
    return mark.line + 1 if mark else None


class Composer:
    """Makes nodes of the events of one text."""

    def __init__(self, text: str) -> None:
        self.events = yaml.parse(text, Loader=yaml.CSafeLoader)
        self.nodes = 0

    def documents(self) -> Iterator[Node]:
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.nodes = 0
                node = self.node(next(self.events), depth=0)
                if not is_empty(node):
                    yield node

    def node(self, event: yaml.Event, *, depth: int) -> Node:
        line = event.start_mark.line + 1 if event.start_mark else 0
        self.nodes += 1
        if isinstance(event, yaml.AliasEvent):
            raise UnreadableDocument("Device types have no aliases (*). Write the values again.", line=line)
        if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) and event.tag is not None:
            raise UnreadableDocument(f"Device types have no tags, such as {quote(event.tag)}.", line=line)
        if depth > MAX_DEPTH:
            raise UnreadableDocument(f"There are more than {MAX_DEPTH} levels of nesting.", line=line)
        if self.nodes > MAX_NODES:
            raise UnreadableDocument(f"There are more than {MAX_NODES:,} values.", line=line)
        if isinstance(event, yaml.ScalarEvent):
            return Scalar(text=event.value, is_plain=event.implicit[0], line=line)
        if isinstance(event, yaml.SequenceStartEvent):
            return Sequence(items=tuple(self.items(depth=depth + 1)), line=line)
        return self.mapping(line, depth=depth + 1)

    def items(self, *, depth: int) -> Iterator[Node]:
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            yield self.node(event, depth=depth)

    def mapping(self, line: int, *, depth: int) -> Mapping:
        values: dict[str, Node] = {}
        lines: dict[str, int] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, depth=depth)
            if not isinstance(key, Scalar):
                raise UnreadableDocument("The name of a field is a text.", line=key.line)
            if key.text in lines:
                reason = f"The field is there twice: first in line {lines[key.text]}."
                raise UnreadableDocument(reason, line=key.line, field=key.text)
            lines[key.text] = key.line
            values[key.text] = self.node(next(self.events), depth=depth)
        return Mapping(values=values, lines=lines, line=line)


def is_empty(node: Node) -> bool:
    return isinstance(node, Scalar) and node.is_plain and not node.text
