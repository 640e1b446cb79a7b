"""A request answered in a tree: what is imported comes from there, and what does not is an error.

Each story is an interpreter of its own, since it changes where modules come from.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from bench.worker.tree import provided

ROOT = Path(__file__).parents[2]
SITE = Path(sysconfig.get_path("purelib")).resolve()

SUITE = """
import mine
from bench import Suite
suite = Suite(name=mine.WHERE, build=lambda case: None, axes={"device": ["cpu"]})
"""


def write(place, files):
    for name, text in files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)


@pytest.fixture
def trees(tmp_path):
    """The user's tree and another one: packages that say in which they lie."""
    made = []
    for name in ("home", "other"):
        place = (tmp_path / name).resolve()
        write(
            place,
            {
                "mine/__init__.py": f"WHERE = {name!r}",
                "mine/part.py": f"WHERE = {name!r}",
                "src/below/__init__.py": f"WHERE = {name!r}",
                "suites/suite.py": SUITE,
                "sub/README": "",
            },
        )
        made.append(place)
    return made


@pytest.fixture
def story(trees):
    """Runs a story in the other tree of the two: `told` is filled by it, and given back."""

    def run(code, *paths, root=None, place=".", before=""):
        home, other = trees
        root = root or other
        paths_of_tree = [f"Path({str(path)!r})" for path in (root, home, place)]
        script = (
            "import json, os, sys\n"
            "from bench.errors import UsageError\n"
            "from pathlib import Path\n"
            "from bench.measurement.messages import CodeTree, DescribeRequest, Envelope\n"
            f"told = {{}}; tree = CodeTree({', '.join(paths_of_tree)}, ({paths_of_tree[1]},))\n"
            f"{before}\n"
            "from bench.worker.tree import check_modules, enter\n"
            "enter(tree)\n"
            f"{code}\n"
            "try:\n    check_modules(tree)\nexcept UsageError as problem:\n    told['refused'] = str(problem)\n"
            "print(json.dumps(told))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            cwd=home,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *map(str, paths)])},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


class TestEntering:
    def test_what_pythonpath_finds_is_found_in_the_tree(self, trees, story):
        home, _ = trees
        code = "import mine, below\ntold |= {'mine': mine.WHERE, 'below': below.WHERE}"
        assert story(code, home, home / "src") == {"mine": "other", "below": "other"}

    def test_programs_that_are_started_from_there_find_the_same(self, trees, story, tmp_path):
        home, other = trees
        told = story("told['path'] = os.environ['PYTHONPATH']", home, home / "src", tmp_path)
        assert told["path"].split(os.pathsep) == [str(ROOT), str(other), str(other / "src"), str(tmp_path)]

    def test_an_editable_install_by_path_is_found_in_the_tree(self, trees, story, tmp_path):
        home, _ = trees
        write(tmp_path / "site", {"__editable__.mine.pth": f"{home}\n{home / 'src'}\n"})
        before = f"import site; site.addsitedir({str(tmp_path / 'site')!r})"
        code = "import mine.part, below\ntold |= {'mine': mine.part.WHERE, 'below': below.WHERE}"
        assert story(code, before=before) == {"mine": "other", "below": "other"}

    def test_a_path_through_a_link_is_the_same_path(self, trees, story, tmp_path):
        home, _ = trees
        (tmp_path / "link").symlink_to(home)
        assert story("import mine\ntold['mine'] = mine.WHERE", tmp_path / "link") == {"mine": "other"}

    def test_the_working_directory_is_that_of_the_command_there(self, trees, story):
        _, other = trees
        assert story("told['here'] = os.getcwd()", place="sub") == {"here": str(other / "sub")}
        assert story("told['here'] = os.getcwd()") == {"here": str(other)}

    def test_what_lies_elsewhere_stays(self, trees, story, tmp_path):
        elsewhere = tmp_path / "home-of-another"  # begins like the user's tree, and is not in it
        write(elsewhere, {"theirs.py": "WHERE = 'elsewhere'"})
        told = story("import theirs\ntold['theirs'] = theirs.__file__", elsewhere)
        assert told == {"theirs": str(elsewhere / "theirs.py")}

    def test_installed_packages_and_the_harness_stay_though_they_lie_in_the_users_tree(self, tmp_path):
        code = (
            "import json, sys\nfrom pathlib import Path\nfrom bench.measurement.messages import CodeTree\n"
            "from bench.worker.tree import enter\nbefore = list(sys.path)\n"
            f"enter(CodeTree(Path({str(tmp_path)!r}), Path('/'), Path('.'), ()))\n"
            "print(json.dumps([entry for entry in before if entry not in sys.path]))"
        )
        mine = tmp_path / "mine"
        mine.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(mine)])},
        )
        moved = json.loads(done.stdout)
        assert str(mine) in moved
        assert str(ROOT) not in moved
        assert str(SITE) not in {os.path.realpath(entry) for entry in moved}

    def test_the_users_own_tree_is_entered_as_it_is(self, trees, story):
        home, _ = trees
        told = story("import mine\ntold['mine'] = mine.WHERE", home, root=home)
        assert told == {"mine": "home"}


