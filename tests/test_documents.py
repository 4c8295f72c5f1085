"""Files of every kind to plain text, and each kind of damaged file as one sentence while the others go on."""
import gzip
import json
import sys
import time
import types
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aquilt.reading import documents, pdf as pdf_pages
from aquilt.foundations.core import Drop, Record, UserError
from aquilt.reading.documents import Document, blocks_of, normal, open_bytes, passage_again, read_documents, read_file, read_hub
from aquilt.reading.web import web_text


def texts(path, **options):
    return [d.text for d in read_file(path, **options) if isinstance(d, Document)]


def refusal(path, **options):
    "The one sentence with which a file is refused; it names the file."
    with pytest.raises(UserError) as caught: list(read_file(path, **options))
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and message.endswith(".")
    return message


def pdf(*pages):
    "A small PDF, a line of text on each page (none where it is empty)."
    parts = ["<< /Type /Catalog /Pages 2 0 R >>", f"<< /Type /Pages /Count {len(pages)} /Kids [{' '.join(f'{4 + 2 * i} 0 R' for i in range(len(pages)))}] >>",
             "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    for i, text in enumerate(pages):
        drawing = f"BT /F1 12 Tf 50 700 Td ({text}) Tj ET" if text else "0 0 m 9 9 l S"
        parts += [f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] /Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * i} 0 R >>",
                  f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream"]
    body, offsets = "%PDF-1.4\n", []
    for number, part in enumerate(parts, 1):
        offsets.append(len(body))
        body += f"{number} 0 obj\n{part}\nendobj\n"
    table = "".join(f"{at:010} 00000 n \n" for at in offsets)
    return f"{body}xref\n0 {len(parts) + 1}\n0000000000 65535 f \n{table}trailer << /Size {len(parts) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF\n".encode()


def word(path, *paragraphs):
    import docx
    document = docx.Document()
    for text in paragraphs: document.add_paragraph(text)
    table = document.add_table(1, 2)
    table.rows[0].cells[0].text, table.rows[0].cells[1].text = "left", "right"
    document.save(str(path))


# ---- normal form

def test_normal_form():
    assert normal("e\u0301\r\na\rb\x0cc\u2028d") == "é\na\nb\nc\nd"
    assert normal("a\x00b\x1bc\x7fd\x9fe\ufefff\u200bg\tnew\n") == "abcdefg\tnew\n"
    assert normal("Ａ①㎏　x\u00a0y") == "Ａ①㎏　x\u00a0y"  # compatibility characters stay: they are not the same text
    assert normal("") == "" and normal("\ud800x") == "x"


@given(st.text(st.characters(), max_size=40))
@settings(deadline=None)
def test_normal_form_is_final(text):
    once = normal(text)
    assert normal(once) == once and all(normal(once[:i]) == once[:i] for i in range(len(once)))
    assert not any(ord(c) < 32 and c not in "\n\t" for c in once)


# ---- each format

