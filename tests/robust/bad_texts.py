"""Configs, contexts, reports and other text that cannot be used, as bytes: name -> maker."""

from __future__ import annotations

import json
from typing import Any

import tomli_w
from bad_tables import DEEP
from spoilt import EVERYWHERE, Make, spoilt

EXPERIMENT: dict[str, Any] = {
    "name": "tiny",
    "seeds": [0],
    "data": {"train": {"synthetic": "a.parquet", "real": "b.parquet"}, "test": {"real": "c.parquet"}},
    "teacher": {"model": "local-dir:teacher"},
    "student": {"model": "builtin:small_resnet", "kwargs": {"widths": [4, 8]}},
    "training": {"epochs": 2, "batch_size": 16},
    "views": {"count": 2},
    "students": {"l2": {"loss": {"l2": 1.0}}},
}


def config(**changes: Any) -> Make:
    return lambda: tomli_w.dumps(EXPERIMENT | changes).encode()


def student(**changes: Any) -> Make:
    return config(students={"a": {"loss": {"l2": 1.0}} | changes})


def text(words: str) -> Make:
    return lambda: words.encode()


CONFIGS_REFUSED: dict[str, Make] = {
    **{f"{name}.toml": make for name, make in EVERYWHERE.items()},
    "deep.toml": lambda: b"a = " + DEEP,
    "deep keys.toml": lambda: b".".join([b"a"] * 1000) + b" = 1",
    "key twice.toml": text("name = 'a'\nname = 'b'\n"),
    "value missing.toml": text("name = "),
    "json.toml": lambda: json.dumps(EXPERIMENT).encode(),
    "half a character.toml": text('name = "\\ud800"'),
    "unknown key.toml": config(nmae="x"),
    "unknown key below.toml": config(training={"epoch": 3}),
    "unknown key in a student.toml": student(txt="prompt"),
    "unknown loss.toml": student(loss={"l3": 1.0}),
    "loss of text.toml": student(loss={"l2": "much"}),
    "loss of not a number.toml": student(loss={"l2": float("nan")}),
    "loss of infinity.toml": student(loss={"l2": float("inf")}),
    "negative loss.toml": student(loss={"l2": -1.0}),
    "no loss.toml": student(loss={}),
    "unknown text.toml": student(text="poem"),
    "temperature of not a number.toml": student(temperature=float("nan")),
    "temperature of text.toml": student(temperature="hot"),
    "trained on nothing.toml": student(trained_on=[]),
    "no students.toml": config(students={}),
    "students of a list.toml": config(students=[1, 2]),
    "student of a path.toml": config(students={"../x": {"loss": {"l2": 1.0}}}),
    "name of a path.toml": config(name="../../x"),
    "name of a number.toml": config(name=3),
    "name of markup.toml": config(name="<script>"),
    "seeds of text.toml": config(seeds=["a"]),
    "negative seed.toml": config(seeds=[-1]),
    "huge seed.toml": config(seeds=[2**63 - 1]),
    "seed twice.toml": config(seeds=[1, 1]),
    "no epochs.toml": config(training={"epochs": 0}),
    "half an epoch.toml": config(training={"epochs": 0.5}),
    "rate of not a number.toml": config(training={"learning_rate": float("nan")}),
    "rate of infinity.toml": config(training={"learning_rate": float("inf")}),
    "negative rate.toml": config(training={"learning_rate": -1.0}),
    "batch of one.toml": config(training={"batch_size": 1}),
    "unknown precision.toml": config(training={"precision": "fp8"}),
    "unknown schedule.toml": config(training={"schedule": "wave"}),
    "unknown tracker.toml": config(training={"trackers": ["paper"]}),
    "no views.toml": config(views={"count": 0}),
    "no data.toml": config(data={}),
    "data of text.toml": config(data="here"),
    "unknown domain.toml": config(data=EXPERIMENT["data"] | {"test": {"painted": "x"}}),
    "mixture of all.toml": config(data=EXPERIMENT["data"] | {"mixtures": {"m": 1.0}}),
    "mixture of not a number.toml": config(data=EXPERIMENT["data"] | {"mixtures": {"m": float("nan")}}),
    "size of a million.toml": config(data=EXPERIMENT["data"] | {"image_size": 1_000_000}),
    "template without a place.toml": config(teacher={"model": "x", "templates": ["a photo"]}),
    "text with a format.toml": config(texts={"t": {"templates": ["a {} on {word:>999999999}"], "words": {"word": ["a"]}}}),
    "text with braces that do not match.toml": config(texts={"t": {"templates": ["a {} on {"]}}),
    "text that looks inside.toml": config(texts={"t": {"templates": ["a {} {word.__class__}"], "words": {"word": ["a"]}}}),
}
CONFIGS_SPOILT = spoilt("config", ".toml", config(), cuts=(0.1, 0.3, 0.5, 0.9), flips=8)


