"""Thresholds of a project: what a file says, and with which message one with an error is refused."""

from __future__ import annotations

import os

import pytest

from bench.analysis.compare.policy import ThresholdRule, policy
from bench.errors import UsageError
from bench.measurement import METRICS
from bench.thresholds.rules import check_used, read_thresholds
from bench.thresholds.suggestions import alternatives, closest, meant, short

WRITTEN = """
[default]
threshold = "5%"
policy = "fail"
improvement = "warn"

[[rule]]  # the card in the corner is hot in the afternoon
metric = "train.step_time"
suite = "vision"
case = "*batch_size=256*"
device = "cuda*"
threshold = "3%"
policy = "warn"

[[rule]]
metric = "memory.*"
threshold = "10MiB"
"""


@pytest.fixture
def place(tmp_path):
    return tmp_path / "thresholds.toml"


@pytest.fixture
def read(place):
    def from_text(text: str | bytes) -> list[ThresholdRule]:
        place.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_thresholds(place)

    return from_text


@pytest.fixture
def refused(place, read):
    def with_words(text: str | bytes) -> str:
        """The one line that this text ends in, without the path that it begins with."""
        with pytest.raises(UsageError) as caught:
            read(text)
        return without_path(place, caught.value)

    return with_words


def without_path(place, error) -> str:
    message = str(error)
    assert len(message.splitlines()) == 1
    assert message.startswith(str(place))
    return message.removeprefix(str(place)).lstrip(": ")


def rule_of(threshold: str, metric: str = "*") -> str:
    """A rule with this threshold, quotes and all."""
    return f'[[rule]]\nmetric = "{metric}"\nthreshold = {threshold}'


class TestWhatIsRead:
    def test_the_default_and_then_the_rules_in_their_order(self, read):
        assert read(WRITTEN) == [
            ThresholdRule(
                "[default]", changes={"relative": 0.05, "regression": "fail", "improvement": "warn"}
            ),
            ThresholdRule(
                "[[rule]] 1",
                "train.step_time",
                "vision",
                "*batch_size=256*",
                "cuda*",
                {"relative": 0.03, "regression": "warn"},
            ),
            ThresholdRule("[[rule]] 2", "memory.*", changes={"absolute": 10 * 2**20}),
        ]

    def test_policies_follow_from_it(self, read):
        rules = read(WRITTEN)
        hot = policy(METRICS["train.step_time"], "vision", "main/batch_size=256", "cuda:0", rules)
        assert (hot.relative, hot.regression, hot.improvement) == (0.03, "warn", "warn")
        cool = policy(METRICS["train.step_time"], "vision", "main/batch_size=256", "cpu", rules)
        assert (cool.relative, cool.regression) == (0.05, "fail")
        memory = policy(METRICS["memory.peak_rss"], "vision", "main", "cpu", rules)
        assert memory.threshold(100 * 2**20) == pytest.approx(0.1)

    @pytest.mark.parametrize("text", ["", " \n", "# nothing yet\n", "[default]\n", "rule = []\n"])
    def test_a_file_that_says_nothing_has_no_rules(self, read, text):
        assert read(text) == []

    @pytest.mark.parametrize("encoded", [WRITTEN.encode("utf-8-sig"), WRITTEN.replace("\n", "\r\n").encode()])
    def test_what_an_editor_of_another_system_saved_is_the_same(self, read, encoded):
        assert read(encoded) == read(WRITTEN)

    @pytest.mark.parametrize("key", ["metric", "suite", "case", "device"])
    def test_one_selector_is_enough(self, read, key):
        assert read(f'[[rule]]\n{key} = "a*"\npolicy = "ignore"') == [
            ThresholdRule("[[rule]] 1", **{key: "a*"}, changes={"regression": "ignore"})
        ]


