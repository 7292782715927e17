from finetune.record import history


def test_one_entry_a_step() -> None:
    log = [
        {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 1e-4, "epoch": 0.1, "step": 10},
        {"eval_loss": 1.5, "eval_item_accuracy": 0.4, "eval_runtime": 3.0, "epoch": 0.1, "step": 10},
        {"loss": 1.0, "learning_rate": 5e-5, "step": 20},
        {"train_runtime": 9.0, "train_loss": 1.5, "step": 20},
    ]
    assert history(log) == [
        {"step": 10, "loss": 2.0, "learning_rate": 1e-4, "eval_loss": 1.5, "item_accuracy": 0.4},
        {"step": 20, "loss": 1.0, "learning_rate": 5e-5},
    ]
    assert history([]) == []
