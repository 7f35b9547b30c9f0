"""Tables with other people's column names: read for what they are, or refused with an option that can be given as it stands."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from distill.data.split import load_split
from distill.data.vocabulary import listed_class_names, read_class_names

LABELS = [1, 0, 1, 2]
NAMES = ("ant", "bee", "cow")


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def table(path: Path, **columns: Any) -> Path:
    images = {} if "image" in columns else {"image": [picture(seed) for seed in range(4)]}
    pq.write_table(pa.table(images | columns), path)
    return path


def from_hub(path: Path, names: tuple[str, ...] = NAMES, *, column: str = "label", labels: Any = LABELS, **further: Any) -> Path:
    """A parquet file as `datasets` writes it, its class a `ClassLabel`."""
    features = {"image": datasets.Image(), column: datasets.ClassLabel(names=list(names))} | {
        key: feature for key, (feature, _) in further.items()
    }
    values = {"image": [{"bytes": picture(seed), "path": None} for seed in range(4)], column: labels} | {
        key: value for key, (_, value) in further.items()
    }
    datasets.Dataset.from_dict(values, datasets.Features(features)).to_parquet(path)
    return path


def labelled(split: Any) -> list[str]:
    return [split.class_names[label] for label in split.labels]


@pytest.mark.parametrize("column", ["fine_label", "labels", "class", "target", "category", "Label", "CLASS", "class_label"])
@pytest.mark.parametrize("kind", ["names", "ClassLabel", "integers"])
def test_a_class_column_of_another_name_is_read(tmp_path: Path, column: str, kind: str) -> None:
    if kind == "names":
        path = table(tmp_path / "x.parquet", **{column: [NAMES[label] for label in LABELS]})
    elif kind == "ClassLabel":
        path = from_hub(tmp_path / "x.parquet", column=column)
    else:
        path = table(tmp_path / "x.parquet", **{column: LABELS})
        (tmp_path / "classes.txt").write_text("ant\nbee\ncow\n")

    split = load_split(path, domain="real")

    assert (split.class_names, labelled(split)) == (NAMES, ["bee", "ant", "bee", "cow"])


def test_cifar_100_of_the_hub_gives_its_fine_classes_and_may_give_its_coarse_ones(tmp_path: Path) -> None:
    coarse = datasets.ClassLabel(names=["insect", "mammal"])
    path = from_hub(tmp_path / "x.parquet", column="fine_label", coarse_label=(coarse, [0, 0, 0, 1]))

    assert load_split(path, domain="real").class_names == NAMES
    assert labelled(load_split(path, domain="real", columns={"class": "coarse_label"})) == ["insect", "insect", "insect", "mammal"]


@pytest.mark.parametrize(
    "values", [LABELS, [float(label) for label in LABELS], [[label] for label in LABELS], [label + 1 for label in LABELS]]
)
def test_integers_of_any_shape_take_the_names_that_are_given(tmp_path: Path, values: list[Any]) -> None:
    path = table(tmp_path / "x.parquet", label=values)

    assert labelled(load_split(path, domain="real", class_names=NAMES)) == ["bee", "ant", "bee", "cow"]


def test_integers_without_names_are_refused_with_a_remedy_that_works(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", label=LABELS)

    with pytest.raises(
        ValueError,
        match=r"got integer labels only; give `class_names` .*\(`--class-names FILE`, one a line, or a `classes.txt` beside the data\)",
    ):
        load_split(path, domain="real")
    (tmp_path / "classes.txt").write_text("ant\nbee\ncow\n")
    assert load_split(path, domain="real").class_names == NAMES


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("classes.txt", "ant\nbee\n\ncow\n"),
        ("classnames.txt", "# insects and others\nant\nbee\ncow\n"),
        ("classes.txt", "1 ant\n2 bee\n3 cow\n"),
        ("classes.txt", "2: cow\n0: ant\n1: bee\n"),
        ("names.json", '["ant", "bee", "cow"]'),
        ("names.json", '{"0": ["n01", "ant"], "2": ["n03", "cow"], "1": ["n02", "bee"]}'),
    ],
)
def test_lists_of_classes_are_read_in_the_forms_that_others_write(tmp_path: Path, file: str, text: str) -> None:
    (tmp_path / file).write_text(text)

    assert read_class_names(tmp_path / file) == NAMES
    assert listed_class_names(str(tmp_path / file)) == listed_class_names("ant, bee,cow") == NAMES


def test_names_that_only_begin_with_numbers_keep_them(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("1 euro\n2 euro\n50 cent\n")

    assert read_class_names(tmp_path / "classes.txt") == ("1 euro", "2 euro", "50 cent")


@pytest.mark.parametrize(
    ("text", "message"), [("\n# nothing\n", "must name classes, got none"), ('{"a": 1}', "must be a JSON list of names")]
)
def test_a_list_of_classes_of_another_shape_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / ("names.json" if text.startswith("{") else "names.txt")
    path.write_text(text)

    with pytest.raises(ValueError, match=message):
        read_class_names(path)


def test_a_class_label_without_names_takes_those_that_are_given(tmp_path: Path) -> None:
    path = from_hub(tmp_path / "x.parquet", names=("0", "1", "2"))

    assert labelled(load_split(path, domain="real", class_names=NAMES)) == ["bee", "ant", "bee", "cow"]


def test_classes_without_images_are_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = from_hub(tmp_path / "x.parquet", names=("dog", "ant", "eel", "bee", "cow"), labels=[3, 1, 3, 4])

    with caplog.at_level(logging.WARNING):
        split = load_split(path, domain="real")

    assert (split.class_names, labelled(split)) == (NAMES, ["bee", "ant", "bee", "cow"])
    assert "2 of 5 classes of `x` have no images, such as 'dog'" in caplog.text


def test_two_columns_that_may_be_the_class_are_refused_unless_they_agree(tmp_path: Path) -> None:
    names = [NAMES[label] for label in LABELS]

    with pytest.raises(
        ValueError, match=r"one column of `x` must name the class, got \['class', 'category'\]; choose one with `--class-column class`"
    ):
        load_split(table(tmp_path / "x.parquet", **{"class": names, "category": ["small", "small", "small", "large"]}), domain="real")
    assert labelled(load_split(tmp_path / "x.parquet", domain="real", columns={"class": "class"})) == names
    assert labelled(load_split(table(tmp_path / "y.parquet", **{"class": names, "target": LABELS}), domain="real")) == names


def test_a_column_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", label=LABELS)

    with pytest.raises(ValueError, match=r"`--class-column` must be a column of `x`, got 'kind'; choose from \['image', 'label', 'key'\]"):
        load_split(path, domain="real", columns={"class": "kind"})
    with pytest.raises(ValueError, match=r"`--domain-column` must be a column of `x`, got 'kind'"):
        load_split(path, domain="real", columns={"domain": "kind"})


def test_several_names_for_the_class_column_serve_several_sources(tmp_path: Path) -> None:
    names = [NAMES[label] for label in LABELS]
    for file, column in (("x", "species"), ("y", "kind")):
        table(tmp_path / f"{file}.parquet", **{column: names})
        assert labelled(load_split(tmp_path / f"{file}.parquet", domain="real", columns={"class": "species,kind"})) == names


DOMAIN_COLUMNS = {
    "ClassLabel": ("domain", "ClassLabel", None),
    "words of other people": ("domain", ["ai", "nature", "ai-generated", "0_real"], None),
    "a flag by its name": ("is_fake", [1, 0, 1, 0], None),
    "a truth value by its name": ("is_real", [False, True, False, True], None),
    "numbers with their words": ("kind", [0, 1, 0, 1], "kind=synthetic,real"),
    "text of another name": ("origin", ["fake", "real", "fake", "real"], "origin"),
    "a domain of numbers with its words": ("domain", [1, 0, 1, 0], "domain=real,synthetic"),
}


@pytest.mark.parametrize("name", DOMAIN_COLUMNS)
def test_the_domain_is_told_by_columns_of_any_kind(tmp_path: Path, name: str) -> None:
    column, values, option = DOMAIN_COLUMNS[name]
    if values == "ClassLabel":
        path = from_hub(tmp_path / "x.parquet", domain=(datasets.ClassLabel(names=["Fake", "Real"]), [0, 1, 0, 1]))
    else:
        path = table(tmp_path / "x.parquet", class_name=[NAMES[label] for label in LABELS], **{column: values})
    columns = {} if option is None else {"domain": option}

    split = load_split(path, columns=columns, class_names=NAMES)

    assert split.domains.tolist() == ["synthetic", "real", "synthetic", "real"]
    assert split.select(split.domains == "real").ids.tolist() == ["real/x/1", "real/x/3"]


def test_numbers_for_domains_without_words_are_refused_with_a_remedy_that_works(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", class_name=[NAMES[label] for label in LABELS], domain=[0, 1, 0, 1])

    with pytest.raises(ValueError, match=r"got 0 in row 0; say what 0 and 1 are, as in `--domain-column domain=real,synthetic`"):
        load_split(path, domain="real")
    assert load_split(path, columns={"domain": "domain=real,synthetic"}).domains.tolist() == ["real", "synthetic"] * 2


def test_a_detectors_data_set_whose_classes_are_the_domains_is_refused(tmp_path: Path) -> None:
    path = from_hub(
        tmp_path / "x.parquet", names=("FAKE", "REAL"), labels=[0, 1, 0, 1], shows=(datasets.Value("string"), ["ant", "bee"] * 2)
    )

    with pytest.raises(ValueError, match=r"got \['FAKE', 'REAL'\], which are domains; .*`--domain-column label --class-column NAME`"):
        load_split(path, domain="real")
    split = load_split(path, columns={"domain": "label", "class": "shows"})
    assert (split.domains.tolist(), labelled(split)) == (["synthetic", "real"] * 2, ["ant", "bee"] * 2)


def test_files_that_are_called_after_domains_tell_them(tmp_path: Path) -> None:
    names = [NAMES[label] for label in LABELS]
    table(tmp_path / "test-real.parquet", label=names)
    table(tmp_path / "test-fake.parquet", label=names, image=[picture(seed) for seed in range(10, 14)])

    assert load_split(tmp_path, domain="real").ids.tolist() == [f"real/test-real/{row}" for row in range(4)]
    assert load_split(str(tmp_path / "*.parquet")).domains.tolist() == ["synthetic"] * 4 + ["real"] * 4
    table(tmp_path / "test-more.parquet", label=names)
    with pytest.raises(
        ValueError, match=r"names of all files .* must tell the domain where one does, got `.*test-fake.parquet` and `.*test-more.parquet`"
    ):
        load_split(tmp_path, domain="real")


def test_files_that_number_their_classes_differently_are_refused(tmp_path: Path) -> None:
    from_hub(tmp_path / "a.parquet")
    from_hub(tmp_path / "b.parquet", names=("cow", "bee", "ant"))

    with pytest.raises(ValueError, match="must number their classes alike"):
        load_split(tmp_path, domain="real")


@pytest.mark.parametrize("column", ["jpg", "IMG", "picture", "image_bytes"])
def test_an_image_column_of_another_name_is_read(tmp_path: Path, column: str) -> None:
    data = {
        column: [picture(seed) for seed in range(4)],
        "mask": [picture(9)] * 4,
        "label": [NAMES[label] for label in LABELS],
        "image": None,
    }
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({key: value for key, value in data.items() if value is not None}), path)

    assert load_split(path, domain="real").pixels().shape == (4, 3, 8, 8)


def test_an_unknown_image_column_can_be_named(tmp_path: Path) -> None:
    data = {"front": [picture(seed) for seed in range(4)], "back": [picture(9)] * 4, "label": [NAMES[label] for label in LABELS]}
    pq.write_table(pa.table(data), tmp_path / "x.parquet")

    with pytest.raises(ValueError, match="name the one with the images with `--image-column`"):
        load_split(tmp_path / "x.parquet", domain="real")
    assert len(np.unique(load_split(tmp_path / "x.parquet", domain="real", columns={"image": "front"}).digests, axis=0)) == 4


@pytest.mark.parametrize(
    ("column", "values", "option", "groups"),
    [
        ("group", ["land", "water", "land", "land"], None, ["land", "water", "land", "land"]),
        ("group", [0, 1, 0, 0], None, ["0", "1", "0", "0"]),
        ("place", [0, 1, 0, 0], "place", ["0", "1", "0", "0"]),
        ("background", ["a", "b", "a", "a"], "background", ["a", "b", "a", "a"]),
        ("group", ["a", None, "a", "a"], None, None),
    ],
)
def test_groups_are_kept_through_choices_and_mixtures(
    tmp_path: Path, column: str, values: list[Any], option: str | None, groups: list[str] | None
) -> None:
    from distill.data.mixtures import limited, mix

    path = table(tmp_path / "x.parquet", label=[NAMES[label % 2] for label in LABELS], **{column: values})
    columns = {} if option is None else {"group": option}
    split = load_split(path, domain="real", columns=columns)

    assert (None if split.groups is None else split.groups.tolist()) == groups
    if groups is not None:
        few = limited(split, 2)
        assert few.groups is not None
        assert few.groups.tolist() == [groups[int(name.rpartition("/")[2])] for name in few.ids]
        other = load_split(path, domain="synthetic", columns=columns)
        both = mix(other, split, 0.5, total=4)
        assert both.groups is not None
        assert both.groups.tolist() == [groups[int(name.rpartition("/")[2])] for name in both.ids]


def test_groups_with_gaps_are_refused_when_they_are_asked_for(tmp_path: Path) -> None:
    path = table(tmp_path / "x.parquet", label=LABELS, place=["a", None, "a", "a"])

    with pytest.raises(ValueError, match=r"column 'place' of `x` must be filled, got nothing in row 1"):
        load_split(path, domain="real", class_names=NAMES, columns={"group": "place"})


def test_a_source_without_the_column_of_groups_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = table(tmp_path / "x.parquet", label=LABELS)

    with caplog.at_level(logging.WARNING):
        split = load_split(path, domain="real", class_names=NAMES, columns={"group": "place"})

    assert split.groups is None
    assert "has no column 'place' for groups" in caplog.text


def test_groups_and_captions_reach_the_images_of_a_diagnosis(tmp_path: Path) -> None:
    from diagnose.inputs.class_mix import comparable
    from diagnose.inputs.load import load_images

    labels = ["ant", "bee"] * 2
    real = table(tmp_path / "r.parquet", label=labels, group=["a", "b", "c", "d"], caption=["one", None, "three", "four"])
    synthetic = table(tmp_path / "s.parquet", label=["ant", "bee", "bee", "bee"], image=[picture(seed) for seed in range(20, 24)])

    images = load_images(load_split(real, domain="real"), load_split(synthetic, domain="synthetic"), 8)
    kept, _ = comparable(tuple(images.values()))

    assert images["synthetic"].groups is None
    assert images["synthetic"].captions is None
    assert images["real"].captions is not None
    assert images["real"].captions.tolist() == ["one", "", "three", "four"]
    order = [int(name.rpartition("/")[2]) for name in kept[0].ids]
    assert len(order) < 4
    assert kept[0].groups is not None
    assert kept[0].groups.tolist() == ["abcd"[row] for row in order]
