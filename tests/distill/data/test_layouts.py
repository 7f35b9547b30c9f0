"""Folders as public data sets lay them out: every image is used once for its domain, or the layout is refused by name."""

from __future__ import annotations

import io
import logging
import os
import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill.data.split import Split, load_split

CATS = ("cat", "dog")


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def crossed(*levels: tuple[str, ...]) -> list[str]:
    return ["/".join(parts) for parts in product(*levels)]


def write(root: Path, folders: list[str], *, suffix: str = ".png", count: int = 2) -> Path:
    """Write `count` images into each folder; no two images of a root are the same."""
    seeds = iter(range(10_000))
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            (root / folder / f"{index}{suffix}").write_bytes(picture(next(seeds)))
    return root


def relative(split: Split, root: Path) -> set[str]:
    return {Path(image["path"]).relative_to(root).as_posix() for image in split.rows["image"]}


UNDERSTOOD = {
    # layout: folders, class level, domain level, options of load_split, which folders are real
    "class / domain": (crossed(CATS, ("real", "fake")), 0, 1, {}),
    "ForenSynths, one generator: class / 0_real, 1_fake": (crossed(CATS, ("0_real", "1_fake")), 0, 1, {}),
    "ForenSynths, several generators with classes": (crossed(("progan", "stylegan2"), CATS, ("0_real", "1_fake")), 1, 2, {}),
    "CNNDetection: split / class / domain": (crossed(("train", "val"), CATS, ("0_real", "1_fake")), 1, 2, {"split": "val"}),
    "split / domain / class": (crossed(("train", "test"), ("real", "fake"), CATS), 2, 1, {"split": "test"}),
    "domain / split / class": (crossed(("real", "fake"), ("train", "test"), CATS), 2, 0, {"split": "test"}),
    "domain / class / images": (crossed(("real", "fake"), CATS, ("images",)), 1, 0, {}),
    "GenImage's words with classes": (crossed(CATS, ("ai", "nature")), 0, 1, {}),
    "generator / class / domain, names of generators": (crossed(("sdxl", "midjourney_v5"), CATS, ("real", "ai-generated")), 1, 2, {}),
    "capitals": (crossed(("Real", "FAKE"), CATS), 1, 0, {}),
    "a folder around it": (crossed(("data",), ("real", "synthetic"), CATS), 2, 1, {}),
    "numbers in front": (crossed(CATS, ("00_real", "01-fake")), 0, 1, {}),
    "by --layout": (crossed(("a", "b"), CATS, ("real", "fake")), 1, 2, {"layout": "*/class/domain"}),
    "by --layout, class above split": (
        crossed(CATS, ("train", "test"), ("real", "fake")),
        0,
        2,
        {"layout": "class/split/domain", "split": "test"},
    ),
    "by --layout, generators are the classes": (crossed(("biggan", "crn"), ("0_real", "1_fake")), 0, 1, {"layout": "class/domain"}),
}


@pytest.mark.parametrize("name", UNDERSTOOD)
def test_each_image_counts_once_for_its_class_and_domain(tmp_path: Path, name: str) -> None:
    folders, class_level, domain_level, options = UNDERSTOOD[name]
    root = write(tmp_path / "root", folders)
    chosen = [folder for folder in folders if options.get("split") in (None, *folder.split("/"))]
    real = [folder for folder in chosen if folder.split("/")[domain_level].lower().rpartition("_")[2] in ("real", "nature")]
    wanted = {"real": real, "synthetic": [folder for folder in chosen if folder not in real]}

    splits = {domain: load_split(root, domain=domain, **options) for domain in wanted}
    both = load_split(root, **options)

    for domain, split in splits.items():
        assert relative(split, root) == {f"{folder}/{index}.png" for folder in wanted[domain] for index in range(2)}
        assert len(split) == 2 * len(wanted[domain])
        levels = [Path(image["path"]).relative_to(root).parts[class_level] for image in split.rows["image"]]
        assert [split.class_names[label] for label in split.labels] == levels
        assert sorted(split.ids) == sorted(both.ids[both.domains == domain])
    assert split.class_names == CATS or name == "by --layout, generators are the classes"
    assert len(both) == 2 * len(chosen)


