#!/usr/bin/env python3
"""Trains GPT-2 data-parallel with PyTorch and saves it with torch.distributed.checkpoint, or loads it again: the peer
of checkpoint_stall.py, started by torch.distributed.run. Prints one line of JSON an event; seconds are of rank 0.

  {"event": "step", "step": 7, "step_seconds": 4.1, "stall_seconds": 0.3}   stall: what saving made training wait since
  {"event": "saved", "step": 8, "seconds": 5.2}                             on disk, so long after the save began
  {"event": "loaded", "seconds": 0.9}

--checkpointer thread    async_save with a thread that writes, its staging memory kept between saves
               process   the same with a process
--load same              into the trainer, which then goes on
       sharded           into tensors cut in equal parts over the ranks, as a tensor-parallel run would hold them
"""

import argparse
import json
import time

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_saver import AsyncCheckpointerType
from torch.distributed.tensor import Shard, init_device_mesh, zeros
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import tree_map_only

import gpt2_pytorch


def tell(event, **numbers):
    if dist.get_rank() == 0:
        print(json.dumps({"event": event, **numbers}), flush=True)


class Trainer(gpt2_pytorch.Trainer):
    def __init__(self, size):
        super().__init__(size, "cpu", "fp32")
        self.loss = DistributedDataParallel(self.model)

    def state(self):
        model, optimizer = get_state_dict(self.model, self.optimizer)
        return {"model": model, "optimizer": optimizer}

    def load(self, folder):
        state = self.state()
        dcp.load(state, checkpoint_id=folder)
        set_state_dict(
            self.model, self.optimizer, model_state_dict=state["model"], optim_state_dict=state["optimizer"]
        )


class Saver:
    """One save at a time, each in a folder of its own."""

    def __init__(self, folder, kind):
        process = kind == "process"
        self.folder = folder
        self.type = AsyncCheckpointerType.PROCESS if process else AsyncCheckpointerType.THREAD
        self.stager = DefaultStager(StagingOptions(False, process, False, False))  # pinned memory is CUDA's
        self.ranks = dist.new_group(backend="gloo")  # its collectives run beside those of the training
        self.upload = None

    def begin(self, state, step):
        self.finish()
        begun = time.perf_counter()
        saved = dcp.async_save(
            state,
            checkpoint_id=f"{self.folder}/step-{step}",
            process_group=self.ranks,
            async_checkpointer_type=self.type,
            async_stager=self.stager,
        )
        self.upload = getattr(saved, "upload_completion", saved)
        self.upload.add_done_callback(lambda _: tell("saved", step=step, seconds=time.perf_counter() - begun))

    def finish(self):
        if self.upload:
            self.upload.result()


def train(given, trainer):
    saver = Saver(given.folder, given.checkpointer)
    stall = 0.0
    for step in range(1, given.steps + 1):
        tokens = gpt2_pytorch.random_tokens(given.micro_batch, given.context)
        begin = time.perf_counter()
        trainer.step(tokens)
        tell("step", step=step, step_seconds=time.perf_counter() - begin, stall_seconds=stall)
        stall = 0.0
        if step % given.every == 0:
            begin = time.perf_counter()
            saver.begin(trainer.state(), step)
            stall = time.perf_counter() - begin
    saver.finish()
    saver.stager.close()


def load(given, trainer):
    step = lambda: trainer.step(gpt2_pytorch.random_tokens(given.micro_batch, given.context))
    if given.load == "sharded":
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        cut = lambda whole: zeros(whole.shape, device_mesh=mesh, placements=[Shard(0)]) if whole.dim() else whole
        state = tree_map_only(torch.Tensor, cut, trainer.state())
    dist.barrier()
    begin = time.perf_counter()
    if given.load == "sharded":
        dcp.load(state, checkpoint_id=given.folder)
    else:
        trainer.load(given.folder)
    tell("loaded", seconds=time.perf_counter() - begin)
    if given.load == "same":
        begin = time.perf_counter()
        step()
        tell("step", step=1, step_seconds=time.perf_counter() - begin, stall_seconds=0.0)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--folder", required=True)
    options.add_argument("--size", choices=gpt2_pytorch.SIZES, default="124M")
    options.add_argument("--micro-batch", type=int, default=2, help="samples of a step on each rank")
    options.add_argument("--context", type=int, default=256, help="tokens of a sample")
    options.add_argument("--steps", type=int, default=0)
    options.add_argument("--every", type=int, default=0, help="steps from save to save")
    options.add_argument("--checkpointer", choices=["thread", "process"], default="thread")
    options.add_argument("--load", choices=["same", "sharded"], help="no training: loads --folder")
    given = options.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(1)
    dist.init_process_group("gloo")
    trainer = Trainer(given.size)
    if given.load:
        load(given, trainer)
    else:
        train(given, trainer)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
