"""The wheel holds exactly the five packages, with everything that is read at run time."""

import re
import subprocess
import sys
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"schemas", "producers", "processors", "sinks", "thumbstream"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built with what is installed here: no network."""
    directory = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(directory), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [file] = directory.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_installs_the_five_packages_and_nothing_else(names: set[str]) -> None:
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def in_tree(pattern: str) -> set[str]:
    """Files of the packages that git or a build would not leave out."""
    found = {path for package in PACKAGES for path in (ROOT / package).rglob(pattern)}
    return {str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts}


@pytest.mark.parametrize("pattern", ["*.py", "*.avsc", "*.sql", "*.js", "py.typed", "ids.json"])
def test_it_has_every_module_schema_migration_and_marker(names: set[str], pattern: str) -> None:
    assert in_tree(pattern)
    assert in_tree(pattern) <= names


def test_every_package_is_typed_and_schema_ids_are_there(names: set[str]) -> None:
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert {"schemas/history/ids.json", "schemas/avro/alert.avsc", "sinks/migrations/0001_tables.sql"} <= names


def test_it_works_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    program = (
        "import schemas.codec, sinks.migrate, thumbstream.cli;"
        "schemas.codec.Codec(); assert sinks.migrate.migrations();"
        "print(schemas.codec.__file__); thumbstream.cli.main(['--help'])"
    )
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    command = [sys.executable, "-P", "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {program}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith(str(tmp_path))
    assert "Usage:" in done.stdout


def distributions(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / lock).read_text("utf-8"), re.MULTILINE))


def test_the_processes_import_nothing_that_the_lock_without_extras_leaves_out() -> None:
    left_out = distributions("requirements.lock") - distributions("requirements-runtime.lock")
    names = packages_distributions().items()
    absent = sorted(name for name, owners in names if {owner.lower().replace("_", "-") for owner in owners} <= left_out)
    assert "chdb" in absent
    modules = (
        "cli",
        "topic_admin",
        "health",
        *(f"commands.{name}" for name in ("gateway", "worker", "sink", "migrate")),
    )
    lines = [
        f"import sys; sys.modules.update(dict.fromkeys({absent!r}))",
        *(f"import thumbstream.{m}" for m in modules),
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_it_can_not_be_uploaded_by_accident_and_names_its_command(wheel: Path, names: set[str]) -> None:
    [folder] = {name.split("/")[0] for name in names if ".dist-info/" in name}
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"{folder}/METADATA").decode()
        commands = archive.read(f"{folder}/entry_points.txt").decode()
    assert "Classifier: Private :: Do Not Upload" in metadata
    assert "thumbstream = thumbstream.cli:main" in commands
