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

# %% [markdown]
# The key stays in this session: it is asked for, and in no file.

# %%
import os
from getpass import getpass

os.environ["OPENAI_BASE_URL"] = BASE_URL
if not os.environ.get("OPENAI_API_KEY"):
    os.environ["OPENAI_API_KEY"] = getpass("OPENAI_API_KEY: ")

# %%
# !classify sample --rows {ROWS} --test-rows {TEST_ROWS} --out sample

# %% [markdown]
# ## Before it costs anything
#
# `plan` asks nobody.

# %%
# !classify plan --strategy openai --base {BASE} --train sample --test sample/test.features

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

# %%
# !classify --strategy openai --model models/mini --test sample/test.features --run runs/mini \
#     --max-cost {RUN_BOUND} --poll {POLL}
# !classify batches runs/mini

# %% [markdown]
# ## Snapping
#
# The run has snapped its answers onto valid label paths already. `classify snap` does it once more with other
# options, here leaving repairs alone that are less than half sure, and keeps every change with its rule.

# %%
# !classify snap runs/mini --taxonomy runs/mini/taxonomy.csv --leave-below 0.5 --out snapped.jsonl

# %%
# !classify evaluate runs/mini sample/test.labels
# !classify submit runs/mini
