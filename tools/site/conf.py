"How Sphinx builds the site; tools/make_site.py calls it."
import re

from docutils import nodes
from latex2mathml.converter import convert

project, author = "AQuilt", "The aquilt authors"
copyright = "2026 onwards, the aquilt authors"
extensions = ["myst_nb", "sphinx.ext.autodoc"]
html_theme, html_title = "furo", "AQuilt"
html_static_path, html_css_files = ["static"], ["site.css"]
html_show_sphinx = html_copy_source = False
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"
nb_mime_priority_overrides = [("html", "text/markdown", 0)]
nb_render_markdown_format = "gfm"  # with tables
exclude_patterns = ["nbs/index.ipynb"]
autodoc_typehints = "signature"
suppress_warnings = ["myst.xref_missing", "mystnb.unknown_mime_type", "myst.header", "toc.not_included", "docutils"]


def mathml(text, display):
    "A formula as MathML, which browsers show without a script; its number stands beside it."
    number = re.search(r"\\tag\{(.*?)\}", text)
    text = (text.replace(number[0], "") if number else text).replace("'", "\\text{\u2032}")  # a raised prime is raised once
    formula = convert(text, display="block" if display else "inline")
    return f'<div class="formula">{formula}<span>({number[1]})</span></div>' if number else formula


def visit_math(self, node):
    self.body.append(mathml(node.astext(), False))
    raise nodes.SkipNode


def visit_block(self, node):
    self.body.append(mathml(node.astext(), True))
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_block, None))


html_math_renderer = "mathml"
