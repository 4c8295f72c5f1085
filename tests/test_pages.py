"""What is a document's text and what is not: web pages without their furniture, PDFs without running lines, Word files with headings and lists, files in other encodings."""
import zipfile
from pathlib import Path

import docx
import pytest
from test_documents import texts
from test_documents import pdf as one_line_pdf

from aquilt.foundations.core import Drop, Record, read_drops, read_records
from aquilt.reading import web
from aquilt.reading.cleaning import Rules, make_corpus
from aquilt.reading.documents import Document, passage_again, read_file
from aquilt.reading.encodings import found_encoding
from aquilt.reading.pdf import one_text, with_rows, without_running
from aquilt.reading.web import main_lines, page_lines, tree, web_text
from aquilt.reading.word import NUMBERS, _chinese, word_text


def told(path, **options):
    "The document's text, and the ledger's rows by the first words of their reasons."
    found = list(read_file(path, **options))
    return "".join(d.text for d in found if isinstance(d, Document)), {d.reason.split(" (")[0].split(":")[0]: d.raw for d in found if isinstance(d, Drop)}


# ---- web pages

KILN = ["The rotary kiln dries clay at 900 degrees before it is ground, because wet clay sticks to the rollers and stops the mill.",
        "After grinding, the powder is sieved twice; particles above 0.5 mm return to the mill, and the rest goes to the silo.",
        "Operators check the seal every four hours and note the pressure, since a drop of 0.2 bar means that dust escapes.",
        "If the alarm sounds, close valve B first, wait for two minutes, and only then open the hatch of the kiln."]
ZH = ["回转窑在研磨之前把黏土加热到九百度，因为湿黏土会粘在滚筒上，使磨机停止运转。", "研磨之后粉末要过两次筛，大于半毫米的颗粒返回磨机，其余的进入料仓。",
      "操作人员每四小时检查一次密封并记录压力，压力下降说明有粉尘泄漏。", "警报响起时先关闭阀门乙，等待两分钟，然后才能打开窑门。"] * 2
MENU = "<ul><li><a href=/>Home</a></li><li><a href=/p>Products</a></li><li><a href=/c>Contact us</a></li></ul>"
COOKIE = '<div id="cookie-banner" class="cookie-consent"><p>We use cookies to improve your experience.</p><button>Accept all</button></div>'
FOOT = "<footer><p>Copyright 2024 Acme Mills Ltd.</p><a href=/i>Imprint</a></footer>"
TABLE = "<table><thead><tr><th>Part</th><th>Hours</th><th>Price</th></tr></thead><tr><td>Roller</td><td>9000</td><td>120</td></tr><tr><td><p>Sieve</p></td><td></td><td>35</td></tr></table>"
STEPS = "<ol><li>Close valve B.</li><li>Wait two minutes.<ul><li>Watch the gauge.</li></ul></li><li>Open the hatch.</li></ol>"
CODE = '<pre><code>def pressure(bar):\n    if bar &lt; 0.2:\n        return "leak"\n</code></pre>'
MAIN = [*KILN, "Roller\t9000\t120", "Sieve\t\t35", "1. Close valve B.", "   - Watch the gauge.", "3. Open the hatch.", '```\ndef pressure(bar):\n    if bar < 0.2:\n        return "leak"\n```']
FURNITURE = ["Home", "Contact us", "We use cookies", "Accept all", "Copyright 2024", "Imprint"]


def p(*texts): return "".join(f"<p>{text}</p>" for text in texts)


