"Native files of every shape, made here: what they hold comes out unchanged, and what is no such file ends in one sentence."
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aquilt.foundations.core import UserError
from aquilt.reading.readers import READERS, literals, read_rows, table

BOM = b"\xef\xbb\xbf"


@pytest.fixture
def put(tmp_path):
    "A function that writes a file (text, bytes or JSON) and gives its path."
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)).encode())
        return path
    return write


def rows(path, reader):
    return list(read_rows(path, reader))


def refusal(path, reader):
    with pytest.raises(UserError) as caught: rows(path, reader)
    message = str(caught.value)
    assert str(path) in message and "\n" not in message
    return message


def article(*qas, **fields):
    return {"title": "Smiths", "paragraphs": [{"context": " Jones is a smith.", "qas": list(qas)} | fields]}


ASKED = {"id": "1", "question": " Who? ", "answers": [{"text": "Jones", "answer_start": 1}]}


# ---- JSON

def test_json_lines_keep_their_types_and_skip_blank_lines(put):
    path = put("a.json", BOM + '{"a": 39648.0, "b": "true"}\n\n  \n{"a": null}\r\n\n'.encode())
    assert rows(path, "lines") == [{"a": 39648.0, "b": "true"}, {"a": None}]


def test_labels_in_a_parallel_file(put):
    path = put("dev.jsonl", '{"q": 1}\n{"q": 2}\n\n')
    assert rows(path, "lines") == [{"q": 1}, {"q": 2}]
    labels = put("dev-labels.lst", "3\n1\n")
    assert [row["label"] for row in rows(path, "lines")] == ["3", "1"]
    labels.write_text("3\n")
    with pytest.raises(UserError, match="1 labels for the 2 rows of dev.jsonl"): rows(path, "lines")


def test_a_damaged_line_is_named(put):
    assert "line 3" in refusal(put("a.jsonl", '{"a": 1}\n\n{"a": \n'), "lines")


@pytest.mark.parametrize("whole", [["x", {"a": 1}], {"data": ["x", {"a": 1}]}, {"version": 1, "dataset": ["x", {"a": 1}]}])
def test_lists_and_strings_in_them(put, whole):
    assert rows(put("a.json", whole), "items") == [{"text": "x"}, {"a": 1}]


