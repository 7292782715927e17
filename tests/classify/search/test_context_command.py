"""Searching by the command, against a search engine on this machine."""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from itertools import pairwise

import pytest

from catalog.context import Context
from classify.search.books import Spent, books_of
from tests.search_server import Stumble

KEY = "BSA/very+secret=1"
WORDS = ["apple", "bread", "cheese", "dates", "eggs", "figs", "grapes", "honey", "ice", "jam"]


def test_each_description_is_searched_for_once(command, engine, endpoint, products, tmp_path, lines) -> None:
    test = products("Rst  CKN", "rst ckn", "ｒｓｔ ckn", "milk", "", "  ")
    train = products("milk", "MILK", "bread", name="train.features")
    cache = tmp_path / "context.jsonl"
    done = command("context", test, train, "--out", cache, "--search", endpoint, "--price-per-1000", "5")
    assert done.code == 0, done.err
    assert sorted(engine.queries) == ["MILK", "Rst CKN", "bread"]
    assert "3 found, 0 without a result, 0 failed, by 3 searches" in done.out
    assert "$0.0150 spent" in done.out
    entry = next(line for line in lines(cache) if line["query"] == "bread")
    assert entry["snippets"] == [{"title": "About bread", "url": "https://shop.test/1", "text": "bread & more"}]
    assert entry["provider"] == f"generic {engine.url.removeprefix('http://')}"
    assert entry["dollars"] == 0.005
    again = command("context", test, train, "--out", cache, "--search", endpoint)
    assert again.code == 0, again.err
    assert len(engine.queries) == 3


def test_a_cache_does_not_hang_on_the_order_of_rows(command, engine, endpoint, products, tmp_path) -> None:
    texts = [*WORDS, "Apple", "BREAD", "bread", "apple "]
    kept = []
    for number in range(2):
        random.Random(number).shuffle(texts)
        cache = tmp_path / f"{number}.jsonl"
        place = products(*texts, name=f"{number}.features")
        assert command("context", place, "--out", cache, "--search", endpoint, "--concurrency", 1).code == 0
        kept.append(cache.read_bytes())
    assert kept[0] == kept[1]
    assert engine.queries[:3] == ["Apple", "BREAD", "cheese"]  # those of most products first


def test_searches_without_a_price_count_once_it_is_known(
    command, refused, engine, endpoint, products, tmp_path
) -> None:
    """A price is of a thousand searches; books count one."""
    cache = tmp_path / "c.jsonl"
    common = ["--out", cache, "--search", endpoint]
    done = command("context", products(*WORDS[:6]), *common)
    assert "$0.0000 spent on the cache, besides 6 searches without a known price" in done.out
    plan = command("context", products(*WORDS), *common, "--plan")
    assert "$0.0000 at most spent before, besides 6 searches without a known price" in plan.out
    priced = [*common, "--price-per-1000", "5"]
    plan = command("context", products(*WORDS), *priced, "--max-cost", "0.05", "--plan")
    assert (
        "4 searches, $0.0200 at most where each is answered the first time; $0.0300 at most spent before\n" in plan.out
    )
    short = [*priced, "--max-cost", "0.049"]
    assert "$0.0300 at most spent before. That is more" in refused("context", products(*WORDS), *short, "--plan")
    assert "$0.0300 spent, and 4 searches could cost $0.0200" in refused("context", products(*WORDS), *short)
    done = command("context", products(*WORDS), *priced, "--max-cost", "0.05")
    assert done.out.rstrip().endswith("; $0.0500 spent on the cache"), done.out + done.err


def test_a_provider_that_is_not_there(refused, products, tmp_path) -> None:
    message = refused("context", products("milk"), "--out", tmp_path / "c.jsonl", "--search",
                      "http://127.0.0.1:1/{query}", "--retries", 1)  # fmt: skip
    assert "the last with no connection: Connection refused, after 1 retry; nothing was found: " in message
    assert "the same command begins again" in message
    assert not (tmp_path / "c.jsonl").exists()


def test_a_plan_asks_nothing_and_writes_nothing(command, engine, endpoint, products, tmp_path) -> None:
    cache = tmp_path / "new" / "context.jsonl"
    done = command("context", products(*WORDS), "--out", cache, "--plan", "--price-per-1000", "10")
    assert done.code == 0, done.err
    assert "10 searches, $0.1000 at most" in done.out
    assert not engine.queries
    assert not cache.parent.exists()
    done = command("context", products(*WORDS), "--out", cache, "--search", endpoint, "--plan", "--limit", 4)
    assert "4 searches; what they cost is not known" in done.out