class TestThresholds:
    @pytest.mark.parametrize(
        ("written", "share"),
        [
            ('"5%"', 0.05),
            ('"7 %"', 0.07),
            ('" 0.5%"', 0.005),
            ('"1e-1%"', 0.001),
            ('"150%"', 1.5),
            ("0.07", 0.07),
            ("0.0", 0.0),
            ("0", 0.0),
            ('"0"', 0.0),
            ('"0%"', 0.0),
        ],
    )
    def test_a_share_holds_for_every_metric(self, read, written, share):
        assert read(f"[default]\nthreshold = {written}")[0].changes == {"relative": share}

    @pytest.mark.parametrize(
        ("metric", "written", "value"),
        [
            ("epoch.time", '"2s"', 2),
            ("train.step_*", '"2ms"', 0.002),
            ("train.step_time", '"2.5 us"', 2.5e-6),
            ("train.step_time", '"2\N{MICRO SIGN}s"', 2e-6),
            ("train.step_time", '"2\N{GREEK SMALL LETTER MU}s"', 2e-6),
            ("train.step_time", '"1e3ns"', 1e-6),
            ("train.step_time", '"0ms"', 0),
            ("memory.*", '"10MiB"', 10 * 2**20),
            ("memory.peak_rss", '"10MB"', 10**7),
            ("memory.peak_rss", '"4KiB"', 4096),
            ("memory.peak_rss", '"4kB"', 4000),
            ("count.saved_bytes", '"512B"', 512),
            ("count.ops", '"3"', 3),
            ("count.ops", "3", 3),
            ("work.*", '"1"', 1),
            ("count.flops", '"3MFLOP/step"', 3e6),
            ("count.flops", '"2GFLOP"', 2e9),
            ("*.throughput", '"100 samples/s"', 100),
            ("energy.per_sample", '"5mJ/sample"', 0.005),
            ("quality.test_*", '"0.02"', 0.02),
            ("quality.time_to_loss", '"2s"', 2),
            ("my.own", '"0.5"', 0.5),
            ("train.phase.augment", '"1ms"', 0.001),
        ],
    )
    def test_a_quantity_is_in_the_unit_of_its_metric(self, read, metric, written, value):
        (rule,) = read(rule_of(written, metric))
        assert rule.changes == {"absolute": pytest.approx(value)}

    def test_counts_may_have_a_share(self, read):
        assert read(rule_of('"1%"', "count.allocations"))[0].changes == {"relative": 0.01}

    @pytest.mark.parametrize(
        ("written", "why"),
        [
            ('"-5%"', 'threshold = "-5%" is negative'),
            ("-0.05", "threshold = -0.05 is negative"),
            ("-3", "threshold = -3 is negative"),
            ("nan", "threshold = nan is not finite"),
            ('"nan%"', 'threshold = "nan%" is not finite'),
            ("inf", "threshold = inf is not finite"),
            ('"1e999%"', "is not finite"),
            ("1" + "0" * 400, "threshold = (a number) is not finite"),
            ("-1" + "0" * 400, "threshold = (a number) is negative"),
        ],
    )
    def test_what_is_no_size_of_a_change_is_refused(self, refused, written, why):
        message = refused(f"[default]\nthreshold = {written}")
        assert message.startswith("[default]: threshold = ")
        assert why in message
        assert message.endswith("; write a number from 0 on: the largest tolerated change")

    @pytest.mark.parametrize(
        ("written", "why"),
        [
            ('"five"', '"five" is not a number with a unit'),
            ('"5,5%"', '"5,5%" is not a number with a unit'),
            ('"1_000"', '"1_000" is not a number with a unit'),
            ('"5 % of it"', "is not a number with a unit"),
            ('""', '"" is not a number with a unit'),
            ("true", "true is true or false"),
            ("[1]", "(an array) is an array"),
            ("{a = 1}", "(a table) is a table"),
            ("1979-05-27", "(a date or time) is a date or time"),
            ('"5 light-years"', "has no known unit, 'light-years'"),
        ],
    )
    def test_what_is_no_number_is_refused_with_examples(self, refused, written, why):
        message = refused(rule_of(written))
        assert message.startswith("[[rule]] 1: threshold = ")
        assert why in message
        assert message.endswith(
            '; write a share, such as "5%" or 0.05, or a quantity, such as "2ms", "10MiB" or "3"'
        )

    @pytest.mark.parametrize(
        ("written", "meant"),
        [("10MIB", "MiB"), ("10KB", "kB"), ("2msec", "ms"), ("2S", "s"), ("1gflop", "GFLOP")],
    )
    def test_a_misspelt_unit_is_answered_with_the_closest(self, refused, written, meant):
        assert refused(rule_of(f'"{written}"')).endswith(f"; did you mean '{meant}'?")

    def test_one_unit_does_not_do_for_metrics_in_two(self, refused):
        message = refused(rule_of('"1s"', "compile.*"))
        assert 'is in one unit, but metric = "compile.*" matches metrics in s, 1; ' in message

    @pytest.mark.parametrize("written", ["1.0", "1.5"])
    def test_from_one_on_a_share_may_be_percent(self, refused, written):
        assert "whichever is meant" in refused(f"[default]\nthreshold = {written}")

    def test_a_number_that_may_be_percent_or_a_share_is_asked_about(self, refused):
        assert refused("[default]\nthreshold = 5.0") == (
            '[default]: threshold = 5.0 would be 500%; write "5%" or "500%", whichever is meant'
        )

    @pytest.mark.parametrize(
        ("metric", "written", "why", "example"),
        [
            ("train.step_time", "10MiB", 'is in B, but "train.step_time" is in s', "2ms"),
            ("train.step_time", "3", 'is a plain number, but "train.step_time" is in s', "2ms"),
            ("count.ops", "2ms", 'is in s, but "count.ops" is a plain number', "3"),
            ("energy.*", "3", 'is a plain number, but "energy.*" is in J/sample', "1J/sample"),
            ("my.own", "1ms", 'is in s, but "my.own" is a plain number', "3"),
            ("count.ops", "0.05", 'is not a whole number, but "count.ops" counts', "3"),
            ("count.allocations", "0.5", 'is not a whole number, but "count.allocations" counts', "3"),
            ("work.*", "1.5", 'is not a whole number, but "work.*" counts', "3"),
        ],
    )
    def test_a_quantity_of_another_unit_is_refused(self, refused, metric, written, why, example):
        assert refused(rule_of(f'"{written}"', metric)) == (
            f'[[rule]] 1: threshold = "{written}" {why}; '
            f'write a share, such as "5%" or 0.05, or a quantity, such as "{example}"'
        )

    @pytest.mark.parametrize(
        ("text", "whose"),
        [
            ('[default]\nthreshold = "2ms"', "it is for all metrics in s, samples/s, 1 and 5 more"),
            (
                '[[rule]]\nsuite = "a"\nthreshold = "2ms"',
                "it is for all metrics in s, samples/s, 1 and 5 more",
            ),
            (rule_of('"2ms"', "train.*"), 'metric = "train.*" matches metrics in s, samples/s, 1'),
            (rule_of("3", "count.*"), 'metric = "count.*" matches metrics in 1, FLOP, B'),
        ],
    )
    def test_a_quantity_for_metrics_of_several_units_is_refused(self, refused, text, whose):
        assert refused(text).endswith(
            f'is in one unit, but {whose}; name metrics of one unit, or write a share, such as "5%"'
        )