@pytest.mark.parametrize("suffix", [".txt", ".md", ".TXT"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_plain_text(tmp_path, suffix, encoding):
    path = tmp_path / f"a{suffix}"
    path.write_bytes("One.\r\n\r\n城市。".encode(encoding))
    assert list(read_file(path)) == [Document("One.\n\n城市。", str(path), path.name)]


def test_an_encoding_can_be_named(tmp_path):
    (tmp_path / "a.txt").write_bytes("城市在河边。".encode("gb18030"))
    assert texts(tmp_path / "a.txt", encoding="gb18030") == ["城市在河边。"]
    (tmp_path / "a.csv").write_bytes("text\n城市\n".encode("gb18030"))
    assert texts(tmp_path / "a.csv", encoding="gb18030") == ["城市"]
    (tmp_path / "a.jsonl").write_bytes('{"text": "城市"}\n'.encode("gb18030"))
    assert texts(tmp_path / "a.jsonl", encoding="gb18030") == ["城市"]


def test_large_text_comes_in_pieces_whose_spans_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "PIECE", 40)
    whole = "\n\n".join(f"Paragraph {i} has words.\nAnd cafe\u0301 {i}." for i in range(20))
    (tmp_path / "a.txt").write_text(whole, encoding="utf-8")
    found = list(read_file(tmp_path / "a.txt"))
    assert len(found) > 5 and "".join(d.text for d in found) == normal(whole)
    assert all(normal(whole)[d.start:d.start + len(d.text)] == d.text for d in found)
    record = Record(text=normal(whole)[30:200], source=str(tmp_path / "a.txt"), document="a.txt", span=(30, 200))
    assert passage_again(record) == record.text


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz"])
def test_json_lines(tmp_path, name):
    lines = ['\ufeff{"text": "One."}', "", '{"text": 5}', "[]", '{"text": "broken', '{"text": "城市\\n河"}', '{"other": "x"}', '{"text": ""}']
    content = "\n".join(lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    found = list(read_file(tmp_path / name))
    assert [(d.text, d.name) for d in found if isinstance(d, Document)] == [("One.", "line 1"), ("城市\n河", "line 6"), ("", "line 8")]
    drops = [d for d in found if isinstance(d, Drop)]
    assert [d.reason.split(":")[0] for d in drops] == ["no text in 'text'", "no text in 'text'", "not JSON", "no text in 'text'"]
    assert "line 5" in drops[2].raw and str(tmp_path / name) in drops[2].raw


def test_another_column(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"body": "One."}\n')
    (tmp_path / "a.csv").write_text("id,body\n1,One.\n")
    assert texts(tmp_path / "a.jsonl", column="body") == texts(tmp_path / "a.csv", column="body") == ["One."]


def test_csv_and_tsv(tmp_path):
    (tmp_path / "a.csv").write_text('id,text\n1,"One, ""two""\nlines"\n\n2,城市\n3\n', encoding="utf-8-sig")
    found = list(read_file(tmp_path / "a.csv"))
    assert [d.text for d in found[:2]] == ['One, "two"\nlines', "城市"] and isinstance(found[2], Drop) and "row 3" in found[2].raw
    (tmp_path / "a.tsv").write_text("text\tid\nOne, two\t1\n")
    assert texts(tmp_path / "a.tsv") == ["One, two"]


def test_parquet(tmp_path):
    import pyarrow
    import pyarrow.parquet
    pyarrow.parquet.write_table(pyarrow.table({"id": range(600), "text": [None if i == 3 else f"Row {i}." for i in range(600)]}), tmp_path / "a.parquet")
    found = list(read_file(tmp_path / "a.parquet"))
    assert len(found) == 600 and isinstance(found[3], Drop) and (found[599].text, found[599].name) == ("Row 599.", "row 600")


def test_html(tmp_path):
    (tmp_path / "a.html").write_bytes("<!DOCTYPE html><html><head><meta charset=gb2312><title>no</title><style>p{}</style></head><body><nav>menu</nav><h1>城市</h1><p>A <b>bold</b>\n word&amp;more.<br>Next"
                                      "<ul><li>one<li>two</ul><script>no()</script>".encode("gb2312"))
    assert texts(tmp_path / "a.html") == ["# 城市\n\nA bold word&more.\nNext\n- one\n- two"]


@pytest.mark.parametrize("page, text", [
    ("<table><tr><td>North<td>12<tr><td><p>South</p></td><td></td><td>9</td></table>", "North\t12\nSouth\t\t9"),
    ("<dl><dt>loam<dd>a soil<dt>marl<dd>a rock</dl>", "loam\na soil\nmarl\na rock"),
    ("<select><option>Red<option>Blue</select><figure>A<figcaption>Map</figcaption></figure>B<hr>C", "Red\nBlue\nA\nMap\nB\nC"),
    ("A<button>Send</button><textarea>note</textarea>B", "A\nSend\nnote\nB"),
    ("<main>One<aside>Two</aside></main><footer>Three</footer><details><summary>Four</summary>Five</details>", "One\nTwo\nThree\nFour\nFive"),
    ("<head><title>no</title><meta charset=utf-8><body>A head that nobody closed.", "A head that nobody closed."),
    ("10<sup>6</sup> m<sup>2</sup>, the 1<sup>st</sup>, H<sub>2</sub>O<!-- no -->", "10^6 m^2, the 1st, H2O")])
def test_html_glues_and_loses_nothing(tmp_path, page, text):
    (tmp_path / "a.html").write_text(page)
    assert texts(tmp_path / "a.html") == [text]


@pytest.mark.parametrize("page", ["<div>" * 20_000 + "word" + "</div>" * 20_000, "<div>word " * 20_000, "<p>word</p>" * 20_000])
def test_a_deep_page_takes_no_longer_than_a_flat_one(tmp_path, page):
    (tmp_path / "a.html").write_text(page)
    start = time.process_time()
    assert set(texts(tmp_path / "a.html")[0].split()) == {"word"} and time.process_time() - start < 5


@pytest.mark.parametrize("part", ["</div>", "<br></div>", "<br><p></p>", "<div>", "<a b=", "<a '", "<a b=\"", "<!--", "<!-- >", "<![CDATA[", "<![", "<?", "</", "<p", "&#", "<sup>2", "<textarea></textare", "<script></scr"])
def test_eight_times_the_page_takes_no_square_of_the_time(part):
    def seconds(n):
        start = time.process_time()
        web_text(part * n + "<p>end")
        return time.process_time() - start
    # a square would be sixty-four times
    assert seconds(32_000) < 24 * (seconds(4000) + 0.02)


@pytest.mark.parametrize("page, text", [
    ("<p>R&#D;</p><p>a &#; b</p><p>AT&T, &nosuch; &copy; &#8364; &#x4e2d;</p>", "R&#D;\na &#; b\nAT&T, &nosuch; © € 中"),  # a sign that stands for none
    ("<p>a <!-- b <p>c", "a <!-- b\nc"), ("<p>a <b", "a <b"), ("<p>1 < 2", "1 < 2"), ("a<![CDATA[ b < c ]]>d<![CDATA[ e", "a b < c d<![CDATA[ e"),  # an end is missing
    ("<ruby>漢<rp>(</rp><rt>kan</rt><rp>)</rp></ruby>字", "漢字"), ("x<sup>2", "x^2"), ("</i>a</b></p>b<br/><br>c</br>d<div/>e", "ab\ncd\ne"),
    ("<span><div>a</span>b", "a\nb"), ("<script>a < b</script>c<style>d", "c"), ("<![if x]>a<![endif]>", "a"), ("", "")])
def test_odd_pages_keep_their_text(page, text):
    assert web_text(page)[0] == text


def test_stacked_marks_are_composed_in_bounded_time():
    start = time.process_time()
    once = normal("a" + "\u0301\u0323\u0327" * 30_000)
    assert time.process_time() - start < 2 and normal(once) == once and once.replace("\u034f", "").count("\u0323") + once.count("\u1ea1") == 30_000
    assert normal("a" + "\u0301" * 30) == "\u00e1" + "\u0301" * 29  # what people write is not touched


def test_pdf(tmp_path):
    (tmp_path / "a.pdf").write_bytes(pdf("The first page.", "", "The third page."))
    text, = texts(tmp_path / "a.pdf")
    assert text.split() == "The first page. The third page.".split()


def test_word(tmp_path):
    word(tmp_path / "a.docx", "First paragraph.", "城市。")
    assert texts(tmp_path / "a.docx") == ["First paragraph.\n城市。\nleft\tright"]


RUN = "<w:r><w:t>Delaware</w:t></w:r>"
WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"


def word_with(path, inner, **parts):
    "A Word file whose one paragraph is `The State of `, then XML, then ` applies.`; `parts` are foot- or endnotes by their numbers."
    import docx
    from docx.opc.packuri import PackURI
    from docx.opc.part import Part
    document = docx.Document()
    names = f'xmlns:w="{WORD}" xmlns:m="http://schemas.openxmlformats.org/officeDocument/2006/math" xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    paragraph = document.add_paragraph("The State of ")
    for node in docx.oxml.parse_xml(f"<w:p {names}>{inner}</w:p>"): paragraph._p.append(node)
    paragraph.add_run(" applies.")
    for kind, notes in parts.items():
        blob = f'<w:{kind}s {names}>' + "".join(f'<w:{kind} w:id="{i}"><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:{kind}>' for i, text in notes.items()) + f"</w:{kind}s>"
        document.part.relate_to(Part(PackURI(f"/word/{kind}s.xml"), f"application/vnd.openxmlformats-officedocument.wordprocessingml.{kind}s+xml", blob.encode(), document.part.package),
                                f"http://schemas.openxmlformats.org/officeDocument/2006/relationships/{kind}s")
    document.save(str(path))


@pytest.mark.parametrize("inner", [f'<w:smartTag w:element="State">{RUN}</w:smartTag>', f"<w:sdt><w:sdtPr/><w:sdtContent>{RUN}</w:sdtContent></w:sdt>", f'<w:ins w:id="1">{RUN}</w:ins>',
                                   f'<w:moveTo w:id="1">{RUN}</w:moveTo>', f'<w:fldSimple w:instr="REF a">{RUN}</w:fldSimple>', f'<w:hyperlink>{RUN}</w:hyperlink>', f'<w:customXml w:element="a">{RUN}</w:customXml>',
                                   f'{RUN}<w:del w:id="1"><w:r><w:delText>Ohio</w:delText></w:r></w:del>', f'{RUN}<w:moveFrom w:id="1"><w:r><w:t>Ohio</w:t></w:r></w:moveFrom>',
                                   f'<w:r><w:fldChar w:fldCharType="begin"/></w:r><w:r><w:instrText>REF a</w:instrText></w:r>{RUN}', f'<w:ins w:id="1"><w:sdt><w:sdtContent>{RUN}</w:sdtContent></w:sdt></w:ins>'])
def test_words_of_a_word_file_that_stand_in_no_plain_run(tmp_path, inner):
    word_with(tmp_path / "a.docx", inner)
    assert texts(tmp_path / "a.docx") == ["The State of Delaware applies."]


@pytest.mark.parametrize("inner, text", [
    ('<w:r><w:t>x</w:t><w:footnoteReference w:id="2"/></w:r>', "The State of x applies.\nA footnote."), ('<w:r><w:t>x</w:t><w:endnoteReference w:id="2"/></w:r>', "The State of x applies.\nAn endnote."),
    (f"<w:r><mc:AlternateContent><mc:Choice><w:txbxContent><w:p>{RUN}</w:p></w:txbxContent></mc:Choice><mc:Fallback><w:txbxContent><w:p>{RUN}</w:p></w:txbxContent></mc:Fallback></mc:AlternateContent></w:r>",
     "The State of  applies.\nDelaware"),
    ("<m:oMath><m:f><m:num><m:r><m:t>1</m:t></m:r></m:num><m:den><m:r><m:t>2a</m:t></m:r></m:den></m:f></m:oMath>", "The State of 1/(2a) applies."),
    ('<w:r><w:t>10</w:t></w:r><w:r><w:rPr><w:vertAlign w:val="superscript"/></w:rPr><w:t>6</w:t></w:r>', "The State of 10^6 applies."),
    ('<w:r><w:t>e</w:t><w:noBreakHyphen/><w:t>mail</w:t><w:tab/><w:sym w:font="A" w:char="2022"/></w:r>', "The State of e-mail\t\u2022 applies.")])
def test_what_else_a_paragraph_of_a_word_file_holds(tmp_path, inner, text):
    word_with(tmp_path / "a.docx", inner, footnote={2: "A footnote."}, endnote={2: "An endnote."})
    assert texts(tmp_path / "a.docx") == [text]


def test_tables_and_controls_of_a_word_file(tmp_path):
    import docx
    document = docx.Document()
    table = document.add_table(2, 3)
    table.cell(0, 0).merge(table.cell(0, 1)).text = "merged"
    table.cell(0, 2).text, table.cell(1, 0).text = "c", "d"
    table.cell(1, 2).add_table(1, 1).cell(0, 0).text = "inner"
    table._tbl.addnext(docx.oxml.parse_xml(f'<w:sdt xmlns:w="{WORD}"><w:sdtContent><w:p>{RUN}</w:p></w:sdtContent></w:sdt>'))
    document.save(str(tmp_path / "a.docx"))
    assert [line.rstrip() for line in texts(tmp_path / "a.docx")[0].split("\n") if line.strip()] == ["merged\tc", "d", "inner", "Delaware"]


@pytest.mark.parametrize("text, whole", [
    ("its capabili-\nties", "its capabilities"), ("a well-\nknown one", "a well-known one"), ("Jean-\nPaul", "Jean-Paul"), ("COVID-\n19", "COVID-19"), ("first-\nand second-hand", "first- and second-hand"),
    ("price-deter-\nmining, price-determining", "price-determining, price-determining"), ("capabili-\n\nties", "capabilities"), ("co\u00adope\u00ad\nrate", "cooperate"), ("state-of-\nthe-art", "state-of-the-art"),
    ("soil-\nwater, the soil and the water", "soil-water, the soil and the water"), ("a dash -\nand more", "a dash -\nand more"), ("re\u2010\nport", "report"), ("Zu-\nckerr\u00fcbe", "Zuckerr\u00fcbe")])
def test_words_broken_at_a_lines_end(text, whole):
    assert pdf_pages.rejoined(text) == whole


@pytest.mark.parametrize("pages, told", [(("One page.", "", "", "Another.", ""), "pages 2-3, 5 of 5"), (("", "One page."), "pages 1 of 2")])
def test_pages_without_text_are_told(tmp_path, pages, told):
    (tmp_path / "a.pdf").write_bytes(pdf(*pages))
    drop, document = read_file(tmp_path / "a.pdf")
    assert "OCR" in drop.reason and drop.raw == f"{tmp_path / 'a.pdf'}, {told}" and "One page." in document.text


@pytest.mark.parametrize("text, scanned", [("12", True), ("", True), ("A page with a picture and its legend.", False)])
def test_a_scan_may_carry_its_page_number(text, scanned):
    assert pdf_pages.is_scan({"/Resources": {"/XObject": {"/Im0": {"/Subtype": "/Image"}}}}, text) is scanned and not pdf_pages.is_scan({}, "12")


@pytest.mark.parametrize("content, text", [
    ('text;label\r\n"Water; boils, here.";a\r\n', "Water; boils, here."), ('sep=;\r\nid;text\r\n1;Water, cold\r\n', "Water, cold"), ("id\ttext\n1\tWater, cold; wet\n", "Water, cold; wet"),
    ("a;b,text\n1;2,Water\n", "Water"), ("text\nWater; cold\n", "Water; cold"), ("id,text\n1,Water,,\n", "Water")])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_separators_of_a_table(tmp_path, content, text, mark):
    (tmp_path / "a.csv").write_bytes((mark + content).encode())
    assert list(read_file(tmp_path / "a.csv")) == [Document(text, str(tmp_path / "a.csv"), "row 1")]


def test_a_row_with_too_many_fields_is_a_row_of_the_ledger(tmp_path):
    (tmp_path / "a.csv").write_text("text,id\nWater boils, at sea level,1\nIce floats.,2\n")
    drop, document = read_file(tmp_path / "a.csv")
    assert "quotes" in drop.reason and "row 1" in drop.raw and "at sea level" in drop.raw and document.text == "Ice floats."


# ---- bad files

@pytest.mark.parametrize("content, kind", [(b"\x89PNG\r\n\x1a\n\x00\xff", "PNG"), (b"%PDF-1.4 text", "PDF"), (b"PK\x03\x04xxxx", "ZIP"), (b"text\x00\x01\x02", ""), (bytes(range(1, 9)) * 9, "")])
@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".csv"])
def test_a_binary_file_by_another_name(tmp_path, content, kind, suffix):
    (tmp_path / f"a{suffix}").write_bytes(content)
    message = refusal(tmp_path / f"a{suffix}")
    assert "binary" in message and kind in message and "ending" in message


