"""The page in a real browser: name, add, train, try, save, reload; by keyboard too."""

import re
import shutil

import pytest
from demo_pictures import CLASSES, write_demo_pictures, write_other_picture
from studio_process import SECONDS, StudioProcess

CHROMIUM = shutil.which("chromium")
HTML = "<b id=evil>nurse</b>"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return write_demo_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture
def studio(tmp_path):
    with StudioProcess("--project", tmp_path / "project") as studio:
        yield studio


@pytest.fixture
def page(studio):
    """A page of the studio. It collects the errors of its console."""
    playwright = pytest.importorskip("playwright.sync_api")
    playwright.expect.set_options(timeout=1000 * SECONDS)
    with playwright.sync_playwright() as driver:
        page = open_page(driver, studio)
        page.expect = playwright.expect
        page.with_camera = lambda: open_page(
            driver,
            studio,
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
        )
        yield page
        page.context.browser.close()


def open_page(driver, studio, *flags):
    """Opens the studio in a browser of its own."""
    browser = driver.chromium.launch(
        executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage", *flags]
    )
    page = browser.new_page(viewport={"width": 1300, "height": 900})
    page.set_default_timeout(1000 * SECONDS)
    page.errors = []
    page.on("console", lambda each: page.errors.append(each.text))
    page.on("pageerror", lambda each: page.errors.append(str(each)))
    page.goto(studio.address)
    return page


def add(page, card, paths):
    """Picks files as a user does, by the first button of a card."""
    with page.expect_file_chooser() as chooser:
        card.get_by_role("button", name=re.compile("Add images|Choose a picture")).click()
    chooser.value.set_files([str(path) for path in paths])


def test_from_class_names_to_a_saved_model(page, studio, pictures, tmp_path):
    # Name the classes, by keyboard alone: the skip link leads to them.
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type(", ".join([*CLASSES, HTML]))
    page.keyboard.press("Enter")
    cards = page.locator("#class-list > li")
    page.expect(cards).to_have_count(4)
    # A name is text and nothing else, and undo takes the class back.
    page.expect(cards.nth(3).get_by_label("Name of the class")).to_have_value(HTML)
    page.expect(page.locator("#evil")).to_have_count(0)
    cards.nth(3).get_by_role("button", name=f"Remove the class {HTML}").click()
    page.expect(cards).to_have_count(3)
    page.expect(page.locator("#undo")).to_be_enabled()

    # Add images, and one that is none.
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    for number, name in enumerate(CLASSES):
        add(page, cards.nth(number), pictures["train"][name] + [broken] * (number == 1))
        page.expect(cards.nth(number).locator(".thumb")).to_have_count(4)
        if number == 1:
            page.expect(page.locator("#message")).to_contain_text("broken.png: cannot be read")

    # Names alone answer, training answers better.
    add(page, page.locator("#try-card"), [pictures["test"]["cook"][0]])
    result = page.locator("#try-result")
    page.expect(result).to_contain_text("By the names alone")
    page.expect(page.locator("#heat")).to_be_visible()
    page.locator("#train").click()
    page.expect(page.locator("#training-hint")).to_contain_text("Trained on 12 images")
    page.expect(page.locator("#accuracy")).to_contain_text("%")
    page.expect(result).to_contain_text("By the trained classifier")
    page.expect(page.locator("#answers .answer").first).to_contain_text("cook")

    # A picture of something else is none of these, until the switch is turned off, by keyboard.
    page.expect(page.locator("#none-note")).to_contain_text("about 1 in 13")
    add(page, page.locator("#try-card"), [write_other_picture(tmp_path / "other.png")])
    page.expect(page.locator("#answers")).to_contain_text("None of these")
    page.expect(page.locator("#answers .answer")).to_have_count(1)
    none = page.get_by_role("checkbox", name="Say “none of these”")
    none.press("Space")
    page.expect(page.locator("#answers")).not_to_contain_text("None of these")
    page.expect(page.locator("#answers .answer")).to_have_count(3)
    none.press("Space")
    page.expect(page.locator("#answers")).to_contain_text("all 12 images")

    # Save, and find it all again after a reload.
    page.locator("#save").click()
    page.expect(page.locator("#save-text")).to_contain_text("Saved in the folder")
    page.expect(page.locator("#onnx")).to_be_visible()
    assert (tmp_path / "project" / "model" / "classifier.onnx").is_file()
    page.reload()
    page.expect(page.locator("#class-list .thumb")).to_have_count(12)
    page.expect(page.locator("#accuracy")).to_contain_text("%")
    page.expect(page.locator("#save-text")).to_contain_text("Saved in the folder")

    # An image is moved by its dialog, by keyboard, and undo brings it back.
    cards.nth(0).locator(".thumb").first.press("Enter")
    page.locator("#image-class").select_option("cook")
    page.expect(cards.nth(1).locator(".thumb")).to_have_count(5)
    page.expect(page.locator("#training-hint")).to_contain_text("Train again")
    page.keyboard.press("Control+z")
    page.expect(cards.nth(1).locator(".thumb")).to_have_count(4)

    # Nothing is wider than a phone, in either theme, and the camera says why it has no picture.
    page.set_viewport_size({"width": 400, "height": 800})
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        assert page.evaluate("() => document.documentElement.scrollWidth") == 400
    cards.nth(0).get_by_role("button", name="Camera").click()
    page.expect(page.locator("#camera-text")).to_contain_text("No camera was found")
    page.keyboard.press("Escape")
    page.expect(page.locator("#camera-dialog")).to_be_hidden()

    # A second browser has a camera, though one of Chromium's own, which shows a moving drawing.
    other = page.with_camera()
    card = other.locator("#class-list > li").nth(0)
    card.get_by_role("button", name="Camera").click()
    for number in (5, 6):
        other.locator("#camera-shoot").click()
        page.expect(card.locator(".thumb")).to_have_count(number)
        other.wait_for_timeout(300)  # until the drawing has moved
    other.keyboard.press("Escape")
    page.expect(other.locator("#camera-dialog")).to_be_hidden()
    assert other.errors == []
    other.context.browser.close()

    # When the process ends, the page says so.
    assert page.errors == []
    studio.process.kill()
    page.expect(page.locator("#message")).to_contain_text("does not answer")
