"""Journeys through the page in Chromium, as somebody makes them; skipped where there is none.

``STUDIO_PICTURES=folder`` keeps a picture of where each ends.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("nicegui", reason="the studio is an extra: pip install 'gaussmix[studio]'")
from studio import models

playwright = pytest.importorskip("playwright.sync_api", reason="journeys need playwright")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="journeys need Chromium: apt-get install chromium")
WAIT = 20_000  # milliseconds; of a busy machine


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a studio that runs; ends it with Ctrl-C, after which nothing is left.

    Its faces are those of the package; its digits and its network of styles are small, and not trained.
    """
    folder, kept = tmp_path_factory.mktemp("temporary"), tmp_path_factory.mktemp("models")
    model, weights = models.digits(kept / "digits"), models.weights(kept / "vgg.safetensors")
    command = [sys.executable, "-m", "gaussmix", "studio", "--no-open", "--model", str(model)]
    environment = {**os.environ, "TMPDIR": str(folder), "GAUSSMIX_VGG19": str(weights)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            found = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", said)
            assert found, said
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "stopped" in errors
    assert "Traceback" not in errors
    assert list(folder.glob("gaussmix-studio-*")) == []


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(params=[(1200, "light"), (390, "dark")], ids=["desk", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    """A page of the studio, which asks nobody else for anything, and has no errors."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 850}, color_scheme=scheme)
    page, wrong = context.new_page(), []
    page.set_default_timeout(WAIT)
    here = address.partition("/?")[0].removeprefix("http:")
    page.on("request", lambda asked: None if here in asked.url or asked.url.startswith(("data:", "blob:"))
            else wrong.append(asked.url))  # fmt: skip
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.goto(address)
    yield page
    if pictures := os.environ.get("STUDIO_PICTURES"):
        page.screenshot(path=Path(pictures) / f"{request.node.name}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.lang").startswith("en")
    context.close()
    assert wrong == []


def test_drop_a_file_and_read_a_quantile(page: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(0).gamma(3.0, 2.0, 3000)
    table = tmp_path / "waits.csv"
    np.savetxt(table, values, header="wait", comments="")
    page.locator("input[type=file]").set_input_files(table)
    number = page.locator(".gm-number")
    number.wait_for()
    assert abs(float(number.inner_text()) - np.median(values)) < 0.1
    assert "token" not in page.url
    slider = page.get_by_role("slider")
    slider.focus()
    slider.press("End")  # with the keyboard alone
    page.get_by_text("99.9% of wait are at most").wait_for()
    assert slider.input_value() == "0.999"
    assert abs(float(number.inner_text()) - np.quantile(values, 0.999)) < 4
    page.get_by_label("What share is at most").fill("5")
    page.get_by_label("What share is at most").press("Enter")
    share = np.mean(values <= 5)
    said = page.get_by_text(re.compile(r"^[\d.]+% of wait are at most 5$"))
    said.wait_for()
    assert abs(float(said.inner_text().partition("%")[0]) / 100 - share) < 0.02


def test_drag_the_line_compare_groups_and_copy(page: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = tmp_path / "waits.csv"
    rows = [f"{rng.gamma(2 + 2 * k, 2.0):.4f},{'ab'[k]}" for k in rng.integers(0, 2, 1000)]
    table.write_text("\n".join(["wait,kind", *rows]))
    page.locator("input[type=file]").set_input_files(table)
    number, chart = page.locator(".gm-number"), page.locator(".gm-chart svg")
    number.wait_for()
    chart.scroll_into_view_if_needed()
    before, box = float(number.inner_text()), chart.bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.5 * box["height"], steps=3)
    page.mouse.up()
    page.wait_for_function(
        "before => Number(document.querySelector('.gm-number').textContent) > before", arg=before + 1
    )
    with page.expect_download() as coming:
        page.get_by_role("button", name="SVG").click()
    assert "<svg" in Path(coming.value.path()).read_text()
    page.get_by_label("Compare with").click()
    page.get_by_role("option", name="by kind").click()
    page.get_by_text("beyond chance").wait_for()
    page.get_by_role("button", name="Copy as Python").click()
    page.get_by_text("compare_tables(").wait_for()


def test_learn_to_predict_and_move_an_input(page: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, kind = rng.uniform(0, 10, 60), rng.choice(["up", "down"], 60)
    table = tmp_path / "rows.csv"
    y = x + 5 * (kind == "up") + rng.normal(0, 0.3, 60)
    table.write_text("\n".join(["x,kind,y", *(f"{a:.3f},{b},{c:.3f}" for a, b, c in zip(x, kind, y, strict=True))]))
    page.get_by_role("tab", name="Prediction").click()
    page.get_by_text("see how it depends on the others").wait_for()
    page.locator("input[type=file]").last.set_input_files(table)
    page.get_by_role("button", name="Learn").click()
    page.get_by_text("How right is it?").wait_for(timeout=3 * WAIT)
    number, slider = page.locator(".gm-number"), page.get_by_role("slider", name="x")
    before = float(number.inner_text())
    slider.press("End")
    page.wait_for_function(
        "before => Number(document.querySelector('.gm-number').textContent) > before", arg=before + 1
    )
    assert float(slider.input_value()) > 9
    page.get_by_label("kind").click()
    page.get_by_role("option", name="down" if page.get_by_label("kind").input_value() == "up" else "up").click()
    page.get_by_text("in the middle; 90% from").wait_for()


def test_ask_for_faces_and_get_16(page: Any) -> None:
    page.get_by_role("tab", name="Faces").click()
    page.get_by_text("16 pictures, guidance 2, 10 steps, seed 0").wait_for(timeout=6 * WAIT)  # as they occur
    page.get_by_role("button", name="Eyeglasses: on", exact=True).click()
    page.get_by_role("button", name="Smiling: off", exact=True).click()
    page.get_by_text(re.compile(r"^\d+ of \d+ training pictures are like that")).wait_for()
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_role("heading", name="Eyeglasses, not Smiling").wait_for(timeout=3 * WAIT)
    faces = page.get_by_role("button", name=re.compile(r"^face \d+$"))
    assert faces.count() == 16
    assert page.evaluate("[...document.querySelectorAll('.gm-picture img')].every((i) => i.complete && i.naturalWidth)")
    page.get_by_role("button", name="Keep face 3").click()
    with page.expect_download() as started:
        page.get_by_role("button", name="Download them").click()
    with zipfile.ZipFile(started.value.path()) as archive:
        assert archive.namelist() == ["00000.png", "metadata.csv"]
        assert "Eyeglasses" in archive.read("metadata.csv").decode()


def test_mix_digits(page: Any) -> None:
    page.get_by_role("tab", name="Digits").click()
    first = page.get_by_role("button", name="image 1", exact=True).locator("img[src]")
    first.wait_for(timeout=3 * WAIT)
    pad, before = page.get_by_role("slider", name="Shares of the classes"), first.get_attribute("src")
    page.get_by_text("3: 33%, 5: 33%, 8: 33%").last.wait_for()
    pad.focus()
    for _ in range(30):  # with the keyboard alone, beyond the corner
        pad.press("ArrowUp")
    page.get_by_text("3: 100%, 5: 0%, 8: 0%").last.wait_for()
    page.wait_for_function(
        "(before) => document.querySelector('.gm-picture img').src !== before", arg=before, timeout=WAIT
    )
    box = pad.bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + box["height"] * 0.9)
    page.get_by_text(re.compile("^3: 0%")).last.wait_for()
    canvas = page.locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 70, box["y"] + 150, steps=5)
    page.mouse.up()
    page.get_by_text("What you drew").wait_for()
    page.get_by_text("Taken for").wait_for()


def test_blend_two_paintings(page: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("photo", "one", "other"):
        blots = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(blots).resize((70, 50)).save(tmp_path / f"{name}.png")
    page.get_by_role("tab", name="Style").click()
    page.get_by_text("Drop a photo, and one painting or more").wait_for()
    photo, paintings = (page.locator(f".gm-card:has-text('{title}') input[type=file]") for title in
                        ("The photo", "The paintings"))  # fmt: skip
    photo.set_input_files(tmp_path / "photo.png")
    page.get_by_alt_text("Photo photo.png").wait_for()
    for name in ("one", "other"):
        paintings.set_input_files(tmp_path / f"{name}.png")
        page.get_by_alt_text(f"Painting {name}.png").wait_for()
    page.get_by_role("slider", name="other.png").press("Home")
    page.get_by_text("0% of the blend", exact=True).wait_for()
    page.get_by_role("slider", name="other.png").press("End")
    page.get_by_text("67% of the blend").wait_for()
    page.get_by_role("button", name="Pixels: 64").click()
    page.get_by_role("slider", name="Steps").press("Home")
    page.get_by_text("a guess, until one was measured").wait_for(timeout=3 * WAIT)
    page.get_by_role("button", name="Render at 64 px").click()
    page.get_by_text("in what was drawn").first.wait_for(timeout=6 * WAIT)
    assert page.get_by_role("button", name=re.compile(r"^variant \d$")).count() == 4
    page.get_by_role("button", name="variant 2").click()
    page.get_by_alt_text("Variant 2").wait_for()
