"""Patches of OpenRLHF 0.11.2 and DeepSpeed 0.19.6 that make training resume exactly, on a CPU and on GPUs.

Each replaces a text of the pinned source, and refuses any other source (`patching.py`). They change seven things:

- Prompts come in the planned order (`prompt_order.py`), and the position follows from the number of finished updates.
- The reward function receives the number of the update, so that every response is saved with it.
- A requested stop saves a checkpoint after the current update.
- The state of the lowest update is deleted first. OpenRLHF deletes the one with the oldest modification time, which is
  the newest one after the clock has gone backwards.
- A checkpoint is complete only when the hashes of its files are in it (`checkpoints.py`).
- If an actor dies, the run ends (`actor_watch.py`).
- With ZeRO-3 and sleep, Adam's moments are offloaded again after a resume. DeepSpeed saves their host buffers with the
  state, and torch loads them to the GPU, where they would stay.
"""

from medrlvr.training.patching import Patch, Replacement

_IMPORTS = Replacement(
    "import ray\nimport torch\n",
    "import ray\nimport torch\n"
    "from medrlvr.training.resume.actor_watch import watch_actors\n"
    "from medrlvr.training.resume.checkpoints import record_checkpoint\n"
    "from medrlvr.training.resume.prompt_order import PromptOrder\n"
    "from medrlvr.training.resume.stopping import stop_requested\n",
)
_SAMPLER = Replacement(
    "        num_workers=args.data.dataloader_num_workers,\n    )\n\n    # Create eval dataset",
    "        num_workers=args.data.dataloader_num_workers,\n"
    "        sampler=PromptOrder(len(prompts_dataset), args.rollout.batch_size),\n"
    "    )\n\n    # Create eval dataset",
)
_POSITION = [
    Replacement(
        '        start_episode = checkpoint_states["episode"]\n',
        '        start_episode = self.prompts_dataloader.sampler.resume(checkpoint_states["global_step"])\n'
        "        watch_actors(self)\n",
    ),
    Replacement(
        '            state_dict = checkpoint_states["data_loader_state_dict"]\n'
        "            if state_dict:\n"
        "                self.prompts_dataloader.load_state_dict(state_dict)\n",
        "",
    ),
    Replacement(
        "            dataset_length = len(self.prompts_dataloader)\n",
        "            dataset_length = len(self.prompts_dataloader)\n"
        "            self.prompts_dataloader.sampler.start(episode)\n",
    ),
    Replacement('"data_loader_state_dict": self.prompts_dataloader.state_dict(),', '"data_loader_state_dict": {},'),
]
_UPDATE = Replacement(
    "                rollout_samples, filter_pass_rate, prompts_consumed, is_exhausted = (\n",
    "                self.samples_generator.update = global_step + 1\n"
    "                rollout_samples, filter_pass_rate, prompts_consumed, is_exhausted = (\n",
)
_SAVE = [
    Replacement(
        "        if global_step % self.args.ckpt.save_steps == 0:\n",
        "        if global_step % self.args.ckpt.save_steps == 0 or stop_requested():\n",
    ),
    Replacement(
        "            ray.get(refs)\n\n    def _compute_rollout_stats",
        "            ray.get(refs)\n"
        '            record_checkpoint(os.path.join(self.args.ckpt.path, f"{tag}_hf"))\n\n'
        "    def _compute_rollout_stats",
    ),
]

PATCHES = {
    "openrlhf.trainer.ppo_trainer": Patch([_IMPORTS, _SAMPLER, *_POSITION, _UPDATE, *_SAVE]),
    "openrlhf.trainer.ppo_utils.samples_generator": Patch(
        [
            Replacement("import ray\n", "import ray\nfrom medrlvr.training.rollouts import numbered_label\n"),
            Replacement(
                "                label=label,\n", "                label=numbered_label(label, self.update),\n"
            ),
        ]
    ),
    "openrlhf.utils.deepspeed.deepspeed": Patch(
        [
            Replacement(
                "client_state=client_state, save_latest=save_latest)\n",
                "client_state=client_state, save_latest=save_latest)\n"
                "        torch_dist_barrier_and_cuda_sync()\n"
                "        if self.is_rank_0():\n"
                "            from medrlvr.training.resume.checkpoints import record_checkpoint\n\n"
                "            shards = dist.get_world_size() if self.stage else 0\n"
                "            record_checkpoint(os.path.join(save_dir, tag), shards)\n",
            ),
            Replacement("os.path.getmtime(os.path.join(save_dir, d))", 'int(d.rpartition("global_step")[2])'),
        ]
    ),
    "deepspeed.runtime.zero.offload_states": Patch(
        [
            Replacement(
                "        if offload_buf_key not in state:\n",
                "        if offload_buf_key not in state or state[offload_buf_key].device != torch.device(device):\n",
            )
        ]
    ),
}
"""Module -> patch."""
