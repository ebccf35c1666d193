import concurrent.futures

import pytest

from sgd_diffusion.errors import StorageError
from sgd_diffusion.storage.files import new_directory


def test_every_caller_gets_a_directory_of_its_own(tmp_path):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(lambda _: new_directory(tmp_path / "runs" / "digits-20260101"), range(24))
        )
    assert len(set(made)) == 24 and all(path.is_dir() for path in made)
    assert {path.name for path in made} == {"digits-20260101"} | {
        f"digits-20260101-{number}" for number in range(2, 25)
    }


def test_a_home_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert new_directory("~/runs/a") == tmp_path / "runs" / "a"


def test_where_no_directory_can_be_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"Cannot make .*file/below"):
        new_directory(tmp_path / "file" / "below")
    (tmp_path / "taken").write_text("")
    assert new_directory(tmp_path / "taken").name == "taken-2"
