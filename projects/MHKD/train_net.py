#!/usr/bin/env python
"""Train or score a detector with multi-step hybrid knowledge distillation: Detectron2's usual arguments.

A door to the package: see mhkd/commands/train.py.
"""

from mhkd.commands.train import train_net

if __name__ == "__main__":
    train_net(prog_name="train_net.py")