class TestWhatCannotBeMeant:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[defaults]", "table [defaults] is not known; did you mean 'default'?"),
            ("[[rules]]\na = 1", "table [rules] is not known; did you mean 'rule'?"),
            ("threshold = 1", "table [threshold] is not known; write default or rule"),
            (
                '["\\u001b[31m"]',
                "table [\\x1b[31m] is not known; write default or rule",
            ),
            (
                '[default]\ntreshold = "5%"',
                "[default]: key treshold is not known; did you mean 'threshold'?",
            ),
            (
                '[[rule]]\nmetric = "a"\npolicy = "fail"\n\n[[rule]]\nmetrics = "a"',
                "[[rule]] 2: key metrics is not known; did you mean 'metric'?",
            ),
            (
                '[[rule]]\nzzz = "a"',
                "[[rule]] 1: key zzz is not known; "
                "write metric, suite, case, device, threshold, policy, improvement or better",
            ),
            (
                '[default]\nmetric = "a"',
                '[default]: metric = "a" cannot stand here, for the default is of every row; put it into a [[rule]]',
            ),
            (
                '[default]\npolicy = "error"',
                '[default]: policy = "error" is not a policy; write fail, warn or ignore',
            ),
            (
                "[default]\nimprovement = true",
                "[default]: improvement = true is not a policy; write fail, warn or ignore",
            ),
            (
                '[[rule]]\ncase = 256\npolicy = "warn"',
                "[[rule]] 1: case = 256 is a number; write a pattern in quotes",
            ),
            (
                f'[[rule]]\ncase = {10**20 - 1}\npolicy = "warn"',
                f"[[rule]] 1: case = {10**20 - 1} is a number; write a pattern in quotes",
            ),
            (
                f'[[rule]]\ncase = {10**20}\npolicy = "warn"',
                "[[rule]] 1: case = (a number) is a number; write a pattern in quotes",
            ),
            (
                '[[rule]]\ncase = " "\npolicy = "warn"',
                '[[rule]] 1: case = "" matches nothing; write a pattern, such as "*", or leave it out',
            ),
            (
                '[[rule]]\npolicy = "warn"',
                "[[rule]] 1 chooses no rows; add metric, suite, case or device, or put it into [default]",
            ),
            (
                '[[rule]]\nmetric = "a"',
                "[[rule]] 1 has no effect; add threshold, policy, improvement or better",
            ),
            (
                '[rule]\nmetric = "a"',
                "rule is a table; write each rule under its own [[rule]], in two brackets",
            ),
            (
                "rule = [1]",
                "rule is an array of other things than tables; "
                "write each rule under its own [[rule]], in two brackets",
            ),
            ('rule = "a"', "rule is a text; write each rule under its own [[rule]], in two brackets"),
            ("[[default]]", "default is an array; write it as the one table [default]"),
        ],
    )
    def test_is_refused_with_its_table_its_key_and_the_remedy(self, refused, text, message):
        assert refused(text) == message

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ('[default]\npolicy = "fail"\npolicy = "warn"\n', "(at line 3, column 16)"),
            ("[default]\n[default]", "(at line 2, column 9)"),
            ("[default\n", "(at line 1, column 9)"),
            ("[default]\nthreshold = 5%", "(at line 2, column 14)"),
            ("[default]\nthreshold = " + "9" * 5000, "4300 digits"),
        ],
    )
    def test_what_is_no_toml_is_refused_with_its_line(self, refused, text, why):
        message = refused(text)
        assert message.startswith("is not TOML: ")
        assert why in message
        assert message.endswith("; fix it there")

    def test_a_tower_of_brackets_is_refused(self, refused):
        assert refused("rule = " + "[" * 10**5) == (
            "is nested too deep; write [default] and [[rule]] tables only"
        )

    def test_another_encoding_is_refused(self, refused):
        assert (
            refused("# größer\n".encode("latin-1")) == "is not UTF-8 text, from byte 4 on; save it as UTF-8"
        )

    def test_a_file_of_megabytes_is_refused(self, read, refused):
        assert read(b"#" * 2**20) == []
        assert refused(b"#" * (2**20 + 1)) == "holds more than 1 MiB; name the TOML file with the thresholds"