def contexts(**changes: Any) -> Make:
    good = {"template": "a {class}, {contexts}", "dimensions": {"place": ["here", "there"], "time": ["now", "then"]}}
    return lambda: json.dumps(good | changes).encode()


CONTEXTS_REFUSED: dict[str, Make] = {
    **{f"{name}.json": make for name, make in EVERYWHERE.items() if name != "text"},
    "deep.json": lambda: DEEP,
    "list.json": lambda: b"[1]",
    "number.json": lambda: b"3",
    "unknown key.json": contexts(clases={}),
    "template without a class.json": contexts(template="a photo"),
    "template of another name.json": contexts(template="a {class} {weather}"),
    "template with a format.json": contexts(template="a {class:>999999999} {contexts}"),
    "template with a conversion.json": contexts(template="a {class!r} {contexts}"),
    "template that looks inside.json": contexts(template="a {class.__class__} {contexts}"),
    "template with braces that do not match.json": contexts(template="a {class} {"),
    "no options.json": contexts(dimensions={"place": []}),
    "empty option.json": contexts(dimensions={"place": ["here", " "]}),
    "option twice.json": contexts(dimensions={"place": ["here", "Here"]}),
    "options of numbers.json": contexts(dimensions={"place": [1, 2]}),
    "ten thousand options.json": contexts(dimensions={"place": [f"place {i}" for i in range(10_000)], "time": ["now"]}),
    "ten thousand dimensions.json": contexts(dimensions={f"d{i}": ["a", "b"] for i in range(10_000)}),
    "dimension of signs.json": contexts(dimensions={"{x}": ["a"]}),
    "half a character.json": contexts(dimensions={"place": ["\ud800", "b"]}),
}


def report(**changes: Any) -> Make:
    """A report as small as the schema allows."""
    nothing = {"real": None, "synthetic": None}
    good: dict[str, Any] = {
        "schema_version": 1,
        "name": "x",
        "created": "2026-01-01T00:00:00+00:00",
        "class_names": ["cat", "dog"],
        "teacher": {"name": "teacher", "params": 1, "zero_shot": nothing},
        "students": [],
        "findings": [],
        "factors": [],
        "verdict": {"label": "inconclusive", "statement": "nothing is known"},
    }
    return lambda: json.dumps(good | changes).encode()


def result(**changes: Any) -> Make:
    score = {"value": 0.5, "low": 0.4, "high": 0.6, "chance": None, "direction": "neutral"}
    good: dict[str, Any] = {
        "schema_version": 1,
        "probe": "transfer",
        "subject": "s",
        "reference": None,
        "scores": {"gap": score},
        "counts": {},
        "params": {},
        "seed": 0,
        "versions": {},
    }
    return lambda: json.dumps(good | changes).encode()


RESULTS_REFUSED: dict[str, Make] = {
    **{f"{name}.json": make for name, make in EVERYWHERE.items()},
    "deep.json": lambda: DEEP,
    "list.json": lambda: b"[]",
    "nothing.json": lambda: b"null",
    "number.json": lambda: b"1e999",
    "another version.json": result(schema_version=99),
    "version of text.json": result(schema_version="1"),
    "no scores.json": lambda: b'{"schema_version": 1}',
    "scores of a list.json": result(scores=[1]),
    "score of text.json": result(scores={"gap": "large"}),
    "score without an interval.json": result(scores={"gap": {"value": 1.0}}),
    "score that is not a number.json": result(scores={"gap": {"value": float("nan"), "low": 0.0, "high": 1.0}}),
    "score outside of its interval.json": result(scores={"gap": {"value": 9.0, "low": 0.0, "high": 1.0}}),
    "score with a key more.json": result(scores={"gap": {"value": 0.5, "low": 0.0, "high": 1.0, "more": 1}}),
    "counts of a number.json": result(counts=3),
}
RESULTS_SPOILT = spoilt("result", ".json", result(), flips=6)