BODY = f"<h1>The kiln</h1>{p(*KILN[:2])}<h2>Safety</h2>{STEPS}{p(KILN[2])}<h2>Parts</h2>{TABLE}{p(KILN[3])}<h3>Sensor</h3>{CODE}"
FAQ = "".join(f"<details><summary>What about point {i}?</summary><p>{x}</p></details>" for i, x in enumerate(KILN))
LAW = "".join(f"<div class=section><h3>Section {i}</h3><p>({i}) {KILN[i % 4]}</p><ol><li>a keeper of class {i}</li><li>a person whom the keeper names</li></ol></div>" for i in range(12))
PAGES = {
    "article": (f"<header><a href=/>Acme</a></header><nav>{MENU}</nav>{COOKIE}<main><article>{BODY}</article></main>{FOOT}", [*MAIN, "# The kiln", "## Safety", "### Sensor"], FURNITURE),
    "classes": (f"<div class=top-menu>{MENU}</div><div class=content>{BODY}</div><div class=sidebar><h3>Related</h3><a href=/1>Ten mills to see</a></div><div class=footer><p>Copyright 2024 Acme.</p><a href=/i>Imprint</a></div>{COOKIE}",
                [*MAIN, "# The kiln"], [*FURNITURE, "Ten mills"]),
    "questions": (f"<nav>{MENU}</nav><main><h1>Questions</h1>{FAQ}</main>{FOOT}{COOKIE}", [*KILN, "What about point 3?"], FURNITURE),
    "definitions": (f"<nav>{MENU}</nav><h1>Terms</h1><dl>" + "".join(f"<dt>term {i}<dd>{x}" for i, x in enumerate(KILN)) + f"</dl>{FOOT}", [*KILN, "term 3"], ["Home", "Imprint"]),
    "documentation": (f"<div class=sphinxsidebar><ul><li><a href=#a>API</a><li><a href=#b>Use the mill library</a></ul></div><div class=body><h1>mill<a class=headerlink href=#>¶</a></h1>{p(KILN[0])}<div class=highlight><pre><span></span>"
                      f"<span class=k>import</span> mill\nmill.start()</pre></div><h2>API</h2><dl><dt>mill.start(speed=1)<dd>{p(KILN[1])}<dl><dt>Parameters<dd>speed, from 1 to 9</dl></dl>{p(KILN[2])}</div><div class=footer>Created using Sphinx.</div>",
                      [*KILN[:3], "```\nimport mill\nmill.start()\n```", "mill.start(speed=1)", "speed, from 1 to 9", "# mill\n"], ["Use the mill library", "Created using", "¶"]),
    "table alone": (f"<nav>{MENU}</nav><h1>Prices</h1><table><tr><th>Part<th>Price</tr>" + "".join(f"<tr><td>Part {i}<td>{i * 7}" for i in range(40)) + f"</table>{FOOT}", ["Part\tPrice", "Part 0\t0", "Part 39\t273", "# Prices"], ["Imprint"]),
    "news": (f"<header><div class=menu>{MENU}</div></header><article><h1>Kiln news</h1><div class='share social'><a href=#>Tweet this</a></div>{p(*KILN[:2])}<aside class=related><a href=/x>Another mill closes</a></aside>{p(*KILN[2:])}</article>"
             f"<section class=newsletter><form><button>Sign up</button></form></section>{FOOT}", [*KILN, "# Kiln news"], ["Tweet this", "Another mill closes", "Sign up", "Imprint", "Home"]),
    "law": (f"<nav>{MENU}</nav><div class=content><h1>Mill Act</h1>{LAW}</div>{FOOT}", [*(f"### Section {i}\n" for i in range(12)), "1. a keeper of class 11", "# Mill Act"], ["Imprint", "Home"]),
    "Chinese": (f"<div class=nav><a href=/>首页</a><a href=/a>关于我们</a></div><div class=article><h1>回转窑</h1>{p(*ZH)}</div><div class=footer>版权所有</div>", [*ZH, "# 回转窑"], ["首页", "版权"]),
    "laid out": (f"<table><tr><td><a href=/>Home</a></td><td><h1>The kiln</h1>{p(*KILN)}</td></tr></table>", [*KILN, "# The kiln"], []),
    "short": (f"<nav>{MENU}</nav><main><h1>Notice</h1><p>The mill is closed on Friday.</p></main>{FOOT}", ["The mill is closed on Friday.", "# Notice"], ["Contact us"])}


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("head", ["<!DOCTYPE html>", '<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html>'])
def test_the_main_text_of_a_page_is_whole_and_its_furniture_is_told(tmp_path, name, head):
    page, main, furniture = PAGES[name]
    (tmp_path / "a.html").write_text(f"{head}<html><head><meta charset=utf-8><title>no</title></head><body>{page}</body></html>", encoding="utf-8")
    text, drops = told(tmp_path / "a.html")
    assert [part for part in main if part not in text] == [] and [part for part in furniture if part in text] == []
    left_out = drops.get("page furniture", "")
    assert all(part in left_out for part in furniture if part != "¶")
    read = web._letters(text + left_out)  # every word of the page is in one of the two
    for line in page_lines(tree(page)): assert web._letters(line.text) in read


