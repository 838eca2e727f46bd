"""The paper's tables: published figures beside those measured here.

paper.py         what each table asks, and every cell of Tables 1-5 and B from published/*.csv
grid.py          cells, lines and marks: a table as printed
datasets.py      which prepared datasets, and which rows of them
systems/         the kinds of measured rows: models, metrics, predictions made elsewhere
protocols/       answers -> figures, one file for each task
run.py           a bench from start to finish; output.py writes its folder, render.py a table as text
availability.py  how each row can be measured here, and whether it can be now
"""
