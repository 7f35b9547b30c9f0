"""The packages as text: who imports whom, and what no file may hold."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("app", "diagnose", "distill", "probes")
MAY_IMPORT = {
    "app": {"app", "diagnose", "distill", "probes"},
    "diagnose": {"diagnose", "distill", "probes"},
    "distill": {"distill"},
    "probes": {"probes"},
}
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
SCRIPTS = sorted(path for folder in ("benchmarks", "tools") for path in (ROOT / folder).rglob("*.py"))
OURS = {*PACKAGES, "tools", *(path.stem for path in SCRIPTS if path.parent.name == "benchmarks")}
"""First parts of the names that our own modules are imported under; benchmarks run as scripts import each other by their file names."""

PUBLIC_NAMES = {"umap": {"UMAP", "AlignedUMAP"}}
"""Packages whose submodules have no leading underscore and are still not public: only these names of their top level are taken."""

WITHOUT_PUBLIC_WAY = {"AcceleratorState._reset_state"}
"""Private names of third parties for which their package has no public one, each with its reason beside the call."""

HANDS_OVER = ROOT / "probes" / "__main__.py"


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(path: Path) -> Iterator[str]:
    """Names of modules, also of imports inside functions and by `importlib.import_module` of a literal."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in ("import_module", "__import__"):
                yield node.args[0].value


def calls(path: Path) -> Iterator[str]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def is_private(name: str) -> bool:
    """Whether a dotted name has a part such as `_x`; `__init__` and `__version__` are public."""
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


def private_names(path: Path, source: str = "") -> Iterator[str]:
    """Private names that a file imports from other modules, or reads from modules and classes of ours or third parties that it imports."""
    root = ast.parse(source) if source else tree(path)
    imported_here: set[str] = set()
    for node in ast.walk(root):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_private(alias.name))
            imported_here |= {alias.asname or alias.name for alias in node.names if not is_standard(alias.name)}
        elif isinstance(node, ast.ImportFrom) and node.module != "__future__":
            yield from (name for alias in node.names if is_private(name := f"{node.module}.{alias.name}"))
            if not is_standard(node.module or ""):
                imported_here |= {alias.asname or alias.name for alias in node.names}
    for node in ast.walk(root):
        if isinstance(node, ast.Attribute) and is_private(node.attr) and ast.unparse(node.value) in imported_here:
            yield ast.unparse(node)


def is_standard(name: str) -> bool:
    """Whether a dotted name is of Python's own library."""
    return name.split(".")[0] in sys.stdlib_module_names


def inner_names(path: Path, source: str = "") -> Iterator[str]:
    """Names of the packages in `PUBLIC_NAMES` that a file imports or reads and that are not public."""
    root = ast.parse(source) if source else tree(path)
    packages: dict[str, str] = {}
    """Local name -> package."""
    for node in ast.walk(root):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if "." in alias.name and alias.name.split(".")[0] in PUBLIC_NAMES)
            packages |= {alias.asname or alias.name: alias.name for alias in node.names if alias.name in PUBLIC_NAMES}
        elif isinstance(node, ast.ImportFrom) and (package := (node.module or "").split(".")[0]) in PUBLIC_NAMES:
            public = PUBLIC_NAMES[package] if node.module == package else set()
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name not in public)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(tuple(f"{p}." for p in PUBLIC_NAMES)):
            yield from [node.value] if all(part.isidentifier() for part in node.value.split(".")) else []
    for node in ast.walk(root):
        if isinstance(node, ast.Attribute) and (package := packages.get(ast.unparse(node.value), "")):
            yield from [f"{package}.{node.attr}"] if node.attr not in PUBLIC_NAMES[package] else []


def faults(check: Callable[[Path], object], files: Iterable[Path] = FILES) -> dict[str, object]:
    """Apply a check to every file and keep what it finds."""
    found = {str(path.relative_to(ROOT)): check(path) for path in files}
    return {name: fault for name, fault in found.items() if fault}


def test_every_package_is_looked_at() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in FILES} == set(PACKAGES)
    assert len(FILES) > 60


def test_imports_go_one_way() -> None:
    def check(path: Path) -> set[str]:
        package = path.relative_to(ROOT).parts[0]
        ours = {name.split(".")[0] for name in imported(path)} & set(PACKAGES)
        return ours - MAY_IMPORT[package] - ({"app"} if path == HANDS_OVER else set())

    assert faults(check) == {}


def test_imports_are_absolute() -> None:
    assert faults(lambda path: [name for name in imported(path) if name.startswith(".")]) == {}


def test_no_module_takes_a_private_name_of_another() -> None:
    """Packages, benchmarks and tools; a test may look inside what it tests."""
    assert len(SCRIPTS) > 20
    assert faults(lambda path: sorted({*private_names(path)} - WITHOUT_PUBLIC_WAY), [*FILES, *SCRIPTS]) == {}
    assert {name for path in FILES for name in private_names(path)} == WITHOUT_PUBLIC_WAY


