"""`honed serve` as its clients meet it: right answers, hot changes, draining; and what it tells those who mean harm."""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import models as m
from e2e.conftest import run_cli
from e2e.served_process import Server, serving
from honed.serving.engine import load_specialist
from image_files import encoded, picture
from served import make_base, make_specialist

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

OPTIONS: dict[str, dict[str, Any]] = {
    "a": {"rank": 4},
    "b": {"rank": 2, "n_classes": 5},
    "p": {"method": "prefix", "tokens": 3},
    "k": {"method": "bottleneck", "size": 4},
    "f": {"method": "full"},
    "secret": {"rank": 4},
}
TEXTS = m.toy_texts(8)[0]
BODY = 1 << 20


@dataclass(frozen=True)
class House:
    """A server with keys over a store. own : a key for all but `secret`; other : a key for `secret` alone."""

    server: Server
    store: Path
    made: Path
    keys: Path
    own: str
    other: str


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    base = make_base(folder / "base")
    for seed, (name, options) in enumerate(OPTIONS.items()):
        make_specialist(folder / name / "adapter", base, seed, **options)
    return folder


@pytest.fixture(scope="module")
def house(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    for name in OPTIONS:
        assert run_cli("store", "add", made / name, "--store", folder / "store").code == 0
    keys = folder / "keys.json"
    allowed = [word for name in OPTIONS if name != "secret" for word in ("--model", name)]
    own = run_cli("keys", "add", "own", "--keys", keys, *allowed, "--model", "n*").stdout.strip()
    other = run_cli("keys", "add", "other", "--keys", keys, "--model", "secret").stdout.strip()
    flags = ("--body", 1, "--characters", 1000, "--queue", 64, "--pixels", 10_000, "--timeout", 20)
    with serving("--store", folder / "store", "--keys", keys, *flags) as server:
        yield House(server, folder / "store", made, keys, own, other)


def predicted(made: Path, name: str, texts: list[str]) -> np.ndarray[Any, Any]:
    return load_specialist(made / name / "adapter", device="cpu").probabilities(texts)


def test_every_specialist_answers_as_honed_predict_does(house: House) -> None:
    names = [name for name in OPTIONS if name != "secret"]
    with house.server.client(house.own) as client:
        said = client.post("/v1/predict", json={"model": names, "text": TEXTS}).json()["predictions"]
    assert [(row["model"]) for row in said] == names * len(TEXTS)
    for i, name in enumerate(names):
        got = [list(row["probabilities"].values()) for row in said[i :: len(names)]]
        np.testing.assert_allclose(got, predicted(house.made, name, TEXTS), atol=1e-5)


def test_many_clients_at_once_get_their_own_answers(house: House) -> None:
    names = ["a", "b", "p", "k", "f"]
    wanted = {name: predicted(house.made, name, TEXTS) for name in names}

    def one(i: int) -> float:
        name, j = names[i % 5], i % len(TEXTS)
        with house.server.client(house.own) as client:
            row = client.post("/v1/predict", json={"model": name, "text": TEXTS[j]}).json()["predictions"][0]
        return float(np.abs(np.array(list(row["probabilities"].values())) - wanted[name][j]).max())

    with ThreadPoolExecutor(16) as pool:
        assert max(pool.map(one, range(200))) < 1e-5


def test_it_abstains_where_it_is_asked_to(house: House) -> None:
    with house.server.client(house.own) as client:
        row = client.post("/v1/predict", json={"model": "a", "text": TEXTS[0], "abstain_below": 1}).json()
        assert row["predictions"][0]["label"] is None and row["predictions"][0]["abstained"]


def test_models_are_those_that_the_key_opens(house: House) -> None:
    for key, expected in ((house.own, ["a", "b", "f", "k", "p"]), (house.other, ["secret"])):
        with house.server.client(key) as client:
            assert [row["id"] for row in client.get("/v1/models").json()["data"]] == expected


def test_metrics_can_be_read_and_name_nobody(house: House) -> None:
    with house.server.client(house.own) as client:
        client.post("/v1/predict", json={"model": "a", "text": TEXTS[0]})
        text = client.get("/metrics").text
    values = {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}
    assert values["honed_rows_total"] > 0 and values["honed_specialists_registered"] == len(OPTIONS)
    assert "secret" not in text


def test_pages_ask_no_other_server(house: House) -> None:
    with house.server.client() as client:
        page = client.get("/docs")
        assert page.status_code == 200 and "/v1/predict" in page.text
        assert "src=" not in page.text and "://" not in page.text and "<script" not in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "/v1/predict" in client.get("/openapi.json").json()["paths"]


def test_specialists_come_change_and_go_while_it_runs(house: House) -> None:
    def ask() -> Any:
        time.sleep(0.3)  # a look at the store holds for a fifth of a second
        return client.post("/v1/predict", json={"model": "new", "text": TEXTS[0]})

    with house.server.client(house.own) as client:
        assert ask().status_code == 404
        run_cli("store", "add", house.made / "a", "--store", house.store, "--name", "new")
        first = ask().json()["predictions"][0]["probabilities"]
        assert list(first.values()) == pytest.approx(predicted(house.made, "a", TEXTS[:1])[0].tolist(), abs=1e-5)
        run_cli("store", "add", house.made / "b", "--store", house.store, "--name", "new", "--replace")
        assert len(ask().json()["predictions"][0]["probabilities"]) == 5
        run_cli("store", "remove", "new", "--store", house.store)
        assert ask().status_code == 404


def test_a_key_taken_back_opens_nothing_more(house: House) -> None:
    key = run_cli("keys", "add", "guest", "--keys", house.keys, "--model", "a").stdout.strip()
    with house.server.client(key) as client:
        assert client.get("/v1/models").status_code == 200
        run_cli("keys", "remove", "guest", "--keys", house.keys)
        assert client.get("/v1/models").status_code == 401


# -- what harm is tried ---------------------------------------------------------------------------------------------


def bomb() -> bytes:
    """A PNG of 40,000 x 40,000 pixels in a few kilobytes of its own claim."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = (40_000).to_bytes(4, "big")
    rows = zlib.compress(b"\0" * 1_000_000)
    head = chunk(b"IHDR", size + size + b"\x08\x02\0\0\0")
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


JSON_CASES: list[tuple[str, Any, int]] = [
    ("no body", b"", 400),
    ("no json", b"not json", 400),
    ("half a json", b'{"model": "a", "te', 400),
    ("bad utf-8", b'{"model": "a", "text": "\xff\xfe"}', 400),
    ("a list", [], 422),
    ("a number", 3, 422),
    ("null", None, 422),
    ("no fields", {}, 422),
    ("unknown field", {"model": "a", "text": "x", "path": "/etc/passwd"}, 422),
    ("text is a number", {"model": "a", "text": 3}, 422),
    ("text is an object", {"model": "a", "text": {"$ne": ""}}, 422),
    ("text is null", {"model": "a", "text": None}, 422),
    ("a list with null", {"model": "a", "text": ["x", None]}, 422),
    ("no inputs", {"model": "a", "text": []}, 422),
    ("no models", {"model": [], "text": "x"}, 422),
    ("empty text", {"model": "a", "text": " \n\t"}, 422),
    ("text and image", {"model": "a", "text": "x", "image": "eA=="}, 422),
    ("too long a text", {"model": "a", "text": "x" * 1001}, 413),
    ("too many inputs", {"model": "a", "text": ["x"] * 257}, 413),
    ("too many pairs", {"model": ["a"] * 20, "text": ["x"] * 20}, 413),
    ("more than the queue", {"model": "a", "text": ["x"] * 100}, 429),
    ("a body over the limit", {"model": "a", "text": "x" * BODY}, 413),
    ("abstain above one", {"model": "a", "text": "x", "abstain_below": 1.5}, 422),
    ("abstain is NaN", b'{"model": "a", "text": "x", "abstain_below": NaN}', 422),
    ("abstain is infinite", b'{"model": "a", "text": "x", "abstain_below": 1e999}', 422),
    ("deeply nested", b'{"model": "a", "text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    ("half a surrogate", b'{"model": "a", "text": "\\ud800"}', 400),
    ("no such specialist", {"model": "nobody", "text": "x"}, 404),
    ("another's specialist", {"model": "secret", "text": "x"}, 403),
    ("another's among one's own", {"model": ["a", "secret"], "text": "x"}, 403),
    ("a path as name", {"model": "../../etc/passwd", "text": "x"}, 403),
    ("a path below one's own", {"model": "n/../a", "text": "x"}, 404),
    ("a NUL in the name", {"model": "n\x00", "text": "x"}, 404),
    ("a very long name", {"model": "n" * 100_000, "text": "x"}, 404),
    ("not base64", {"model": "a", "image": "%%%"}, 422),
    ("an image for a reader of texts", {"model": "a", "image": b64(encoded(picture(1, 20)))}, 422),
    ("a bomb for a reader of texts", {"model": "a", "image": b64(bomb())}, 422),
]


@pytest.mark.parametrize(("body", "status"), [case[1:] for case in JSON_CASES], ids=[case[0] for case in JSON_CASES])
def test_a_hostile_body_gets_the_right_status(house: House, body: Any, status: int) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with house.server.client(house.own) as client:
        answer = client.post("/v1/predict", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["problem"] and len(answer.text) < 1000
        if status == 429:
            assert int(answer.headers["retry-after"]) >= 1
    still_well(house)


REQUESTS: list[tuple[str, dict[str, Any], int]] = [
    ("no key", {"headers": {"authorization": ""}}, 401),
    ("a wrong key", {"headers": {"authorization": "Bearer honed-wrong"}}, 401),
    ("a key of another kind", {"headers": {"authorization": "Basic YTpi"}}, 401),
    ("a key beyond ASCII", {"headers": {"authorization": "Bearer käse".encode()}}, 401),
    ("another site's page", {"headers": {"origin": "https://evil.example"}}, 403),
    ("a sandboxed page", {"headers": {"origin": "null"}}, 403),
    ("plain text", {"headers": {"content-type": "text/plain"}}, 415),
    ("no kind of content", {"headers": {"content-type": ""}}, 415),
    ("a form of the wrong kind", {"headers": {"content-type": "application/x-www-form-urlencoded"}}, 415),
    ("a form without a boundary", {"headers": {"content-type": "multipart/form-data"}}, 400),
    ("a form that is none", {"headers": {"content-type": "multipart/form-data; boundary=x"}, "content": b"{}"}, 400),
    ("GET", {"method": "GET"}, 405),
    ("DELETE of a model", {"method": "DELETE", "url": "/v1/models/a"}, 404),
    ("a path trick", {"method": "GET", "url": "/v1/../../etc/passwd"}, 404),
    ("an encoded path trick", {"method": "GET", "url": "/%2e%2e/%2e%2e/etc/passwd"}, 404),
    ("a store's file", {"method": "GET", "url": "/names/a.json"}, 404),
]  # fmt: skip


@pytest.mark.parametrize(("given", "status"), [case[1:] for case in REQUESTS], ids=[case[0] for case in REQUESTS])
def test_a_hostile_request_gets_the_right_status(house: House, given: dict[str, Any], status: int) -> None:
    headers = {"authorization": f"Bearer {house.own}", "content-type": "application/json"} | given.get("headers", {})
    content = given.get("content", b'{"model": "a", "text": "x"}')
    with house.server.client() as client:
        answer = client.request(
            given.get("method", "POST"), given.get("url", "/v1/predict"), headers=headers, content=content
        )
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["problem"]
    still_well(house)


FORMS: list[tuple[str, list[tuple[str, Any]], int]] = [
    ("no image", [("model", (None, "a"))], 422),
    ("no model", [("image", ("x.png", b"x"))], 422),
    ("a field in the place of a file", [("model", (None, "a")), ("image", (None, "/etc/passwd"))], 422),
    ("a file in the place of a model", [("model", ("x", b"a")), ("image", ("x.png", b"x"))], 422),
    ("an unknown field", [("model", (None, "a")), ("image", ("x", b"x")), ("path", (None, "/"))], 422),
    ("a path as file name", [("model", (None, "a")), ("image", ("../../x.png", b"x"))], 422),
    ("a long field", [("model", (None, "a" * 10_000)), ("image", ("x", b"x"))], 400),
    ("many fields", [("model", (None, "a"))] * 600 + [("image", ("x", b"x"))], 400),
    ("a large file", [("model", (None, "a")), ("image", ("x", b"x" * BODY))], 413),
]


@pytest.mark.parametrize(("files", "status"), [case[1:] for case in FORMS], ids=[case[0] for case in FORMS])
def test_a_hostile_form_gets_the_right_status(house: House, files: Any, status: int) -> None:
    with house.server.client(house.own) as client:
        answer = client.post("/v1/predict", files=files)
    assert answer.status_code == status, answer.text
    still_well(house)


RAW: list[tuple[str, bytes, bytes]] = [
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b" 400 "),
    ("two lengths", b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", b" 400 "),
    ("a negative length", b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", b" 400 "),
    ("a huge length", b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n", b" 413 "),
    ("an odd chunk", b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", b" 400 "),
    ("a head without end", b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 200_000, b" 400 "),
    ("a NUL in the path", b"GET /\x00 HTTP/1.1\r\nhost: x\r\n\r\n", b" 400 "),
    ("a websocket", b"GET /v1/predict HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", b" 405 "),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "status"), [case[1:] for case in RAW], ids=[case[0] for case in RAW])
def test_what_is_no_proper_request_is_refused(house: House, sent: bytes, status: bytes) -> None:
    assert status in house.server.raw(sent).partition(b"\r\n")[0]
    still_well(house)


def test_endless_chunks_end_at_the_limit(house: House) -> None:
    head = (
        f"POST /v1/predict HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house.own}\r\n"
        "content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    ).encode()
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    assert b" 413 " in house.server.raw(head, *[chunk] * 64).partition(b"\r\n")[0]
    still_well(house)


def test_slow_heads_are_cut_off_and_keep_nobody_out(house: House) -> None:
    slow = [socket.create_connection(("127.0.0.1", house.server.port), timeout=30) for _ in range(50)]
    try:
        for connection in slow:
            connection.sendall(b"GET /health HTTP/1.1\r\nx-slow: ")
        still_well(house)
        assert all(connection.recv(100) == b"" for connection in slow), "closed after ten seconds without an answer"
    finally:
        for connection in slow:
            connection.close()


def test_hundreds_at_once_are_answered_or_told_to_come_back(house: House) -> None:
    statuses: list[int] = []

    def client(_: int) -> None:
        with house.server.client(house.own) as own:
            for _ in range(10):
                answer = own.post("/v1/predict", json={"model": ["a", "b"], "text": TEXTS})
                statuses.append(answer.status_code)
                assert answer.status_code != 429 or int(answer.headers["retry-after"]) >= 1

    with ThreadPoolExecutor(30) as pool:
        list(pool.map(client, range(30)))
    assert set(statuses) <= {200, 429} and statuses.count(200) > 10
    still_well(house)


def test_clients_that_leave_harm_nobody(house: House) -> None:
    body = json.dumps({"model": "a", "text": TEXTS}).encode()
    head = f"POST /v1/predict HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {house.own}\r\ncontent-type: application/json\r\n"
    for cut in (0, 10, len(body)):
        with socket.create_connection(("127.0.0.1", house.server.port)) as connection:
            connection.sendall(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:cut])
    still_well(house)


def test_nothing_of_what_was_sent_is_in_the_log(house: House) -> None:
    with house.server.client(house.own) as client:
        client.post("/v1/predict", json={"model": "a", "text": "patient Mabel Zachariasz"})
        client.post("/v1/predict?token=Zachariasz", json={"model": "a", "txt": "Zachariasz"})
    log = "\n".join(house.server.said)
    assert "Zachariasz" not in log and house.own not in log and house.other not in log and "Traceback" not in log


def still_well(house: House) -> None:
    with house.server.client(house.own) as client:
        row = client.post("/v1/predict", json={"model": "a", "text": TEXTS[0]}).json()["predictions"][0]
    wanted = predicted_once(house)
    assert list(row["probabilities"].values()) == pytest.approx(wanted, abs=1e-5)


_KNOWN: dict[Path, list[float]] = {}


def predicted_once(house: House) -> list[float]:
    if house.made not in _KNOWN:
        _KNOWN[house.made] = predicted(house.made, "a", TEXTS[:1])[0].tolist()
    return _KNOWN[house.made]


# -- without keys, on loopback --------------------------------------------------------------------------------------


def test_runs_are_served_without_keys_to_this_machine_alone(made: Path) -> None:
    with serving(made / "a", f"nice={made / 'b'}", "--rate", 5) as server, server.client() as client:
        assert [row["id"] for row in client.get("/v1/models").json()["data"]] == ["a", "nice"]
        answer = client.post("/v1/predict", json={"model": "nice", "text": TEXTS[0]})
        got = list(answer.json()["predictions"][0]["probabilities"].values())
        assert got == pytest.approx(predicted(made, "b", TEXTS[:1])[0].tolist(), abs=1e-5)
        # a page whose name was made to point here
        assert client.get("/v1/models", headers={"host": f"evil.example:{server.port}"}).status_code == 403
        assert client.get("/v1/models", headers={"host": f"localhost:{server.port}"}).status_code == 200
        statuses = [client.post("/v1/predict", json={"model": "a", "text": "x"}).status_code for _ in range(15)]
        assert statuses[0] == 200 and statuses[-1] == 429, "5 inputs a second"
        assert server.stop() == 0


def test_sigterm_answers_what_is_open(made: Path) -> None:
    with serving(made / "f", "--latency", 1500) as server:
        answers: list[httpx.Response] = []

        def client() -> None:
            with server.client() as own:
                answers.append(own.post("/v1/predict", json={"model": "f", "text": TEXTS[0]}))

        thread = threading.Thread(target=client)
        thread.start()
        time.sleep(0.7)
        assert server.stop() == 0
        thread.join()
        assert answers[0].status_code == 200


def test_kill_nine_and_start_again_loses_no_specialist(made: Path, tmp_path: Path) -> None:
    for name in OPTIONS:
        run_cli("store", "add", made / name, "--store", tmp_path / "store")
    for _ in range(2):
        with serving("--store", tmp_path / "store") as server:
            with server.client() as client:
                assert {row["id"] for row in client.get("/v1/models").json()["data"]} == set(OPTIONS)
            assert server.stop(signal.SIGKILL) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], r"needs runs or a store"),
        (["{made}/a", "--store", "{made}/x"], r"and not both"),
        (["{made}/nowhere"], r"no run folder"),
        (["--store", "{made}"], r"no store.*honed store add"),
        (["{made}/a", "--host", "0.0.0.0"], r"Without API keys.*honed keys add"),
        (["{made}/a", "{made}/a/adapter"], r"Two runs would be served as 'a'"),
        (["{made}/a", "--keys", "{made}/none.json"], r"API keys.*cannot be read"),
        (["{made}/a", "--base", "{made}/other"], r"were trained on base .*not on"),
    ],
)
def test_a_wrong_start_is_told(made: Path, arguments: list[str], told: str) -> None:
    if not (made / "other").exists():
        make_base(made / "other", "llama")
    said = run_cli("serve", *(argument.format(made=made) for argument in arguments))
    assert said.code in (2, 3)
    assert re.search(told, said.stderr.replace("\n", " "))


def test_images_come_as_files_or_in_base64(tmp_path: Path) -> None:
    base = make_base(tmp_path / "base", "dinov2")
    folder = make_specialist(tmp_path / "lungs", base, 1, head="both")
    data = encoded(picture(3, 40))
    (tmp_path / "x.png").write_bytes(data)
    from honed.data.image_files import examine

    wanted = load_specialist(folder, device="cpu").probabilities([examine("x.png", tmp_path)])[0].tolist()
    with serving(folder, "--pixels", 40 * 40) as server, server.client() as client:
        by_file = client.post("/v1/predict", files=[("model", (None, "lungs")), ("image", ("x.png", data))])
        in_text = client.post("/v1/predict", json={"model": "lungs", "image": b64(data)})
        for answer in (by_file, in_text):
            got = list(answer.json()["predictions"][0]["probabilities"].values())
            assert got == pytest.approx(wanted, abs=1e-5)
        gif = io.BytesIO(b"GIF89a" + b"\xff" * 20).getvalue()
        for bad in (bomb(), encoded(picture(3, 41)), data[: len(data) // 2], gif, b"\0" * 1000, b"<svg/>", b"x"):
            answer = client.post("/v1/predict", json={"model": "lungs", "image": b64(bad)})
            assert answer.status_code == 422 and "image cannot be used" in answer.text
        assert client.post("/v1/predict", json={"model": "lungs", "text": "x"}).status_code == 422
        assert client.post("/v1/predict", json={"model": "lungs", "image": b64(data)}).status_code == 200