def test_a_page_is_decoded_before_its_main_text_is_looked_for(tmp_path):
    (tmp_path / "a.html").write_bytes(f"<html><head><meta charset=gb2312></head><body><nav>首页</nav>{p(*ZH)}<footer>版权所有</footer></body></html>".encode("gb2312"))
    text, drops = told(tmp_path / "a.html")
    assert text == "\n".join(ZH) and "版权所有" in drops["page furniture"]


@pytest.mark.parametrize("library", [lambda *a, **k: None, lambda *a, **k: KILN[0], lambda *a, **k: 1 / 0])
def test_where_the_library_misses_the_text_all_of_it_is_read(monkeypatch, library):
    import trafilatura
    monkeypatch.setattr(trafilatura, "extract", library)
    page = PAGES["classes"][0]
    text, left_out = web_text(page)
    assert all(part in text for part in MAIN)


def test_a_line_goes_only_where_both_agree():
    page = f"<p>Site</p><div class=sidebar>{p(KILN[0])}</div>{p(KILN[1])}<p>An aside of the author.</p><div class=share>Tweet</div>{p(KILN[2])}<p>All rights</p>"
    lines = page_lines(tree(page))
    stay = main_lines(lines, [web._letters(text) for text in KILN[:3]])
    assert [line.text for line, yes in zip(lines, stay) if yes] == [KILN[0], KILN[1], "An aside of the author.", KILN[2]]


@pytest.mark.parametrize("tag", ["main", "article"])
def test_a_last_table_and_code_stay_where_the_library_does_not_take_them(monkeypatch, tag):
    import trafilatura
    monkeypatch.setattr(trafilatura, "extract", lambda *a, **k: "\n".join(KILN))
    page = f"<{tag}>{p(*KILN)}<p>Links</p>{TABLE}<div class=share>{TABLE.replace('Sieve', 'Tweet')}</div></{tag}>{CODE}<table><tr><td>Home<td>Imprint</table>"
    text, left_out = web_text(page)
    assert text == "\n".join([*KILN, "Part\tHours\tPrice", *MAIN[4:6], MAIN[-1]]) and left_out == ["Links", "Part\tHours\tPrice", "Roller\t9000\t120", "Tweet\t\t35", "Home\tImprint"]


@pytest.mark.parametrize("page, text", [
    ("<table><tr><td>a<td><td>c<tr><td><p>d<p>e<td>f</table>", "a\t\tc\nd e\tf"), ("<table><tr><th><th>x<th>y<tr><th>r<td>1<td></table>", "\tx\ty\nr\t1"),
    ("<ol start=3><li>a<li>b</ol><ul><li><p>c</p><p>d</p><li></ul>e", "3. a\n4. b\n- c\nd\ne"), ("<ul>" * 30 + "<li>x", " " * 24 + "- x"),
    ("<pre>\n a\n\n  b\n</pre>c<pre> </pre>", "```\n a\n\n  b\n```\nc"), ("<pre>```</pre>", "~~~\n```\n~~~"),
    ('Let <span class=katex><span class=katex-mathml><math><mi>x</mi><annotation encoding="application/x-tex">x^2</annotation></math></span><span class=katex-html>x2</span></span> be', "Let $x^2$ be"),
    ('<script type="math/tex; mode=display">\\frac{1}{2}</script>', "$\\frac{1}{2}$"), ("<table><tr><td class=gutter><pre>1\n2</pre></td><td><pre>a\nb</pre></table>", "```\na\nb\n```")])
def test_lines_of_a_page(tmp_path, page, text):
    (tmp_path / "a.html").write_text(page)
    assert told(tmp_path / "a.html")[0] == text.strip("\n")


# ---- PDFs

def pages_of(*pages): return [page.strip("\n") for page in pages]


