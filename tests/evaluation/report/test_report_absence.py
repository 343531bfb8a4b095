from vesalius.evaluation.report.content import describe_absence


def test_without_absent_targets_it_says_what_would_tell(make_evaluation):
    found = describe_absence([make_evaluation(absent=0)], None)
    assert found.table is None
    assert found.curves == ()
    assert "`vesalius audit`" in found.note


def test_a_model_without_scores_is_named(make_evaluation):
    silent = make_evaluation("unet", existence=False)
    assert describe_absence([silent], None).note == "unet gives no existence score."
    both = describe_absence([make_evaluation(), silent], None)
    assert "unet gives no existence score." in both.note
    assert [curve.name for curve in both.curves] == ["one"]


def test_the_curve_drawn_is_one_that_words_do_not_give_away(make_evaluation):
    found = describe_absence([make_evaluation()], None)
    assert found.curves[0].curve.family == "p0"
    assert [row[0] for row in found.table.rows] == ["all prompts †", "p0", "p1 †"]
    assert "the words alone give the answer away" in found.note
    assert "10 images show the target, 2 do not." in found.note


def test_where_words_tell_nothing_all_prompts_are_drawn(make_evaluation):
    found = describe_absence([make_evaluation(words="no polyp")], None)
    assert found.curves[0].curve.family is None
    assert "†" not in found.note


def test_several_evaluations_have_a_column_each(make_evaluation):
    one = describe_absence([make_evaluation()], None)
    two = describe_absence([make_evaluation(), make_evaluation("two")], None)
    assert one.table.columns == ("prompt", "AUC")
    assert two.table.columns == ("prompt", "one", "two")