def test_what_could_cost_too_much_is_not_begun(refused, engine, endpoint, products, tmp_path) -> None:
    cache = tmp_path / "context.jsonl"
    common = ["context", products(*WORDS), "--out", cache, "--search", endpoint, "--max-cost", "0.05"]
    assert "price of a search is unknown; say with --price-per-1000" in refused(*common)
    assert "10 searches could cost $0.1000" in refused(*common, "--price-per-1000", "10")
    assert "That is more than --max-cost 0.05" in refused(*common, "--price-per-1000", "10", "--plan")
    assert "price of a search is unknown; say with --price-per-1000" in refused(*common, "--plan")
    assert "price of a search is unknown" in refused(*common[:4], "--max-cost", "1", "--plan")
    assert not engine.queries
    assert not cache.exists()
    assert not books_of(cache).exists()


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_holds_whatever_goes_wrong(command, engine, endpoint, products, tmp_path, seed, lines) -> None:
    draw = random.Random(seed)
    stumbles = [
        Stumble(status=500, value={"error": "no"}),
        Stumble(status=503, headers={"Retry-After": "2"}),
        Stumble(status=429, headers={"Retry-After": "1"}),
        Stumble(content=b'{"web": {"resul'),
        Stumble(drop=True),
        Stumble(status=400, value={"message": "what?"}),
        Stumble(content=b"[" * 100_000),
    ]
    engine.script = lambda number, query: draw.choice(stumbles) if number > 1 and draw.random() < 0.5 else None
    cache, texts = tmp_path / "context.jsonl", [f"{word} {number}" for word in WORDS for number in range(3)]
    place, cap = products(*texts), 0.033
    common = ["context", place, "--out", cache, "--search", endpoint, "--price-per-1000", "1", "--max-cost", cap]
    while True:
        before = len(engine.queries)
        done = command(*common, "--retry-failed", "--concurrency", draw.randint(1, 6))
        assert engine.billed * 0.001 <= cap + 1e-9
        assert Spent.read(books_of(cache)).dollars >= engine.billed * 0.001 - 1e-9
        if done.code == 2:
            assert "--max-cost 0.033: $0.0" in done.err
            assert len(engine.queries) <= before + 40
            break
        if len(engine.queries) == before:
            break
    assert max(engine.answered.values()) == 1
    assert {line["query"] for line in lines(cache) if "error" not in line} == set(engine.answered)


def test_killed_and_begun_again(engine, endpoint, products, tmp_path, command, lines) -> None:
    cache, stop = tmp_path / "context.jsonl", 7
    texts = [f"{word} {number}" for word in WORDS for number in range(2)]
    common = ["context", products(*texts), "--out", cache, "--search", endpoint, "--price-per-1000", "100"]
    engine.script = lambda number, query: Stumble(hang=True) if number > stop else None
    process = subprocess.Popen([sys.executable, "-m", "classify.cli", *map(str, [*common, "--concurrency", 3])])
    while not cache.exists() or len(lines(cache)) < stop or engine.now < 3:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with open(cache, "ab") as stream:
        stream.write(b'{"query": "torn')
    in_flight = engine.queries[stop:]
    assert len(in_flight) == 3
    engine.script = lambda number, query: None

    short = command(*common, "--max-cost", "2.29")
    assert "$1.0000 spent, and 13 searches could cost $1.3000" in short.err
    done = command(*common, "--max-cost", "2.3")
    assert done.code == 0, done.err
    assert "$2.3000 spent on the cache, $0.3000 of it for searches without an answer" in done.out
    asked = Counter(engine.queries)
    assert {query for query, times in asked.items() if times > 1} == set(in_flight)
    assert sorted(line["query"] for line in lines(cache)) == sorted(texts)


