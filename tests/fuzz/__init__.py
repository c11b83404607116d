"""Fuzzers: files that are damaged at random, and what reading them gives.

`python -m tests.fuzz --minutes 60` runs them, from the root of the project. `test_fuzz.py` runs the
same for about a minute. Each outcome must be the right value or one refusal of one line. Another
exception, a crash, a wait of many seconds or a wrong value is a failure.

What a wrong value is depends on what a format can promise. Damage of a kind in `exact` must be
noticed, or change nothing. Other damage may give another legal value, which is counted as `other`,
but it must be complete and well formed:

| format | damage that must be noticed | why not more |
| --- | --- | --- |
| PNG | all | |
| store, model folder | all | |
| zip | all, in the bytes of members | names have no checksum |
| JPEG, WebP, GIF, AVIF | files that are cut off or end in zeros | pixels have no checksum |
| TIFF | compressed: files that are cut off | zeros may be pixels |
| tar | files that are cut off | only names have a checksum, zeros are its end |
| embeddings | files that are cut off, bytes that are inserted | numbers have no checksum |
| CSV, Parquet | none | a list may end anywhere |
"""
