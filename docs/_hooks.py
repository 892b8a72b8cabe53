"""What pages need beyond Markdown.

Examples in docstrings, lines that begin with `>>>`, are code: Markdown would make quotations of them. Figures come
from the folder of the experiments.
"""

import re
from pathlib import Path

from markdown import Extension
from markdown.preprocessors import Preprocessor
from mkdocs.structure.files import File


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


# figures that pages show lie beside the experiments that draw them
_SHOWN = re.compile(r"\]\(\.\./experiments/figures/([\w.]+)\)")


def on_files(files, config):
    figures = Path(config["config_file_path"]).parent / "experiments" / "figures"
    shown = {name for page in files.documentation_pages() for name in _SHOWN.findall(page.content_string)}
    for name in sorted(shown):
        files.append(File.generated(config, f"figures/{name}", abs_src_path=str(figures / name)))
    return files


def on_page_markdown(markdown, page, config, files):
    return _SHOWN.sub(r"](figures/\1)", markdown)
