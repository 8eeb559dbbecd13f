"""The folders, the links, the package list and the table of contents agree, and all of it reaches the wheel."""

import ast
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import evalkit

ROOT = Path(__file__).resolve().parents[1]
PARTS = ["slicing", "fairness", "online", "reports"]
CODE = {".py", ".html", ".css", ".js", ".typed"}

with (ROOT / "pyproject.toml").open("rb") as file:
    SETUPTOOLS = tomllib.load(file)["tool"]["setuptools"]


def package_files() -> dict[str, Path]:
    """Every file that must be installed: its path in the wheel, and where it is now."""
    return {
        (Path(package.replace(".", "/")) / path.name).as_posix(): path
        for package in SETUPTOOLS["packages"]
        for path in (ROOT / package.replace(".", "/")).iterdir()
        if path.suffix in CODE and path.is_file()
    }


def test_every_folder_of_code_is_a_listed_package() -> None:
    folders = {ROOT / "evalkit", *(ROOT / "evalkit" / part for part in PARTS)}
    folders |= {path.parent for folder in list(folders) for path in folder.rglob("*.py")}
    found = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert found == set(SETUPTOOLS["packages"])


@pytest.mark.parametrize("package", SETUPTOOLS["packages"])
def test_a_package_is_no_namespace(package: str) -> None:
    assert (ROOT / package.replace(".", "/") / "__init__.py").is_file()


def test_the_build_maps_the_four_top_level_folders() -> None:
    assert SETUPTOOLS["package-dir"] == {f"evalkit.{part}": part for part in PARTS}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_a_real_folder_with_a_relative_link_to_it(part: str) -> None:
    link = ROOT / "evalkit" / part
    assert not (ROOT / part).is_symlink()
    assert link.is_symlink()
    assert link.readlink() == Path("..") / part


@pytest.mark.parametrize("part", PARTS)
def test_a_part_refuses_to_be_imported_from_the_top_level(part: str) -> None:
    done = subprocess.run([sys.executable, "-c", f"import {part}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith(f"This folder installs as evalkit.{part}: import evalkit.{part}, not {part}.\n")


def contents_for_type_checkers() -> dict[str, str]:
    """The public names that evalkit/__init__.py imports for the type checkers, and the module each comes from."""
    tree = ast.parse((ROOT / "evalkit" / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.module
        for alias in node.names
        if alias.asname == alias.name
    }


def test_all_and_the_imports_agree() -> None:
    assert evalkit.__all__ == sorted(evalkit.__all__)
    assert set(evalkit.__all__) == {"__version__", *contents_for_type_checkers()}


@pytest.mark.parametrize(("name", "module"), sorted(contents_for_type_checkers().items()))
def test_a_public_name_is_what_the_type_checkers_see(name: str, module: str) -> None:
    source = import_module(module)
    assert getattr(evalkit, name) is getattr(source, name)
    assert name in dir(evalkit)


@pytest.mark.parametrize("name", ["evaluate", "metric", "statistic"])
def test_a_function_is_not_hidden_by_the_module_of_its_name(name: str) -> None:
    program = f"import evalkit.{name}; assert type(evalkit.{name}).__name__ != 'module'"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    mistyped = "evalute"
    with pytest.raises(AttributeError, match="no attribute 'evalute'"):
        getattr(evalkit, mistyped)


def build(kind: str, source: Path, target: Path) -> Path:
    target.mkdir()
    program = f"from setuptools import build_meta; build_meta.build_{kind}({str(target)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=source, check=True, capture_output=True)
    [built] = target.iterdir()
    return built


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution, built from a copy since building writes into the tree."""
    folder = tmp_path_factory.mktemp("build")
    ignore = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "build", "dist", "tests", "docs", "benchmarks")
    shutil.copytree(ROOT, folder / "tree", symlinks=True, ignore=ignore)
    return build("sdist", folder / "tree", folder / "sdist")


def wheel_code(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if name.startswith("evalkit/")}


@pytest.mark.slow
def test_a_wheel_holds_every_file_of_every_package(sdist: Path, tmp_path: Path) -> None:
    tree = sdist.parents[1] / "tree"
    assert wheel_code(build("wheel", tree, tmp_path / "wheel")) == set(package_files())


@pytest.mark.slow
def test_a_wheel_built_from_the_source_distribution_is_the_same(sdist: Path, tmp_path: Path) -> None:
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    [tree] = (tmp_path / "source").iterdir()
    assert wheel_code(build("wheel", tree, tmp_path / "wheel")) == set(package_files())
