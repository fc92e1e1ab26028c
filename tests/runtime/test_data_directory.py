import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from roomledger.runtime.data_directory import DataDirectory
from roomledger.runtime.errors import DataDirectoryInUse, DataDirectoryUnusable

HOLDER = """
import sys, pathlib
from roomledger.runtime.data_directory import DataDirectory
DataDirectory(pathlib.Path(sys.argv[1])).lock()
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "some" / "data"


@pytest.fixture
def holder(path: Path) -> Iterator[Popen[bytes]]:
    """Start another process that holds the directory."""
    program = [sys.executable, "-c", HOLDER, str(path)]
    with Popen(program, stdin=PIPE, stdout=PIPE) as process:  # noqa: S603  - the program above
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        yield process
        process.kill()


def test_a_directory_is_created_for_the_owner_only(path: Path) -> None:
    with DataDirectory(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_that_others_could_read_is_closed_to_them(path: Path) -> None:
    path.mkdir(parents=True, mode=0o755)
    with DataDirectory(path):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_directory_that_another_process_holds_is_refused_by_name(path: Path, holder: Popen[bytes]) -> None:
    with pytest.raises(DataDirectoryInUse) as refusal:
        DataDirectory(path).lock()
    assert (refusal.value.path, refusal.value.holder) == (path, holder.pid)
    assert str(refusal.value) == (
        f"the data directory {path} is in use by another roomledger (process {holder.pid}):"
        " stop that one, or name another directory with ROOMLEDGER_DATA_DIR"
    )


def test_a_directory_is_free_again_when_its_holder_was_killed(path: Path, holder: Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    with DataDirectory(path):
        pass


def test_a_directory_is_free_again_when_it_was_released(path: Path) -> None:
    with DataDirectory(path):
        pass
    with DataDirectory(path):
        pass


def test_taking_a_directory_twice_is_taking_it_once(path: Path) -> None:
    directory = DataDirectory(path)
    directory.lock()
    directory.lock()
    directory.release()
    with DataDirectory(path):
        pass


def test_a_directory_that_cannot_be_created_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataDirectoryUnusable, match=r"file/data cannot be used: not a directory; .*DATA_DIR"):
        DataDirectory(tmp_path / "file" / "data").lock()


def test_a_directory_that_cannot_be_written_is_refused_with_the_reason() -> None:
    # Where even the superuser may create nothing.
    with pytest.raises(DataDirectoryUnusable, match="/proc/self cannot be used: "):
        DataDirectory(Path("/proc/self")).lock()


def test_a_file_is_written_for_the_owner_only_and_read_back(path: Path) -> None:
    with DataDirectory(path) as directory:
        directory.write("secret", "one")
        directory.write("secret", "zwölf")
        assert directory.read("secret") == "zwölf"
        assert stat.S_IMODE((path / "secret").stat().st_mode) == 0o600
        assert sorted(file.name for file in path.iterdir()) == ["roomledger.lock", "secret"]


def test_a_file_that_is_not_there_reads_as_none_and_can_be_removed(path: Path) -> None:
    with DataDirectory(path) as directory:
        directory.remove("secret")
        assert directory.read("secret") is None


def test_a_file_that_cannot_be_read_names_itself(path: Path) -> None:
    with DataDirectory(path) as directory:
        (path / "secret").write_bytes(b"\xff\xfe")
        with pytest.raises(DataDirectoryUnusable, match="secret: it is not text"):
            directory.read("secret")
