"""`honed serve` as its clients meet it: right answers, hot changes, draining."""

from __future__ import annotations

import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from e2e.conftest import run_cli
from e2e.served_process import OPTIONS, TEXTS, House, b64, bomb, predicted, serving
from honed.serving.engine import load_specialist
from image_files import encoded, picture
from served import make_base, make_specialist

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def test_every_specialist_answers_as_honed_predict_does(house: House) -> None:
    names = [name for name in OPTIONS if name != "secret"]
    with house.server.client(house.own) as client:
        said = client.post("/v1/predict", json={"model": names, "text": TEXTS}).json()["predictions"]
    assert [(row["model"]) for row in said] == names * len(TEXTS)
    for i, name in enumerate(names):
        got = [list(row["probabilities"].values()) for row in said[i :: len(names)]]
        np.testing.assert_allclose(got, predicted(house.made / name, *TEXTS), atol=1e-5)


def test_many_clients_at_once_get_their_own_answers(house: House) -> None:
    names = ["a", "b", "p", "k", "f"]
    wanted = {name: predicted(house.made / name, *TEXTS) for name in names}

    def one(i: int) -> float:
        name, j = names[i % 5], i % len(TEXTS)
        with house.server.client(house.own) as client:
            row = client.post("/v1/predict", json={"model": name, "text": TEXTS[j]}).json()["predictions"][0]
        return float(np.abs(np.array(list(row["probabilities"].values())) - wanted[name][j]).max())

    with ThreadPoolExecutor(16) as pool:
        assert max(pool.map(one, range(80))) < 1e-5


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
        assert list(first.values()) == pytest.approx(predicted(house.made / "a", TEXTS[0]), abs=1e-5)
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


# -- without keys, on loopback --------------------------------------------------------------------------------------


def test_runs_are_served_without_keys_to_this_machine_alone(made: Path) -> None:
    wanted = predicted(made / "b", TEXTS[0])
    with serving(made / "a", f"nice={made / 'b'}", "--rate", 0.1) as server, server.client() as client:
        assert [row["id"] for row in client.get("/v1/models").json()["data"]] == ["a", "nice"]
        answer = client.post("/v1/predict", json={"model": "nice", "text": TEXTS[0]})
        assert list(answer.json()["predictions"][0]["probabilities"].values()) == pytest.approx(wanted, abs=1e-5)
        again = client.post("/v1/predict", json={"model": "a", "text": "x"})
        assert again.status_code == 429 and 1 <= int(again.headers["retry-after"]) <= 10, "one input in ten seconds"
        # a page whose name was made to point here
        assert client.get("/v1/models", headers={"host": f"evil.example:{server.port}"}).status_code == 403
        assert client.get("/v1/models", headers={"host": f"localhost:{server.port}"}).status_code == 200
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
        (["{made}/a", "--host", "192.0.2.1"], r"Without API keys.*honed keys add"),
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
        gif = b"GIF89a" + b"\xff" * 20
        for bad in (bomb(), encoded(picture(3, 41)), data[: len(data) // 2], gif, b"\0" * 1000, b"<svg/>", b"x"):
            answer = client.post("/v1/predict", json={"model": "lungs", "image": b64(bad)})
            assert answer.status_code == 422 and "image cannot be used" in answer.text
        assert client.post("/v1/predict", json={"model": "lungs", "text": "x"}).status_code == 422
        assert client.post("/v1/predict", json={"model": "lungs", "image": b64(data)}).status_code == 200