@pytest.mark.parametrize("whole", [{"rows": []}, '"text"', 5, None, {"data": 5}, [1, 2], [[1]]])
def test_another_json_is_no_list_of_rows(put, whole):
    assert "items" in refusal(put("a.json", whole), "items")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe[\x00", "é".encode("latin-1"), b"[" * 100_000])
@pytest.mark.parametrize("reader", ["items", "squad", "triples", "race", "pubmedqa", "webqa"])
def test_what_is_no_json_is_refused(put, content, reader):
    assert "UTF-8" in refusal(put("a.json", content), reader)


# ---- tables

@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_separator_is_told_by_the_first_line(put, separator):
    path = put("a.csv", BOM + f"id{separator}question\r\n1{separator}\"Two\nlines\"\r\n2{separator}\r\n\r\n".encode())
    assert rows(path, "table") == [{"id": "1", "question": "Two\nlines"}, {"id": "2", "question": ""}]


def test_cells_stay_text(put):
    assert rows(put("a.csv", "id,A,B\n0,007,1.50\n"), "table") == [{"id": "0", "A": "007", "B": "1.50"}]


def test_a_long_cell_is_read(put):
    assert len(rows(put("a.csv", "text\n" + "x" * 300_000 + "\n"), "table")[0]["text"]) == 300_000


def test_a_line_with_too_many_cells_is_named(put):
    assert "row 2" in refusal(put("a.csv", "a,b\n1,2\n1,2,3\n"), "table")


def test_columns_may_be_given(put):
    assert list(table(put("a.txt", "0\t5\tx\n"), ["id", "label", "text"])) == [{"id": "0", "label": "5", "text": "x"}]


def test_cells_with_python_in_them(put):
    path = put("a.csv", "id,answers,note\n1,\"{'text': ['Jones', \"\"O'Neill\"\"], 'answer_start': [4, 9]}\",plain\n2,,\n")
    assert list(literals(path)) == [{"id": "1", "answers": {"text": ["Jones", "O'Neill"], "answer_start": [4, 9]}, "note": "plain"}, {"id": "2", "answers": "", "note": ""}]
    assert "literals" in refusal(put("b.csv", "a\n\"{__import__('os')}\"\n"), "literals")


def test_parquet_needs_no_reader_of_its_own(put, tmp_path):
    import pyarrow
    import pyarrow.parquet
    wanted = [{"question": f"{i}?", "answers": {"text": ["a", "b"], "answer_start": [1, 2]}} for i in range(2000)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(wanted), tmp_path / "a.parquet")
    assert rows(tmp_path / "a.parquet", "squad") == wanted
    assert "Parquet" in refusal(put("b.parquet", "no"), "squad")


# ---- SQuAD's family

def test_squad_keeps_blanks_and_needs_no_version(put):
    (row,) = rows(put("a.json", {"data": [article(ASKED)]}), "squad")
    assert (row["context"], row["question"], row["answers"], row["title"]) == (" Jones is a smith.", " Who? ", ASKED["answers"], "Smiths")


def test_squad_2_and_the_string_true(put):
    wanted = [{"id": "2", "question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": [{"text": "a", "answer_start": 1}]},
              {"id": "3", "question": "Who?", "answers": [{"text": "", "answer_start": -1}], "is_impossible": "true"}]
    found = rows(put("a.json", BOM + json.dumps({"version": "v2.0", "data": [article(*wanted)]}).encode()), "squad")
    assert [{k: row[k] for k in one} for row, one in zip(found, wanted, strict=True)] == wanted


def test_a_paragraph_without_questions_is_a_row(put):
    found = rows(put("a.json", {"data": [article(), article(ASKED)]}), "squad")
    assert ["question" in row for row in found] == [False, True] and found[0]["context"]


def test_ropes_has_two_texts(put):
    whole = {"data": [{"title": "r", "paragraphs": [{"background": "Salt melts ice.", "situation": "A has salt.", "qas": [{"id": "1", "question": "Who?", "answers": [{"text": "A"}]}]}]}]}
    (row,) = rows(put("a.json", whole), "squad")
    assert row["background"] == "Salt melts ice." and row["situation"] == "A has salt."


def test_cmrc_in_its_list_form(put):
    listed = [{"context_id": "D1", "context_text": "琼斯<br>是铁匠。", "title": "", "qas": [{"query_id": "Q1", "query_text": "谁？", "answers": ["琼斯", 39648.0, "琼斯"]}]}]
    (row,) = rows(put("a.json", listed), "squad")
    assert (row["id"], row["context_id"], row["context"], row["question"], row["answers"]) == ("Q1", "D1", "琼斯<br>是铁匠。", "谁？", ["琼斯", 39648.0, "琼斯"])


def test_cail_triplets_are_three_texts(put):
    path = put("input.txt", '{"A": "a", "B": "b", "C": "c"}\n{"A": "d", "B": "e", "C": "f"}\n')
    assert [row["context"] for row in rows(path, "cail")] == list("abcdef")
    assert "'C'" in refusal(put("b.txt", '{"A": "a", "B": "b"}\n'), "cail")
    assert rows(put("c.json", {"data": [article(ASKED)]}), "cail") == rows(put("d.json", {"data": [article(ASKED)]}), "squad")


# ---- dialogues, exams, medicine, search

def test_triples(put):
    questions = [{"question": "Tea?", "choice": ["yes", "no"], "answer": "no"}]
    assert rows(put("a.json", [[["W: Tea?", "M: No."], questions, "1-1"]]), "triples") == [{"documents": ["W: Tea?", "M: No."], "questions": questions, "document_id": "1-1"}]
    assert "triples" in refusal(put("b.json", [[["W"], []]]), "triples")


def test_race_has_parallel_lists(put):
    whole = {"answers": ["C", "A"], "options": [["a", "b", "c"], ["d", "e"]], "questions": ["One _ ?", "Two?"], "article": "A\nB", "id": "high1.txt"}
    assert rows(put("1.txt", whole), "race") == [{"example_id": "high1.txt", "article": "A\nB", "question": "One _ ?", "options": ["a", "b", "c"], "answer": "C"},
                                                 {"example_id": "high1.txt", "article": "A\nB", "question": "Two?", "options": ["d", "e"], "answer": "A"}]
    assert "shorter" in refusal(put("2.txt", whole | {"answers": ["C"]}), "race")


def test_pubmedqa_with_and_without_decision(put):
    value = {"QUESTION": "Does it?", "CONTEXTS": ["One.", "Two."], "LABELS": ["A", "B"], "LONG_ANSWER": "It does."}
    known, unknown, label = rows(put("a.json", {"1": value | {"final_decision": "yes"}, "2": value, "3": "maybe"}), "pubmedqa")
    assert known["context"] == {"contexts": ["One.", "Two."]} and known["final_decision"] == "yes" and known["long_answer"] == "It does."
    assert "final_decision" not in unknown and label == {"pubid": "3", "final_decision": "maybe"}


def test_webqa_has_a_row_for_each_evidence(put):
    found = rows(put("a.json", {"Q1": {"question": "哪国？", "evidences": {"Q1#00": {"answer": ["法国"], "evidence": "在法国"}, "Q1#01": {"answer": ["no_answer"], "evidence": "无"}}}}), "webqa")
    assert [(row["id"], row["context"], row["answer"]) for row in found] == [("Q1#00", "在法国", ["法国"]), ("Q1#01", "无", [])]


@pytest.mark.parametrize("fields, chosen", [({"answer_docs": [1], "answers": ["x"]}, 1), ({"answers": []}, 2), ({"answer_docs": []}, 2)])
def test_dureader_asks_of_one_page(put, fields, chosen):
    pages = [{"paragraphs": ["a", "b"], "is_selected": False}, {"paragraphs": ["c"], "is_selected": False}, {"paragraphs": ["d"], "is_selected": True}]
    found = rows(put("a.json", json.dumps({"question_id": 7, "question": "q", "documents": pages} | fields) + "\n"), "dureader")
    assert [row["context"] for row in found] == ["a\nb", "c", "d"] and [row["document"] for row in found] == ["7/0", "7/1", "7/2"]
    assert [i for i, row in enumerate(found) if "question" in row] == [chosen] and found[chosen]["answers"] == fields.get("answers", [])


def test_dureader_without_a_selected_page_asks_of_the_first(put):
    found = rows(put("a.json", json.dumps({"question_id": 7, "question": "q", "documents": [{"paragraphs": ["a"]}, {"paragraphs": ["b"]}]})), "dureader")
    assert ["question" in row for row in found] == [True, False]


def test_covid_joins_documents_by_id(put):
    asked = put("train.csv", "id\tdocid\tquestion\tanswer\n1\tx\tWho, then?\t Jones \n2\tz\tWhy?\tb\n")
    assert [row.get("text") for row in rows(asked, "covid")] == [None, None]
    context = put("NCPPolicies_context_1.csv", "docid\ttext\nx\tJones, a smith.\ny\tSmith.\n")
    assert [row.get("text") for row in rows(asked, "covid")] == ["Jones, a smith.", None] and rows(asked, "covid")[0]["answer"] == " Jones "
    assert [row["text"] for row in rows(context, "covid")] == ["Jones, a smith.", "Smith."]
    assert rows(put("test.csv", BOM + "id\tquestion\n1\tWho?\n".encode()), "covid") == [{"id": "1", "question": "Who?"}]
    assert rows(put("joined.jsonl", {"context": "c", "answer": {"text": "c"}}), "covid") == [{"context": "c", "answer": {"text": "c"}}]


# ---- XML and what looks like it

QUAIL = """<data>
 <text domain="fiction" id="f1">
  <metadata><author>\n   A\n  </author></metadata>
  <text_body>\n   Jones &amp; Smith\ndrink tea.\n  </text_body>
  <questions>
   <q id="0" type="Factual">\n    Who drinks?\n    <a id="0" correct="False">\n     nobody\n    </a>\n    <a id="1" correct="True">\n     both\n    </a>\n   </q>
   <q id="1" type="Unanswerable">\n    Why?\n    <a id="0" correct="False">\n     thirst\n    </a>\n   </q>
  </questions>
 </text>
</data>"""


def test_quail_is_stripped_of_indentation(put):
    one, two = rows(put("a.xml", QUAIL), "quail")
    assert (one["id"], one["context_id"], one["context"], one["question"], one["answers"], one["correct_answer_id"]) == ("f1_0", "f1", "Jones & Smith\ndrink tea.", "Who drinks?", ["nobody", "both"], 1)
    assert two["correct_answer_id"] == -1 and one["domain"] == "fiction" and two["question_type"] == "Unanswerable"


def test_quail_may_be_json_lines(put):
    assert rows(put("a.jsonl", {"correct_answer_id": "0"}), "quail") == [{"correct_answer_id": "0"}]


@pytest.mark.parametrize("content", ["", "<data>", "<data><text id='1'/></data>", QUAIL.replace("text_body", "body")])
def test_another_xml_is_no_quail(put, content):
    assert ("XML" if content in ("", "<data>") else "reader quail") in refusal(put("a.xml", content), "quail")


LCSTS = "<doc id=0>\n    <human_label>5</human_label>\n    <summary>\n        甲\n    </summary>\n    <short_text>\n        乙<b>&\n丙\n    </short_text>\n</doc>\n"


def test_lcsts_is_no_xml(put):
    found = rows(put("PART_III.txt", BOM + (LCSTS + LCSTS.replace("id=0", "id=1").replace("    <human_label>5</human_label>\n", "") + "\n\n").encode()), "lcsts")
    assert found == [{"id": "0", "text": "乙<b>&\n丙", "summary": "甲", "human_label": "5"}, {"id": "1", "text": "乙<b>&\n丙", "summary": "甲"}]


@pytest.mark.parametrize("content, said", [(LCSTS + LCSTS[:60], "after 1 whole"), ("plain text\n", "no file of LCSTS"), (LCSTS.replace("short_text", "text"), "document 1")])
def test_lcsts_cut_off_or_other(put, content, said):
    assert said in refusal(put("a.txt", content), "lcsts")


def test_plain_text(put):
    assert rows(put("a.txt", BOM + "Eins.\n\n Zwei. \n".encode()), "text_lines") == [{"text": "Eins."}, {"text": " Zwei. "}]
    assert rows(put("b.txt", "One.\n\nTwo.\n"), "whole_text") == [{"text": "One.\n\nTwo.\n", "document": "b.txt"}]


# ---- one way in

@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\xff\xfe", b'{"a": {"b": [1, {"c": 2}]}}', b'[{"paragraphs": [{"qas": 5}]}]', b"5", b"null", b'{"data": [{"paragraphs": null}]}'])
def test_no_reader_ends_in_a_stack_trace(put, reader, content):
    path = put("a.json", content)
    try: found = rows(path, reader)
    except UserError as e: assert str(path) in str(e) and "\n" not in str(e)
    else: assert all(isinstance(row, dict) for row in found)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
    st.sampled_from(["data", "paragraphs", "qas", "context", "answers", "evidences", "QUESTION", "CONTEXTS", "documents", "A", "x"]), inner, max_size=4), max_leaves=12), st.sampled_from(sorted(READERS)))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_rows_or_a_sentence(tmp_path, value, reader):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(value))
    try: found = rows(path, reader)
    except UserError as e: assert str(path) in str(e)
    else: assert all(isinstance(row, dict) for row in found)


def test_an_unknown_reader_and_a_missing_file(put, tmp_path):
    with pytest.raises(UserError, match="no reader 'xml': choose one of lines, items"): rows(put("a.json", "[]"), "xml")
    assert "does not exist" in refusal(tmp_path / "none.json", "lines")
    assert "does not exist" in refusal(tmp_path, "lines")