REFUSED = {
    "ForenSynths, a generator without classes": (
        ["0_real", "1_fake"],
        {},
        "must lie in a folder named after their class, got `.*0_real/0.png`",
    ),
    "ForenSynths, all test sets": (
        [*crossed(("progan",), CATS, ("0_real", "1_fake")), *crossed(("biggan",), ("0_real", "1_fake"))],
        {},
        "must lie equally deep .* got `.*progan/cat/0_real/0.png` in '0_real' of level 3 and `.*biggan/0_real/0.png`",
    ),
    "ForenSynths, generators alone": (
        crossed(("biggan", "crn", "deepfake"), ("0_real", "1_fake")),
        {},
        r"names of generators, \['biggan', 'crn', 'deepfake'\]",
    ),
    "GenImage": (
        crossed(("ADM", "Midjourney", "stable_diffusion_v_1_5"), ("train", "val"), ("ai", "nature")),
        {"split": "val"},
        "names of generators",
    ),
    "GenImage, unknown generators": (
        crossed(("new1", "new2"), ("train", "val"), ("ai", "nature")),
        {"split": "val"},
        r"may be data sets or generators; .*`?--layout class/split/domain",
    ),
    "GenImage, one generator": (
        crossed(("imagenet_ai_0508_adm",), ("train", "val"), ("ai", "nature")),
        {"split": "val"},
        "must lie in a folder named after their class|names of generators",
    ),
    "GenImage, one split": (["ai", "nature"], {}, "must lie in a folder named after their class"),
    "several splits": (crossed(("train", "test"), ("real", "fake"), CATS), {}, r"must be one of \['test', 'train'\], got None"),
    "several splits below classes": (
        crossed(("x",), ("train", "test"), CATS),
        {},
        r"`split` of .* must be one of \['test', 'train'\], got None.*--split test",
    ),
    "a split that is not there": (
        crossed(("real", "fake"), ("train", "test"), CATS),
        {"split": "val"},
        r"one of \['test', 'train'\], got 'val'",
    ),
    "STL-10: unlabelled beside splits": (crossed(("train", "test", "unlabeled"), CATS), {}, "must all be splits, got 'unlabeled' beside"),
    "crossed levels": (crossed(("old", "new"), CATS), {}, r"got several that may: {new, old} / {cat, dog}; .*--layout '\*/class'"),
    "folders of folders of folders": (crossed(("a", "b"), ("c", "d"), ("e", "f")), {}, "got several that may"),
    "superclasses": (["pets/cat", "pets/dog", "cars/van", "cars/bus"], {}, r"got several that may: {cars, pets} / {bus, cat, dog, ...}"),
    "a class called like a domain": (["fake", "cat"], {}, "got 'cat' too; .*'fake' is a class, list the classes with `--class-names`"),
    "domains below one class alone": (["cat", "dog/real", "dog/fake"], {}, "must lie equally deep"),
    "domains below some classes": (
        ["cat/real", "cat/fake", "dog/close", "dog/far"],
        {},
        "must all be domains, real and synthetic, got 'close' too",
    ),
    "two levels of domains": (crossed(("real", "synthetic"), ("real", "fake")), {}, "must be named after domains, got more"),
    "capitals alone": (["Cat", "cat", "dog"], {}, "must differ in more than capitals, got 'Cat' and 'cat'"),
    "one class in one domain alone": (["cat/real", "cat/fake", "dog/real"], {}, "'dog' only in real"),
    "the same name twice in a class": (crossed(("real", "Real"), CATS), {}, "must have names of their own, got `.*` and `.*`"),
    "an unknown role": (
        crossed(CATS, ("real", "fake")),
        {"layout": "class/kind"},
        "must be of domain, class, split, generator, group, .*got 'kind'",
    ),
    "a layout that is too deep": (list(CATS), {"layout": "class/domain"}, "must have at most 1 levels"),
    "a layout without its domains": (
        crossed(CATS, ("a", "b")),
        {"layout": "class/domain"},
        "must be folders named real and synthetic, got 'a'",
    ),
    "no class in the layout": (list(CATS), {"layout": "*"}, "must lie in a folder named after their class"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_layouts_are_refused_with_what_was_seen(tmp_path: Path, name: str) -> None:
    folders, options, message = REFUSED[name]
    root = write(tmp_path / "root", folders)

    with pytest.raises(ValueError, match=message):
        load_split(root, domain="real", **options)


SUGGESTED = {
    "crossed levels": (crossed(("old", "new"), CATS), "*/class", CATS),
    "class above split": (crossed(CATS, ("train",)), "class/split", CATS),
    "generators": (crossed(("biggan", "crn"), ("real", "fake")), "class/domain", ("biggan", "crn")),
}


@pytest.mark.parametrize("name", SUGGESTED)
def test_the_layout_that_a_message_suggests_is_taken(tmp_path: Path, name: str) -> None:
    folders, layout, classes = SUGGESTED[name]
    root = write(tmp_path / "root", folders)

    with pytest.raises(ValueError, match=r"--layout '?" + layout.replace("*", r"\*")):
        load_split(root, domain="real")
    assert load_split(root, domain="real", layout=layout).class_names == classes


def test_a_class_called_like_a_domain_is_one_when_it_is_listed(tmp_path: Path) -> None:
    root = write(tmp_path / "root", ["fake", "cat"])

    split = load_split(root, domain="real", class_names=["cat", "fake"])

    assert (len(split), split.class_names, set(split.domains)) == (4, ("cat", "fake"), {"real"})


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    assert load_split(write(tmp_path / "root", ["train", "bus"]), domain="real").class_names == ("bus", "train")


def test_layout_may_name_groups_and_generators(tmp_path: Path) -> None:
    root = write(tmp_path / "root", crossed(("sdxl", "x"), ("land", "water"), CATS))

    split = load_split(root, domain="synthetic", layout="generator/group/class")

    assert split.groups is not None
    assert [
        f"{generator}/{group}/{split.class_names[label]}"
        for generator, group, label in zip(split.column("generator"), split.groups, split.labels, strict=True)
    ] == [Path(image["path"]).relative_to(root).parent.as_posix() for image in split.rows["image"]]


def test_images_that_lie_deeper_count_for_the_class_above_and_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(tmp_path / "root", ["cat", "cat/persian", "dog"])

    with caplog.at_level(logging.WARNING):
        split = load_split(root, domain="real")

    assert (len(split), np.bincount(split.labels).tolist()) == (6, [4, 2])
    assert "2 images of" in caplog.text
    assert "count for the folder above, 'cat'" in caplog.text


def test_what_programs_leave_behind_is_no_image_and_no_class(tmp_path: Path) -> None:
    root = write(tmp_path / "root", [*CATS, "__MACOSX/cat", ".git/x", "cat/.thumbs", "dog/@eaDir"])
    (root / "cat" / "._0.png").write_bytes(b"Mac OS X")
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store"):
        (root / "dog" / name).write_bytes(b"")

    assert relative(load_split(root, domain="real"), root) == {f"{name}/{index}.png" for name in CATS for index in range(2)}


def test_images_in_a_folder_with_an_underscore_are_counted_when_they_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(tmp_path / "root", [*CATS, "_old"])

    with caplog.at_level(logging.WARNING):
        assert len(load_split(root, domain="real")) == 4

    assert "left out: 2 images in" in caplog.text


def test_an_image_without_an_ending_is_named(tmp_path: Path) -> None:
    root = write(tmp_path / "root", list(CATS))
    shutil.copy(root / "cat" / "0.png", root / "cat" / "picture")

    with pytest.raises(ValueError, match=r"must have the ending of one .* got `.*cat/picture`; rename it"):
        load_split(root, domain="real")


def test_linked_class_folders_are_read(tmp_path: Path) -> None:
    store = write(tmp_path / "store", crossed(CATS, ("original",)))
    (tmp_path / "root" / "dog").mkdir(parents=True)
    (tmp_path / "root" / "cat").symlink_to(store / "cat" / "original")
    (tmp_path / "root" / "dog" / "linked").symlink_to(store / "dog" / "original")

    assert np.bincount(load_split(tmp_path / "root", domain="real").labels).tolist() == [2, 2]


@pytest.mark.parametrize("target", ["cat", ".", ".."])
def test_a_folder_that_is_reached_twice_is_refused(tmp_path: Path, target: str) -> None:
    root = write(tmp_path / "top" / "root", list(CATS))
    os.symlink(root / target, root / "kitty")

    with pytest.raises(ValueError, match=r"must be there once, got .* which are the same; remove the link"):
        load_split(root, domain="real")


def test_a_folder_that_is_called_like_the_other_domain_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write(tmp_path / "fake", list(CATS))

    with caplog.at_level(logging.WARNING):
        load_split(root, domain="real")

    assert "is called 'fake': were --real and --synthetic exchanged?" in caplog.text


TABLES = {
    "metadata.csv of Hugging Face, no folders": ("metadata.csv", "file_name,class_name\n0.png,cat\n1.png,dog\n2.png,cat\n", "", CATS),
    "Kaggle: stems and classes": ("train.csv", "id,breed,label\n0,a,cat\n1,b,dog\n2,a,cat\n", "", CATS),
    "file names and numbers": ("labels.csv", "filename,target\n0.png,1\n1.png,0\n2.png,1\n", "", ("zero", "one")),
    "tabs, images in a folder": (
        "labels.tsv",
        "image_path\tclass\nimages/0.png\tcat\nimages/1.png\tdog\nimages/2.png\tcat\n",
        "images",
        CATS,
    ),
    "metadata.jsonl": (
        "metadata.jsonl",
        "\n".join(f'{{"file_name": "{n}.png", "label": "{c}"}}' for n, c in enumerate(("cat", "dog", "cat"))),
        "",
        CATS,
    ),
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("by", ["folder", "file"])
def test_a_table_beside_the_images_names_their_classes(tmp_path: Path, name: str, by: str) -> None:
    file, text, folder, classes = TABLES[name]
    root = write(tmp_path / "root", [folder], count=3)
    (root / file).write_text(text)
    (root / "classes.txt").write_text("zero\none\n")

    split = load_split(root if by == "folder" else root / file, domain="real")

    assert split.class_names == classes
    order = {Path(image["path"]).stem: split.class_names[label] for image, label in zip(split.rows["image"], split.labels, strict=True)}
    other = next(iter({*classes} - {order["0"]}))
    assert order == {"0": order["0"], "1": other, "2": order["0"]}
    assert order["0"] in ("cat", "one")


@pytest.mark.parametrize("form", ["{}", "cat/{}", "./cat/{}", "cat\\{}", "{root}/cat/{}"])
def test_a_table_may_write_paths_in_any_way(tmp_path: Path, form: str) -> None:
    root = write(tmp_path / "root", ["cat"])
    (root / "labels.csv").write_text("path,label\n" + "".join(f"{form.format(f'{row}.png', root=root)},{CATS[row]}\n" for row in range(2)))

    split = load_split(root / "labels.csv", domain="real")

    assert {Path(image["path"]).name: split.class_names[label] for image, label in zip(split.rows["image"], split.labels, strict=True)} == {
        "0.png": "cat",
        "1.png": "dog",
    }


def test_a_folder_of_archives_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"PK")

    with pytest.raises(FileNotFoundError, match=r"got only images.zip; unpack or convert these files"):
        load_split(tmp_path, domain="real")
    with pytest.raises(ValueError, match=r"among \['.zip'\]; unpack it and give the folder"):
        load_split(tmp_path / "images.zip", domain="real")


def test_a_table_chooses_the_images_when_it_is_given_itself(tmp_path: Path) -> None:
    root = write(tmp_path / "root", [""], count=4)
    for name, rows in (("train.csv", (0, 1)), ("test.csv", (2, 3))):
        (root / name).write_text("file_name,label\n" + "".join(f"{row}.png,{CATS[row % 2]}\n" for row in rows))

    assert relative(load_split(root / "test.csv", domain="real"), root) == {"2.png", "3.png"}
    with pytest.raises(ValueError, match=r"one table in .* must name the classes of the images, got \['test.csv', 'train.csv'\]"):
        load_split(root, domain="real")


def test_a_table_may_tell_the_domain_and_the_group(tmp_path: Path) -> None:
    root = write(tmp_path / "root", [""], count=4)
    rows = [f"{row}.png,{CATS[row % 2]},{'real' if row < 2 else 'ai'},{row % 2}\n" for row in range(4)]
    (root / "metadata.csv").write_text("file_name,label,domain,place\n" + "".join(rows))

    split = load_split(root, domain="synthetic", columns={"group": "place"})

    assert relative(split, root) == {"2.png", "3.png"}
    assert split.groups is not None
    assert split.groups.tolist() == ["0", "1"]


def test_a_table_that_contradicts_the_folders_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "root", list(CATS), count=1)
    (root / "metadata.csv").write_text("file_name,class_name\ncat/0.png,dog\ndog/0.png,cat\n")

    with pytest.raises(ValueError, match=r"must agree with the folders, got 'dog' for .*cat/0.png.*--class-column class_name"):
        load_split(root, domain="real")
    assert load_split(root, domain="real", columns={"class": "class_name"}).ids.tolist() == ["real/cat/0.png", "real/dog/0.png"]
    assert load_split(root, domain="real", columns={"class": "class_name"}).labels.tolist() == [1, 0]


def test_folders_of_numbered_files_without_classes_are_not_taken_for_cifake(tmp_path: Path) -> None:
    root = write(tmp_path / "root", ["REAL", "FAKE"], suffix=".jpg")

    with pytest.raises(ValueError, match=r"must lie in a folder named after their class"):
        load_split(root, domain="real")


def test_cifake_with_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    root = write(tmp_path / "root", ["REAL", "FAKE"], suffix=" (2).jpg")
    (root / "FAKE" / "more").mkdir()
    (root / "FAKE" / "more" / "3 (2).jpg").write_bytes(picture(77))

    with pytest.raises(ValueError, match=r"CIFAKE files must be called .* got `.*FAKE/more/3 \(2\).jpg`"):
        load_split(root, domain="real")


@pytest.mark.parametrize(
    ("folders", "lines", "names"),
    [
        (["0", "1", "10"], [f"class {number}" for number in range(11)], ("class 0", "class 1", "class 10")),
        (["1", "2"], ["one", "two"], ("one", "two")),
        (["n02", "n01"], ["n01 tench, Tinca tinca", "n02\tgoldfish"], ("tench", "goldfish")),
    ],
)
@pytest.mark.parametrize("how", ["beside", "given"])
def test_folders_of_numbers_and_keys_take_names(
    tmp_path: Path, folders: list[str], lines: list[str], names: tuple[str, ...], how: str
) -> None:
    root = write(tmp_path / "root", folders)
    if how == "beside":
        (root / "classes.txt").write_text("\n".join(lines))

    split = load_split(root, domain="real", class_names=lines if how == "given" else None)

    assert split.class_names == names
    told = {
        Path(image["path"]).parent.name: split.class_names[label] for image, label in zip(split.rows["image"], split.labels, strict=True)
    }
    assert set(told) == set(folders)
    assert told == {"0": "class 0", "1": "class 1", "10": "class 10"} or told in (
        {"1": "one", "2": "two"},
        {"n01": "tench", "n02": "goldfish"},
    )