def test_wrong_encoding_names_the_likely_one(tmp_path):
    (tmp_path / "a.txt").write_bytes(("Мельница работает, когда мельник на месте. " * 30).encode("cp1251"))
    message = refusal(tmp_path / "a.txt")
    assert "not utf-8" in message and "it may be cp1251" in message and "--encoding" in message
    (tmp_path / "b.txt").write_bytes("Ein Café für Söhne.".encode("latin-1"))
    assert "not utf-8" in refusal(tmp_path / "b.txt")
    (tmp_path / "c.txt").write_text("a")
    assert "Unknown encoding 'klingon'" in refusal(tmp_path / "c.txt", encoding="klingon")


def test_wrong_encoding_late_in_a_file_gives_nothing_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "PIECE", 40)
    (tmp_path / "a.txt").write_bytes(b"Good words here.\n\n" * 20000 + b"\xff\xfe bad")
    assert [type(d) for d in read_documents([tmp_path / "a.txt"])] == [Drop]


@pytest.mark.parametrize("name", ["a.txt.gz", "a.jsonl.gz", "a.csv.gz"])
def test_a_truncated_gzip_gives_nothing_of_the_file(tmp_path, name):
    content = b'text\n{"text": "One."}\n' + b"".join(b'{"text": "Number %d."}\n' % (i * i) for i in range(20000))
    (tmp_path / name).write_bytes(gzip.compress(content)[:-2000])
    assert "cut short" in refusal(tmp_path / name)
    assert [type(d) for d in read_documents([tmp_path / name])] == [Drop]


