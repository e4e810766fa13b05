"""The bundled data sets: real data that scikit-learn ships, read from its files without importing it.

Importing `sklearn.datasets` takes about two seconds, reading the files a few milliseconds. Where the files
are not found (another scikit-learn), its own loaders are used.
"""

from __future__ import annotations

import gzip
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from tui_trainer.config.errors import DataError
from tui_trainer.data.dataset import Task
from tui_trainer.data.source import Prepared, Rows, Undivided, as_they_are, standardized

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = NDArray[np.float64]


def digits(*, image: bool = False) -> Undivided:
    """1,797 handwritten digits of 8×8 pixels, 10 classes: float32[64] = pixels/16, or 1×8×8 with `image`."""
    pixels, labels = _digits()
    inputs = torch.from_numpy((pixels / 16.0).astype(np.float32))
    names = tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8))
    return Undivided(
        targets=torch.from_numpy(labels),
        prepare=as_they_are(inputs.view(-1, 1, 8, 8)) if image else as_they_are(inputs, names),
        task=Task("classification", 10, tuple("0123456789")),
        source="digits (scikit-learn)",
    )


def breast_cancer(*, standardize: bool = True) -> Undivided:
    """569 tumours by 30 measures, malignant (0) or benign (1): binary, float targets [n, 1], one logit."""
    values, labels, classes = _headed_csv("breast_cancer.csv", "load_breast_cancer")
    return Undivided(
        targets=torch.from_numpy(labels.astype(np.float32)).unsqueeze(1),
        prepare=_prepare(values, _BREAST_CANCER_FEATURES, standardize=standardize),
        task=Task("binary", 1, classes),
        source="breast_cancer (scikit-learn)",
    )


def wine(*, standardize: bool = True) -> Undivided:
    """178 wines by 13 chemical measures, three cultivars: classification."""
    values, labels, classes = _headed_csv("wine_data.csv", "load_wine")
    return Undivided(
        targets=torch.from_numpy(labels),
        prepare=_prepare(values, _WINE_FEATURES, standardize=standardize),
        task=Task("classification", 3, classes),
        source="wine (scikit-learn)",
    )


def diabetes(*, standardize: bool = True) -> Undivided:
    """442 patients by 10 measures; how the disease went on in a year: regression, raw values [n, 1]."""
    values, progress = _diabetes()
    return Undivided(
        targets=torch.from_numpy(progress.astype(np.float32)).unsqueeze(1),
        prepare=_prepare(values, _DIABETES_FEATURES, standardize=standardize),
        task=Task("regression", 1),
        source="diabetes (scikit-learn)",
    )


def _prepare(values: Floats, names: tuple[str, ...], *, standardize: bool) -> Callable[[Rows], Prepared]:
    if standardize:
        return standardized(values, names)
    return as_they_are(torch.from_numpy(values.astype(np.float32)), names)


def _bundled(name: str) -> Path | None:
    """The file `name` in the installed scikit-learn, found without importing it."""
    spec = importlib.util.find_spec("sklearn")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "datasets" / "data" / name
        if path.is_file():
            return path
    return None


def _loader(name: str) -> Any:
    """scikit-learn's own loader, for when its files have moved."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(
            "The bundled data sets (digits, breast_cancer, wine, diabetes) are read from scikit-learn, "
            f"which is not installed here ({error}). Install it with `pip install scikit-learn`, or name "
            "data of your own in data.target."
        ) from error
    return getattr(datasets, name)


def _numbers(path: Path, *, delimiter: str | None, skip: int = 0) -> Floats:
    content = path.read_bytes()
    text = gzip.decompress(content) if path.suffix == ".gz" else content
    values: Floats = np.loadtxt(text.decode().splitlines(), delimiter=delimiter, skiprows=skip)
    return values


def _digits() -> tuple[Floats, NDArray[np.int64]]:
    path = _bundled("digits.csv.gz")
    if path is None:
        bunch = _loader("load_digits")()
        return bunch.data, bunch.target.astype(np.int64)
    table = _numbers(path, delimiter=",")
    return table[:, :-1], table[:, -1].astype(np.int64)


def _headed_csv(name: str, loader: str) -> tuple[Floats, NDArray[np.int64], tuple[str, ...]]:
    """Values, classes and class names of a file whose first line is: samples, features, class names."""
    path = _bundled(name)
    if path is None:
        bunch = _loader(loader)()
        return bunch.data, bunch.target.astype(np.int64), tuple(map(str, bunch.target_names))
    with path.open() as file:
        classes = tuple(file.readline().strip().split(",")[2:])
    table = _numbers(path, delimiter=",", skip=1)
    return table[:, :-1], table[:, -1].astype(np.int64), classes


def _diabetes() -> tuple[Floats, Floats]:
    values, target = _bundled("diabetes_data_raw.csv.gz"), _bundled("diabetes_target.csv.gz")
    if values is None or target is None:
        bunch = _loader("load_diabetes")(scaled=False)
        return bunch.data, bunch.target
    return _numbers(values, delimiter=None), _numbers(target, delimiter=None)


_WINE_FEATURES = (
    "alcohol",
    "malic_acid",
    "ash",
    "alcalinity_of_ash",
    "magnesium",
    "total_phenols",
    "flavanoids",
    "nonflavanoid_phenols",
    "proanthocyanins",
    "color_intensity",
    "hue",
    "od280/od315_of_diluted_wines",
    "proline",
)
_DIABETES_FEATURES = ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
_MEASURES = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
_BREAST_CANCER_FEATURES = (
    *(f"mean {measure}" for measure in _MEASURES),
    *(f"{measure} error" for measure in _MEASURES),
    *(f"worst {measure}" for measure in _MEASURES),
)
