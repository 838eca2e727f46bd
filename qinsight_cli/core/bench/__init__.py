"""The paper's tables: published figures beside those measured here.

paper.py         what each table asks, and every cell of Tables 1-5 and B from published/*.csv
grid.py          cells, lines and marks: a table as it is printed
datasets.py      which prepared datasets, and which rows of them
systems/         what can stand in a row: models, metrics, predictions made elsewhere
protocols/       answers -> figures, one file for each task
run.py           the whole of it; output.py the folder it leaves, render.py a table as text
availability.py  how each row can be measured here, and whether it can be now
"""
