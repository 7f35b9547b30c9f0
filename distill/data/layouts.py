"""Which level of folders says the domain, the class or the split of an image, told from the folders' names."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.data.decode import SUFFIXES
from distill.data.vocabulary import DOMAINS, domain_word

logger = logging.getLogger(__name__)

SPLITS = ("train", "training", "validation", "valid", "val", "dev", "test", "testing")
"""Words that name a split when a file name begins with them or a folder is called so."""

ROLES = ("domain", "class", "split", "generator", "group", "*")
"""What a level of folders may say; `*` says nothing that is used."""

SYSTEM_FOLDERS = {"__macosx", "__pycache__", "@eadir", "lost+found", "$recycle.bin", "system volume information"}
"""Folders that programs leave behind, in small letters; like hidden ones they are never looked into."""

SIDECARS = (".txt", ".json", ".jsonl", ".csv", ".tsv", ".xml", ".md", ".html", ".pdf", ".npy", ".npz", ".parquet", ".db", ".ini", ".log")
"""Endings of files that lie beside images and are none."""

_SIGNATURES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*")  # and RIFF....WEBP

GENERATORS = re.compile(
    r"(imagenet_)?(ai_)?(\d{4}_)?("
    r"(pro|style|big|cycle|star|gau|att|info|mmd|rel|s3|snd)_?gan\d?|crn|imle|san|seeing_?dark|deep_?fakes?|which_?face_?is_?real|adm|glide|mid_?journey|mj|"
    r"vqdm|wukong|dall_?e.*|ldm.*|guided|sd(xl|v?\d).*|stable_?diffusion.*|sdxl.*|flux.*|imagen|pixart.*|if|deepfloyd.*|kandinsky.*|playground.*)(_.*)?"
)
"""Names of generators in the data sets of this field (ForenSynths, GenImage and later ones); no class is called so."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder with images directly in it.

    Args:
        path: the folder.
        parts: names of the folders from the root down to it.
        files: its images, sorted.
    """

    path: Path
    parts: tuple[str, ...]
    files: tuple[Path, ...]


def is_junk(name: str) -> bool:
    """Tell hidden folders and those that programs leave behind."""
    return name.startswith(".") or name.lower() in SYSTEM_FOLDERS


def image_folders(root: Path) -> tuple[list[ImageFolder], list[tuple[str, ...]]]:
    """Find every folder below `root` that holds images, each once; links to folders are followed.

    Args:
        root: a folder.

    Returns:
        The folders with images, sorted by their names; and the names from the root to each folder that holds none, not even deeper.

    Raises:
        ValueError: for a folder that is reached twice, images without an image's ending, or names that are no UTF-8.
    """
    folders: list[ImageFolder] = []
    others: list[tuple[str, ...]] = []
    seen: dict[tuple[int, int], Path] = {}
    for parent, names, files in os.walk(root, followlinks=True):
        path = Path(parent)
        parts = path.relative_to(root).parts
        status = path.stat()
        if (first := seen.setdefault((status.st_dev, status.st_ino), path)) != path:
            raise ValueError(
                f"every folder in `{root}` must be there once, got `{first}` and `{path}`, which are the same; remove the link."
            )
        names[:] = sorted(name for name in names if not is_junk(name))
        _leave_out_underscores(path, parts, names)
        images = sorted(path / name for name in files if _is_image(path / name))
        if images:
            folders.append(ImageFolder(path, parts, tuple(images)))
        else:
            others.append(parts)
    _check_encoding(folders, root)
    inside = {folder.parts[:length] for folder in folders for length in range(len(folder.parts) + 1)}
    return sorted(folders, key=lambda folder: folder.parts), sorted(parts for parts in others if parts not in inside)


def _leave_out_underscores(path: Path, parts: tuple[str, ...], names: list[str]) -> None:
    """Leave out folders whose name begins with `_` where classes and domains lie, and say so when they hold images."""
    if len(parts) > 1:
        return
    for name in [name for name in names if name.startswith("_")]:
        names.remove(name)
        count = sum(_is_image(Path(parent, file)) for parent, _, files in os.walk(path / name) for file in files)
        if count:
            logger.warning("left out: %d images in `%s`, whose name begins with `_`; rename the folder to use them.", count, path / name)


def _is_image(path: Path) -> bool:
    name = path.name.lower()
    if name.startswith("."):
        return False
    if name.endswith(SUFFIXES):
        return True
    if not name.endswith(SIDECARS) and path.is_file():
        with path.open("rb") as file:
            head = file.read(12)
        if head.startswith(_SIGNATURES) or (head[:4] == b"RIFF" and head[8:] == b"WEBP"):
            raise ValueError(f"images must have the ending of one ({', '.join(SUFFIXES[:4])}, ...), got `{path}`; rename it.")
    return False


def _check_encoding(folders: Sequence[ImageFolder], root: Path) -> None:
    for path in (root, *(file for folder in folders for file in folder.files)):
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"names of images must be in UTF-8, got {str(path).encode('utf-8', 'replace').decode()!r}; rename it."
            ) from error


def roles_of(
    root: Path, folders: Sequence[ImageFolder], *, layout: str | None = None, class_names: Sequence[str] | None = None
) -> tuple[str, ...]:
    """Tell what each level of folders says, for the levels that all images have.

    Levels whose names are all words for domains or all words for splits say those. Of the others, one must be left that names classes.

    Args:
        root: the source.
        folders: its folders with images.
        layout: the roles as the user gives them, `generator/class/domain`; see `ROLES`. None: told from the names.
        class_names: classes that the user gives; a folder with such a name is a class, even where the name is a word for a domain.

    Returns:
        One of `ROLES` for each level. Folders below the last level are parts of what is above them.

    Raises:
        ValueError: when the levels cannot be told, saying what was seen.
    """
    depth = min(len(folder.parts) for folder in folders)
    if layout is not None:
        return _given_roles(root, folders, layout, depth)
    levels = [sorted({folder.parts[level] for folder in folders}) for level in range(depth)]
    _check_deeper(root, folders, depth)
    roles = [_told_role(root, names, set(class_names or ())) for names in levels]
    if roles.count("domain") > 1:
        raise ValueError(
            f"one level of folders in `{root}` must be named after domains, got more: {_shown(levels)}; give `--layout`, such as domain/class."
        )
    rest = [level for level, role in enumerate(roles) if role == "?"]
    chosen = _class_level(root, folders, rest, levels, roles)
    for level in rest:
        if level == chosen:
            roles[level] = "class"
        elif roles[level] == "?":
            roles[level] = "*"
    _check_class_level(root, roles, levels)
    return tuple(roles)


def _given_roles(root: Path, folders: Sequence[ImageFolder], layout: str, depth: int) -> tuple[str, ...]:
    roles = tuple(role.strip().lower() for role in layout.strip("/ ").split("/"))
    if unknown := [role for role in roles if role not in ROLES]:
        raise ValueError(f"`--layout` must be of {', '.join(ROLES)}, joined by /, got {unknown[0]!r}; such as generator/class/domain.")
    if roles.count("class") > 1 or any(roles.count(role) > 1 for role in ("domain", "split", "generator", "group")):
        raise ValueError(f"`--layout` must name each role once at most, got {layout!r}; write * for a level that says nothing.")
    if len(roles) > depth:
        short = min(folders, key=lambda folder: len(folder.parts))
        raise ValueError(
            f"`--layout` must have at most {depth} levels for `{root}`, got {layout!r}: `{short.files[0]}` lies in no deeper folder; shorten it."
        )
    if "domain" in roles:
        level = roles.index("domain")
        if wrong := sorted({folder.parts[level] for folder in folders if domain_word(folder.parts[level]) is None}):
            raise ValueError(
                f"level {level + 1} of `{root}` must be folders named real and synthetic, got {wrong[0]!r}; correct `--layout`."
            )
    return roles


def _told_role(root: Path, names: Sequence[str], classes: set[str]) -> str:
    """Tell a level by its names: domain, split, or `?` for another one."""
    if all(name in classes for name in names):
        return "?"
    if all(domain_word(name) is not None for name in names):
        return "domain"
    if all(name.lower() in SPLITS for name in names):
        return "split"
    certain = [name for name in names if name.lower() in DOMAINS and name not in classes]
    if certain:
        other = next(name for name in names if domain_word(name) is None or name in classes)
        raise ValueError(
            f"folders in `{root}` must all be domains, real and synthetic, got {other!r} too; move it elsewhere, or where "
            f"{certain[0]!r} is a class, list the classes with `--class-names`."
        )
    if len(splits := [name for name in names if name.lower() in SPLITS]) > 1:
        other = next(name for name in names if name.lower() not in SPLITS)
        raise ValueError(f"folders in `{root}` must all be splits, got {other!r} beside {splits}; give one of these folders.")
    return "?"


def _check_deeper(root: Path, folders: Sequence[ImageFolder], depth: int) -> None:
    """Refuse domain or split folders that lie deeper for some images, and say where images lie deeper than class folders."""
    deeper = [folder for folder in folders if len(folder.parts) > depth]
    for folder in deeper:
        for level, name in enumerate(folder.parts):
            if level >= depth and (domain_word(name) is not None or name.lower() in SPLITS):
                short = next(other for other in folders if len(other.parts) == depth)
                raise ValueError(
                    f"all images in `{root}` must lie equally deep where folders name domains or splits, got `{folder.files[0]}` in {name!r} of level "
                    f"{level + 1} and `{short.files[0]}` in no such folder at that level; move them, or give one of the folders in `{root}`."
                )
    if deeper:
        logger.warning(
            "%d images of `%s` lie deeper than others, such as `%s`: they count for the folder above, %r.",
            sum(len(folder.files) for folder in deeper),
            root,
            deeper[0].files[0],
            "/".join(deeper[0].parts[:depth]),
        )


def _class_level(
    root: Path, folders: Sequence[ImageFolder], rest: Sequence[int], levels: Sequence[Sequence[str]], roles: list[str]
) -> int | None:
    """Choose the level that names classes; levels that name generators are marked in `roles`."""
    if len(rest) > 1:
        for level in rest:
            if all(_is_generator(name) for name in levels[level]):
                roles[level] = "generator"
        rest = [level for level in rest if roles[level] == "?"]
    varying = [level for level in rest if len(levels[level]) > 1]
    if len(rest) <= 1 or len(varying) == 1:
        return next(iter(varying or rest), None)
    if not varying:
        varying = list(rest)
    # a level that is told by the one above, as in cat/cat_images, says nothing new
    combined = {tuple(folder.parts[level] for level in varying) for folder in folders}
    if len(combined) == len(levels[varying[0]]) > 1:
        return varying[0]
    example = "/".join("class" if level == varying[-1] else (role if role != "?" else "*") for level, role in enumerate(roles))
    raise ValueError(
        f"one level of folders in `{root}` must name the class, got several that may: {_shown([levels[level] for level in varying])}; say which "
        f"with `--layout`, such as `--layout '{example}'`, or give a folder of class folders."
    )


def _check_class_level(root: Path, roles: Sequence[str], levels: Sequence[Sequence[str]]) -> None:
    """Refuse what looks like a class level and names generators or data sets."""
    if "class" not in roles:
        return
    level = roles.index("class")
    names = levels[level]
    layout = "/".join(roles)
    if "domain" in roles and 2 * sum(_is_generator(name) for name in names) >= len(names):
        raise ValueError(
            f"folders in `{root}` must name classes, got names of generators, {list(names)[:5]}, and no class below them; "
            f"sort the images by class, or where these are the classes, give `--layout {layout}`."
        )
    if "split" in roles[level:]:
        raise ValueError(
            f"class folders must lie below {_shown([levels[roles.index('split')]])}, got {list(names)[:5]} above them in `{root}`, which may be data "
            f"sets or generators; where these are the classes, give `--layout {layout}`."
        )


def _is_generator(name: str) -> bool:
    return GENERATORS.fullmatch(re.sub(r"[\s.-]+", "_", name.strip().lower())) is not None


def _shown(levels: Sequence[Sequence[str]]) -> str:
    return " / ".join("{" + ", ".join(names[:3]) + (", ..." if len(names) > 3 else "") + "}" for names in levels)


def of_split(root: Path, folders: Sequence[ImageFolder], roles: Sequence[str], split: str | None) -> list[ImageFolder]:
    """Keep the folders of one split.

    Raises:
        ValueError: for several splits and none chosen, or one that is not there.
    """
    if "split" not in roles:
        return list(folders)
    level = roles.index("split")
    names = sorted({folder.parts[level] for folder in folders})
    if (split is None and len(names) > 1) or (split is not None and split.lower() not in [name.lower() for name in names]):
        raise ValueError(f"`split` of `{root}` must be one of {names}, got {split!r}; give it (`--split {names[0]}`) or the folder itself.")
    wanted = (split or names[0]).lower()
    return [folder for folder in folders if folder.parts[level].lower() == wanted]


def check_case(root: Path, names: Sequence[str]) -> None:
    """Refuse class folders whose names differ in capitals alone.

    Raises:
        ValueError: naming both.
    """
    seen: dict[str, str] = {}
    for name in names:
        if (first := seen.setdefault(name.casefold(), name)) != name:
            raise ValueError(
                f"class folders of `{root}` must differ in more than capitals, got {first!r} and {name!r}; merge or rename them."
            )


def check_same_classes(root: Path, classes: Mapping[str, set[str]]) -> None:
    """Refuse domains in one folder that have other class folders.

    Args:
        root: the source.
        classes: domain -> names of its class folders.

    Raises:
        ValueError: naming the classes that one domain lacks.
    """
    if len(classes) < 2:
        return
    real, synthetic = classes["real"], classes["synthetic"]
    if real ^ synthetic:
        sides = [f"{name!r} only in {'real' if name in real else 'synthetic'}" for name in sorted(real ^ synthetic)[:5]]
        raise ValueError(f"domains in `{root}` must have the same class folders, got {', '.join(sides)}; add or remove these folders.")