@pytest.mark.parametrize("pages, kept, running", [
    ([f"Acme Manual\nText {c}.\n{i}" for i, c in enumerate("abcd", 1)], [f"Text {c}." for c in "abcd"], ["Acme Manual", "1", "2", "3", "4"]),
    ([f"Text {c}.\nAcme Manual | Page {i} of 9" for i, c in enumerate("abc", 4)], [f"Text {c}." for c in "abc"], [f"Acme Manual | Page {i} of 9" for i in (4, 5, 6)]),
    ([f"{'Left' if i % 2 else 'Right'} title\nText {c}.\n- {i} -" for i, c in enumerate("abcdef")], [f"Text {c}." for c in "abcdef"], None),
    ([f"{n}\nText {c}." for n, c in zip(("i", "ii", "iii", "iv"), "abcd")], [f"Text {c}." for c in "abcd"], ["i", "ii", "iii", "iv"]),
    ([f"第{i}页 共9页\n{c}。" for i, c in enumerate("甲乙丙", 1)], ["甲。", "乙。", "丙。"], None),
    ([f"Chapter {i}\nText {c}." for i, c in enumerate("abc", 1)], None, []),  # headings
    (["Title\nText a.\n1", "Title\nText b.\n2"], None, []),  # two pages prove nothing
    ([f"In {y}\nText {c}." for y, c in zip((1990, 1995, 2001), "abc")], None, []),
    (["Notes\na."] + [f"{c}." for c in "bcdefghijk"] + ["Notes\nl."] + [f"{c}." for c in "mnopqrstuv"] + ["Notes\nw."], None, []),  # far from each other
    (["", "Acme\na.", "Acme\nb.\n\nc.", "", "Acme\nd."], ["", "a.", "b.\n\nc.", "", "d."], ["Acme"])])
def test_running_lines(pages, kept, running):
    found, gone = without_running(pages)
    assert found == (pages if kept is None else kept) and (running is None or gone == running)


def test_many_numbers_in_a_long_line_take_no_time():
    assert without_running(["1 " * 100_000] * 5)[1] == []


def test_running_lines_and_the_sentence_that_goes_on_overleaf(tmp_path):
    (tmp_path / "a.pdf").write_bytes(one_line_pdf("Clay holds water because its", "particles are small.", "Sand drains."))
    assert told(tmp_path / "a.pdf") == ("Clay holds water because its\nparticles are small.\n\nSand drains.", {})
    assert one_text(["its capabili-", "ties, and", "Jean went,", "", "Then."]) == "its capabilities, and\n\nJean went,\nThen."


def test_a_running_header_of_a_file_is_in_the_ledger(tmp_path):
    lines = [[("Acme Manual", 780), (f"Clay number {c} holds water.", 700), (str(i), 20)] for i, c in enumerate("abcd", 1)]
    whole = one_line_pdf(*(f"{texts[0][0]}) Tj 0 -80 Td ({texts[1][0]}) Tj 0 -600 Td ({texts[2][0]}" for texts in lines))
    (tmp_path / "a.pdf").write_bytes(whole)
    text, drops = told(tmp_path / "a.pdf")
    assert text == "\n\n".join(f"Clay number {c} holds water." for c in "abcd")
    assert drops["running headers and page numbers left out"] == f"{tmp_path / 'a.pdf'}: Acme Manual | 1 | 2 | 3 | 4"


@pytest.mark.parametrize("plain, layout, text", [
    ("A B C\n1 2 3\n4 5\nEnd of it.", "A     B     C\n1     2     3\n\n4           5\nEnd of it.", "A\tB\tC\n1\t2\t3\n4\t\t5\nEnd of it."),
    ("A\nB\nC\n1\n2\n3\n4\n5\n6", "A   B   C\n1   2   3\n4   5   6", "A\tB\tC\n1\t2\t3\n4\t5\t6"),
    ("one two three four five", "one   two\nthree   four\nfive   six", "one two three four five"),  # two columns are a page
    ("A B C\n1 2 3", "A   B   C\n1   2   3", "A B C\n1 2 3")])  # two rows are by chance
def test_tables_of_a_pdf(plain, layout, text):
    assert with_rows(plain, layout) == text


def test_a_table_of_a_pdf_file(tmp_path):
    cells = [(50, "Region"), (200, "Price"), (300, "Stock"), (50, "North"), (200, "12"), (300, "4"), (50, "South"), (300, "9")]
    rows = [700, 700, 700, 680, 680, 680, 660, 660]
    drawing = ") Tj ET ".join(f"BT /F1 10 Tf {x} {y} Td ({text}" for (x, text), y in zip(cells, rows))
    (tmp_path / "a.pdf").write_bytes(one_line_pdf(f"x) Tj ET {drawing}"))
    assert "Region\tPrice\tStock\nNorth\t12\t4\nSouth\t\t9" in told(tmp_path / "a.pdf")[0]


