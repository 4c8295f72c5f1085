"The price sheet: its rows, what is in force when, what tokens cost, and mistakes in a sheet."
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aquilt.foundations.core import UserError, record_files
from aquilt.models.prices import Price, Rates, cost, load_prices, price_of, shipped_prices

ROW = {"model": "m", "since": "2025-01-01T00:00:00Z", "input": "0.27", "cached": "0.07", "output": "1.1", "source": "a test"}
NIGHT = {"from": "16:30", "to": "00:30", "input": "0.1", "cached": "0", "output": "0.5"}


def at(text): return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def test_every_shipped_row_has_a_source_and_an_order():
    assert shipped_prices() and all(p.source and p.input >= p.cached for p in shipped_prices())
    assert price_of("deepseek-chat") is not None, "the paper's teacher has a price"


@pytest.mark.parametrize("moment, output", [("2025-06-01T16:29", "1.1"), ("2025-06-01T16:30", "0.5"), ("2025-06-01T23:59", "0.5"), ("2025-06-02T00:29", "0.5"), ("2025-06-02T00:30", "1.1"), ("2025-06-01T12:00", "1.1")])
def test_a_discount_across_midnight(moment, output):
    price = Price.model_validate(ROW | {"off_peak": NIGHT})
    assert price.at(at(moment)).output == Decimal(output)
    assert price.at(at(moment).astimezone(timezone(timedelta(hours=8)))).output == Decimal(output), "whatever zone the moment is told in"
    assert price.at(None).output == Decimal("1.1")


def test_a_discount_within_a_day():
    price = Price.model_validate(ROW | {"off_peak": NIGHT | {"from": "01:00", "to": "05:00"}})
    assert [price.at(at(f"2025-06-01T{hour}:00")).output for hour in ("00", "01", "04", "05")] == [Decimal(x) for x in ("1.1", "0.5", "0.5", "1.1")]


def test_the_newest_row_that_is_in_force_and_the_users_first():
    rows = tuple(Price.model_validate(ROW | {"since": f"{year}-01-01T00:00:00Z", "output": str(year)}) for year in (2025, 2023, 2024))
    assert [price_of("m", at(f"{year}-05-01"), rows).output for year in (2023, 2024, 2025, 2026)] == [2023, 2024, 2025, 2025]
    assert price_of("m", at("2020-01-01"), rows).output == 2023 and price_of("m", None, rows).output == 2025, "before all rows the first counts; without a moment the last"
    own = (Price.model_validate(ROW | {"model": "deepseek-chat", "output": "9"}),)
    assert price_of("deepseek-chat", at("2026-01-01"), own).output == 9 and price_of("unheard of") is None


TOKENS = st.integers(0, 10**7)


@given(TOKENS, TOKENS, TOKENS, TOKENS)
def test_cost_adds_up_exactly(a, b, c, d):
    rates = Rates(input=Decimal("0.27"), cached=Decimal("0.07"), output=Decimal("1.10"))
    assert cost(rates, a, b) + cost(rates, c, d) == cost(rates, a + c, b + d)
    assert cost(rates, a, b, c) <= cost(rates, a, b) and cost(rates, a, b, a) == cost(rates, a, b, a + 1)
    assert cost(rates, a, 0) == a * Decimal("0.27") / 1_000_000


@pytest.mark.parametrize("text, said", [("[[price]\n", "cannot be read as TOML"), ('[[price]]\nmodel = "m"\n', "price 1, field input"), ("price = 5\n", "price 1, field the row"),
                                        ('[[price]]\nmodel = "m"\nsince = 2025-01-01T00:00:00\ninput = 1\ncached = 1\noutput = 1\nsource = "x"\n', "it has no time zone"),
                                        ('[[price]]\nmodel = "m"\nsince = 2025-01-01T00:00:00Z\ninput = -1\ncached = 1\noutput = 1\nsource = "x"\n', "price 1, field input"),
                                        ('[[price]]\nmodel = "m"\nsince = 2025-01-01T00:00:00Z\ninput = 1\ncached = 1\noutput = 1\nsource = "x"\nper = 2\n', "price 1, field per"),
                                        ('[[prices]]\nmodel = "m"\n', "holds 'prices'"), ("a = " + "[" * 100_000, "cannot be read as TOML")])
def test_a_mistake_in_a_sheet_is_named(tmp_path, text, said):
    (tmp_path / "prices.toml").write_text(text)
    with pytest.raises(UserError, match=said) as caught: load_prices(tmp_path / "prices.toml")
    assert str(tmp_path / "prices.toml") in str(caught.value) and "\n" not in str(caught.value)


def test_a_discount_in_another_zone_is_refused(tmp_path):
    rates = "input = 1\ncached = 1\noutput = 1\n"
    (tmp_path / "prices.toml").write_text(f'[[price]]\nmodel = "m"\nsince = 2025-01-01T00:00:00Z\nsource = "x"\n{rates}[price.off_peak]\nfrom = "16:30+08:00"\nto = "00:30"\n{rates}')
    with pytest.raises(UserError, match="field off_peak: its times are UTC"): load_prices(tmp_path / "prices.toml")


def test_a_sheet_that_is_not_there_and_an_empty_one(tmp_path):
    with pytest.raises(UserError, match="cannot be read"): load_prices(tmp_path / "none.toml")
    (tmp_path / "empty.toml").write_text("")
    assert load_prices(tmp_path / "empty.toml") == []


def test_a_price_is_no_part_of_a_result():
    "A row that is added for another model must not make a stage stale, whose records it did not decide."
    with record_files() as read: assert price_of("deepseek-chat")
    assert not read