REPORTS_REFUSED: dict[str, Make] = {
    **{f"{name}.json": make for name, make in EVERYWHERE.items()},
    "deep.json": lambda: DEEP,
    "list.json": lambda: b"[]",
    "nothing.json": lambda: b"null",
    "another version.json": report(schema_version=99),
    "version of text.json": report(schema_version="one"),
    "no verdict.json": report(verdict=None),
    "unknown verdict.json": report(findings=[{"id": "x", "probe": "x", "verdict": "maybe", "statement": "x"}]),
    "classes of numbers.json": report(class_names=[1, 2]),
    "teacher of text.json": report(teacher="teacher"),
    "students of a number.json": report(students=3),
    "student without a name.json": report(students=[{"params": 1}]),
    "parameters of text.json": report(teacher={"name": "t", "params": "many", "zero_shot": {"real": None, "synthetic": None}}),
}
REPORTS_SPOILT = spoilt("report", ".json", report(), flips=6)

GOOD_ROW = json.dumps({"student": "a", "epoch": 1, "loss": 0.5, "zero_shot_real": 0.25})
ROWS_SKIPPED: dict[str, str] = {
    "empty": "",
    "text": "hello",
    "cut": GOOD_ROW[:-9],
    "list": "[1, 2]",
    "number": "3",
    "nothing": "null",
    "deep": DEEP.decode(),
    "no student": '{"epoch": 1}',
    "no epoch": '{"student": "a"}',
    "epoch of text": '{"student": "a", "epoch": "one"}',
    "epoch of truth": '{"student": "a", "epoch": true}',
    "student of a list": '{"student": ["a"], "epoch": 1}',
    "loss of text": '{"student": "a", "epoch": 1, "loss": "low"}',
    "loss of a list": '{"student": "a", "epoch": 1, "loss": [1]}',
    "loss that is not a number": '{"student": "a", "epoch": 1, "loss": NaN}',
    "loss of infinity": '{"student": "a", "epoch": 1, "loss": 1e999}',
    "loss beyond numbers": '{"student": "a", "epoch": 1, "loss": 1' + "0" * 400 + "}",
    "loss of ten thousand digits": '{"student": "a", "epoch": 1, "loss": 1' + "0" * 10_000 + "}",
}
"""Lines of a `metrics.jsonl` that are passed over; the rows around them are read."""

WORDS_REFUSED: dict[str, Make] = {
    "zero bytes.txt": lambda: b"",
    "blank.txt": lambda: b"\n\n  \n",
    "only kinds.txt": lambda: b"# colour\n# place\n",
    "not unicode.txt": EVERYWHERE["not unicode"],
    "noise.txt": EVERYWHERE["noise"],
}

METADATA_REFUSED: dict[str, Make] = {
    "zero bytes.jsonl": lambda: b"",
    "text.jsonl": lambda: b"hello\n",
    "deep.jsonl": lambda: b'{"file_name": ' + DEEP + b"}",
    "no name.jsonl": lambda: b'{"text": "a cat"}\n',
    "another file.jsonl": lambda: b'{"file_name": "cat/gone.png", "text": "x"}\n',
    "leads out.jsonl": lambda: b'{"file_name": "../../etc/passwd", "text": "x"}\n',
    "twice.jsonl": lambda: b'{"file_name": "cat/good.png", "text": "x"}\n' * 2,
    "captions of lists.jsonl": lambda: b'{"file_name": "cat/good.png", "caption": ["x"]}\n',
    "not unicode.jsonl": lambda: b'{"file_name": "cat/good.png", "text": "\xff\xfe"}\n',
    "zero bytes.csv": lambda: b"",
    "rows of many lengths.csv": lambda: b"file_name,text\ncat/good.png\na,b,c,d\n",
    "no name.csv": lambda: b"text\na cat\n",
    "column twice.csv": lambda: b"file_name,file_name\ncat/good.png,cat/good.png\n",
    "not unicode.csv": lambda: b"file_name,text\ncat/good.png,\xff\xfe\n",
}