# ---- Word

def saved(document, path):
    document.save(str(path))
    return word_text(path)


def test_headings_of_a_word_file(tmp_path):
    document = docx.Document()
    document.add_heading("Mills", 0)
    for text, level in (("Safety", 1), ("Valves", 2), ("Deep", 7)): document.add_heading(text, level)
    document.add_paragraph("Close it.")
    assert saved(document, tmp_path / "a.docx") == "# Mills\n\n\n## Safety\n\n\n### Valves\n\n\n###### Deep\n\nClose it."


def test_a_style_based_on_a_heading_and_an_outline_level_are_headings(tmp_path):
    document = docx.Document()
    mine = document.styles.add_style("Mine", docx.enum.style.WD_STYLE_TYPE.PARAGRAPH)
    mine.base_style = document.styles["Heading 2"]
    document.add_paragraph("By style", "Mine")
    plain = document.add_paragraph("By outline")
    plain._p.get_or_add_pPr().append(docx.oxml.parse_xml('<w:outlineLvl xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" w:val="0"/>'))
    document.add_paragraph("", "Heading 1")  # says nothing
    assert saved(document, tmp_path / "a.docx") == "## By style\n\n\n# By outline"


def test_styles_in_a_circle_end(tmp_path):
    document = docx.Document()
    a, b = (document.styles.add_style(name, docx.enum.style.WD_STYLE_TYPE.PARAGRAPH) for name in "ab")
    a.base_style, b.base_style = b, a
    document.add_paragraph("Text.", "a")
    assert saved(document, tmp_path / "a.docx") == "Text."


def numbering(document, levels, num="9"):
    "A list with levels (form, label, start) of its own."
    ns = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    root = document.part.numbering_part.element
    inner = "".join(f'<w:lvl w:ilvl="{i}"><w:start w:val="{start}"/><w:numFmt w:val="{form}"/><w:lvlText w:val="{label}"/></w:lvl>' for i, (form, label, start) in enumerate(levels))
    root.insert(0, docx.oxml.parse_xml(f'<w:abstractNum {ns} w:abstractNumId="9{num}">{inner}</w:abstractNum>'))
    root.append(docx.oxml.parse_xml(f'<w:num {ns} w:numId="{num}"><w:abstractNumId w:val="9{num}"/></w:num>'))
    def add(text, depth, style=None):
        properties = document.add_paragraph(text, style)._p.get_or_add_pPr()
        properties.append(docx.oxml.parse_xml(f'<w:numPr {ns}><w:ilvl w:val="{depth}"/><w:numId w:val="{num}"/></w:numPr>'))
    return add


def test_lists_of_a_word_file(tmp_path):
    document = docx.Document()
    for text in ("One", "Two"): document.add_paragraph(text, "List Bullet")
    add = numbering(document, [("decimal", "%1.", 1), ("lowerLetter", "(%2)", 1), ("decimal", "%1.%2.%3", 2)])
    for text, depth in (("a", 0), ("b", 1), ("c", 1), ("d", 2), ("e", 0), ("f", 1)): add(text, depth)
    assert saved(document, tmp_path / "a.docx").split("\n") == ["- One", "- Two", "1. a", "   (a) b", "   (b) c", "      1.b.2 d", "2. e", "   (a) f"]


def test_a_numbered_heading_keeps_its_number(tmp_path):
    document = docx.Document()
    add = numbering(document, [("chineseCountingThousand", "第%1章", 1), ("decimal", "%1.%2", 1)])
    add("砂土", 0, "Heading 1")
    add("Sand", 1, "Heading 2")
    assert saved(document, tmp_path / "a.docx") == "# 第一章 砂土\n\n\n## 一.1 Sand"
    assert [NUMBERS["upperRoman"](n) for n in (4, 19, 90, 1999)] == ["IV", "XIX", "XC", "MCMXCIX"] and [_chinese(n) for n in (0, 20, 99, 100)] == ["〇", "二十", "九十九", "100"]