def test_a_gzip_in_name_only(tmp_path):
    (tmp_path / "a.txt.gz").write_text("just text")
    assert "not a sound gzip" in refusal(tmp_path / "a.txt.gz")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"word " * 1000)[:20] + b"\xff" * 60)
    assert "gzip" in refusal(tmp_path / "b.txt.gz")


def test_a_gzip_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "FREE", 1 << 20)
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"a\n" * (1 << 22)))
    message = refusal(tmp_path / "a.txt.gz")
    assert "bomb" in message and "unpack it yourself" in message


def test_a_word_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "FREE", 1 << 20)
    with zipfile.ZipFile(tmp_path / "a.docx", "w", zipfile.ZIP_DEFLATED) as archive: archive.writestr("word/document.xml", b"\0" * (1 << 23))
    assert "bomb" in refusal(tmp_path / "a.docx")


def test_a_line_above_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "LIMIT", 1000)
    monkeypatch.setattr(documents, "PIECE", 100)
    (tmp_path / "a.txt").write_text("x" * 5000)
    assert "a line of more than" in refusal(tmp_path / "a.txt")
    (tmp_path / "a.csv").write_text("text\nok\n" + "x" * 5000 + "\n")
    assert "a line of more than" in refusal(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("text\nok\n\"" + "x\n" * 5000 + "\"\n")
    assert "CSV near line" in refusal(tmp_path / "b.csv")


@pytest.mark.parametrize("size", [1, 7, 64, 1 << 20])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_blocks_pass_over_long_lines_without_holding_them(tmp_path, monkeypatch, size, end):
    monkeypatch.setattr(documents, "LIMIT", 3 * size)
    lines = [b"a", b"", b"x" * (10 * size), b"b", b"y" * (10 * size)]
    (tmp_path / "a").write_bytes(b"\n".join(lines) + end)
    with open_bytes(tmp_path / "a") as stream:
        found = [(n, line) for block, first in blocks_of(stream, size) for n, line in ([(first, None)] if block is None else enumerate(block, first))]
    expected = [(n, line if len(line) <= 3 * size or size == 1 << 20 else None) for n, line in enumerate(lines, 1)]
    assert [(n, line) for n, line in found] == expected or size == 1 << 20 and [n for n, _ in found] == [1, 2, 3, 4, 5]


def test_json_lines_go_on_after_a_long_line(tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "LIMIT", 1 << 21)
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "One."}\n{"text": "' + b"x" * (1 << 23) + b'"}\n{"text": "Two."}\n')
    found = list(read_file(tmp_path / "a.jsonl"))
    assert [getattr(d, "text", d) and type(d) for d in found] == [Document, Drop, Document]
    assert "longer than" in found[1].reason and "line 2" in found[1].raw and found[2].name == "line 3"


