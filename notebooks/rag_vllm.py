# %% [markdown]
# # rag with an LLM: prompts on a processor, answers on a GPU
#
# `rag` writes one prompt for each product, with the most similar labelled products and the candidates among which the
# model is to choose. That needs no GPU, and the run directory can be carried from one machine to another. Then a
# model on vLLM answers, held to the candidates.
#
# On Colab: *Runtime > Change runtime type > GPU*, the address of your copy of the repository into `REPOSITORY`, *Run
# all*. After the installation Colab may ask to restart the runtime: do so, and run all once more.
#
# **What has been run:** the cells up to the prompts, on a processor, whose output is kept below; the cells after them
# in the continuous integration, with a tiny Llama on transformers in place of `LLM` on vLLM. On a GPU they have not
# been run.

# %% tags=["install"]
REQUIREMENTS = ["requirements.txt", "requirements-gpu.txt"]

# %% [markdown]
# A T4 (16 GB) holds `Qwen/Qwen2.5-1.5B-Instruct`, in 16 bits; it has no bfloat16. An A100 holds
# `meta-llama/Llama-3.1-8B-Instruct` (`DTYPE = "auto"`), the datathon team's; for that one Hugging Face wants you to
# accept its licence and to set `HF_TOKEN`.

# %% tags=["parameters"]
LLM = "Qwen/Qwen2.5-1.5B-Instruct"
ENGINE = "vllm"
DTYPE = "float16"
ROWS = 200  # products to classify
HELD_OUT = 100  # labelled products that are asked about, too, to learn how far to trust the model; better 500
DOLLARS_AN_HOUR = 0.40  # of the GPU, for the table

# %% [markdown]
# ## Prompts, on a processor
#
# `--until requests` stops before anything is asked.

# %%
# !test -f sample/test.labels || classify sample --rows 5000 --test-rows {ROWS} --out sample
# !classify --strategy rag --train sample --test sample/test.features --run runs/llm \
#     --calibrate {HELD_OUT} --until requests

# %%
import json

with open("runs/llm/requests.jsonl", encoding="utf-8") as requests:
    request = json.loads(next(requests))
for turn in request["messages"]:
    print(f"[{turn['role']}]\n{turn['content']}\n")

# %% [markdown]
# ## Answers, on the GPU
#
# Every answer is on disk the moment it comes: when Colab disconnects, run this cell once more, and nothing is asked
# twice. (Keep `runs` on a mounted drive for that.)

# %% tags=["gpu"]
# !classify resume runs/llm --engine {ENGINE} --llm {LLM} --dtype {DTYPE} --gpu-price {DOLLARS_AN_HOUR}

# %% [markdown]
# The table says what the model was worth on held-out rows beside the retriever alone, and how far it was trusted.

# %% tags=["gpu"]
# !classify evaluate runs/llm sample/test.labels
# !classify submit runs/llm
