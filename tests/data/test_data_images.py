"""Folders of pictures."""

import numpy as np
import pytest
import torch
from PIL import Image

from tui_trainer.config.errors import DataError
from tui_trainer.data.fingerprint import fingerprint
from tui_trainer.data.quality import scan


def paint(folder, count=10, size=(6, 4), mode="RGB", colour=200):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new(mode, size, colour if mode == "L" else (colour, number, 0)).save(
            folder / f"{number:02}.png"
        )


@pytest.fixture
def pictures(tmp_path):
    for name in ("dog", "cat"):
        paint(tmp_path / "pets" / name)
    return tmp_path / "pets"


def test_each_sub_folder_is_a_class(build, pictures):
    (pictures / ".cache").mkdir()
    (pictures / "cat" / "notes.txt").write_text("no picture")
    splits = build("image_folder", {"path": "pets"})
    assert splits.task.class_names == ("cat", "dog")
    assert splits.input_shape == (3, 4, 6)
    image, label = splits.train[0]
    assert image.dtype == torch.float32
    assert torch.allclose(image[0], torch.full((4, 6), 200 / 255))
    assert label in (0, 1)
    assert sorted(splits.val[k][1] for k in range(len(splits.val))) == [0, 0, 1, 1]


def test_size_and_grayscale(build, pictures):
    paint(pictures / "cat", 3, size=(50, 20))
    splits = build("image_folder", {"path": "pets", "size": 8, "grayscale": True})
    assert splits.input_shape == (1, 8, 8)
    assert build("image_folder", {"path": "pets", "size": [5, 9]}).input_shape == (3, 5, 9)


def test_split_folders_are_kept(build, tmp_path):
    for split, count in (("train", 8), ("validation", 3), ("test", 2)):
        for name in ("a", "b"):
            paint(tmp_path / "set" / split / name, count)
    splits = build("image_folder", {"path": "set"})
    assert (len(splits.train), len(splits.val), len(splits.test)) == (16, 6, 4)
    assert splits.indices == {}
    paint(tmp_path / "set" / "validation" / "c", 1)
    with pytest.raises(DataError, match="class 'c', which the train folder lacks"):
        build("image_folder", {"path": "set"})


def test_other_modes_and_formats_are_converted(build, tmp_path):
    for number, (mode, suffix) in enumerate(
        [("L", "png"), ("RGBA", "png"), ("P", "gif"), ("1", "bmp"), ("RGB", "jpg")]
    ):
        for name in ("a", "b"):
            (tmp_path / "mix" / name).mkdir(parents=True, exist_ok=True)
            Image.new(mode, (4, 4)).save(tmp_path / "mix" / name / f"{number}.{suffix}")
    splits = build("image_folder", {"path": "mix"})
    assert splits.input_shape == (3, 4, 4)


def test_pictures_of_different_sizes_need_a_size(build, pictures):
    paint(pictures / "dog", 1, size=(9, 9))
    with pytest.raises(DataError, match=r"differ in size.*data\.args\.size"):
        build("image_folder", {"path": "pets"})


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n cut"])
def test_a_picture_that_cannot_be_read_is_named(build, pictures, content):
    (pictures / "cat" / "05.png").write_bytes(content)
    with pytest.raises(DataError, match=r"cat/05\.png"):
        build("image_folder", {"path": "pets"})


def test_a_picture_that_breaks_off_is_named_when_it_is_read(build, pictures):
    noise = np.random.RandomState(0).randint(0, 255, (4, 6, 3), dtype=np.uint8)
    Image.fromarray(noise).save(pictures / "cat" / "05.png")
    content = (pictures / "cat" / "05.png").read_bytes()
    (pictures / "cat" / "05.png").write_bytes(content[:60])
    with pytest.raises(DataError, match=r"cat/05\.png cannot be read"):
        scan(build("image_folder", {"path": "pets"}))


def test_folders_that_are_no_classes(build, tmp_path, pictures):
    (pictures / "empty").mkdir()
    with pytest.raises(DataError, match="empty holds no pictures"):
        build("image_folder", {"path": "pets"})
    with pytest.raises(DataError, match="10 pictures but no sub-folders"):
        build("image_folder", {"path": "pets/cat"})
    with pytest.raises(DataError, match="is a file"):
        build("image_folder", {"path": "pets/cat/01.png"})
    with pytest.raises(DataError, match="there is no"):
        build("image_folder", {"path": "pest"})
    for size in (0, "big", [1, 2, 3], True):
        with pytest.raises(DataError, match=r"data\.args\.size"):
            build("image_folder", {"path": "pets", "size": size})


def test_the_fingerprint_knows_the_pictures(build, pictures):
    before = fingerprint(build("image_folder", {"path": "pets"}))
    assert fingerprint(build("image_folder", {"path": "pets"})) == before
    Image.new("RGB", (6, 4), (1, 2, 3)).save(pictures / "cat" / "05.png")
    assert fingerprint(build("image_folder", {"path": "pets"})) != before
