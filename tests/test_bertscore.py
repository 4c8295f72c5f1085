"""Table 8: embeddings score what words in common miss; what the model does not know is NA, never a zero."""
import json
from dataclasses import replace

import pytest

from stages import done

pytest.importorskip("bert_score", reason="bert-score is not installed")

from aquilt.benchmarks import suite, test_items as items_of
from aquilt.bertscore import bert_scores, bertscore, embedder, free_text, table_8
from aquilt.data_sources import NONE
from aquilt.foundations.core import UserError
from aquilt.foundations.profiles import PAPER, SMOKE
from aquilt.foundations.runs import Run, Stage
from aquilt.specialists import Cell


def test_the_same_words_score_highest_and_none_lowest():
    right = "The council enforces the act."
    scores = bert_scores([right, "It is enforced by the council.", "The river is long.", " "], [right] * 4, SMOKE, "en")
    assert scores[0] == pytest.approx(100, abs=1e-3) and scores[0] > scores[1] > scores[2] > scores[3] == 0
    assert bert_scores([" "], [right], SMOKE, "en") == [0.0]


def test_the_model_is_a_setting():
    assert embedder(PAPER, "zh") == {"lang": "zh"} and embedder(SMOKE, "en")["num_layers"] == 6
    with pytest.raises(UserError, match="no_such_package"): embedder(replace(SMOKE, bertscore="no_such_package"), "en")


def test_only_references_in_a_known_language_are_scored(tmp_path):
    run = Run(replace(SMOKE, test_items=12), tmp_path)
    assert [b.name for b in free_text(run)] == ["translation", "essayqa"]
    for b in free_text(run):
        items, cell = items_of(b, run.profile), Cell(b, SMOKE.specialist_bases[0], NONE, 0)
        def work(folder, items=items):
            (folder / "outputs.json").write_text(json.dumps([f"Answer:{item['references'][0]}" for item in items]))
            return {"n": len(items), "distinct": 0, "official_mean": 100.0, "corrected_mean": 100.0}
        done(run, Stage(cell.name, work))
        english = sum(item["references"][0].isascii() for item in items)
        result = done(run, bertscore(run, b))
        assert result["n"] == english and (english > 0) == (b.name == "translation")
        assert list(result["cells"].values()) == ([pytest.approx(100, abs=1e-3)] if english else [])
    table = table_8(run).set_index(["base", "source", "benchmark"])["BERTScore"]
    assert table[(SMOKE.specialist_bases[0], "None", "translation")] == "100.00" and table[(SMOKE.specialist_bases[0], "None", "essayqa")] == "NA"
    assert table[(SMOKE.specialist_bases[1], "AQuilt", "translation")] == "missing" and suite(SMOKE)