class TestContradictions:
    @pytest.mark.parametrize(
        ("one", "other", "key"),
        [
            ('threshold = "3%"', 'threshold = "5%"', "threshold"),
            ('threshold = "3%"', 'threshold = "2ms"', "threshold"),
            ('policy = "fail"', 'policy = "warn"', "policy"),
            ('improvement = "fail"', 'improvement = "warn"', "improvement"),
        ],
    )
    def test_two_rules_for_the_same_rows_must_not_differ(self, refused, one, other, key):
        rules = [f'[[rule]]\nmetric = "epoch.time"\ndevice = "c*"\n{said}' for said in (one, other)]
        assert refused("\n".join([rules[0], rule_of('"9%"', "epoch.*"), rules[1]])) == (
            f"[[rule]] 3 and [[rule]] 1 are for the same rows and differ in {key}; keep one of them"
        )

    @pytest.mark.parametrize("other", ['threshold = "3%"', "threshold = 0.03", 'policy = "warn"'])
    def test_they_may_say_the_same_twice_or_other_things(self, read, other):
        rules = [f'[[rule]]\nmetric = "epoch.time"\n{said}' for said in ('threshold = "3%"', other)]
        assert len(read("\n".join(rules))) == 2

    def test_rules_for_other_rows_may_differ(self, read):
        assert len(read(rule_of('"3%"', "epoch.time") + "\n" + rule_of('"5%"', "epoch.*"))) == 2


