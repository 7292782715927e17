"""What a model or a run from somebody else says of templates, paths and addresses."""

import http.server
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import catalog.named
from catalog.errors import ShelfmarkError
from classify import fit, load
from classify.authority import AUTHORITY
from classify.names import ENGINES, STRATEGIES
from classify.provider.client import Provider
from classify.provider.record import Record
from classify.registry import find

MARK = "taken"
SECURITY = Path(__file__).parents[2] / "SECURITY.md"
SHOWN = "{% block system %}{% endblock %}{% block user %}{{ product.text }} %s{% endblock %}"
SHELLS = (
    "{{ cycler.__init__.__globals__.os.system('touch taken') }}",
    "{{ self.__init__.__globals__.__builtins__.__import__('os').system('touch taken') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ (lipsum|attr('__globals__'))['os'].popen('touch taken').read() }}",
    "{% import 'x' as y %}",
    "{% include '/etc/passwd' %}",
    "a template that is harmless, and still not ours",
)


class Listener:
    """A server of somebody else's, which answers whatever it is asked and keeps what it got."""

    def __init__(self) -> None:
        self.got: list[dict[str, str]] = []
        told = self.got

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told.append(dict(self.headers))
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
                usage = {"prompt_tokens": 7, "completion_tokens": 3}
                body = json.dumps({"choices": [choice], "usage": usage, "data": []}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-this-user")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr(Provider, "sleep", staticmethod(lambda seconds: None))
    made = Listener()
    yield made
    made.server.shutdown()
    made.thread.join()
    made.server.server_close()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Go to another machine, whose user has named nothing."""

    def go() -> None:
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another machine"))
        monkeypatch.setattr(catalog.named, "_here", set())

    return go


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture(scope="module")
def begun(shop, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose requests are to be answered by a server; to be copied, not changed."""
    from classify.job import Job
    from classify.model import describe
    from classify.run import Run

    folder = tmp_path_factory.mktemp("begun") / "run"
    options = {**describe(model)["options"], "calibrate": 0}
    job = Job("rag", "server", shop.schema, options, 0, shop.test_file, model=model, limit=4)
    Run.start(folder, job).execute(until="requests")
    return folder


@pytest.fixture
def run(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "run"))


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "copied"))


def change(file: Path, part: str, **values: object) -> None:
    """Write something else into a part of a manifest or a model.json."""
    about = json.loads(file.read_text())
    (about[part] if part else about).update(values)
    file.write_text(json.dumps(about))


@pytest.mark.parametrize("shell", SHELLS)
def test_a_template_of_a_received_model_is_not_rendered(shop, copied: Path, refused, shell: str) -> None:
    change(copied / "model.json", "options", prompt=SHOWN.replace("%s", shell))
    with pytest.raises(ShelfmarkError, match="trust"):
        load(copied)
    assert "--trust" in refused("--model", copied, "--test", shop.test_file, "--run", "run")
    assert not Path("run").exists()
    assert not Path(MARK).exists()


def test_a_template_of_a_received_run_is_not_rendered(run: Path, refused) -> None:
    change(run / "manifest.json", "options", prompt=SHOWN.replace("%s", SHELLS[0]))
    (run / "requests.jsonl").unlink()
    assert "--trust" in refused("resume", run)
    change(run / "manifest.json", "options", ask_by="level")
    assert "--trust" in refused("resume", run)
    assert not Path(MARK).exists()


def test_a_template_of_a_model_in_a_received_run_is_not_rendered(run: Path, copied: Path, refused) -> None:
    template = SHOWN.replace("%s", SHELLS[3])
    change(copied / "model.json", "options", prompt=template)
    shutil.move(copied, run / "model")
    change(run / "manifest.json", "", model=None, train=["train.features"])
    change(run / "manifest.json", "options", prompt=template)
    (run / "requests.jsonl").unlink()
    assert "--trust" in refused("resume", run)
    assert not Path(MARK).exists()