def test_the_key_is_sent_and_stands_nowhere(command, engine, endpoint, products, tmp_path) -> None:
    hello = {"web": {"results": [{"title": KEY, "description": f"your key is {KEY}", "url": f"https://x.test/{KEY}"}]}}
    engine.script = lambda number, query: {
        1: Stumble(value=hello),
        2: Stumble(status=400, value={"message": f"bad key {KEY}"}),
        3: Stumble(status=500, value={"message": KEY}),
    }.get(number, Stumble(status=401, value={"message": f"who is {KEY}?"}))
    done = command("context", products(*WORDS), "--out", tmp_path / "c.jsonl", "--search", endpoint, "--concurrency", 1)
    assert done.code == 2
    assert "HTTP 401; check the key in SEARCH_KEY; the server says: who is ***?" in done.err
    assert engine.headers[0]["X-Subscription-Token"] == KEY
    assert "Authorization" not in engine.headers[0]
    for form in (KEY, "BSA%2Fvery%2Bsecret%3D1", "BSA/very%2Bsecret%3D1"):
        assert form not in done.out + done.err
        for file in tmp_path.rglob("*"):
            assert not file.is_file() or form not in file.read_text()


def test_a_key_in_the_address_is_hidden_too(refused, engine, products, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SEARCH_KEY", KEY)
    file = tmp_path / "engine.toml"
    file.write_text(f'url = "{engine.url}/search?q={{query}}&api_key={{key}}"\nkey = "SEARCH_KEY"\n')
    engine.script = lambda number, query: Stumble(status=403)
    message = refused("context", products("milk"), "--out", tmp_path / "c.jsonl", "--search", file)
    assert f"{engine.url}/search: HTTP 403; check the key in SEARCH_KEY" in message
    assert "secret" not in message
    address = f"{engine.url}/search?q={{query}}&api_key=secret"  # where none should be
    assert "secret" not in refused("context", products("milk"), "--out", tmp_path / "c.jsonl", "--search", address)
    assert "secret" not in refused("context", products("milk"), "--out", tmp_path / "c.jsonl", "--search",
                                   address.replace("{query}", ""))  # fmt: skip


def test_retry_after_is_waited_for(command, engine, endpoint, products, tmp_path, waits) -> None:
    engine.script = lambda number, query: Stumble(status=429, headers={"Retry-After": "7"}) if number == 1 else None
    done = command("context", products("milk"), "--out", tmp_path / "c.jsonl", "--search", endpoint,
                   "--price-per-1000", "1")  # fmt: skip
    assert done.code == 0, done.err
    assert 7 <= waits[0] <= 8
    assert "$0.0010 spent" in done.out  # what was refused for its haste costs nothing


def test_the_rate_is_kept(command, engine, endpoint, products, tmp_path, waits) -> None:
    done = command("context", products(*WORDS), "--out", tmp_path / "c.jsonl", "--search", endpoint, "--rate", "0.01")
    assert done.code == 0, done.err
    # Nobody waits here, so that what would be waited grows by the 100 seconds between two searches.
    assert len(waits) == 9
    assert all(later - earlier == pytest.approx(100, abs=5) for earlier, later in pairwise(waits))
    assert engine.most <= 8


def test_wrong_endpoints_cost_little(refused, engine, endpoint, products, tmp_path) -> None:
    endpoint.write_text(endpoint.read_text().replace("web.results", "organic"))
    message = refused("context", products(*WORDS), "--out", tmp_path / "c.jsonl", "--search", endpoint)
    assert "3 searches in a row failed" in message
    assert "no list of results at 'organic'; the answer has: web" in message
    assert len(engine.queries) == 3
    assert not (tmp_path / "c.jsonl").exists()


def test_nothing_found_is_an_answer(command, engine, endpoint, products, tmp_path) -> None:
    engine.script = lambda number, query: {
        2: Stumble(value={"web": {"results": []}}),
        3: Stumble(value={"query": "nothing at all"}),
        4: Stumble(value={"web": {"results": [None, 3, {"title": 5, "description": None}, "as text"]}}),
        5: Stumble(content=b" " * 5_000_000),
    }.get(number)
    cache = tmp_path / "c.jsonl"
    common = ["context", products(*WORDS), "--out", cache, "--search", endpoint, "--concurrency", 1]
    done = command(*common)
    assert done.code == 0, done.err
    assert "7 found, 2 without a result, 1 failed, by 10 searches" in done.out
    assert Context.read(cache).of(WORDS[3]) == ("as text",)
    assert "too long: an answer of more than 4,000,000 bytes" in cache.read_text()
    command(*common)
    assert len(engine.queries) == 10
    assert "1 found" in command(*common, "--retry-failed").out
    assert len(engine.queries) == 11


def test_a_provider_that_is_gone_leaves_no_errors_behind(refused, engine, endpoint, products, tmp_path, lines) -> None:
    engine.script = lambda number, query: Stumble(status=500) if number > 5 else None
    texts = [f"{word} {number}" for word in WORDS for number in range(5)]
    cache = tmp_path / "c.jsonl"
    message = refused("context", products(*texts), "--out", cache, "--search", endpoint, "--retries", 0,
                      "--concurrency", 2)  # fmt: skip
    assert "22 searches in a row failed, the last with HTTP 500" in message
    kept = [bool(line.get("error")) for line in lines(cache)]
    # Two at once: the sixth, which fails, may end before the fifth, and then failed by itself.
    assert kept.count(False) == 5
    assert kept.count(True) <= 1


def test_a_few_failures_after_an_answer_end_nothing_one_at_a_time(command, engine, endpoint, products, tmp_path):
    engine.script = lambda number, query: Stumble(status=500) if 1 < number < 8 else None
    texts = [f"{word} {number}" for word in WORDS[:2] for number in range(5)]
    done = command("context", products(*texts), "--out", tmp_path / "c.jsonl", "--search", endpoint, "--retries", 0,
                   "--concurrency", 1)  # fmt: skip
    assert done.code == 0, done.err
    assert len(engine.queries) == 10


def test_an_endpoint_that_takes_posts(command, engine, products, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SEARCH_KEY", KEY)
    file = tmp_path / "engine.toml"
    file.write_text(
        f'url = "{engine.url}/search"\nmethod = "POST"\nkey = "SEARCH_KEY"\nresults = "web.results"\n'
        'query = "{description} grocery"\n[body]\nq = "{query}"\nnum = 5\n[headers]\nX-API-KEY = "{key}"\n'
    )
    done = command("context", products('mi"lk {key}'), "--out", tmp_path / "c.jsonl", "--search", file)
    assert done.code == 0, done.err
    assert engine.queries == ['mi"lk {key} grocery']
    assert engine.headers[0]["X-API-KEY"] == KEY


def test_an_address_is_enough(command, engine, products, tmp_path) -> None:
    engine.script = lambda number, query: Stumble(value={"results": [{"title": "a", "content": "b"}]})
    url = f"{engine.url}/search?q={{query}}&format=json"
    assert command("context", products("a&b=c#d"), "--out", tmp_path / "c.jsonl", "--search", url).code == 0
    assert engine.queries == ["a&b=c#d"]
    assert Context.read(tmp_path / "c.jsonl").of("A&B=C#D") == ("a: b",)


def test_a_model_that_searches(command, refused, engine, products, tmp_path, monkeypatch, lines) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    cache, prices = tmp_path / "c.jsonl", tmp_path / "prices.toml"
    prices.write_text('["seeker"]\ninput = 1000.0\noutput = 1000.0\n')
    common = ["context", products("milk", "bread"), "--out", cache, "--search", "openai",
              "--base-url", f"{engine.url}/v1"]  # fmt: skip
    assert "say with --llm which model searches" in refused(*common)
    common += ["--llm", "seeker"]
    assert "the price of its tokens, or of a search is unknown" in refused(*common, "--max-cost", 1)
    done = command(*common, "--prices", prices, "--price-per-1000", "10", "--max-cost", "2")
    assert done.code == 0, done.err
    assert lines(cache)[0]["snippets"] == [{"title": "", "url": "https://shop.test/1", "text": "It is bread."}]
    assert lines(cache)[0]["dollars"] == 0.08  # a cent, and 70 tokens at a thousandth of a dollar
    assert engine.headers[0]["Authorization"] == "Bearer sk-very-secret"


def test_a_model_that_is_dearer_than_thought_is_stopped(command, engine, products, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    prices = tmp_path / "prices.toml"
    prices.write_text('["seeker"]\ninput = 1.0\noutput = 1.0\n')
    choice = {"message": {"content": "It is."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 0}
    engine.script = lambda number, query: Stumble(value={"choices": [choice], "usage": usage})
    done = command("context", products(*WORDS), "--out", tmp_path / "c.jsonl", "--search", "openai", "--llm", "seeker",
                   "--base-url", f"{engine.url}/v1", "--prices", prices, "--price-per-1000", 0,
                   "--max-cost", "3.5")  # fmt: skip
    # Thought to cost nothing to speak of; the first, which goes alone, tells that each takes a dollar.
    assert "--max-cost 3.5: $3.0000 spent, and another search is not within it" in done.err
    assert len(engine.queries) == 3


def test_two_at_once_are_refused(refused, endpoint, products, tmp_path) -> None:
    from classify.search.books import Books

    with closing(Books(tmp_path / "c.jsonl", None, None)):
        message = refused("context", products("milk"), "--out", tmp_path / "c.jsonl", "--search", endpoint)
    assert "another process is searching for it" in message


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("url = 3", "url: "),
        ('url = "ftp://x.test/{query}"', "no address like"),
        ('url = "https://me:pw@x.test/{query}"', "holds a user or a password"),
        ('url = "https://[x/{query}"', "no address, or"),
        ('url = "https://x.test/{query}"\nmethod = "POST"\n[body]\nday = 2026-11-21', "cannot be written as JSON"),
        ('url = "https://{key}.test/{query}"', "in the name of the host"),
        ('url = "https://x.test/"', "where the description goes"),
        ('url = "https://x.test/{query}"\nresult = "x"', "did you mean 'results'?"),
        ('url = "https://x.test/{query}&k={key}"', "which environment variable"),
        ('url = "https://x.test/{query}"\nkey = "NOT_SET_AT_ALL"', "NOT_SET_AT_ALL is not set"),
        ('url = "https://x.test/{query}"\nquery = "shop"', "it lacks {description}"),
        ('url = "https://x.test/"\n[body]\nq = "{query}"', 'write method = "POST"'),
        ("url", "not TOML"),
    ],
)
def test_wrong_endpoint_files(refused, products, tmp_path, text, fault) -> None:
    file = tmp_path / "engine.toml"
    file.write_text(text)
    assert fault in refused("context", products("milk"), "--out", tmp_path / "c.jsonl", "--search", file)
    assert not (tmp_path / "c.jsonl").exists()


def test_wrong_commands(refused, products, tmp_path, endpoint) -> None:
    cache = tmp_path / "c.jsonl"
    assert "give products, or --run RUN" in refused("context", "--out", cache)
    assert "give --search" in refused("context", products("milk"), "--out", cache)
    assert "--search googel: unknown" in refused("context", products("milk"), "--out", cache, "--search", "googel")
    assert "call it NAME.jsonl" in refused("context", products("milk"), "--out", tmp_path / "c.csv", "--plan")
    assert "cannot be read" in refused("context", products("milk"), "--out", cache, "--search", tmp_path / "no.toml")
    cache.write_text("{}\n")
    assert "line 1: not {" in refused("context", products("milk"), "--out", cache, "--plan")
    assert not books_of(cache).exists()


def test_a_run_says_what_is_worth_a_search(command, finished, tmp_path, lines) -> None:
    predictions = lines(finished / "predictions.jsonl")
    sure = sorted(line["confidence"] for line in predictions)
    below = sure[len(sure) // 2]
    done = command("context", "--run", finished, "--below", below, "--out", tmp_path / "c.jsonl", "--plan")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{sum(one < below for one in sure)} products, ")


def test_held_out_rows_of_a_model_are_searched_for(command, model, tmp_path) -> None:
    done = command("context", "--model", model, "--calibrate", 25, "--out", tmp_path / "c.jsonl", "--plan")
    assert done.code == 0, done.err
    assert done.out.startswith("25 products, ")


def test_those_of_most_products_go_first(command, engine, endpoint, products, tmp_path) -> None:
    place = products("apple", "bread", "Bread", "cheese", "cheese", "CHEESE")
    done = command("context", place, "--out", tmp_path / "c.jsonl", "--search", endpoint, "--limit", 2)
    assert done.code == 0, done.err
    assert engine.queries == ["CHEESE", "Bread"]
    assert "something is known of 2 of 3 descriptions" in done.out


def test_what_a_person_wrote_into_the_cache_stays(command, engine, endpoint, products, tmp_path) -> None:
    cache = tmp_path / "c.jsonl"
    cache.write_text('{"description": "milk", "snippet": "white"}')  # no end of line
    assert command("context", products("Milk", "bread"), "--out", cache, "--search", endpoint).code == 0
    assert engine.queries == ["bread"]
    assert Context.read(cache).of("milk") == ("white",)
    assert Context.read(cache).of("bread") == ("About bread: bread & more",)