def test_a_table_without_the_column(tmp_path):
    import pyarrow
    import pyarrow.parquet
    (tmp_path / "a.csv").write_text("id,body\n1,One.\n")
    pyarrow.parquet.write_table(pyarrow.table({"id": [1], "body": ["x"]}), tmp_path / "a.parquet")
    for name in "a.csv", "a.parquet":
        message = refusal(tmp_path / name)
        assert "no column 'text'" in message and "id, body" in message and "--column" in message
    (tmp_path / "empty.csv").write_text("")
    assert "no column" in refusal(tmp_path / "empty.csv")


def test_pdfs_that_give_nothing(tmp_path):
    (tmp_path / "scan.pdf").write_bytes(pdf("", ""))
    assert "OCR" in refusal(tmp_path / "scan.pdf")
    (tmp_path / "cut.pdf").write_bytes(pdf("Text.")[:60])
    assert "cannot be read as PDF" in refusal(tmp_path / "cut.pdf")
    (tmp_path / "not.pdf").write_bytes(b"hello")
    assert "cannot be read as PDF" in refusal(tmp_path / "not.pdf")


def test_a_locked_pdf(tmp_path):
    import pypdf
    (tmp_path / "open.pdf").write_bytes(pdf("Secret."))
    writer = pypdf.PdfWriter(clone_from=tmp_path / "open.pdf")
    writer.encrypt("password", algorithm="RC4-128")
    writer.write(tmp_path / "locked.pdf")
    assert "password" in refusal(tmp_path / "locked.pdf")