class TestProof:
    def test_a_module_of_the_tree_is_sound(self, trees, story):
        assert story("import mine.part, below", trees[0], trees[0] / "src") == {}

    @pytest.mark.parametrize("name", ["mine", "mine.part", "below"])
    def test_one_that_was_loaded_from_the_other_tree_is_named_with_the_remedy(self, trees, story, name):
        home, other = trees
        # An editable install by a finder knows its own path, whatever sys.path says.
        before = f"sys.path[:0] = [{str(home)!r}, {str(home / 'src')!r}]; import {name}"
        refused = story("", before=before)["refused"]
        top = name.partition(".")[0]
        assert refused.startswith(f"module {top!r} was loaded from {home}/")
        assert f"not from {other}: the wrong code would be measured" in refused
        assert "PYTHONPATH, or pip install --config-settings editable_mode=compat -e ." in refused

    def test_one_that_the_tree_does_not_have_but_the_other_does_is_too(self, trees, story):
        home, _ = trees
        write(home, {"new.py": ""})
        refused = story("", before=f"sys.path.insert(0, {str(home)!r}); import new")["refused"]
        assert refused.startswith("module 'new' was loaded from")

    @pytest.mark.parametrize("place", ["psutil/__init__.py", "src/psutil/__init__.py", "psutil.py"])
    def test_an_installed_copy_of_a_package_of_the_tree_is_named(self, trees, story, place):
        write(trees[1], {place: ""})
        refused = story("", before="import psutil")["refused"]
        assert refused.startswith("module 'psutil")
        assert f"was loaded from {SITE}/psutil" in refused

    def test_what_is_installed_and_not_of_the_tree_is_sound(self, story):
        assert story("import psutil, json, email.message") == {}

    def test_the_standard_library_is_sound_though_the_tree_has_such_a_name(self, trees, story):
        write(trees[1], {"json/__init__.py": ""})
        assert story("import json.decoder") == {}

    def test_the_harness_is_sound_though_the_tree_has_such_a_name(self, trees, story):
        write(trees[1], {"bench/__init__.py": ""})
        assert story("import bench.suite.matrix, bench.worker.suites") == {}

    def test_what_lies_in_no_tree_is_sound(self, trees, story, tmp_path):
        write(tmp_path / "elsewhere", {"theirs.py": ""})
        assert story("import theirs", tmp_path / "elsewhere") == {}

    def test_modules_without_a_file_are_passed_over(self, story):
        code = "import types; sys.modules['mine'] = types.ModuleType('mine'); sys.modules['none'] = None"
        assert story(code) == {}


class TestAnswering:
    ANSWER = (
        "from bench.worker.child import answer\n"
        "from bench.worker.context import LaunchContext\n"
        "envelope = Envelope(1, DescribeRequest((Path({file!r}),)){tree})\n"
        "told['suites'] = [one['name'] for one in answer(envelope, LaunchContext(0, ''))['suites']]"
    )

    def test_a_suite_is_read_with_the_code_of_the_tree(self, trees, story):
        _, other = trees
        code = self.ANSWER.format(file=str(other / "suites/suite.py"), tree=", tree=tree")
        assert story(code, trees[0]) == {"suites": ["other"]}

    def test_its_folder_needs_no_path(self, trees, story):
        _, other = trees
        code = self.ANSWER.format(file=str(other / "suites/suite.py"), tree=", tree=tree")
        assert story(code) == {"suites": ["other"]}  # the working directory is importable

    def test_code_of_the_other_tree_is_no_answer(self, trees, story):
        home, other = trees
        code = self.ANSWER.format(file=str(other / "suites/suite.py"), tree=", tree=tree")
        code = (
            "try:\n    "
            + code.replace("\n", "\n    ")
            + "\nexcept UsageError as problem:\n    told['no'] = 1"
        )
        told = story(code, before=f"sys.path.insert(0, {str(home)!r}); import mine")
        assert "suites" not in told
        assert told["no"] == 1

    def test_without_a_tree_it_is_answered_where_it_is_asked(self, trees, story):
        home, _ = trees
        file = str(home / "suites/suite.py")
        before = f"sys.path.insert(0, {str(home)!r})\n{self.ANSWER.format(file=file, tree='')}"
        assert story("", before=before, root=home) == {"suites": ["home"]}


class TestWhatATreeProvides:
    def test_packages_and_modules_at_its_top_and_in_src(self, tmp_path):
        for file in ("one/__init__.py", "two.py", "src/three/__init__.py", "src/four.py"):
            write(tmp_path, {file: ""})
        write(tmp_path, {"docs/page.py": "", "one/inner/__init__.py": "", "README": ""})
        assert provided(tmp_path) == {"one", "two", "three", "four"}
