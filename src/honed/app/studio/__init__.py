"""`honed studio`: one web app over a folder of runs."""