def test_what_is_trusted_once_stays_trusted(shop, copied: Path, command) -> None:
    change(copied / "model.json", "options", prompt=SHOWN.replace("%s", "trusted once"))
    asked = ("--model", copied, "--test", shop.test_file, "--limit", "2", "--until", "requests", "--run")
    assert command(*asked, "refused").code == 2
    assert command(*asked, "one", "--trust").code == 0
    assert command(*asked, "two").code == 0
    assert "trusted once" in Path("two", "requests.jsonl").read_text()
    assert load(copied).strategy.options.prompt


def test_ones_own_template_needs_no_flag_until_it_is_elsewhere(
    shop, command, refused, tmp_path: Path, elsewhere
) -> None:
    own = tmp_path / "own.jinja"
    own.write_text(SHOWN.replace("%s", "my own"))
    fit(shop.train, prompt=str(own)).save("fitted")
    asked = ("--model", "fitted", "--test", shop.test_file, "--limit", "2", "--until", "requests")
    assert command(*asked, "--run", "run").code == 0
    Path("run/requests.jsonl").unlink()
    assert command("resume", "run", "--until", "requests").code == 0
    elsewhere()
    assert "--trust" in refused(*asked, "--run", "there")
    Path("run/requests.jsonl").unlink()
    assert "--trust" in refused("resume", "run", "--until", "requests")
    assert command("resume", "run", "--until", "requests", "--trust").code == 0
    elsewhere()
    assert command(*asked, "--run", "there", "--prompt", own).code == 0


@pytest.mark.parametrize("flags", [(), ("--trust",)])
def test_a_path_for_a_template_is_not_read(shop, copied: Path, run: Path, refused, flags, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)  # whoever reads it waits for ever
    for place in ("/etc/passwd", pipe):
        change(copied / "model.json", "options", prompt=str(place))
        assert "damaged (prompt" in refused("--model", copied, "--test", shop.test_file, "--run", "run", *flags)
        change(run / "manifest.json", "options", prompt=str(place))
        (run / "requests.jsonl").unlink(missing_ok=True)
        assert "damaged (prompt" in refused("resume", run, *flags)


@pytest.mark.parametrize("option", ["encoder", "rerank", "tokenizer"])
def test_a_folder_that_a_received_model_names_is_not_loaded(shop, copied: Path, refused, option, tmp_path) -> None:
    evil = tmp_path / "evil"
    evil.mkdir()
    (evil / "modules.json").write_text('[{"idx": 0, "name": "0", "path": "", "type": "evil.Module"}]')
    (evil / "evil.py").write_text(f"open({MARK!r}, 'w')")
    change(copied / "model.json", "options", **{option: str(evil)})
    message = refused("--model", copied, "--test", shop.test_file, "--run", "run")
    assert f"--{option}" in message
    assert "--trust" in message
    assert not Path(MARK).exists()


def test_a_file_of_prices_that_a_received_run_names_is_not_read(run: Path, refused, tmp_path: Path) -> None:
    pipe = tmp_path / "prices"
    os.mkfifo(pipe)
    change(run / "manifest.json", "", prices=str(pipe))
    assert "--prices" in refused("resume", run, "--llm", "gpt-4o-mini")
    assert "--prices" in refused("plan", "--run", run, "--llm", "gpt-4o-mini")


