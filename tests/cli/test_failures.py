import errno
from pathlib import Path

import pytest

from roomledger.cli.failures import told
from roomledger.domain.errors import Code, Refusal


def failure_of(path: Path) -> OSError:
    with pytest.raises(OSError, match=path.name) as failed:
        path.read_text()
    return failed.value


def test_a_file_that_cannot_be_used_is_told_with_its_name_first(tmp_path: Path) -> None:
    path = tmp_path / "missing.jsonl"
    assert told(failure_of(path)) == ([f"{path}: no such file or directory"], 1)


def test_a_directory_that_should_be_a_file_is_told(tmp_path: Path) -> None:
    assert told(failure_of(tmp_path)) == ([f"{tmp_path}: is a directory"], 1)


def test_a_failure_of_no_file_is_told_without_one() -> None:
    assert told(OSError(errno.ENOSPC, "No space left on device")) == (["no space left on device"], 1)


def test_a_refusal_is_told_and_a_fault_of_the_program_is_not() -> None:
    assert told(Refusal(Code.NO_SUCH_TASK, "there is none")) == (["there is none"], 1)
    assert told(KeyError("x")) == ([], None)
