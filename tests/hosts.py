"""The smallest networks that Lightning and Hugging Face's Trainer train."""

from lightning.pytorch import LightningModule
from torch import nn, optim
from transformers import Trainer, TrainingArguments
from transformers.modeling_outputs import SequenceClassifierOutput

QUIET = {
    "log_every_n_steps": 1,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
}
"""What keeps Lightning's trainer from printing."""


class LightningNetwork(LightningModule):
    """Any network of vectors or images; batches may hold more than inputs and labels."""

    def __init__(self, network, rate=1e-2):
        super().__init__()
        self.network, self.rate = network, rate

    def forward(self, inputs):
        return self.network(inputs)

    def training_step(self, batch, _):
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch, _):
        self.log("loss", nn.functional.cross_entropy(self(batch[0]), batch[1]))

    def configure_optimizers(self):
        return optim.Adam(self.parameters(), self.rate)


class TrainerNetwork(nn.Module):
    """The same, as the Trainer calls it."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs, labels=None):
        logits = self.network(inputs)
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def trainer(network, train, holdout, folder, epochs, rate=1e-2):
    """A Trainer of pairs (inputs, label) that is silent, on the CPU."""

    def items(pairs):
        return [{"inputs": inputs, "labels": int(label)} for inputs, label in pairs]

    words = {"report_to": [], "save_strategy": "no", "disable_tqdm": True, "use_cpu": True}
    words |= {"lr_scheduler_type": "constant", "logging_strategy": "no"}
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=50,
        learning_rate=rate,
        **words,
    )
    return Trainer(
        model=TrainerNetwork(network),
        args=arguments,
        train_dataset=items(train),
        eval_dataset=items(holdout),
    )