@pytest.mark.parametrize("name", ["a.docx", "a.parquet"])
def test_other_damaged_files(tmp_path, name):
    (tmp_path / name).write_bytes(b"PK\x03\x04 not really")
    assert "cannot be read as" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["a.png", "a", "a.zip", "a.pdf.gz", "a.json"])
def test_an_ending_that_is_not_read(tmp_path, name):
    (tmp_path / name).write_text("text")
    assert ".docx" in refusal(tmp_path / name)


def test_missing_files_and_folders_by_a_files_name(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.txt")
    for name in "a.txt", "a.pdf", "a.parquet":
        (tmp_path / name).mkdir()
        refusal(tmp_path / name)


# ---- many files

def test_the_other_files_go_on(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "a.txt").write_text("One.")
    (tmp_path / "b.txt").write_bytes(b"\x00\x01")
    (tmp_path / "c.pdf").write_bytes(b"no")
    (tmp_path / "out.jsonl").write_text("{}")
    (tmp_path / "sub" / "d.md").write_text("Two.")
    found = list(read_documents([tmp_path, tmp_path / "none.txt"], skip=[tmp_path / "out.jsonl"]))
    assert [d.text for d in found if isinstance(d, Document)] == ["One.", "Two."]
    assert [(d.stage, d.raw) for d in found if isinstance(d, Drop)] == [("files", str(tmp_path / n)) for n in ("b.txt", "c.pdf", "none.txt")]


def test_a_passage_that_is_gone(tmp_path):
    (tmp_path / "a.txt").write_text("Short.")
    with pytest.raises(UserError, match="no longer has characters 3 to 90"): passage_again(Record(source=str(tmp_path / "a.txt"), document="a.txt", span=(3, 90)))


# ---- the hub, by a stub

def hub(monkeypatch, result):
    calls = []
    def load_dataset(*args, **options):
        calls.append((args, options))
        if isinstance(result, BaseException): raise result
        return result
    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    return calls


class Rows(list):
    column_names = None


def named(kind, message=""):
    return type(kind, (Exception,), {})(message)


def test_hub_rows(monkeypatch):
    calls = hub(monkeypatch, Rows([{"text": "One."}, {"text": None}, {"text": "Two."}]))
    found = list(read_hub("org/set@abc123", subset="en", split="test"))
    assert [getattr(d, "text", None) for d in found] == ["One.", None, "Two."] and isinstance(found[1], Drop)
    assert calls == [(("org/set", "en"), {"split": "test", "revision": "abc123", "streaming": True})]  # and no remote code
    assert (found[0].source, found[0].name) == ("hub:org/set@abc123", "row 1")


@pytest.mark.parametrize("error, words", [
    (named("ConnectionError", "Couldn't reach 'org/set' on the Hub"), "cannot be reached"), (named("OfflineModeIsEnabled"), "cannot be reached"), (named("ConnectError"), "cannot be reached"),
    (named("DatasetNotFoundError", "Dataset 'org/set' is a gated dataset on the Hub."), "HF_TOKEN"), (named("GatedRepoError"), "gated"),
    (named("DatasetNotFoundError", "Dataset 'org/set' doesn't exist"), "not found"), (named("RevisionNotFoundError"), "no such revision"), (ValueError("Unknown split"), "Unknown split")])
def test_a_hub_that_does_not_give(monkeypatch, tmp_path, error, words):
    hub(monkeypatch, error)
    (tmp_path / "a.txt").write_text("One.")
    drop, document = read_documents(["hub:org/set@main", tmp_path / "a.txt"])
    assert words in drop.reason and drop.reason.startswith("hub:org/set@main ") and document.text == "One."


def test_a_hub_dataset_needs_revision_and_column(monkeypatch):
    hub(monkeypatch, Rows([{"body": "x"}]))
    with pytest.raises(UserError, match="names no revision"): list(read_hub("org/set"))
    with pytest.raises(UserError, match="no column 'text'.*body"): list(read_hub("org/set@main"))


# ---- real data

def test_real_files_are_read(shared):
    folder = shared / "data"
    if not folder.is_dir(): pytest.skip(f"no folder {folder}")
    found = list(read_documents([folder / "pubmedqa", folder / "app_reviews", folder / "lcsts"], column="review"))
    assert any(isinstance(d, Document) and len(d.text) > 5 for d in found)
    assert all(d.stage == "documents" or ".json" in json.dumps(d.reason) for d in found if isinstance(d, Drop))