class TestUnreadableFiles:
    def gone(self, place):
        return "cannot be read: No such file or directory"

    def a_folder(self, place):
        place.mkdir()
        return "is not a file"

    def a_pipe(self, place):
        os.mkfifo(place)
        return "is not a file"

    @pytest.mark.parametrize("make", [gone, a_folder, a_pipe])
    def test_are_refused_at_once(self, place, make):
        why = make(self, place)
        with pytest.raises(UsageError) as caught:
            read_thresholds(place)
        assert without_path(place, caught.value) == f"{why}; name the TOML file with the thresholds"

    def test_a_path_that_no_file_can_have_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match="cannot be read: embedded null byte; name the TOML file"):
            read_thresholds(tmp_path / "a\0b")


ROWS = [
    (metric, suite, case, device)
    for metric in ("epoch.time", "train.step_time")
    for suite, case, device in (
        ("vision", "main/batch_size=64", "cpu"),
        ("vision", "main/batch_size=256", "cuda:0"),
        ("text", "main/width=8", "cpu"),
    )
]


class TestRulesThatAreUsed:
    def unused(self, place, rows=ROWS, **patterns) -> str:
        with pytest.raises(UsageError) as caught:
            check_used(
                [ThresholdRule("[default]"), ThresholdRule("[[rule]] 2", **patterns)], iter(rows), place
            )
        return without_path(place, caught.value)

    def test_every_rule_that_holds_for_a_row_is_let_through(self, place, read):
        check_used(
            [ThresholdRule("[default]"), ThresholdRule("[[rule]] 1", "train.*", "v*", "*=256", "cuda*")],
            ROWS,
            place,
        )

    def test_the_default_need_not_hold_for_any(self, place):
        check_used([ThresholdRule("[default]")], [], place)

    @pytest.mark.parametrize(
        ("key", "pattern", "there"),
        [
            ("metric", "train.steptime", "train.step_time, epoch.time"),
            ("suite", "Vision", "vision, text"),
            ("device", "CUDA*", "cuda:0, cpu"),
        ],
    )
    def test_a_pattern_that_matches_nothing_is_shown_what_there_is(self, place, key, pattern, there):
        message = self.unused(place, **{key: pattern})
        assert message.startswith(
            f'[[rule]] 2 matches nothing in this comparison: {key} = "{pattern}" matches no {key}, '
        )
        names = message.split("where there is ")[1].removesuffix("; fix the pattern, or take the rule out")
        assert set(names.split(", ")) == set(there.split(", "))

    def test_the_closest_name_comes_first_and_the_rest_is_counted(self, place):
        rows = [(f"m{number}", "s", "c", "cpu") for number in range(20)] + [("epoch.time", "s", "c", "cpu")]
        assert "where there is epoch.time, m0, m1 and 18 more; " in self.unused(
            place, rows, metric="epoch.tme"
        )

    def test_the_one_at_fault_is_named_among_several(self, place):
        assert 'device = "tpu" matches no device, where there is' in self.unused(
            place, metric="epoch.*", suite="vision", device="tpu"
        )

    def test_one_that_matches_nothing_by_itself_is_shown_all_that_there_is(self, place):
        assert "matches no device, where there is cpu, cuda:0; " in self.unused(
            place, suite="text", device="cpu:9"
        )

    def test_patterns_that_match_but_never_together_are_told_so(self, place):
        assert self.unused(place, suite="text", device="cuda*") == (
            '[[rule]] 2 matches nothing in this comparison: device = "cuda*" matches no device in the rows '
            "that its other patterns leave, where there is cpu; fix the pattern, or take the rule out"
        )

    def test_in_a_comparison_of_nothing_there_is_none(self, place):
        assert "matches no metric, where there is none; " in self.unused(place, [], metric="a")

    def test_an_empty_device_is_shown_as_one(self, place):
        assert "where there is (none); " in self.unused(place, [("a", "s", "c", "")], device="cpu")


