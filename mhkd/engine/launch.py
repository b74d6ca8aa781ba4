"""``detectron2.engine.launch``, which insists on CUDA, for CPU processes as well."""

import functools
import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import torch
from detectron2.engine import launch as detectron2_launch
from detectron2.utils import comm

from ..errors import InputError
from ..extensions import load_extensions, loaded_extensions


def launch(
    main: Callable[..., Any],
    num_processes: int,
    num_machines: int,
    machine_rank: int,
    dist_url: str,
    args: tuple[Any, ...],
) -> None:
    """Run ``main(*args)`` in ``num_processes`` processes on each of ``num_machines`` machines.

    On GPUs this is Detectron2's own launch (NCCL). Without a GPU the processes talk through gloo. They have
    the extensions that this process has loaded.

    Raises:
        InputError: no such number of processes, machines or GPUs.
    """
    if num_processes < 1:
        raise InputError(f"--num-gpus {num_processes}: must be at least 1, also where there is no GPU")
    if not 0 <= machine_rank < num_machines:
        raise InputError(f"--machine-rank {machine_rank}: machines are counted from 0 to --num-machines - 1")
    if torch.cuda.is_available() and num_processes > torch.cuda.device_count():
        raise InputError(f"--num-gpus {num_processes}: there are {torch.cuda.device_count()} GPUs here")
    if num_machines > 1 and dist_url == "auto":
        raise InputError("--dist-url auto: name a port of the first machine, tcp://host:port")
    main = functools.partial(_extended, loaded_extensions(), main)
    if torch.cuda.is_available() or num_processes * num_machines == 1:
        detectron2_launch(main, num_processes, num_machines, machine_rank, dist_url, args)
        return
    if dist_url == "auto":
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            dist_url = f"tcp://127.0.0.1:{s.getsockname()[1]}"
    # CPU processes would otherwise take all cores each.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // num_processes)))
    world_size = num_processes * num_machines
    torch.multiprocessing.spawn(
        _cpu_worker,
        nprocs=num_processes,
        args=(main, world_size, num_processes, machine_rank, dist_url, args),
    )


def _extended(extensions: Sequence[str], main: Callable[..., Any], *args: Any) -> Any:
    load_extensions(extensions)
    return main(*args)


def _cpu_worker(
    local_rank: int,
    main: Callable[..., Any],
    world_size: int,
    num_processes: int,
    machine_rank: int,
    dist_url: str,
    args: tuple[Any, ...],
) -> None:
    rank = machine_rank * num_processes + local_rank
    torch.distributed.init_process_group("gloo", init_method=dist_url, world_size=world_size, rank=rank)
    for machine in range(world_size // num_processes):
        ranks = list(range(machine * num_processes, (machine + 1) * num_processes))
        group = torch.distributed.new_group(ranks)
        if rank in ranks:
            comm._LOCAL_PROCESS_GROUP = group
    comm.synchronize()
    try:
        main(*args)
    finally:
        torch.distributed.destroy_process_group()
