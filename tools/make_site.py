"""The pages as a site in _docs/html, with search and the package's reference from its docstrings: `make site`. It asks the network for nothing, neither when it is built nor when it is read."""
import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from make_readme import DIRECTIVE, readme

ROOT = Path(__file__).resolve().parent.parent
SOURCE, HTML = ROOT / "_docs" / "source", ROOT / "_docs" / "html"
WINGS = {"": "The method", "own": "Your own domain", "foundations": "Foundations", "models": "Models", "miniature": "The miniature",
         "reading": "Reading", "evaluation": "Evaluation", "runner": "The runner"}


def imports_alone(source):
    "Whether a cell only imports: the site folds it."
    return not re.search(r"^(def|class|@|[A-Z_a-z]+ *[=:(])", re.sub(r"^if TYPE_CHECKING:.*", "", source, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)


def page(notebook):
    "A notebook as the site shows it: without nbdev's directives, parameters and the cells that `#| hide` hides."
    read = nbformat.read(notebook, as_version=4)
    kept = []
    for cell in read.cells:
        directives = dict(DIRECTIVE.findall(cell.source)) if cell.cell_type == "code" else {}
        if "hide" in directives or "default_exp" in directives or "parameters" in cell.metadata.get("tags", []): continue
        if directives.get("echo") == "false": cell.metadata["tags"] = ["remove-input"]
        if cell.cell_type == "code": cell.source = DIRECTIVE.sub("", cell.source)
        if "export" in directives and imports_alone(cell.source): cell.metadata["tags"] = ["hide-input"]
        kept.append(cell)
    read.cells = kept
    read.metadata["mystnb"] = {"execution_mode": "off"}
    return nbformat.writes(read)


def toctree(caption, names):
    "The pages of a wing in the site's menu."
    return "\n".join(["```{toctree}", ":hidden:", ":maxdepth: 1", f":caption: {caption}", "", *names, "```", ""])


def modules():
    "The names of the package's modules, hand-written commands apart."
    sys.path.insert(0, str(ROOT))
    package = importlib.import_module("aquilt")
    found = pkgutil.walk_packages(package.__path__, "aquilt.", onerror=lambda name: None)
    return [m.name for m in found if not m.ispkg and not re.search(r"\._|\.commands", m.name)]


def write_sources():
    "Pages, figures, the front page with its menu, and a page of reference for each module."
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "figures", SOURCE / "figures")
    for name in "LOG.md", "CONTRIBUTING.md", "LICENSE": shutil.copy(ROOT / name, SOURCE)
    menus = []
    for wing, caption in WINGS.items():
        there = sorted((ROOT / "nbs" / wing).glob("*.ipynb"))
        for notebook in there:
            copy = SOURCE / notebook.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(page(notebook), encoding="utf-8")
        menus.append(toctree(caption, [f"nbs/{wing}/{n.stem}".replace("//", "/") for n in there if n.stem != "index"]))
    (SOURCE / "api").mkdir()
    for name in (names := modules()):
        (SOURCE / "api" / f"{name}.md").write_text(
            f"# {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n   :members:\n   :member-order: bysource\n```\n", encoding="utf-8")
    menus.append(toctree("Reference", [f"api/{name}" for name in names]))
    menus.append(toctree("The project", ["LOG", "CONTRIBUTING"]))
    (SOURCE / "index.md").write_text(readme() + "\n" + "\n".join(menus), encoding="utf-8")


def main():
    write_sources()
    shutil.rmtree(HTML, ignore_errors=True)
    built = subprocess.run([sys.executable, "-m", "sphinx", "--quiet", "--jobs", "2", "--conf-dir", ROOT / "tools" / "site", SOURCE, HTML])
    if not built.returncode: print(f"{HTML / 'index.html'}: {len(list(HTML.rglob('*.html')))} pages")
    return built.returncode


if __name__ == "__main__": sys.exit(main())