class TestSuggestions:
    def test_alternatives_are_listed(self):
        assert [alternatives(list(names)) for names in ("", "a", "ab", "abc")] == [
            "",
            "a",
            "a or b",
            "a, b or c",
        ]

    def test_what_shares_half_of_its_letters_may_be_meant(self):
        assert meant("abxy", ["efgh", "abcd"]) == "did you mean 'abcd'?"
        assert meant("axyz", ["efgh", "abcd"]) == "write efgh or abcd"
        assert closest("abxy", ["efgh", "abcd"]) == ["abcd", "efgh"]
        assert closest("axyz", ["efgh", "abcd"]) == ["efgh", "abcd"]

    def test_of_names_that_differ_in_case_alone_the_first_is_meant(self):
        assert meant("AB", ["ab", "Ab"]) == "did you mean 'ab'?"

    def test_a_text_is_cut_where_it_is_long_and_its_control_characters_are_written_out(self):
        assert short("größer") == "größer"
        assert short("a\x1bb") == "a\\x1bb"
        assert short("C:\\me") == "C:\\me"
        assert short("x" * 60) == "x" * 60
        assert short("x" * 61) == f"{'x' * 60}..."


def test_axes_have_their_names_in_patterns_of_cases_alone(read):
    (found,) = read('[[rule]]\nsuite = "my-suite=1"\ncase = "*/batch-size=64"\npolicy = "warn"')
    assert (found.suite, found.case) == ("my-suite=1", "*/batch_size=64")


class TestQuality:
    def test_a_rule_of_all_of_it_needs_none_to_hold_for(self, place, read):
        """A loop need not tell its loss; the rule is one that is written for every project."""
        for pattern in ("quality.*", "quality.*_loss"):
            rules = read(f'[[rule]]\nmetric = "{pattern}"\npolicy = "fail"')
            check_used(rules, [("epoch.time", "s", "s/a=1", "cpu")], place)

    @pytest.mark.parametrize(
        "selectors",
        ['metric = "quality.test_acuracy"', 'metric = "quality.tset*"', 'metric = "quality.*"\ncase = "x"'],
    )
    def test_one_that_may_be_misspelt_is_refused(self, place, read, selectors):
        rules = read(f'[[rule]]\n{selectors}\npolicy = "fail"')
        with pytest.raises(UsageError, match="matches nothing"):
            check_used(rules, [("epoch.time", "s", "s/a=1", "cpu")], place)

    def test_rules_behind_it_must_be_used(self, place, read):
        rules = read(
            '[[rule]]\nmetric = "quality.*"\npolicy = "fail"\n[[rule]]\nmetric = "train.*"\npolicy = "fail"'
        )
        with pytest.raises(UsageError, match="matches nothing"):
            check_used(rules, [("epoch.time", "s", "s/a=1", "cpu")], place)

    def test_its_tolerance_may_be_a_plain_number(self, read):
        (rule,) = read('[[rule]]\nmetric = "quality.*"\nthreshold = "0.02"')
        assert dict(rule.changes) == {"absolute": 0.02}

    def test_a_rule_may_tell_the_direction_of_a_metric_of_ones_own(self, read):
        (rule,) = read('[[rule]]\nmetric = "quality.test_score"\nbetter = "more"')
        assert dict(rule.changes) == {"better": "more"}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                'metric = "quality.test_score"\nbetter = "up"',
                '[[rule]] 1: better = "up" is not a direction; write less or more',
            ),
            (
                'metric = "quality.test_loss"\nbetter = "more"',
                '[[rule]] 1: better = "more" cannot be set for quality.test_loss, of which less is better; '
                "name a metric of your own",
            ),
            (
                'metric = "quality.*"\nbetter = "more"',
                '[[rule]] 1: better = "more" cannot be set for quality.train_loss, of which less is better; '
                "name a metric of your own",
            ),
        ],
    )
    def test_what_has_one_is_not_turned_over(self, refused, text, message):
        assert refused(f"[[rule]]\n{text}") == message


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("vision/*batch-size=256*", "vision/*batch_size=256*"),
        ("*/arg:-b=2/*", "*/b=2/*"),
        ("*/env:WORKERS=2", "*/WORKERS=2"),
        ("*/batch-size=a-b=c", "*/batch_size=a-b=c"),
        ("*/loss=cross-entropy/*", "*/loss=cross-entropy/*"),
        ("*[a-c]=1*", "*[a-c]=1*"),
        ("*cross-entropy*", "*cross-entropy*"),
    ],
)
def test_an_axis_in_the_pattern_of_a_case_may_be_spelled_as_axis_gave_it(read, written, meant):
    (rule,) = read(f'[[rule]]\ncase = "{written}"\npolicy = "warn"')
    assert rule.case == meant
