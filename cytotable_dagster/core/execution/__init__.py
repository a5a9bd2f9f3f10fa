"""Where steps run: Parsl's executors or threads of this process, and how work is called off.

Imports the errors alone; the one room of `core` that imports Parsl. Knows nothing of what the steps do.
"""
