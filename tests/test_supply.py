"""What is installed is what is pinned, it fits together, and its licences are on record."""

from importlib.metadata import PackageNotFoundError, requires, version

import pytest
from packaging.requirements import Requirement

from benchmarks.licences import FILES, canonical, licence, page, pins
from tests.conftest import ROOT

OF_TORCH = ("nvidia-", "cuda-", "triton")
"""Brought along by torch on Linux, which pins them itself."""


def all_pins() -> dict[str, str]:
    return {name: pinned for file in FILES for name, pinned in pins(file).items()}


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def needed(name: str) -> list[Requirement]:
    """What the installed package `name` requires here, without extras."""
    found = [Requirement(line) for line in requires(name) or ()]
    return [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]


def test_no_package_is_pinned_to_two_versions():
    for name, pinned in all_pins().items():
        assert {pins(file).get(name, pinned) for file in FILES} == {pinned}, name


def test_a_line_that_pins_no_exact_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.licences.ROOT", tmp_path)
    for line in ("numpy", "numpy>=2", "numpy==2.*", "git+https://example.org/numpy", "./numpy-2.whl"):
        (tmp_path / "requirements.txt").write_text(f"{line}\n", encoding="utf-8")
        with pytest.raises(ValueError, match="pins no exact version"):
            pins("requirements.txt")


def test_every_imported_package_is_installed_in_its_pinned_version():
    assert {name: installed(name) for name in pins("requirements.txt")} == pins("requirements.txt")


def test_every_installed_dependency_has_its_pinned_version_and_all_fit_together():
    wrong = []
    for name, pinned in all_pins().items():
        if installed(name) not in (pinned, None):
            wrong.append(f"{name} {installed(name)} is installed, {pinned} pinned")
        for requirement in needed(name) if installed(name) else ():
            found = installed(requirement.name)
            if found is None or not requirement.specifier.contains(found, prereleases=True):
                wrong.append(f"{name} wants {requirement}, {found} is installed")
    assert wrong == []


def test_everything_that_the_requirements_bring_along_is_pinned():
    pinned, waiting, seen = all_pins(), [*pins("requirements.txt")], set()
    while waiting:
        name = waiting.pop()
        if name in seen or name.startswith(OF_TORCH):
            continue
        seen.add(name)
        assert name in pinned, name
        waiting += [canonical(each.name) for each in needed(name)]
    assert len(seen) > 50


def test_the_page_of_licences_is_what_the_installed_packages_say():
    """To renew it: python -m benchmarks.licences > docs/licences.md"""
    missing = [name for name in all_pins() if installed(name) is None]
    if missing:
        pytest.skip(f"not installed on this platform: {', '.join(missing)}")
    assert (ROOT / "docs/licences.md").read_text(encoding="utf-8") == page()


def test_no_dependency_is_without_a_licence():
    assert [name for name in all_pins() if installed(name) and licence(name) == "unknown"] == []
