"""Sphinx: the pages of this folder as a static site; `make docs` builds it."""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx

from fer_runtime import __version__

project = "fer-runtime"
author = "the fer-runtime authors"
project_copyright = "the fer-runtime authors, Apache-2.0"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
"""Headings of this depth can be linked as page.md#heading; a link to none is a warning."""

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True
default_role = "code"

html_theme = "furo"
html_title = f"fer-runtime {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {
    "source_repository": "https://github.com/fer-runtime/fer-runtime/",
    "source_branch": "main",
    "source_directory": "docs/",
}
# The builder `linkcheck` lists external links; none is fetched, so that it runs offline.
linkcheck_ignore = [r"https?://.*"]

PAGES = {"CHANGELOG.md": "changelog.md", "../RESULTS.md": "studies.md", "docs/": ""}
"""Link in a file of the repository that a page includes -> the page's."""


def link_to_pages(
    app: Sphinx, relative_path: Path, parent_docname: str, content: list[str]
) -> None:
    """Rewrite the links of an included file; Sphinx reads `content` back."""
    for link, page in PAGES.items():
        content[0] = content[0].replace(f"]({link}", f"]({page}")


ASTERISKS = re.compile(
    r"`[^`]*`|^\s*(?:>>>|\.\.\.) .*$|^\s*\*+\w+:|(?<!\w)\*\w[^*\n]*\w\*(?!\w)|(\*+)", re.MULTILINE
)
"""Code, examples, arguments and emphasis are as they are; other asterisks are in group 1."""


def escape_asterisks(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:
    """Let docstrings name paths as DIR/<label>/*; reStructuredText would read an emphasis."""
    text = ASTERISKS.sub(
        lambda found: "\\*" * len(found[1]) if found[1] else found[0], "\n".join(lines)
    )
    lines[:] = text.split("\n")


def setup(app: Sphinx) -> None:
    """Sphinx calls this once."""
    app.connect("autodoc-process-docstring", escape_asterisks, priority=100)  # before napoleon's
    app.connect("include-read", link_to_pages)
