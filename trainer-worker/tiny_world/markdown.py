"""Breaks the lines of generated Markdown, so that measured numbers may be of any length."""

import textwrap
from typing import Final

LINE: Final = 118
_UNTOUCHED: Final = ("|", "#", "```", "    ")


def _is_item(line: str) -> bool:
    return line.startswith("- ")


def _reflow_block(block: str) -> str:
    if block.startswith(_UNTOUCHED):
        return block
    items: list[str] = []
    for line in block.splitlines():
        if _is_item(line) or not items:
            items.append(line)
        else:
            items[-1] += " " + line.strip()
    return "\n".join(
        textwrap.fill(
            item,
            LINE,
            subsequent_indent="  " if _is_item(item) else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in items
    )


def reflow(text: str) -> str:
    """Refill paragraphs and list items; leave headings, tables and fenced blocks without blank lines as they are."""
    return "\n\n".join(_reflow_block(block) for block in text.strip().split("\n\n")) + "\n"
