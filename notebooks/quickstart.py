# %% [markdown]
# # shelfmark: from product texts to a submission
#
# Made-up products go in, one valid label path comes out for each, with a report and a zip that is checked before it
# is written. No GPU, no key; two or three minutes on two cores.
#
# On Colab: put the address of your copy of the repository into `REPOSITORY`, then *Runtime > Run all*. Where
# `classify` is installed already, leave it empty.

# %% tags=["install"]
REQUIREMENTS = ["requirements.txt"]

# %% [markdown]
# ## Data
#
# In the datathon's shape: `train.features` and `train.labels`, JSON lines that belong together by `indoml_id`. For
# data of your own, upload files like these, or one CSV with all columns, and put their names in place of `sample`.

# %%
# !test -f sample/test.labels || classify sample --rows 20000 --test-rows 2000 --out sample
# !head -n 2 sample/train.features sample/train.labels

# %% [markdown]
# ## Classify
#
# `rag` finds the most similar labelled products and lets them vote; with an LLM (the notebook `rag_vllm`) it would
# ask that to choose among them. `--strategy tree` is more accurate here, and takes a few minutes to train.

# %%
# !classify --strategy rag --train sample --test sample/test.features --run runs/first

# %%
import pandas as pd

pd.read_json("runs/first/predictions.jsonl", lines=True).head()

# %% [markdown]
# ## How good it is
#
# Where labels are known. Confidence is calibrated: of the rows it calls 0.8 sure, four of five are right.

# %%
# !classify evaluate runs/first sample/test.labels

# %% [markdown]
# The same as a page, with the mistakes and their reasons: `runs/first/report.html`, one file that opens in any browser.
# Two of its plots:

# %%
# !classify report runs/first

# %%
import re
from pathlib import Path

from IPython.display import HTML

page = Path("runs/first/report.html").read_text(encoding="utf-8")
plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
HTML("".join(f'<div style="width: 27em; background: white; color: black">{plot}</div>' for plot in plots[:2]))

# %% [markdown]
# ## Submission
#
# Every test row exactly once, every value known, one `.predict` in the zip: anything else would be refused here.

# %%
# !classify submit runs/first
# !unzip -l runs/first/first.zip
