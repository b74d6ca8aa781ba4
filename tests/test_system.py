from concurrent.futures import ThreadPoolExecutor

from mhkd.system import read_at, relative_path


def test_threads_read_one_file_at_many_places(tmp_path):
    content = bytes(range(256)) * 64
    (tmp_path / "file").write_bytes(content)
    with open(tmp_path / "file", "rb", buffering=0) as f, ThreadPoolExecutor(4) as pool:
        places = range(0, len(content), 7)
        parts = list(pool.map(lambda at: read_at(f.fileno(), 5, at), places))
        assert parts == [content[at : at + 5] for at in places]
        assert read_at(f.fileno(), 9, len(content) - 2) == content[-2:]


def test_paths_in_files_are_those_of_any_system(tmp_path):
    assert relative_path(tmp_path / "a" / "s.svs", tmp_path / "b") == "../a/s.svs"
