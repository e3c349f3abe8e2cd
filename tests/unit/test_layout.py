"""Where things are: folders that hold data and launchers hold no Python, and say where the code is."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DATA_FOLDERS = ("cluster", "tokenizers", "launch")


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_no_python_outside_the_package(folder):
    # A top-level importable `tokenizers` would shadow the distribution of that name (DESIGN section 2).
    assert (ROOT / folder).is_dir()
    assert not list((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", DATA_FOLDERS)
def test_each_folder_has_a_readme(folder):
    assert (ROOT / folder / "README.md").is_file()


def test_the_readme_of_tokenizers_begins_with_where_the_code_is():
    assert "ulmfit_dist/tokenization" in (ROOT / "tokenizers" / "README.md").read_text(encoding="utf-8").splitlines()[0]
