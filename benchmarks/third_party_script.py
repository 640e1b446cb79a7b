"""A third-party script, measured with two added lines; then a change of it compared with the original.

    pip install spikingjelly==2.0.0
    python -m benchmarks.third_party_script [PAIRS]

The script is `lif_fc_mnist.py` of SpikingJelly, a spiking network that learns handwritten digits. In place of MNIST it
gets scikit-learn's digits in the same file format, so that nothing is downloaded. The change is one line: training
images become tensors once, instead of being converted by PIL whenever one is read. Last the script is compared with
itself. PAIRS: 20.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy

from benchmarks import workload

EXAMPLE = "activation_based/examples/lif_fc_mnist.py"
TWO_LINES = {
    "import torchvision\n": "import torchvision\nimport bench\n",
    "in train_data_loader:": "in epochbench.watch(train_data_loader):",
    "in test_data_loader:": 'in epochbench.watch(test_data_loader, "validate"):',
}
CHANGE = {
    "    train_data_loader = ": (
        "    train_dataset = data.TensorDataset(train_dataset.data[:, None] / 255, train_dataset.targets)\n"
        "    train_data_loader = "
    ),
}
TRAIN = 1280  # of the 1797 digits


def source() -> str:
    """The installed script."""
    found = importlib.util.find_spec("spikingjelly")
    if found is None or found.origin is None:
        sys.exit("spikingjelly is not installed: pip install spikingjelly==2.0.0")
    return (Path(found.origin).parent / EXAMPLE).read_text()


def changed(text: str, lines: dict[str, str]) -> str:
    """The text with each of these replaced; each must occur once."""
    for old, new in lines.items():
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in the script"
        text = text.replace(old, new)
    return text


def write_digits(folder: Path) -> None:
    """The digits of scikit-learn, 8 x 8 pixels, as MNIST's four files of 28 x 28."""
    from sklearn.datasets import load_digits

    digits, labels = load_digits(return_X_y=True)
    images = digits.reshape(-1, 8, 8).repeat(3, axis=1).repeat(3, axis=2) * 15  # 0 to 16
    images = numpy.pad(images, ((0, 0), (2, 2), (2, 2))).astype(numpy.uint8)
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, chosen in (("train", slice(None, TRAIN)), ("t10k", slice(TRAIN, None))):
        for kind, values, magic in (
            ("images-idx3", images[chosen], 2051),
            ("labels-idx1", labels[chosen], 2049),
        ):
            header = numpy.array([magic, *values.shape], dtype=">i4").tobytes()
            (raw / f"{name}-{kind}-ubyte").write_bytes(header + values.astype(numpy.uint8).tobytes())


def command(*words: str, cwd: Path) -> None:
    """Prints a command and runs it; exit codes of a comparison are results."""
    print(f"\n$ {' '.join(words)}", flush=True)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])}
    code = subprocess.run(
        [sys.executable, "-m", *words] if words[0] == "bench" else words, cwd=cwd, env=env
    ).returncode
    print(f"exit code {code}", flush=True)


def commit(folder: Path, text: str, message: str) -> None:
    (folder / "lif_fc_mnist.py").write_text(text)
    git = ["git", "-c", "user.name=bench", "-c", "user.email=bench@localhost"]
    if not (folder / ".git").exists():
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run([*git, "add", "lif_fc_mnist.py"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", message], cwd=folder, check=True)


def main() -> None:
    pairs = str(workload.arguments(pairs=20).pairs)
    watched = changed(source(), TWO_LINES)
    with TemporaryDirectory() as made:
        folder = Path(made)
        write_digits(folder / "data")
        commit(folder, watched, "as it was")
        arguments = (
            f"-device cpu -j 0 -epochs 3 -data-dir {folder / 'data'} -out-dir {folder / 'logs'}".split()
        )
        script = ["--script", "lif_fc_mnist.py"]
        command(
            "bench",
            "run",
            *script,
            "--axis",
            "arg:-T=4,8",
            "--quiet",
            "--out",
            "run",
            "--",
            *arguments,
            cwd=folder,
        )
        command("bench", "show", "run", cwd=folder)
        arguments += ["-T", "8"]
        ab = ["bench", "ab", "ref=HEAD~1", "ref=HEAD", *script, "--pairs", pairs, "--quiet", "--", *arguments]
        commit(folder, changed(watched, CHANGE), "images are tensors")
        command(*ab, cwd=folder)
        commit(folder, changed(watched, CHANGE) + "\n# nothing but this\n", "the same")
        command(*ab, cwd=folder)


if __name__ == "__main__":
    main()
