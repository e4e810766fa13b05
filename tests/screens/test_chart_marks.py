"""Upright marks on a chart: beside curves, not over them."""

from __future__ import annotations

from tui_trainer.screens.canvas import Curve, Picture, draw
from tui_trainer.screens.chart_marks import with_marks

BLANK = [((" " * 20, "axis"),)] * 4
AXIS = [(("└" + "─" * 19, "axis"),), (("0" + " " * 19, "axis"),)]


def shown(rows):
    return ["".join(text for text, _ in row) for row in rows]


def test_a_mark_has_its_line_and_the_fullest_words_that_have_room():
    rows = shown(
        with_marks([*BLANK, *AXIS], 2, 18, [(3, ("fix 1: a lot of words", "fix 1", "1"))], ascii_only=False)
    )
    assert rows[:4] == ["     ┊fix 1         ", *["     ┊              "] * 3]
    assert rows[4:] == shown(AXIS)


def test_words_stand_to_the_left_at_the_right_end():
    rows = shown(with_marks([*BLANK, *AXIS], 0, 20, [(19, ("fix 1",))], ascii_only=True))
    assert rows[0] == " " * 14 + "fix 1:"


def test_curves_stay_in_front_and_words_find_another_row():
    curve = [((" " * 4 + "⣿⣿⣿" + " " * 13, "train"),)]
    rows = with_marks([*curve, *BLANK[1:], *AXIS], 0, 20, [(5, ("fix 1",))], ascii_only=False)
    assert shown(rows)[0] == curve[0][0][0]
    assert shown(rows)[1] == "     ┊fix 1         "
    assert ("┊fix 1", "fix") in rows[1]


def test_two_marks_beside_each_other_do_not_write_over_each_other():
    marks = [(4, ("fix 1", "1")), (7, ("fix 2", "2"))]
    rows = shown(with_marks([*BLANK, *AXIS], 0, 20, marks, ascii_only=False))
    assert "┊fix 2" in rows[0]
    assert sum("fix 1" in row or "1┊" in row or "┊1" in row for row in rows[:4]) == 1


def test_a_mark_outside_is_left_out():
    assert with_marks([*BLANK, *AXIS], 0, 20, [(20, ("x",)), (-1, ("y",))], ascii_only=False) == [
        *BLANK,
        *AXIS,
    ]


def test_a_picture_has_its_marks_where_they_belong():
    curve = Curve("train", "line", (0.0, 10.0), (1.0, 0.0))
    picture = Picture(40, 10, (curve,), x_range=(0.0, 10.0), marks=((5.0, ("fix 1",)), (11.0, ("fix 2",))))
    drawing = draw(picture)
    columns = {row.index("┊") for row in shown(drawing.rows) if "┊" in row}
    assert columns == {drawing.first_column + round(0.5 * (drawing.columns - 1))}
    assert not any("fix 2" in row for row in shown(drawing.rows))
    assert all(len(row) == 40 for row in shown(drawing.rows))
