"""The Python side of `npm run bench -- pytorch`: times the reference's own model on the CPU, with random weights.

    pytorch.py REFERENCE WORK.json

REFERENCE is a checkout of https://github.com/OFA-Sys/Chinese-CLIP, WORK.json a piece of work as bench/work.ts
describes it. The last line printed is its report, as JSON.
"""

import importlib
import json
import os
import sys
import time
import types

# What importing the reference asks for and this work never calls.
UNUSED = {
    "six": ["PY3"],
    "tqdm": ["tqdm"],
    "torchvision": [],
    "torchvision.transforms": ["Compose", "InterpolationMode", "Normalize", "Resize", "ToTensor"],
}


def main(reference, work_file):
    with open(work_file) as file:
        work = json.load(file)
    for name, attributes in UNUSED.items():
        provide(name, attributes)
    sys.path.insert(0, reference)
    import torch
    from cn_clip.clip.model import CLIP

    torch.set_num_threads(work["threads"])
    torch.manual_seed(0)
    model = CLIP(**{"vision_patch_size": None, **work["config"]})
    batches = [padded(torch, texts, work["contextLength"]) for texts in work["texts"]]
    side = work["config"]["image_resolution"]
    pixels = torch.randn(work["batchSize"], 3, side, side)
    if work["what"] == "training step":
        step = training_step(torch, model.train())
        seconds = timed(work, lambda i: step(pixels, batches[i]))
    else:
        model.eval()
        with torch.no_grad():
            if work["what"] == "image tower":
                seconds = timed(work, lambda i: model.encode_image(pixels))
            else:
                seconds = timed(work, lambda i: model.encode_text(batches[i]))
    report = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "threads": torch.get_num_threads(),
        "tokens": sum(int(batch.ne(0).sum()) for batch in batches),
        "seconds": seconds,
        "peakMegabytes": peak_megabytes(),
    }
    print(json.dumps(report))


def provide(name, attributes):
    """Puts an empty module where one is not installed."""
    try:
        importlib.import_module(name)
    except ImportError:
        module = types.ModuleType(name)
        for attribute in attributes:
            setattr(module, attribute, True)
        sys.modules[name] = module


def padded(torch, texts, length):
    """Token ids as the reference's datasets give them, [texts, length]: zeros fill the context."""
    ids = torch.zeros(len(texts), length, dtype=torch.long)
    for row, text in zip(ids, texts):
        row[: len(text)] = torch.tensor(text)
    return ids


def training_step(torch, model):
    """A step as the reference's training loop takes it in float32, with its loss and defaults."""
    from cn_clip.training.train import get_loss

    # The loss moves its labels to the GPU.
    torch.Tensor.cuda = lambda tensor, *_, **__: tensor
    settings = types.SimpleNamespace(
        accum_freq=1,
        mask_ratio=0,
        aggregate=False,
        distillation=False,
        report_training_batch_acc=False,
        local_device_rank=0,
    )
    criterion = torch.nn.CrossEntropyLoss()
    free, decayed = [], []
    for name, parameter in model.named_parameters():
        is_free = any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        (free if is_free else decayed).append(parameter)
    groups = [{"params": free, "weight_decay": 0.0}, {"params": decayed, "weight_decay": 0.2}]
    optimizer = torch.optim.AdamW(groups, lr=1e-5, betas=(0.9, 0.98), eps=1e-6)

    def step(pixels, ids):
        optimizer.zero_grad()
        loss, _ = get_loss(model, pixels, ids, criterion, criterion, settings)
        loss.backward()
        optimizer.step()
        model.logit_scale.data = torch.clamp(model.logit_scale.data, 0, 4.6052)

    return step


def timed(work, run):
    """Seconds of each run, the first ones left out."""
    seconds = []
    for i in range(work["warm"] + work["steps"]):
        began = time.perf_counter()
        run(i)
        seconds.append(time.perf_counter() - began)
    return seconds[work["warm"] :]


def peak_megabytes():
    """The process' own peak: ru_maxrss begins with that of the parent. None where there is no /proc."""
    if not os.path.exists("/proc/self/status"):
        return None
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


if __name__ == "__main__":
    main(*sys.argv[1:])
