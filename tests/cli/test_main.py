"""The whole command line: groups, help, what is mistyped, completion, warnings and exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from gaussmix import cli


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "gaussmix", *words], capture_output=True, text=True, timeout=120)


def test_every_level_has_its_help(capsys):
    assert cli.main(["--help"]) == 0
    top = capsys.readouterr().out
    for group, about in cli.GROUPS.items():
        assert group in top
        assert cli.main([group, "--help"]) == 0
        listed = capsys.readouterr().out
        assert about in listed.replace("\n", " ")
        commands = about.rstrip(".").partition(": ")[2].split(", ")
        assert f"{{{','.join(commands)}}}" in listed  # the sentence of a group names its commands, in their order
        for command in commands:
            assert cli.main([group, command, "--help"]) == 0
            assert f"usage: gaussmix {group} {command}" in capsys.readouterr().out


def test_a_group_alone_is_wrong_use_and_lists_its_commands(capsys):
    for words in ([], ["density"]):
        assert cli.main(words) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert f"usage: gaussmix {' '.join(words)}".strip() in printed.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("density fit --colunm price a.csv", "gaussmix density fit: no flag --colunm; did you mean --column?"),
        ("density fit a.csv --colunm=price", "gaussmix density fit: no flag --colunm; did you mean --column?"),
        ("faces sample --fix_latnet", "gaussmix faces sample: no flag --fix-latnet; did you mean --fix-latent?"),
        ("faces sample --wiht Bald", "gaussmix faces sample: no flag --wiht; did you mean --with?"),
        (
            "faces train --bacth-size 4 --out x",
            "gaussmix faces train: no flag --bacth-size; did you mean --batch-size?",
        ),
        ("style transfer --zzz", "gaussmix style transfer: no flag --zzz; gaussmix style transfer --help lists all"),
        ("density fti x", "gaussmix density: no command fti; did you mean fit?"),
        ("densty fit x", "gaussmix: no command densty; did you mean density?"),
        (
            "evalute",
            "gaussmix: no command evalute; did you mean conditional evaluate or faces evaluate or",
        ),
        ("qqqqqq", "gaussmix: no command qqqqqq; gaussmix --help lists all"),
        ("density --hlp", "gaussmix density: no flag --hlp; did you mean --help?"),
        ("density info a b", "gaussmix density info: Unrecognized options: b"),
        ("density fit", "gaussmix density fit: Missing from gaussmix density fit: FILE A .parquet"),
        ("density fit a --column", "gaussmix density fit: Missing value for argument '--column'."),
        ("density fit a --rule best", "gaussmix density fit: invalid choice 'best' for argument '--rule'."),
        ("faces train --preset nothing", "gaussmix faces train: invalid choice 'nothing' for argument '--preset'."),
        ("faces train --steps 0", "gaussmix faces train: --steps is 0; it must be at least 1"),
        (
            "faces train --classifier-weight nan",
            "gaussmix faces train: --classifier-weight is nan; it must be 0 or more",
        ),
        ("faces train --layers-per-block -1", "gaussmix faces train: --layers-per-block is -1; it must be at least 1"),
        ("faces sample --steps 0", "gaussmix faces sample: --steps is 0; it must be at least 1"),
        ("faces sample --guidance nan", "gaussmix: --guidance is nan; it must be a finite number"),
        (
            "faces sample --output a.xbm",
            "gaussmix: cannot save 'a.xbm': '.xbm' is no picture format that holds colours",
        ),
        ("autoencoder sample --strength nan", "gaussmix: --strength is nan; choose from 0"),
        ("autoencoder sample --truncation 0", "gaussmix: --truncation is 0.0; choose above 0"),
        ("style transfer a.png --style b.png --tv-weight -1", "gaussmix: --tv-weight is -1.0; it must be finite"),
        ("density fit a.csv --threads 0", "gaussmix: --threads is 0; it must be at least 1"),
        ("density fit a.csv --bandwidth nan", "gaussmix: --bandwidth is nan; it must be positive"),
        ("faces sample --steps many", "gaussmix faces sample: Error parsing --steps: "),
    ],
)
def test_what_is_mistyped_is_said_in_one_line(words, message, capsys):
    assert cli.main(words.split()) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(message)
    assert printed.err.count("\n") == 1


def test_a_terminal_without_boxes_gets_the_same_line():
    done = subprocess.run(
        [sys.executable, "-m", "gaussmix", "density", "fit", "a", "--rule", "best"],
        capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )  # fmt: skip
    assert done.stderr.startswith("gaussmix density fit: invalid choice 'best' for argument '--rule'.")


def test_words_after_two_dashes_are_no_flags(capsys):
    assert cli.main(["density", "info", "--", "--mode"]) == 2
    assert "No such file or directory: --mode" in capsys.readouterr().err


def test_presets_choose_the_defaults(capsys):
    assert cli.main("faces train --preset celeba64 --help".split()) == 0
    assert "runs/celeba64" in capsys.readouterr().out
    command = cli.parse("faces train --preset cifar10 --size 16".split())
    assert (command.preset, command.config.size, command.config.timesteps) == ("cifar10", 16, 1000)  # pyright: ignore


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_groups_commands_and_flags(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("faces", "attributes", "compare", "columns", "without", "classifier-weight", "save-every", "output"):
        assert word in script


def test_bash_completes(tmp_path):
    (tmp_path / "complete.sh").write_text(run("completion", "bash").stdout)
    ask = (
        f"source {tmp_path}/complete.sh; f=$(complete -p gaussmix | sed 's/.*-F \\([^ ]*\\).*/\\1/'); "
        'COMP_WORDS=(gaussmix density fit --col); COMP_CWORD=3; COMP_LINE="gaussmix density fit --col"; '
        'COMP_POINT=${#COMP_LINE}; $f gaussmix --col fit; echo "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["--column"], done


def test_version_and_broken_pipe():
    assert run("--version").stdout.startswith("gaussmix 0.")
    piped = f"{sys.executable} -m gaussmix --help | true"
    assert subprocess.run(["bash", "-c", piped], capture_output=True, text=True, timeout=60).stderr == ""


LEARNING = {"torch", "sklearn", "scipy.stats", "pandas", "diffusers"}
HEAVY = LEARNING | {"matplotlib", "scipy", "numba"}


@pytest.mark.parametrize(
    ("words", "unused", "used"),
    [
        ("--help", HEAVY | {"numpy"}, set()),
        ("faces sample --help", HEAVY, set()),
        ("faces attributes", HEAVY, {"numpy"}),
        ("density info m.safetensors", LEARNING | {"matplotlib", "scipy.optimize", "numba"}, {"numpy"}),
        ("density sample m.safetensors", LEARNING | {"matplotlib", "scipy.optimize"}, {"numpy"}),
        ("density plot m.safetensors", LEARNING, {"matplotlib"}),
        ("density fit x.npy", LEARNING | {"matplotlib"}, {"numba"}),
        ("density compare m.safetensors x.npy", LEARNING, {"matplotlib"}),
    ],
)
def test_commands_load_what_they_use(words, unused, used, tmp_path):
    from gaussmix.density.model import DensityModel

    x = np.random.default_rng(0).normal(size=500)
    np.save(tmp_path / "x.npy", x)
    DensityModel().fit(x).save(tmp_path / "m.safetensors")
    code = "import sys; from gaussmix import cli; cli.main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code, *words.split()], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    loaded = set(done.stderr.splitlines()[-1].split())
    assert not loaded & unused
    assert used <= loaded


def test_warnings_of_ours_and_errors_are_one_line_each(capsys, monkeypatch):
    from gaussmix.cli.density import ShowModel

    def warn_and(error: BaseException):
        def call(_: object) -> None:
            exec(compile("import warnings; warnings.warn('careful')", f"{cli._PACKAGE}/x.py", "exec"), {})
            warnings.warn("not ours", stacklevel=1)
            raise error

        return call

    for error, status, line in (
        (ValueError("a\n  b"), 2, "gaussmix: a b"),
        (FileNotFoundError(2, "No such file", "x"), 2, "gaussmix: No such file: x"),
        (ImportError("install it"), 1, "gaussmix: install it"),
        (ModuleNotFoundError("no", name="dask.array"), 1, "which is not installed: pip install 'gaussmix[dask]'"),
        (KeyboardInterrupt(), 130, "gaussmix: interrupted"),
    ):
        monkeypatch.setattr(ShowModel, "__call__", warn_and(error))
        with pytest.warns(UserWarning, match="not ours"):
            assert cli.main(["density", "info", "x"]) == status
        printed = capsys.readouterr().err
        assert "gaussmix: careful\n" in printed
        assert line in printed


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (KeyError("x"), "gaussmix: KeyError: 'x' (a fault of gaussmix: GAUSSMIX_DEBUG=1 shows where)"),
        (ModuleNotFoundError("no", name="gaussmix.x"), "gaussmix: no"),
        (MemoryError("Unable to allocate 3 TiB"), "gaussmix: there is not enough memory for this"),
        (MemoryError("a.npy asks for more memory than there is"), "gaussmix: a.npy asks for more memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "gaussmix: there is not enough memory for this"),
        (OSError(28, "No space left on device", "m.safetensors"), "gaussmix: No space left on device: m.safetensors"),
        (OSError("a\x1b[2Jb"), "gaussmix: a\\x1b[2Jb"),
    ],
)
def test_faults_and_full_memory_are_one_line_and_a_traceback_when_asked(error, line, monkeypatch, capsys):
    def fail(_: object) -> None:
        raise error

    monkeypatch.setattr("gaussmix.cli.density.ShowModel.__call__", fail)
    monkeypatch.delenv("GAUSSMIX_DEBUG", raising=False)
    assert cli.main(["density", "info", "x"]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith(line)
    assert printed.count("\n") == 1
    monkeypatch.setenv("GAUSSMIX_DEBUG", "1")
    with pytest.raises(type(error)):
        cli.main(["density", "info", "x"])


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_standard_output_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gaussmix", "--version"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr == "gaussmix: No space left on device\n"
