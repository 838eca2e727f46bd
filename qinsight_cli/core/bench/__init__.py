"""The paper's tables: published figures, and beside them what is measured here.

published/        every cell of Tables 1-5 and B as CSV
tables.py         what each table asks: task, columns, metrics
grid.py           cells, lines and marks: a table as it is printed
data.py           which prepared datasets, and which rows of them
answers.py        what one system says of each row
asked.py baselines.py predictions.py    three kinds of systems: models, metrics, answers from elsewhere
scores.py degradations.py pairs.py     answers -> figures
run.py output.py  the whole of it, and the folder it leaves
"""
