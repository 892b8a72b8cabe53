"""The page of closed forms is of these closed forms."""

import theory_table


def test_the_page_is_what_the_docstrings_say():
    laws = list(theory_table.laws())
    assert len(laws) > 90 and all(function.__doc__ for _, function in laws)
    assert theory_table.PAGE.read_text(encoding="utf-8") == theory_table.page(), "run tests/theory_table.py"
