"""select_extra_photos.py makes the folder of extra photos from a clone of the full dataset."""

import subprocess
import sys

from conftest import ROOT

# SHA-1 keeps sender 1 and leaves out sender 4. Sender 204 is always left out.
TABLE = """image,sender_id,label,kids
a,1,T-Shirt,True
b,1,Dress,True
c,1,Dress,False
d,1,Polo,True
e,4,Dress,True
f,204,Dress,True
"""


def run(*arguments):
    script = ROOT / "notebooks/select_extra_photos.py"
    return subprocess.run([sys.executable, script, *arguments], check=False, capture_output=True, text=True)


def test_it_takes_the_children_s_clothes_of_the_ten_classes_with_their_senders(tmp_path):
    clone, folder = tmp_path / "clone", tmp_path / "extra"
    (clone / "images").mkdir(parents=True)
    (clone / "images.csv").write_text(TABLE)
    for name in "abcdef":
        (clone / "images" / f"{name}.jpg").write_text(name)
    result = run(clone, folder)
    assert result.stdout == f"2 photos in {folder}\n"
    assert (folder / "senders.csv").read_text() == "photo,sender_id\ndress/b.jpg,1\nt-shirt/a.jpg,1\n"
    files = {str(path.relative_to(folder)): path.read_text() for path in folder.glob("*/*.jpg")}
    assert files == {"dress/b.jpg": "b", "t-shirt/a.jpg": "a"}


def test_a_folder_that_is_no_clone_is_named(tmp_path):
    result = run(tmp_path, tmp_path / "extra")
    assert (result.returncode, result.stdout) == (1, "")
    assert "no images.csv" in result.stderr
    assert not (tmp_path / "extra").exists()
