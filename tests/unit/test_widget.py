"""`GET /widget.js`: small, cacheable, loadable by any page, and without what a strict policy forbids."""

import asyncio
import gzip
import re
import shutil
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from tests.fixtures.browser import chromium
from thumbstream.widget import page

SOURCE = page.source().decode()
MANUAL = (Path(__file__).resolve().parents[2] / "docs" / "browser.md").read_text("utf-8")
MANUAL = MANUAL.partition("## The widget\n")[2].partition("\n## ")[0]


def ask(method: str = "GET", **headers: str) -> httpx.Response:
    """One request; `if_none_match="..."` is a header."""

    async def talk() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=page.routes()))
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, "/widget.js", headers=sent)

    return asyncio.run(talk())


def test_it_is_below_six_kilobytes_on_the_wire() -> None:
    reply = ask(accept_encoding="gzip")
    assert reply.headers["content-encoding"] == "gzip"
    assert int(reply.headers["content-length"]) < 6000
    assert reply.text == SOURCE


def test_who_takes_no_gzip_gets_the_file_as_it_is() -> None:
    reply = ask(accept_encoding="identity")
    assert "content-encoding" not in reply.headers
    assert reply.content == SOURCE.encode()
    assert reply.headers["vary"] == "Accept-Encoding"
    assert len(gzip.compress(reply.content)) < 6000


def test_it_is_a_script_that_pages_of_every_origin_may_load() -> None:
    headers = ask().headers
    assert headers["content-type"] == "text/javascript; charset=utf-8"
    assert headers["access-control-allow-origin"] == "*"
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert headers["x-content-type-options"] == "nosniff"


def test_it_is_cached_for_an_hour_and_then_asked_for_by_its_tag() -> None:
    first = ask()
    assert "max-age=3600" in first.headers["cache-control"]
    again = ask(if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert ask(if_none_match='W/"another"').status_code == 200


def test_head_is_answered_and_nothing_else_but_get() -> None:
    assert ask("HEAD").status_code == 200
    assert ask("POST").status_code == 405


@pytest.mark.parametrize("word", ["eval(", "Function(", "innerHTML", "outerHTML", "document.write", "style=", ".src ="])
def test_it_makes_no_code_and_no_markup_from_text(word: str) -> None:
    assert word not in SOURCE


def test_it_depends_on_nothing_and_speaks_to_one_place() -> None:
    assert re.findall(r"\bimport\b|\brequire\(", SOURCE) == []
    assert re.findall(r'"v1/[a-z-]+"', SOURCE) == ['"v1/token-feedback"']
    assert SOURCE.count("fetch(") == 1


def named(pattern: str, text: str = SOURCE) -> set[str]:
    """Every first group of a pattern."""
    return set(re.findall(pattern, text))


def test_the_manual_names_every_label_colour_part_and_event() -> None:
    texts = SOURCE.partition("const TEXTS = {")[2].partition("};")[0]
    assert named(r"(\w+): \"", texts) == named(r"`label-(\w+)`", MANUAL)
    assert named(r"var\((--feedback-\w+)") == named(r"`(--feedback-\w+)`", MANUAL)
    parts = named(r'part\("\w+", "(\w+)"') | named(r'button\("(\w+)"') | {"reason"}
    listed = MANUAL.partition("Parts for `::part(...)`: ")[2].partition(".")[0]
    assert named(r"`(\w+)`", listed) == parts
    assert named(r'tell\(item, "(\w+)"') | {"waiting", "stored"} == named(r"`feedback-(\w+)`", MANUAL)


def test_the_manuals_numbers_are_the_scripts() -> None:
    said = " ".join(MANUAL.split())
    for constant, sentence in {
        "MAX_WAITING = 50;": "50 events wait",
        "MAX_KNOWN = 200;": "last 200 answers",
        "MAX_AGE = 31 * 864e5;": "for 31 days",
        "PAUSE = 60e3;": "half a second to a minute",
        "maxlength: 2000": "2,000 characters",
    }.items():
        assert constant in SOURCE
        assert sentence in said


def test_without_a_browser_tests_are_skipped_aloud_and_fail_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="NO CHROMIUM"):
        chromium()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="NO CHROMIUM"):
        chromium()
