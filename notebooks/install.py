REPOSITORY = ""  # the address of your copy of the repository, as git clones it; empty where classify is installed

import importlib.util
import subprocess
import sys
from pathlib import Path

if REPOSITORY:
    if not Path("shelfmark").exists():
        subprocess.run(["git", "clone", "--quiet", "--depth", "1", REPOSITORY, "shelfmark"], check=True)
    pins = [word for name in REQUIREMENTS for word in ("-r", f"shelfmark/{name}")]  # noqa: F821 -- the notebook's
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *pins, "./shelfmark"], check=True)
elif importlib.util.find_spec("classify") is None:
    raise SystemExit("classify is not installed: set REPOSITORY to the address of your copy of the repository")

shell = get_ipython()  # noqa: F821 -- the notebook's


def checked(command, system=shell.system):
    """Stop the notebook at a command that fails; of itself `!` goes on."""
    system(command)
    if code := shell.user_ns.get("_exit_code"):
        raise RuntimeError(f"exit code {code}: {command}")


shell.system = checked