def test_only_the_public_names_of_umap_are_used() -> None:
    """In packages, benchmarks and tools."""
    assert faults(lambda path: list(inner_names(path)), [*FILES, *SCRIPTS]) == {}
    assert any("umap" in imported(path) for path in FILES)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from umap.layouts import optimize_layout_euclidean", ["umap.layouts.optimize_layout_euclidean"]),
        ("def f():\n    import umap.umap_ as u", ["umap.umap_"]),
        ("from umap import UMAP, umap_", ["umap.umap_"]),
        ("import umap as u\nu.layouts.clip(1)", ["umap.layouts"]),
        ("import importlib\nimportlib.import_module('umap.spectral')", ["umap.spectral"]),
        ("import umap\numap.UMAP(n_epochs=5), umap.AlignedUMAP()\nfrom umap import UMAP\numap_layout.MAP, 'umap. A map'", []),
    ],
)
def test_inner_names_of_umap_are_seen_in_every_form(source: str, names: list[str]) -> None:
    assert list(inner_names(ROOT, source)) == names


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from distill.training.teach import TeachConfig, _build", ["distill.training.teach._build"]),
        ("def f():\n    from torch.nn.modules.batchnorm import _BatchNorm as B", ["torch.nn.modules.batchnorm._BatchNorm"]),
        ("import torch._C", ["torch._C"]),
        ("import torch\ntorch._C._get_tracing_state()", ["torch._C"]),
        ("from captum._utils.common import _run_forward", ["captum._utils.common._run_forward"]),
        ("import captum.attr as a\na._core.saliency", ["a._core"]),
        ("from sklearn.linear_model._logistic import f", ["sklearn.linear_model._logistic.f"]),
        ("from distill.training import teach\nteach._build(1)", ["teach._build"]),
        ("import distill.training.teach\ndistill.training.teach._build(1)", ["distill.training.teach._build"]),
        ("from __future__ import annotations\nimport os\nfrom distill import __version__\nself._x = os._exit", []),
    ],
)
def test_private_names_are_seen_in_every_form(source: str, names: list[str]) -> None:
    assert list(private_names(ROOT, source)) == names


def test_no_assert_and_no_print() -> None:
    assert faults(lambda path: [node.lineno for node in ast.walk(tree(path)) if isinstance(node, ast.Assert)]) == {}
    assert faults(lambda path: {"print"} & set(calls(path))) == {}


def test_nothing_is_unpickled_or_evaluated() -> None:
    banned = {"pickle.load", "pickle.loads", "joblib.load", "dill.load", "dill.loads", "eval", "exec", "torch.jit.load", "os.system"}

    assert faults(lambda path: banned & set(calls(path))) == {}


def test_torch_load_takes_weights_only_and_numpy_load_no_pickles() -> None:
    def check(path: Path) -> list[int]:
        found = []
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load", "numpy.load"):
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                safe = (
                    given.get("weights_only") == "True" if ast.unparse(node.func) == "torch.load" else given.get("allow_pickle") == "False"
                )
                found += [] if safe else [node.lineno]
        return found

    assert faults(check) == {}


def test_no_file_over_400_lines_and_no_function_over_60() -> None:
    def check(path: Path) -> list[str]:
        found = [] if len(path.read_text(encoding="utf-8").splitlines()) <= 400 else ["file"]
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                # What a function does: its docstring is counted apart, and long where it should be.
                first = node.body[min(len(node.body) - 1, bool(ast.get_docstring(node)))].lineno
                found += [node.name] if (node.end_lineno or first) - first >= 60 else []
        return found

    assert faults(check) == {}


def test_no_file_is_a_drawer_for_everything() -> None:
    assert faults(lambda path: path.stem in ("utils", "helpers", "common", "base")) == {}


def test_only_the_teacher_side_opens_open_clip_and_only_checkpoint_files_write_weights() -> None:
    users = {path.relative_to(ROOT).as_posix() for path in FILES if "open_clip" in {name.split(".")[0] for name in imported(path)}}
    writers = {
        path.relative_to(ROOT).as_posix()
        for path in FILES
        if {"save_file", "save", "safetensors.torch.save", "torch.save"} & set(calls(path))
    }

    assert users <= {
        "distill/models/open_clip_models.py",
        "distill/training/teach.py",
        "distill/export/to_open_clip.py",
    }
    assert writers == {"distill/models/checkpoint.py"}


def test_packages_and_what_the_dashboard_reads_stay_light() -> None:
    for path in ("probes/__init__.py", "diagnose/__init__.py", "distill/__init__.py", "app/__init__.py"):
        assert [type(node) for node in tree(ROOT / path).body] in ([], [ast.Expr])
    for path in ("diagnose/schema.py", "probes/result.py", "app/cli.py"):
        top = [node for node in tree(ROOT / path).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {(node.names[0].name if isinstance(node, ast.Import) else node.module or "").split(".")[0] for node in top}
        assert not names & {"torch", "open_clip", "timm", "transformers", "datasets", "sklearn", "pandas"}


def test_tests_have_unique_names_and_are_no_packages() -> None:
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]

    assert len(names) == len(set(names))
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_only_charts_draws_with_plotly() -> None:
    """One place decides colours, markers and the escaping of outside strings."""
    users = {path.relative_to(ROOT).as_posix() for path in FILES if "plotly" in {name.split(".")[0] for name in imported(path)}}

    assert {user for user in users if not user.startswith("app/charts/")} == set()
    assert len(users) >= 5
