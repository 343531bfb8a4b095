"""What a worker says of a process of its own that gives no answer."""

import threading

import pytest

from scripted_child import ScriptedChild

pytest.importorskip("pyarrow", reason="needs the extra archive")

from vesalius.archive import worker
from vesalius.archive.items import FileFact, WorkItem
from vesalius.archive.request import ArchiveRequest, WorkerOptions
from vesalius.archive.work import ItemOutcome
from vesalius.archive.worker import ShardWorker
from vesalius.errors import ConfigError, ModelError
from vesalius.isolation import ChildEndedError, ChildFailedError, ChildLateError, ChildStoppedError
from waiting import PATIENCE_S, until

REQUEST = ArchiveRequest("in", "segment", ("square",))
ITEM = WorkItem.make("a.png", "in", [FileFact("a.png", 1, "1")])


def scripted(answers=(), starts=()) -> ShardWorker:
    """A worker whose process answers as told; nothing is written, since no answer has rows."""
    options = WorkerOptions(timeout_s=7, tries=2)
    told = [each if isinstance(each, Exception) else each.to_bytes() for each in answers]
    shard_worker = ShardWorker(REQUEST, "never-written", options)
    shard_worker._isolated._child = ScriptedChild(told, starts)
    return shard_worker


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        (ItemOutcome.failed(REQUEST, "a.png", "a.png: no image."), "a.png: no image."),
        (ChildLateError("late"), "a.png: took more than 7 s; --timeout allows more."),
    ],
)
def test_an_item_that_gets_no_answer_is_tried_again_and_told(second, reason):
    result = scripted([ChildEndedError("its process ended with code 3"), second]).run([ITEM])
    assert result.failed == ({"key": ITEM.key, "source": "a.png", "reason": reason, "tries": 2},)


def test_a_process_may_fail_to_start_a_few_times():
    ended = ChildEndedError("its process cannot be started (no memory)")
    done = ItemOutcome.failed(REQUEST, "a.png", "a.png: no image.")
    assert scripted([done], [ended] * (worker.STARTS - 1)).run([ITEM]).failed[0]["tries"] == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ChildEndedError("its process ended with code 1"), "its process ended with code 1"),
        (ChildLateError("late"), f"it took more than {worker.START_S:g} s"),
        (ChildFailedError("ImportError", "libgomp.so.1: no such file."), "ImportError: libgomp.so.1: no such file"),
    ],
)
def test_a_model_that_no_process_opens_ends_the_run_with_the_reason(error, told):
    with pytest.raises(ModelError) as caught:
        scripted(starts=[error] * worker.STARTS).run([ITEM])
    assert str(caught.value) == f"pocket: a worker could not open it; {told}. `--workers 0` shows why."


def test_an_error_that_concerns_all_items_is_raised_as_it_was():
    with pytest.raises(ConfigError, match="^no such device$"):
        scripted(starts=[ChildFailedError("ConfigError", "no such device")]).run([ITEM])
    with pytest.raises(ModelError, match="^bad weights$"):
        scripted([ChildFailedError("ModelError", "bad weights")]).run([ITEM])


def test_closing_stops_a_batch_in_the_middle_of_an_item_and_before_its_first(bright_everywhere, tmp_path):
    site = bright_everywhere / "sitecustomize.py"
    site.write_text("import time\nif 'vesalius.archive.child' in __import__('sys').orig_argv: time.sleep(600)")
    told = []

    def work():
        try:
            at_work.run([ITEM])
        except ChildStoppedError as error:
            told.append(error)

    at_work = ShardWorker(REQUEST, str(tmp_path / "out"), WorkerOptions(1))
    working = threading.Thread(target=work)
    working.start()
    until(lambda: at_work._isolated._child._process is not None)
    at_work.close()
    working.join(PATIENCE_S)
    assert len(told) == 1
    with pytest.raises(ChildStoppedError):
        at_work.run([ITEM])
