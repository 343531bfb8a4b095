from types import SimpleNamespace

from vesalius.training.callbacks import History


def train(history: History, *, first: int, epochs: int) -> None:
    metrics = {"train_loss": 0.5, "val_loss": 0.25, "val_dice": 0.75, "other": 1.0}
    optimizer = SimpleNamespace(param_groups=[{"lr": 0.01}, {"lr": 0.1}])
    trainer = SimpleNamespace(
        current_epoch=first, callback_metrics=metrics, optimizers=[optimizer], is_global_zero=True, global_step=4
    )
    history.on_train_start(trainer, None)
    for epoch in range(first, first + epochs):
        trainer.current_epoch, trainer.global_step = epoch, 4 * (epoch + 1)
        history.on_train_epoch_end(trainer, None)


def test_every_epoch_is_a_row_and_a_resumed_run_adds_to_them(tmp_path):
    path = tmp_path / "run/metrics.csv"
    train(History(path, "val_dice"), first=0, epochs=2)
    train(History(path, "val_dice"), first=2, epochs=1)
    assert path.read_text().splitlines() == [
        "epoch,step,learning_rate,train_loss,val_loss,val_dice",
        "0,4,0.1,0.5,0.25,0.75",
        "1,8,0.1,0.5,0.25,0.75",
        "2,12,0.1,0.5,0.25,0.75",
    ]


def test_epochs_after_the_state_that_is_resumed_are_forgotten(tmp_path):
    path = tmp_path / "metrics.csv"
    train(History(path, "val_dice"), first=0, epochs=3)
    train(History(path, "val_dice"), first=1, epochs=1)
    assert [row.split(",")[0] for row in path.read_text().splitlines()] == ["epoch", "0", "1"]


def test_a_new_run_begins_anew(tmp_path):
    train(History(tmp_path / "metrics.csv", "val_dice"), first=0, epochs=3)
    train(History(tmp_path / "metrics.csv", "val_dice"), first=0, epochs=1)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 2
