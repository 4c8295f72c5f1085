"""Put the outputs of an executed mini run into nbs/: `make outputs`. Text, tables and small pictures that a cell printed or returned are kept; progress bars stay out."""
import base64
import io
import re
import sys
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent


def small(png):
    "A picture in 64 colours, 760 pixels wide at most: a figure's lines and letters need no more."
    from PIL import Image
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    if picture.width > 760: picture = picture.resize((760, round(picture.height * 760 / picture.width)), Image.LANCZOS)
    written = io.BytesIO()
    picture.quantize(64, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
    return base64.b64encode(written.getvalue()).decode()


def kept(output):
    "The output as it is committed, or None."
    if output.output_type == "stream" and output.name == "stdout":
        return nbformat.v4.new_output("stream", name="stdout", text=output.text)
    if output.output_type not in ("execute_result", "display_data"): return None
    data = output.data
    if any("widget" in kind for kind in data): return None  # it needs a running kernel
    if "image/png" in data: return nbformat.v4.new_output("display_data", data={"image/png": small(data["image/png"])})
    if "text/markdown" in data: return nbformat.v4.new_output("display_data", data={"text/markdown": data["text/markdown"]})
    if "text/html" in data:
        return nbformat.v4.new_output("display_data", data={"text/html": re.sub(r"<style.*?</style>\n?", "", data["text/html"], flags=re.DOTALL)})
    text = data.get("text/plain") if output.output_type == "execute_result" else None
    return nbformat.v4.new_output("execute_result", data={"text/plain": text}) if text else None


def joined(outputs):
    "The outputs with what was printed in one piece, without pieces of blanks alone."
    pieces = []
    for output in outputs:
        if output.output_type == "stream" and pieces and pieces[-1].output_type == "stream": pieces[-1].text += output.text
        elif output.output_type != "stream" or output.text.strip(): pieces.append(output)
    return pieces


def keep(executed, source):
    "Copy the outputs of an executed notebook into its source, cell by cell; the injected parameters cell has no counterpart."
    ran, page = nbformat.read(executed, as_version=4), nbformat.read(source, as_version=4)
    outputs = {cell.id: cell.outputs for cell in ran.cells if cell.cell_type == "code"}
    for cell in page.cells:
        if cell.cell_type == "code":
            cell.outputs = joined(o for o in map(kept, outputs.get(cell.id, [])) if o is not None)
            cell.execution_count = None
    nbformat.write(page, source)


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "runs" / "mini" / "notebooks"
    pages = {page.name: page for page in (ROOT / "nbs").rglob("*.ipynb")}
    for executed in sorted(folder.glob("*.ipynb")):
        keep(executed, pages[executed.name])