def test_cells_of_a_word_file_are_rows_and_merged_ones_stand_once(tmp_path):
    document = docx.Document()
    table = document.add_table(3, 3)
    for i, row in enumerate(table.rows):
        for j, cell in enumerate(row.cells): cell.text = f"{i}{j}"
    table.cell(0, 0).merge(table.cell(1, 0)).text = "tall\nof two"
    inner = table.cell(1, 2).add_table(2, 2)
    for i, row in enumerate(inner.rows):
        for j, cell in enumerate(row.cells): cell.text = f"in {i}{j}"
    assert saved(document, tmp_path / "a.docx").split("\n") == ["tall of two\t01\t02", "\t11\t12", "in 00\tin 01", "in 10\tin 11", "20\t21\t22"]


def test_a_word_file_without_styles_and_numbering(tmp_path):
    docx.Document().save(str(tmp_path / "a.docx"))
    with zipfile.ZipFile(tmp_path / "a.docx") as old, zipfile.ZipFile(tmp_path / "b.docx", "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename.endswith("word/styles.xml"): content = content.replace(b'w:val="heading 1"', b'w:val="heading one"')
            if item.filename == "word/document.xml": content = content.replace(b"<w:body>", b'<w:body><w:p><w:pPr><w:pStyle w:val="None"/><w:numPr><w:ilvl w:val="99"/><w:numId w:val="77"/></w:numPr></w:pPr><w:r><w:t>Text.</w:t></w:r></w:p>')
            new.writestr(item, content)
    assert word_text(tmp_path / "b.docx") == "Text."


# ---- front matter

@pytest.mark.parametrize("front", ["---\ntitle: Mills\ntags: [a, b]\n---\n\n", "---\ntitle: >\n  A long\n  title\nauthors:\n- one\n- two\n# a remark\n\nempty:\n...\n", '---\n"a b": 1\n---'])
@pytest.mark.parametrize("name", ["a.md", "A.MD"])
def test_front_matter_is_no_text(tmp_path, front, name):
    (tmp_path / name).write_bytes((front + ("\r\n" if front.endswith("---") else "")).replace("\n", "\r\n").replace("\r\r", "\r").encode() + "# Mills\n\nThey grind 谷物.".encode())
    text, drops = told(tmp_path / name)
    assert text == "# Mills\n\nThey grind 谷物." and drops["front matter left out"].startswith(f"{tmp_path / name}: ---")
    document, = (d for d in read_file(tmp_path / name) if isinstance(d, Document))
    whole = (tmp_path / name).read_text(encoding="utf-8")
    assert whole[document.start:] == text  # spans are characters of the file
    record = Record(source=str(tmp_path / name), document=name, span=(document.start + 2, document.start + 7))
    assert passage_again(record) == "Mills"


@pytest.mark.parametrize("name, content", [("a.txt", "---\ntitle: x\n---\nText."), ("a.md", "---\n\nA rule above.\n\n---\nText."), ("a.md", "---\nNote: the mill is closed.\nIt opens soon.\n---\nText."),
                                           ("a.md", "---\ntitle: never closed\n\nText."), ("a.md", "Text.\n---\na: b\n---\n"), ("a.md", "")])
def test_what_is_no_front_matter_stays(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert told(tmp_path / name) == (content, {})


# ---- encodings

ZH_TEXT, EN_TEXT = "这座城市位于河边，有一座桥和一座磨坊。居民每天早晨到市场去买面包。", "The miller’s rule – “never open the hatch” – isn’t old. "


@pytest.mark.parametrize("text, encoding", [(ZH_TEXT, "gb18030"), ("The mill. " * 100 + ZH_TEXT, "gb18030"), ("這座城市位於河邊，有一座橋和一座磨坊。居民每天早晨到市場去買麵包。", "big5"), (EN_TEXT, "cp1252"),
                                            ("Die Mühle läuft, wenn der Müller da ist; größere Körner fallen.", "cp1252")])
@pytest.mark.parametrize("suffix, form", [(".txt", "{}"), (".md", "{}"), (".csv", "text\n\"{}\"\n"), (".jsonl", '{{"text": "{}"}}\n')])
def test_an_encoding_is_found_and_told(tmp_path, text, encoding, suffix, form):
    (tmp_path / f"a{suffix}").write_bytes(form.format(text).encode(encoding))
    found, drops = told(tmp_path / f"a{suffix}")
    assert found == text and set(drops) == {f"not UTF-8, read as {encoding}"}
    assert told(tmp_path / f"a{suffix}", encoding=encoding) == (text, {})


@pytest.mark.parametrize("text, encoding", [("Мельница работает, когда мельник на месте. " * 9, "cp1251"), ("Мельница работает, когда мельник на месте. " * 9, "koi8-r"), ("Większe ziarna wracają do bębna. Źle. " * 9, "cp1250"),
                                            ("Příliš žluťoučký kůň úpěl ďábelské ódy. " * 9, "cp1250"), ("この町は川のそばにあり、橋と水車小屋があります。" * 9, "shift_jis"), ("この町は川のそばにあり、橋と水車小屋があります。" * 9, "euc_jp"),
                                            ("이 도시는 강가에 있으며 다리와 방앗간이 있다. " * 9, "euc_kr"), ("Ein Café.", "cp1252"), (ZH_TEXT, "utf-8"), (ZH_TEXT, "utf-16"), (EN_TEXT * 9, "utf-8-sig"), ("", "utf-8"), ("plain", "ascii")])
def test_no_encoding_is_found_that_is_another(text, encoding):
    assert found_encoding(text.encode(encoding)) == ""


def test_one_broken_byte_makes_no_other_encoding():
    assert found_encoding("Good café words and 磨坊. ".encode() * 20 + b"\xff\xfe") == found_encoding("Größe; Mühle; ".encode() * 20 + b"\xc3(") == ""
    assert found_encoding((ZH_TEXT * 900).encode()[:1 << 10]) == found_encoding((ZH_TEXT * 900).encode()[:(1 << 10) + 1]) == ""


def test_text_of_other_kinds_is_not_guessed(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff" * 50)
    with pytest.raises(Exception, match="not utf-8"): texts(tmp_path / "a.txt")


# ---- all of it

MODEL = Path(__file__).resolve().parent.parent / "aquilt" / "data" / "models" / "qwen2"


def test_a_folder_of_many_kinds_becomes_passages_under_their_headings_and_all_else_is_in_the_ledger(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.html").write_text(f"<html><body>{PAGES['article'][0]}</body></html>")
    (folder / "b.md").write_text("---\ntitle: Mill\n---\n# Mill\n\n## Seal\n\n" + "\n\n".join(f"{text} Note number {i} of the seal." for i, text in enumerate(KILN[::-1])))
    (folder / "c.txt").write_bytes(("磨坊主人每天检查密封。" + ZH_TEXT).encode("gb18030"))
    (folder / "d.pdf").write_bytes(one_line_pdf(*(f"Acme Mills) Tj 0 -80 Td (The {name} of the mill turns at {i * 7 + 3} rounds a minute when it is warm.) Tj 0 -600 Td ({i}" for i, name in enumerate(("roller", "sieve", "kiln"), 1))))
    document = docx.Document()
    document.add_heading("Valves", 1)
    for text in ("Valve A opens to the left and is painted green by law.", "Valve B is closed before the hatch is opened by anyone."): document.add_paragraph(text, "List Number")
    document.save(str(folder / "e.docx"))
    result = make_corpus([folder], tmp_path / "out.jsonl", MODEL, budget=110, rules=Rules(near=0), progress=False)
    records, drops = read_records(tmp_path / "out.jsonl"), read_drops(tmp_path / "out.jsonl.dropped.jsonl")
    assert result["counts"]["entered"] == len(records) + len(drops) and not result["problems"]
    assert sorted(d.reason.split(" (")[0].split(":")[0] for d in drops if d.stage == "documents") == [
        "front matter left out", "not UTF-8, read as gb18030", "page furniture", "running headers and page numbers left out"]
    texts = {name: [r.text for r in records if r.document == name] for name in ("a.html", "b.md", "c.txt", "d.pdf", "e.docx")}
    assert all(text.startswith("# The kiln") for text in texts["a.html"]) and any("## Parts" in text and "Roller\t9000\t120\nSieve\t\t35" in text for text in texts["a.html"])
    assert len(texts["b.md"]) > 1 and all(text.startswith("# Mill\n\n## Seal\n\n") for text in texts["b.md"])
    assert "Acme Mills" not in "".join(texts["d.pdf"]) and texts["e.docx"][0].startswith("# Valves\n\n1. Valve A") and ZH_TEXT[-12:] in texts["c.txt"][-1]
    assert all(r.text.endswith(passage_again(r)) for r in records)
