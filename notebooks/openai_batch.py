# %% [markdown]
# # openai: a provider's model, fine-tuned and asked by batches, under a budget
#
# GPT-4o-mini, or a model of any provider with the same API, learns from labelled products; batches ask it, at half
# the price. What it costs is told before, bounded by `--max-cost`, and told after.
#
# **The output below is not OpenAI's.** It comes from a server of the same API on loopback (`python -m
# tests.openai_server` in the repository), whose models answer what they were taught: no money was spent, the scores
# mean nothing, the dollars are what OpenAI's price list makes of the tokens. OpenAI itself has not been called. With
# your own key, everything here costs money: at most `FIT_BOUND` and `RUN_BOUND` dollars.

# %% tags=["install"]
REQUIREMENTS = ["requirements.txt"]

# %% tags=["parameters"]
BASE = "gpt-4o-mini-2024-07-18"
BASE_URL = "https://api.openai.com/v1"
ROWS = 3000  # labelled products
TEST_ROWS = 300
FIT_BOUND = 4.00  # dollars that the fine-tune may cost at most
RUN_BOUND = 0.50  # dollars that the answers may cost at most
POLL = 60  # seconds between two looks at the batches

# %%
# !test -f sample/test.labels || classify sample --rows {ROWS} --test-rows {TEST_ROWS} --out sample

# %% [markdown]
# ## Before it costs anything
#
# `plan` asks nobody, and wants no key.

# %%
# !classify plan --strategy openai --base {BASE} --train sample --test sample/test.features

# %% [markdown]
# The key stays in memory: it is asked for, and in no file.

# %%
import os
from getpass import getpass

os.environ["OPENAI_BASE_URL"] = BASE_URL
if not os.environ.get("OPENAI_API_KEY"):
    os.environ["OPENAI_API_KEY"] = getpass("OPENAI_API_KEY: ")

# %% [markdown]
# The guard: a bound of one cent is refused before the first byte is sent.

# %%
# !classify fit --strategy openai --base {BASE} --train sample --out models/mini --max-cost 0.01 || echo "exit code $?"

# %% [markdown]
# ## The fine-tune
#
# The job goes on at the provider when this cell is interrupted; run it once more, and it comes back to the same job.

# %%
# !classify fit --strategy openai --base {BASE} --train sample --out models/mini --max-cost {FIT_BOUND}

# %% [markdown]
# ## Batches
#
# The provider takes up to a day. Interrupt as you like: `classify resume runs/mini` pays nothing twice.
#
# **The accuracy below is the stand-in's**, which is no language model; it says nothing of what a fine-tune scores.

# %%
# !classify --strategy openai --model models/mini --test sample/test.features --run runs/mini \
#     --max-cost {RUN_BOUND} --poll {POLL}
# !classify batches runs/mini

# %% [markdown]
# ## Snapping
#
# The run has snapped its answers onto valid label paths already; those of the stand-in were all well formed, so that
# there was nothing to do. Here some of them are **damaged on purpose**, as models that were not fine-tuned spell
# theirs. `classify snap` mends them, leaves alone what it can read but is less than half sure of, and keeps every
# change with its rule. (`classify snap runs/mini ...` does the same with all answers of the run.)

# %%
import json

LEVELS = ["supergroup", "group", "module", "brand"]
with open("runs/mini/predictions.jsonl", encoding="utf-8") as predictions:
    rows = [json.loads(next(predictions)) for _ in range(6)]
paths = [[row[level] for level in LEVELS] for row in rows]
answers = [
    " > ".join(paths[0]).title(),  # other signs between the values, other letters
    "__".join(paths[1])[:-2],  # cut
    json.dumps(dict(zip(LEVELS, paths[2], strict=True))).replace('"', "'"),  # an object in single quotes
    f"It is {paths[3][2]}, and the brand is {paths[3][3]}.",  # a sentence
    "__".join([*paths[4][:3], paths[4][3][1:]]),  # a brand that lacks its first letter
    "I cannot tell.",
]
with open("answers.jsonl", "w", encoding="utf-8") as file:
    for row, answer in zip(rows, answers, strict=True):
        print(json.dumps({"indoml_id": row["indoml_id"], "answer": answer}), file=file)

# %%
# !classify snap answers.jsonl --taxonomy runs/mini/taxonomy.csv --leave-below 0.5 --out snapped.jsonl
# !cat answers.jsonl snapped.jsonl

# %% [markdown]
# The score of the run, once more the stand-in's, and the submission:

# %%
# !classify evaluate runs/mini sample/test.labels
# !classify submit runs/mini
