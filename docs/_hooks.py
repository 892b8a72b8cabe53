"""Examples in docstrings, lines that begin with `>>>`, are code: Markdown would make quotations of them."""

import re

from markdown import Extension
from markdown.preprocessors import Preprocessor


class _Examples(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        """Return the lines with a fence around each example, up to the next empty line."""
        found: list[str] = []
        inside = fenced = False
        for line in lines:
            if re.match(r"\s*(```|~~~)", line):
                fenced = not fenced
            if not fenced and not inside and line.startswith(">>> "):
                found += ["", "```"]
                inside = True
            elif inside and not line.strip():
                found.append("```")
                inside = False
            found.append(line)
        return [*found, "```"] if inside else found


class Examples(Extension):
    """Before fences are read."""

    def extendMarkdown(self, md):
        md.preprocessors.register(_Examples(md), "examples", 100)


def on_config(config):
    config["markdown_extensions"].append(Examples())
    return config
