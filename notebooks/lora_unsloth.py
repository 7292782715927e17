# %% [markdown]
# # lora: a fine-tune of your own, with Unsloth
#
# An open model learns from labelled products to answer a product, as JSON, with its label. `classify` plans, trains,
# merges the adapters, checks that the merged model answers as they did, and predicts, every answer a valid label
# path.
#
# On Colab: *Runtime > Change runtime type > GPU*, the address of your copy of the repository into `REPOSITORY`, *Run
# all*. After the installation Colab may ask to restart the runtime: do so, and run all once more.
#
# **What has been run:** data and plan, on a processor, whose output is kept below; the cells after them in the
# continuous integration, with TRL, a tiny Llama and its own recipe in place of Unsloth and `RECIPE`. On a GPU they
# have not been run.

# %% tags=["install"]
REQUIREMENTS = ["requirements.txt", "requirements-gpu.txt"]

# %% [markdown]
# `lora-small` is the datathon team's recipe on a card of 16 GB, such as a T4; on an A100 take `lora-llama3-8b`. A
# TOML file of your own does as well (docs/lora.md). `ROWS` is small, so that a first try ends within the hour.

# %% tags=["parameters"]
RECIPE = "lora-small"
BACKEND = "unsloth"
ENGINE = "vllm"
ROWS = 4000  # labelled products
TEST_ROWS = 200

# %%
# !test -f sample/test.labels || classify sample --rows {ROWS} --test-rows {TEST_ROWS} --out sample

# %% [markdown]
# ## Before it costs anything
#
# Of `RECIPE`: rows, tokens, steps; and for each card whether it is large enough, how many hours, and how many dollars.

# %%
# !classify plan --strategy lora --train sample --test sample/test.features --recipe {RECIPE}

# %% [markdown]
# ## Train and merge
#
# When Colab disconnects, run this cell once more: it goes on from the last checkpoint. (Keep `models` on a mounted
# drive for that.)

# %% tags=["gpu"]
# !classify fit --strategy lora --train sample --out models/tuned --recipe {RECIPE} --backend {BACKEND}

# %% [markdown]
# The curves, loss and item accuracy by step:

# %% tags=["gpu"]
from IPython.display import HTML

HTML(filename="models/tuned/report.html")

# %% [markdown]
# ## Predict

# %% tags=["gpu"]
# !classify --strategy lora --model models/tuned --test sample/test.features --run runs/tuned --engine {ENGINE}
# !classify evaluate runs/tuned sample/test.labels
# !classify submit runs/tuned
