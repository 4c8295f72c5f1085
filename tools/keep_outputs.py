"""Put the outputs of an executed mini run into nbs/: `make outputs`. Only text that a cell printed or returned is kept; progress bars and pictures stay out."""
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def kept(output):
    "The output as it is committed, or None."
    if output.output_type == "stream" and output.name == "stdout":
        return nbformat.v4.new_output("stream", name="stdout", text=output.text)
    text = output.get("data", {}).get("text/plain") if output.output_type == "execute_result" else None
    markdown = output.get("data", {}).get("text/markdown")
    if markdown is not None:
        return nbformat.v4.new_output("display_data", data={"text/markdown": markdown})
    return nbformat.v4.new_output("execute_result", data={"text/plain": text}) if text else None


def keep(executed, source):
    "Copy the outputs of an executed notebook into its source, cell by cell; the injected parameters cell has no counterpart."
    ran, page = nbformat.read(executed, as_version=4), nbformat.read(source, as_version=4)
    outputs = {cell.id: cell.outputs for cell in ran.cells if cell.cell_type == "code"}
    for cell in page.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in map(kept, outputs.get(cell.id, [])) if o is not None]
            cell.execution_count = None
    nbformat.write(page, source)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "mini" / "notebooks"
    pages = {page.name: page for page in (ROOT / "nbs").rglob("*.ipynb")}
    for executed in sorted(folder.glob("*.ipynb")):
        keep(executed, pages[executed.name])
