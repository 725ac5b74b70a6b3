"""Who may speak to the studio: tokens, foreign names, forged requests, endless bodies, paths that lead elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from golden.make_run import RunOptions
from studio_pages import HOST, MAX_BYTES, TOKEN, client, make_studio

EVIL = (
    "%2e%2e",
    "../secret",
    "/etc",
    "%2e%2e/secret",
    "..%2fsecret",
    "....//secret",
    "good/../../secret",
    "a\x00b",
    "link",
)

PATHS = (
    "/runs/{}", "/runs/{}/report", "/runs/{}/attention", "/runs/{}/review", "/runs/{}/picture?example_id=x",
    "/runs/{}/decisions.csv", "/runs/{}/play", "/fits/{}", "/fits/{}/status", "/comparisons/{}", "/static/{}",
)  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("guard")
    make_studio(place / "secret", inner=RunOptions())
    made = make_studio(place / "runs", good=RunOptions())
    (made / "link").symlink_to(place / "secret" / "inner")
    (made / "data").mkdir()
    (made / "data" / "link.csv").symlink_to("/etc/passwd")
    return made


def test_without_the_token_nothing_is_said(root: Path) -> None:
    for cookie in ("", f"honed_studio={TOKEN}x", "honed_studio=", 'honed_studio="\\303\\251"'):
        asked = client(root, cookie=cookie)
        for path in ("/", "/runs/good", "/static/review.js", "/nowhere"):
            answer = asked.get(path)
            assert answer.status_code == 401 and "good" not in answer.text


def test_the_token_of_the_address_becomes_a_cookie_and_leaves_the_address(root: Path) -> None:
    answer = client(root, cookie="").get(f"/runs/good?a=b&token={TOKEN}", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs/good?a=b")
    assert (
        "httponly" in answer.headers["set-cookie"].lower() and "samesite=strict" in answer.headers["set-cookie"].lower()
    )
    assert client(root, cookie="").get("/?token=wrong").status_code == 401
    assert client(root, cookie="", authorization=f"Bearer {TOKEN}").get("/").status_code == 200


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "///evil.example/x"])
def test_signing_in_never_leads_to_another_machine(root: Path, path: str) -> None:
    answer = client(root, cookie="").get(f"http://{HOST}{path}?token={TOKEN}", follow_redirects=False)
    assert answer.headers["location"].startswith("/") and not answer.headers["location"].startswith(("//", "/\\"))


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "localhost@evil.example"]
)
def test_a_foreign_name_is_refused(root: Path, host: str) -> None:
    assert client(root, host=host).get(f"/?token={TOKEN}").status_code == 421
    assert client(root, host=f"{HOST}:8765").get("/").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": f"http://{HOST}:81"},
        {"origin": f"http://{HOST}.evil.example"},
    ],
)
def test_a_forged_request_changes_nothing(root: Path, headers: dict[str, str]) -> None:
    asked = client(root, **headers)
    for path in ("/runs/good/review/undo", "/new", "/data", "/fits/good/resume", "/fits/good/stop", "/runs/good/refit"):
        assert asked.post(path).status_code == 403
    asked = client(root)
    del asked.headers["origin"]
    assert asked.post("/runs/good/review/undo").status_code == 403, "no word of the browser is no proof"
    assert asked.post("/runs/good/review/undo", headers={"sec-fetch-site": "cross-site"}).status_code == 403
    assert asked.post("/runs/good/review/undo", headers={"sec-fetch-site": "same-origin"}).status_code == 200


def test_a_body_is_counted_as_it_arrives(root: Path) -> None:
    def endless() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
        for _ in range(100):
            yield b"a" * 10_000

    asked = client(root)
    kind = {"content-type": "multipart/form-data; boundary=x"}
    assert asked.post("/data", content=endless(), headers=kind).status_code == 413
    assert asked.post("/data", content=b"a" * (MAX_BYTES + 1), headers=kind).status_code == 413
    assert not list((root / "data").glob("*.partial")) and not (root / "data" / "a.csv").exists()


@pytest.mark.parametrize("name", EVIL)
def test_no_path_of_a_client_leads_elsewhere(root: Path, name: str) -> None:
    asked = client(root)
    for path in PATHS:
        answer = asked.get(path.format(name.replace("\x00", "%00")))
        assert answer.status_code in (400, 404), (path, answer.status_code)
        assert "root:" not in answer.text and "inner" not in answer.text
    for table in (name, f"{name}/passwd", "link.csv", "../good/config.yaml"):
        answer = asked.post("/new", data={"table": table, "name": "x", "text": "a", "label": "b"})
        assert answer.status_code == 400 and "There is no table" in answer.text
    assert asked.get("/compare", params={"run": name}).status_code == 404


def test_every_answer_forbids_what_it_does_not_need(root: Path) -> None:
    asked = client(root)
    for path in ("/", "/runs/good", "/nowhere", "/runs/good/review/rows"):
        headers = asked.get(path).headers
        assert (
            "default-src 'none'" in headers["content-security-policy"]
            and "unsafe" not in headers["content-security-policy"]
        )
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
    assert (
        asked.get("/runs/good/report")
        .headers["content-security-policy"]
        .startswith("sandbox allow-scripts allow-popups;")
    )
    assert asked.get("/docs").status_code == asked.get("/openapi.json").status_code == 404
