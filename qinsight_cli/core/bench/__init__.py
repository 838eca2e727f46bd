"""The paper's tables, with published figures and figures measured here.

paper.py         the list of tables; figures.py reads their published cells from published/*.csv
grid.py          a table as printed: cells, lines and marks
datasets.py      the prepared datasets and rows on which a table is measured
systems/         what can have a measured row: models, metrics, predictions files
protocols/       answers -> figures, one module for each task
run.py           a bench from start to finish; output.py writes its folder, render.py a table as text
availability.py  how each row can be measured here, and whether it can run now
"""
