"""The small world: a miniature text-to-image model of coloured shapes and short words, and all that trains it.

Everything is made from nothing on two CPU cores: pictures are drawn by a program (`renderer`), prompts follow
the GenEval metadata convention (`prompts`), and the models are an ordinary Stable Diffusion 3 pipeline in
miniature. Run `python -m tiny_world --help` for the commands.
"""
