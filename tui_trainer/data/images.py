"""The `image_folder` data target: one sub-folder of pictures for each class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from tui_trainer.config.errors import DataError
from tui_trainer.config.wording import did_you_mean, listed, printable, shown
from tui_trainer.data.files import columns_named, existing_folder, reading
from tui_trainer.data.items import spread

if TYPE_CHECKING:
    from pathlib import Path

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_SPLIT_FOLDERS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
_EXPECTED = (
    "a folder with one sub-folder of pictures for each class (or train, val and test folders of these)"
)
_SIZES_LOOKED_AT = 200


class ImageFolder(Dataset[tuple[Tensor, int]]):
    """Pictures read when they are asked for: float32 [channels, height, width] from 0 to 1, and the class
    number.

    `targets`: int64 [n]. `class_names`: by class number. `files`: the path of each sample.
    """

    def __init__(
        self,
        files: list[Path],
        targets: Tensor,
        class_names: tuple[str, ...],
        size: tuple[int, int] | None,
        *,
        grayscale: bool,
    ) -> None:
        self.files, self.targets, self.class_names = files, targets, class_names
        self.size, self.grayscale = size, grayscale
        self._labels = targets.tolist()

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._read(self.files[index]), self._labels[index]

    def _read(self, file: Path) -> Tensor:
        from PIL import Image

        try:
            with Image.open(file) as picture:
                image = picture.convert("L" if self.grayscale else "RGB")
                if self.size is not None and image.size != self.size[::-1]:
                    image = image.resize(self.size[::-1], Image.Resampling.BILINEAR)
                pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            raise _unreadable(file, error) from error
        return torch.from_numpy(
            pixels[None] if self.grayscale else np.ascontiguousarray(pixels.transpose(2, 0, 1))
        )


def image_folder(
    path: str, size: int | list[int] | None = None, grayscale: bool = False
) -> ImageFolder | dict[str, ImageFolder]:
    """The pictures in the sub-folders of `path`; each sub-folder, in sorted order, is a class.

    `size`: every picture is resized to size × size, or [height, width]; needed where sizes differ.
    `grayscale`: one channel instead of three. Where `path` has a `train` folder with classes in it, `train`,
    `val` (or `valid`, `validation`) and `test` are the splits. Hidden files and other files than pictures are
    left out. Raises `DataError` for a class without pictures and for a picture that cannot be read.
    """
    folder = existing_folder(path, what="image_folder", expected=_EXPECTED)
    wanted = _size(size)
    with reading(folder, "image_folder"):
        parts = {
            split: place
            for split, names in _SPLIT_FOLDERS.items()
            if (place := next((folder / name for name in names if (folder / name).is_dir()), None))
            is not None
        }
        if "train" not in parts or not _sub_folders(parts["train"]):
            return _checked(_read_classes(folder, None, wanted, grayscale=grayscale), folder)
        train = _checked(_read_classes(parts["train"], None, wanted, grayscale=grayscale), parts["train"])
        return {"train": train} | {
            split: _checked(_read_classes(place, train.class_names, wanted, grayscale=grayscale), place)
            for split, place in parts.items()
            if split != "train"
        }


def _size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = [size, size] if isinstance(size, int) else size
    valid = isinstance(sides, (list, tuple)) and len(sides) == 2
    if not valid or not all(
        isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in sides
    ):
        raise DataError(
            f"image_folder: data.args.size is {shown(size)}; expected a number of pixels, such as 64, or "
            "[height, width]."
        )
    return sides[0], sides[1]


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if item.is_dir() and not item.name.startswith("."))


def _read_classes(
    folder: Path, known: tuple[str, ...] | None, size: tuple[int, int] | None, *, grayscale: bool
) -> ImageFolder:
    classes = _sub_folders(folder)
    if not classes:
        loose = sum(item.suffix.lower() in _SUFFIXES for item in folder.iterdir())
        found = f"holds {loose} pictures but no sub-folders" if loose else "has no sub-folders"
        raise DataError(f"image_folder: {printable(str(folder))} {found}. Expected {_EXPECTED}.")
    names = known if known is not None else tuple(place.name for place in classes)
    strange = [place.name for place in classes if place.name not in names]
    if strange:
        raise DataError(
            f"image_folder: {printable(str(folder))} has the class {printable(strange[0], 60)!r}, which the "
            f"train folder lacks{did_you_mean(strange[0], names)} Its classes are "
            f"{columns_named(list(names))}."
        )
    files: list[Path] = []
    labels: list[int] = []
    for place in classes:
        pictures = sorted(
            item
            for item in place.rglob("*")
            if item.suffix.lower() in _SUFFIXES and not item.name.startswith(".") and item.is_file()
        )
        if not pictures and known is None:
            raise DataError(
                f"image_folder: the class folder {printable(str(place))} holds no pictures "
                f"({listed(_SUFFIXES, 'or')}). Fill it or remove it."
            )
        files += pictures
        labels += [names.index(place.name)] * len(pictures)
    return ImageFolder(files, torch.tensor(labels, dtype=torch.int64), names, size, grayscale=grayscale)


def _checked(data: ImageFolder, folder: Path) -> ImageFolder:
    """`data`, after a look at all files' lengths and at some pictures' sizes."""
    empty = [file for file in data.files if file.stat().st_size == 0]
    if empty:
        others = f" (and {len(empty) - 1} more)" if len(empty) > 1 else ""
        raise DataError(
            f"image_folder: {printable(str(empty[0]))}{others} is empty (0 bytes) and cannot be read as a "
            "picture. Copy it again, or remove it."
        )
    if data.size is None:
        sizes = {
            _size_of(data.files[index]): data.files[index] for index in spread(len(data), _SIZES_LOOKED_AT)
        }
        if len(sizes) > 1:
            (first, file), (second, other) = list(sizes.items())[:2]
            raise DataError(
                f"image_folder: the pictures in {printable(str(folder))} differ in size: "
                f"{printable(file.name)} is {first[0]}×{first[1]}, {printable(other.name)} is "
                f"{second[0]}×{second[1]}. Set data.args.size, for example to 64, so that they are resized."
            )
    return data


def _size_of(file: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise _unreadable(file, error) from error


def _unreadable(file: Path, error: Exception) -> DataError:
    if isinstance(error, PermissionError):
        return DataError(
            f"image_folder: no permission to read {printable(str(file))}. Give read access to it."
        )
    reason = "it is no picture, or damaged" if "cannot identify" in str(error) else printable(str(error), 160)
    return DataError(
        f"image_folder: {printable(str(file))} cannot be read as a picture ({reason}). Replace or remove it."
    )
