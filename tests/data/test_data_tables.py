"""Tables: every kind of column, labels of every kind, and files that are not what they should be."""

import gzip

import numpy as np
import pandas as pd
import pytest
import torch

from tui_trainer.config.errors import DataError
from tui_trainer.data.quality import scan


def csv(tmp_path, text, name="table.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


def lines(header, row, count=40):
    return "\n".join([header, *(row(k) for k in range(count))]) + "\n"


@pytest.fixture
def table(build, tmp_path):
    """`table(text, label=…)`: the splits of a CSV with that text."""

    def table(text, *, label="y", name="table.csv", data=None, **args):
        return build("table", {"path": csv(tmp_path, text, name), "label": label, **args}, **(data or {}))

    return table


# --- features -------------------------------------------------------------------------------------------------------


def test_numbers_are_normalised_on_the_train_rows_alone(table):
    splits = table(lines("a,b,y", lambda k: f"{k},{k * k},{k % 2}"))
    train = splits.train.inputs
    assert torch.allclose(train.mean(dim=0), torch.zeros(2), atol=1e-6)
    raw = torch.tensor([[k, k * k] for k in range(40)], dtype=torch.float32)[splits.indices["train"]]
    expected = (torch.tensor([[k, k * k] for k in range(40)]).float() - raw.mean(dim=0)) / raw.std(
        dim=0, unbiased=False
    )
    assert torch.allclose(splits.val.inputs, expected[splits.indices["val"]], atol=1e-5)


def test_normalisation_can_be_left_out(table):
    splits = table(lines("a,y", lambda k: f"{k},{k % 2}"), normalize=False)
    assert torch.equal(splits.train.inputs.flatten().long(), splits.indices["train"])


def test_a_constant_column_is_harmless(table):
    splits = table(lines("a,b,y", lambda k: f"{k},0.1,{k % 2}"))
    assert torch.equal(splits.train.inputs[:, 1], torch.zeros(len(splits.train)))
    assert torch.isfinite(splits.val.inputs).all()


def test_text_is_one_hot_and_booleans_are_zero_or_one(table):
    splits = table(
        lines("colour,flag,y", lambda k: f"{('red', 'green', 'blue')[k % 3]},{k % 2 == 0},{k * 0.5}")
    )
    assert splits.feature_names == ("colour=blue", "colour=green", "colour=red", "flag")
    for row, features in zip(splits.indices["train"].tolist(), splits.train.inputs.tolist(), strict=True):
        assert features == [row % 3 == 2, row % 3 == 1, row % 3 == 0, row % 2 == 0]


def test_a_category_that_train_lacks_is_all_zeros(table):
    text = lines("c,y", lambda k: f"{'rare' if k == 39 else 'ab'[k % 2]},{k / 7}")
    for seed in range(20):
        splits = table(text, data={"seed": seed})
        if 39 in splits.indices["val"]:
            assert splits.feature_names == ("c=a", "c=b")
            assert splits.val.inputs[splits.indices["val"].tolist().index(39)].tolist() == [0, 0]
            return
    pytest.fail("no seed put the rare category into val")


def test_many_categories_are_one_ordinal_number(table):
    splits = table(lines("c,y", lambda k: f"word{k:03},{k / 7}", 100), normalize=False)
    assert splits.feature_names == ("c",)
    assert sorted(splits.train.inputs.flatten().tolist()) == list(range(1, 81))
    assert set(splits.val.inputs.flatten().tolist()) == {0.0}


def test_a_column_of_numbers_can_be_declared_categorical(table):
    text = lines("code,size,y", lambda k: f"{k % 3},{k},{k / 7}")
    assert table(text, categorical=["code"]).feature_names == ("code=0", "code=1", "code=2", "size")
    assert table(text, categorical={"code": "ordinal"}).feature_names == ("code", "size")


def test_features_and_drop_choose_columns(table):
    text = lines("a,b,c,y", lambda k: f"{k},{k},{k},{k % 2}")
    assert table(text, features=["c", "a"]).feature_names == ("c", "a")
    assert table(text, drop="b").feature_names == ("a", "c")


def test_missing_and_infinite_cells_stay_visible(table):
    splits = table(lines("a,y", lambda k: f"{'' if k == 3 else 'inf' if k == 5 else k},{k % 2}"))
    everything = torch.cat([splits.train.inputs, splits.val.inputs])
    assert everything.isnan().sum() == 1
    assert everything.isinf().sum() == 1


def test_text_among_numbers_is_reported_with_line_and_column(table):
    splits = table(lines("a,b,y", lambda k: f"{k},{'oops' if k in (3, 9) else k * 2},{k % 2}"))
    findings = {finding.problem: finding for finding in scan(splits)}
    found = findings["non_numeric"]
    assert found.blocks_training
    assert found.evidence["columns"] == ["b"]
    assert found.evidence["rows"] == [5, 11]  # the header is line 1
    assert "'oops'" in found.message
    assert "non_finite_features" not in findings


def test_lines_are_counted_as_an_editor_does(table):
    text = 'note,a,y\n"two\nlines",1,0\n\nplain,x,1\n' + "".join(f"plain,{k},{k % 2}\n" for k in range(20))
    splits = table(text, features=["a"])
    rows = scan(splits)[0].evidence["rows"]
    assert text.splitlines()[rows[0] - 1] == "plain,x,1"


def test_a_group_column_stays_together_and_out_of_the_features(table):
    splits = table(
        lines("patient,a,y", lambda k: f"p{k // 4},{k},{k % 2}", 80),
        data={"group_by": "patient", "test_fraction": 0.2},
    )
    assert splits.feature_names == ("a",)
    sides = [set((rows // 4).tolist()) for rows in splits.indices.values()]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]


# --- labels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "task", "kind", "names"),
    [
        (lambda k: "cat" if k % 3 else "dog", "auto", "classification", ("cat", "dog")),
        (lambda k: k % 3, "auto", "classification", ("0", "1", "2")),
        (lambda k: k % 3 + 1, "auto", "classification", ("1", "2", "3")),
        (lambda k: k % 2 * 2 - 1, "auto", "classification", ("-1", "1")),
        (lambda k: k % 3 - 1, "auto", "classification", ("-1", "0", "1")),
        (lambda k: k % 2 == 0, "auto", "classification", ("False", "True")),
        (lambda k: k % 2, "binary", "binary", ("0", "1")),
        (lambda k: "no" if k % 3 else "yes", "binary", "binary", ("no", "yes")),
        (lambda k: k * 1.5, "auto", "regression", None),
        (lambda k: 100_000 + 7 * k, "auto", "regression", None),
        (lambda k: k % 2, "regression", "regression", None),
        (lambda k: k, "classification", "classification", tuple(map(str, range(40)))),
    ],
)
def test_labels_call_for_a_task(table, label, task, kind, names):
    splits = table(lines("a,y", lambda k: f"{k},{label(k)}"), data={"task": task})
    assert splits.task.kind == kind
    assert splits.task.class_names == names
    targets = torch.cat([splits.train.targets, splits.val.targets])
    rows = torch.cat([splits.indices["train"], splits.indices["val"]]).tolist()
    for row, target in list(zip(rows, targets, strict=True))[:10]:
        value = str(label(row)) if names else float(label(row))
        assert (names[int(target)] if names else float(target)) == value
    assert targets.dtype == (torch.int64 if kind == "classification" else torch.float32)
    assert targets.ndim == (1 if kind == "classification" else 2)
    assert not [finding for finding in scan(splits) if finding.severity == "critical"]


def test_several_label_columns_are_multilabel_or_regression(table):
    text = lines("a,p,q,y,z", lambda k: f"{k},{k % 2},{k % 3 == 0},{k * 2},{k / 3}")
    splits = table(text, label=["p", "q"])
    assert (splits.task.kind, splits.task.class_names) == ("multilabel", ("p", "q"))
    splits = table(text, label=["y", "z"])
    assert (splits.task.kind, splits.task.num_outputs, splits.feature_names) == (
        "regression",
        2,
        ("a", "p", "q"),
    )


@pytest.mark.parametrize("value", ["-1", "99", "", "2.5", "oops"])
def test_labels_that_are_no_class_are_reported_by_line(table, value):
    splits = table(lines("a,y", lambda k: f"{k},{value if k == 7 else k % 3}", 60))
    if value == "2.5":
        assert splits.task.kind == "regression"
        return
    assert splits.task.num_outputs == 3
    (found,) = [finding for finding in scan(splits) if finding.severity == "critical"]
    assert found.problem == "label_out_of_range"
    assert found.blocks_training
    assert found.evidence["rows"] == [9]
    assert found.evidence["examples"][0]["value"] == (value or "missing")


def test_declared_classes_decide_what_is_a_label(table):
    text = lines("a,y", lambda k: f"{k},{('low', 'high', 'typo')[0 if k % 2 else 2 if k == 6 else 1]}")
    splits = table(text, classes=["low", "high"])
    assert splits.task.class_names == ("low", "high")
    assert [finding.evidence["rows"] for finding in scan(splits) if finding.severity == "critical"] == [[8]]
    splits = table(lines("a,y", lambda k: f"{k},{3 if k == 5 else k % 3}"), classes=3)
    assert [finding.evidence["rows"] for finding in scan(splits) if finding.severity == "critical"] == [[7]]


def test_a_label_column_without_values_is_a_finding(table):
    splits = table(lines("a,y", lambda k: f"{k},"))
    found = scan(splits)[0]
    assert (found.problem, found.evidence["count"], found.blocks_training) == ("label_out_of_range", 40, True)


def test_one_class_is_a_finding(table):
    assert scan(table(lines("a,y", lambda k: f"{k},cat")))[0].problem == "one_class"
    assert scan(table(lines("a,y", lambda k: f"{k},1")))[0].problem == "one_class"


# --- formats --------------------------------------------------------------------------------------------------------


def test_all_formats_give_the_same_data(build, tmp_path):
    frame = pd.DataFrame({"a": np.arange(30) / 4, "c": ["x", "y", "z"] * 10, "y": ["p", "q"] * 15})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_csv(tmp_path / "semicolons.csv", index=False, sep=";")
    frame.to_csv(tmp_path / "t.tsv", index=False, sep="\t")
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress((tmp_path / "t.csv").read_bytes()))
    (tmp_path / "bom.csv").write_bytes(b"\xef\xbb\xbf" + (tmp_path / "t.csv").read_bytes())
    expected = build("table", {"path": "t.csv", "label": "y"})
    for name in ("semicolons.csv", "t.tsv", "t.parquet", "t.jsonl", "t.csv.gz", "bom.csv"):
        splits = build("table", {"path": name, "label": "y"})
        assert torch.equal(splits.train.inputs, expected.train.inputs), name
        assert torch.equal(splits.val.targets, expected.val.targets), name
        assert splits.feature_names == expected.feature_names


def test_a_file_without_a_header(table):
    splits = table(lines("1.5,2,a", lambda k: f"{k},{k},{'ab'[k % 2]}"), label=2, header=False)
    assert splits.feature_names == ("0", "1")
    assert min(splits.train.source_rows.min(), splits.val.source_rows.min()) == 1


# --- refusals -------------------------------------------------------------------------------------------------------

GOOD = lines("width,height,label", lambda k: f"{k},{k},{k % 2}")


@pytest.mark.parametrize(
    ("text", "args", "says"),
    [
        (GOOD, {"label": "lable"}, "did you mean 'label'?.*width, height and label"),
        (GOOD, {"label": "label", "drop": ["weight"]}, "data.args.drop.*'weight'"),
        (GOOD, {"label": "label", "features": ["label"]}, "read the answer"),
        (GOOD, {"label": "label", "features": []}, "no feature column"),
        (GOOD, {"label": []}, "no label column"),
        (GOOD, {"label": 3.5}, "expected the name of a column"),
        (GOOD, {"label": "label", "categorical": "hot"}, "expected auto, onehot, ordinal"),
        (GOOD, {"label": "label", "separator": "::"}, "expected one character"),
        (GOOD, {"label": "label", "classes": "two"}, "expected the number of classes"),
        (GOOD, {"label": "label", "colour": 1}, "no argument 'colour'"),
        (GOOD, {}, "argument label"),
        ("", {"label": "y"}, "empty"),
        ("\n \n", {"label": "y"}, "blank lines only"),
        ("a,y\n", {"label": "y"}, "no rows"),
        ("a,a,y\n1,2,3\n", {"label": "y"}, "'a' at positions 1 and 2"),
        ("a,y\n1,2\n1,2,3\n", {"label": "y"}, "line 3"),
        ("a,y\n1,2,3\n1,2,3\n", {"label": "y"}, "more cells than its header"),
        ("a,y\n1,2\n", {"label": "y"}, "1 sample"),
        (b"a,y\n\xff\xfe,1\n", {"label": "y"}, "encoding utf-8"),
        (GOOD, {"label": "label", "encoding": "klingon"}, "encoding klingon"),
        ('a,y\n"1,2\n', {"label": "y"}, "cannot be read as CSV"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_paragraph(build, tmp_path, text, args, says):
    name = csv(tmp_path, text)
    with pytest.raises(DataError, match=f"(?s){says}") as caught:
        build("table", {"path": name, **args})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 900


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.parquet", b"PAR1 not really", "damaged or no Parquet"),
        ("t.csv.gz", b"not gzip", "damaged or no gzip"),
        ("t.csv.gz", gzip.compress(b"a,y\n1,2\n" * 2000, mtime=0)[:-20], "damaged or no gzip"),
        ("t.jsonl", b'{"a": 1, "y": 2}\n{"a": \n', "line 2"),
        ("t.jsonl", b"[1, 2]\n", "line 1.*expected an object"),
        ("t.jsonl", b"\n\n", "no rows"),
        ("t.xlsx", b"PK", "ends in .xlsx"),
        ("table", b"a,y\n1,2\n", "ends in no suffix"),
    ],
)
def test_damaged_files_and_wrong_suffixes(build, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=says):
        build("table", {"path": name, "label": "y"})


def test_a_missing_file_names_its_neighbour(build, tmp_path):
    csv(tmp_path, GOOD, "iris.csv")
    with pytest.raises(DataError, match=r"iriss.csv; did you mean iris.csv\?"):
        build("table", {"path": "iriss.csv", "label": "y"})
    with pytest.raises(DataError, match="no folder"):
        build("table", {"path": "nowhere/iris.csv", "label": "y"})
    with pytest.raises(DataError, match="is a folder"):
        build("table", {"path": ".", "label": "y"})


def test_parquet_cells_that_are_no_numbers(build, tmp_path):
    pd.DataFrame({"when": pd.to_datetime(["2020-01-01"] * 9), "y": range(9)}).to_parquet(
        tmp_path / "dates.parquet"
    )
    with pytest.raises(DataError, match=r"when .* holds dates"):
        build("table", {"path": "dates.parquet", "label": "y"})
    pd.DataFrame({"list": [[1, 2]] * 9, "y": range(9)}).to_parquet(tmp_path / "lists.parquet")
    with pytest.raises(DataError, match=r"list .* holds ndarray"):
        build("table", {"path": "lists.parquet", "label": "y"})


def test_labels_that_cannot_be_the_stated_task(table):
    with pytest.raises(DataError, match=r"binary, but .* 3 values"):
        table(lines("a,y", lambda k: f"{k},{k % 3}"), data={"task": "binary"})
    with pytest.raises(DataError, match="regression, which needs numbers"):
        table(lines("a,y", lambda k: f"{k},{'ab'[k % 2]}"), data={"task": "regression"})
    with pytest.raises(DataError, match=r"0\.5, which is no class"):
        table(lines("a,y", lambda k: f"{k},{k + 0.5}"), data={"task": "classification"})
    with pytest.raises(DataError, match="several label columns"):
        table(lines("a,y,z", lambda k: f"{k},b,c"), label=["y", "z"])
    with pytest.raises(DataError, match=r"data.group_by names the column 'who'"):
        table(GOOD, label="label", data={"group_by": "who"})


def test_a_file_that_may_not_be_read(build, tmp_path, monkeypatch):
    csv(tmp_path, GOOD)

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DataError, match=r"no permission to read .*table\.csv"):
        build("table", {"path": "table.csv", "label": "label"})
