"""Write README.md from nbs/index.ipynb, which is the page to edit: `make readme`."""
import re
from pathlib import Path
from posixpath import join, normpath

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent
DIRECTIVE = re.compile(r"^#\| *([\w-]+):? *(.*)\n?", re.MULTILINE)
LINK = re.compile(r'(\]\(|(?:src|href)=")(?![a-z]+:|#|/)([^)"\s]+)')


def visible(cell):
    "The cell as a reader of README.md sees it, or None: `#| hide` drops it, `#| echo: false` drops its code."
    directives = dict(DIRECTIVE.findall(cell.source))
    if cell.cell_type == "raw" or "hide" in directives or "parameters" in cell.metadata.get("tags", []):
        return None
    if cell.cell_type == "code":
        cell.source = "" if directives.get("echo") == "false" else DIRECTIVE.sub("", cell.source)
    return cell


def from_root(match):
    "The link of a page in nbs/, as seen from the repository's root."
    return match[1] + normpath(join("nbs", match[2]))


def readme(notebook=ROOT / "nbs" / "index.ipynb"):
    "The text of README.md: the notebook's cells and text outputs as Markdown."
    page = nbformat.read(notebook, as_version=4)
    page.cells = [cell for cell in map(visible, page.cells) if cell is not None]
    page.metadata.language_info = {"name": "python"}  # the language of the code fences
    exporter = MarkdownExporter(display_data_priority=["text/markdown", "text/html", "text/plain"])
    text, _ = exporter.from_notebook_node(page)
    text = re.sub(r"```python\s*```\n", "", text)  # the fence of a cell that shows its output alone
    return re.sub(r"\n{3,}", "\n\n", LINK.sub(from_root, text)).strip() + "\n"


if __name__ == "__main__":
    (ROOT / "README.md").write_text(readme(), encoding="utf-8")