@pytest.mark.parametrize("option", ["llm", "adapter"])
def test_a_model_that_a_received_run_names_is_not_loaded(run: Path, refused, option: str, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    change(run / "manifest.json", "", engine="transformers", engine_options={option: str(tmp_path / "theirs")})
    assert f"--{option}" in refused("resume", run)


def test_a_model_that_was_fitted_for_a_run_stays_as_it_was(shop, command, refused) -> None:
    asked = ("--train", shop.train_file, "--test", shop.test_file, "--run", "run", "--limit", "2")
    assert command(*asked, "--until", "requests").code == 0
    Path("run/requests.jsonl").unlink()
    assert command("resume", "run", "--until", "requests").code == 0
    Path("run/requests.jsonl").unlink()
    change(Path("run/model/model.json"), "", seed=1)
    assert "it changed since it was fitted" in refused("resume", "run")


def test_training_files_count_by_their_content_alone(run: Path, refused, tmp_path: Path) -> None:
    secret = tmp_path / "secret.features"
    secret.write_text("secret")
    (run / "requests.jsonl").unlink()
    change(run / "manifest.json", "", model=None, train=[str(secret)])
    assert "it changed" in refused("resume", run)
    change(run / "manifest.json", "", model=str(tmp_path), train=[])
    (tmp_path / "model.json").write_text("{}")
    assert "it changed" in refused("resume", run)


def test_a_key_goes_to_no_address_of_a_received_run(run: Path, refused, command, listener) -> None:
    change(run / "manifest.json", "engine_options", base_url=listener.url, llm="any")
    assert "--base-url" in refused("resume", run)
    assert "--base-url" in refused("resume", run, "--trust")
    assert listener.got == []
    assert command("resume", run, "--base-url", listener.url).code == 0
    assert listener.got[0]["Authorization"] == "Bearer sk-of-this-user"
    (run / "completions.jsonl").unlink()
    assert command("resume", run).code == 0  # it is named now


def test_no_key_goes_by_another_way_of_writing_an_address(run: Path, refused, listener) -> None:
    port = listener.url.rpartition(":")[2]
    for url in (f"http://localhost:8000@127.0.0.1:{port}", f"http://LOCALHOST:{port}", f"http://local\thost:{port}"):
        change(run / "manifest.json", "engine_options", base_url=url, llm="any")
        assert "--base-url" in refused("resume", run)
    assert listener.got == []


def test_no_variable_of_a_received_run_is_a_key(run: Path, refused, listener, monkeypatch) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    for option in ("key", "api_key_env", "key_name", "headers"):
        change(run / "manifest.json", "engine_options", **{option: "SECRET"})
        message = refused("resume", run, "--base-url", listener.url)
        assert f"--{option.replace('_', '-')} is not an option" in message
        about = json.loads((run / "manifest.json").read_text())
        del about["engine_options"][option]
        (run / "manifest.json").write_text(json.dumps(about))
    assert listener.got == []


def test_batches_are_looked_up_where_this_user_says_alone(run: Path, refused, command, listener) -> None:
    (run / "batches").mkdir()
    (run / "batches" / "ledger.jsonl").write_text("")
    change(
        run / "manifest.json", "", engine="batch", id="0" * 32, engine_options={"base_url": listener.url, "llm": "a"}
    )
    assert "--base-url" in refused("batches", run)
    assert "--base-url" in refused("batches", run, "--cancel")
    assert "--base-url" in refused("resume", run)
    assert listener.got == []
    assert command("batches", run, "--base-url", listener.url).code == 0
    assert listener.got


def test_every_option_is_decided_on() -> None:
    """SECURITY.md says of each option of each strategy and engine what it is; what is new has to be decided on."""
    told: dict[str, str] = {}
    for row in re.findall(r"^\| (`[^|]*) \| (\w+) \|", SECURITY.read_text(encoding="utf-8"), re.MULTILINE):
        told |= dict.fromkeys(re.findall(r"`(\w+)`", row[0]), row[1])
    options: set[str] = set()
    for kind, registry in (("strategy", STRATEGIES), ("engine", ENGINES)):
        options |= {name for each in registry for name in find(kind, registry, each).options_class.model_fields}
    assert options <= told.keys()
    assert {name: kind for name, kind in told.items() if name in options and kind != "data"} == {
        name: kind for name, kind in AUTHORITY.items() if name in options
    }


def test_a_fine_tune_is_looked_up_where_this_user_says_alone(refused, command, listener) -> None:
    record = Record(Path())
    record.begin({"url": listener.url}, {})
    record.add("made", what="job", id="ftjob-1")
    assert "--base-url" in refused("tuning", ".")
    assert "--base-url" in refused("tuning", ".", "--cancel")
    assert listener.got == []
    command("tuning", ".", "--base-url", listener.url)
    assert listener.got


def test_a_received_model_of_a_provider_names_no_address(shop, refused, listener) -> None:
    fit(shop.train, strategy="openai", tuned="theirs").save("model")
    change(Path("model/model.json"), "options", base_url=listener.url)
    asked = ("--model", "model", "--test", shop.test_file, "--engine", "server", "--run", "run")
    assert "--base-url" in refused(*asked)
    with pytest.raises(ShelfmarkError, match="base-url"):
        load("model", trust=True)
    assert listener.got == []


def test_an_address_that_is_said_again_goes_before_the_models(shop, command, refused) -> None:
    """Said to be the usual one, it must not be taken for not said at all."""
    fit(shop.train, strategy="openai", tuned="theirs", calibrate=0).save("model")
    theirs = Listener()
    change(Path("model/model.json"), "options", base_url=theirs.url)
    usual = "http://127.0.0.1:9/v1"  # nobody is there
    asked = ("--model", "model", "--test", shop.test_file, "--engine", "server", "--limit", "2", "--retries", "0")
    message = refused(*asked, "--base-url", usual, "--run", "run")
    assert usual in message
    assert theirs.got == []
    theirs.server.shutdown()
    theirs.server.server_close()


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/b", ""])
def test_the_files_of_a_model_are_its_own(copied: Path, name: str) -> None:
    change(copied / "model.json", "files", **{name: "0" * 64})
    with pytest.raises(ShelfmarkError, match="damaged"):
        load(copied)


@pytest.mark.parametrize("values", [{"seed": "0"}, {"options": []}, {"schema": 3}, {"files": ["a"]}, {"seed": -1}])
def test_a_model_json_is_checked(copied: Path, values: dict) -> None:
    change(copied / "model.json", "", **values)
    with pytest.raises(ShelfmarkError, match="damaged"):
        load(copied)


@pytest.mark.parametrize(
    "encoder", ["hybrid:hybrid:received/model", "hybrid:received/model", "received/model", "owner/model", "mpnet"]
)
def test_an_encoder_that_a_received_model_names_is_not_loaded(copied: Path, encoder: str) -> None:
    for folder in ("received/model", "sentence-transformers/all-mpnet-base-v2"):
        Path(folder).mkdir(parents=True)
        (Path(folder) / "modules.json").write_text("no model: whoever reads it says so")
    change(copied / "model.json", "options", encoder=encoder)
    with pytest.raises(ShelfmarkError) as refusal:
        load(copied)
    assert any(told in str(refusal.value) for told in ("--trust", "unknown", "there is a folder"))


def test_an_encoder_that_only_a_tree_s_own_file_names_is_not_loaded(shop, refused) -> None:
    fit(shop.train, strategy="tree").save("fitted")
    change(Path("fitted/tree/tree.json"), "", sentences="owner/model")
    told = refused("--model", "fitted", "--test", shop.test_file, "--run", "run")
    assert "fitted with owner/model" in told or "damaged (256 columns)" in told


@pytest.mark.parametrize("name", ["trust", "folder", "strategy", "context", "progress", "work"])
def test_an_option_of_a_manifest_is_no_argument_of_a_function(run: Path, refused, name: str) -> None:
    change(run / "manifest.json", "options", **{name: True})
    (run / "requests.jsonl").unlink()
    assert name in refused("resume", run)


def test_options_that_a_manifest_lacks_are_as_by_default(run: Path, command) -> None:
    about = json.loads((run / "manifest.json").read_text())
    about["options"] = {name: value for name, value in about["options"].items() if name in ("policy", "calibrate")}
    (run / "manifest.json").write_text(json.dumps(about))
    (run / "requests.jsonl").unlink()
    assert command("resume", run, "--until", "requests").code == 0


def test_to_read_a_model_for_a_run_is_not_to_name_what_its_manifest_says(run: Path, command, monkeypatch) -> None:
    named: list[object] = []
    monkeypatch.setattr("classify.model.name_all", named.append)
    (run / "requests.jsonl").unlink()
    assert command("resume", run, "--until", "requests").code == 0
    assert not named
