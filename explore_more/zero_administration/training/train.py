"""Train one small Marian model for both directions between Chinese and English, on Tatoeba's sentence pairs.

python training/train.py cmn-eng.tsv.gz                  4 to 5 steps a second of one core; writes build/marian
python training/train.py cmn-eng.tsv.gz --steps 200      a trial

A new run continues from the last checkpoint. The first line of the output is the process id.
"""

import argparse
import json
import os
import random
import shutil
import time
from pathlib import Path

import sentencepiece
import torch
from alignment import align
from corpus import read_pairs, split_pairs
from tqdm import tqdm
from transformers import GenerationConfig, MarianConfig, MarianMTModel

PIECES = 6000
TAGS = {"zh": ">>cmn_Hans<<", "en": ">>eng<<"}  # the first token names the target language, as in opus-mt
BATCH_TOKENS = 800  # of the longer side, including padding
MAX_PIECES = 60
PEAK_RATE = 1.5e-3
WARM_UP_STEPS = 200
COOL_DOWN = 0.6  # the share of the steps in which the rate falls to zero
LABEL_SMOOTHING = 0.1
GUIDANCE = 0.5  # the weight of the loss between attention and alignment
AVERAGE = 0.99  # the weights are averaged over about the last 100 steps
CHECKPOINT_STEPS = 100


def train_pieces(pairs, folder):
    """Train one SentencePiece model for both languages; write Marian's vocabulary, with <pad> last; return it."""
    path = folder / "source.spm"
    if not path.exists():
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentence for pair in pairs for sentence in pair), model_prefix=str(folder / "joint"),
            vocab_size=PIECES, model_type="unigram", character_coverage=0.9999, bos_id=-1, num_threads=1,
            minloglevel=1, normalization_rule_name="nmt_nfkc",
        )  # fmt: skip
        shutil.copy(folder / "joint.model", folder / "target.spm")
        (folder / "joint.model").rename(path)
        (folder / "joint.vocab").unlink()
    processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    names = [processor.id_to_piece(number) for number in range(processor.vocab_size())]
    names = ["</s>", "<unk>"] + [name for name in names if name not in ("<unk>", "</s>")]
    names += [*TAGS.values(), "<pad>"]
    vocabulary = {name: number for number, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    names = {"source_lang": "zh", "target_lang": "en", "tokenizer_class": "MarianTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, "model_max_length": 512}))
    return processor, vocabulary


def make_model(vocabulary):
    """Return an untrained Marian model."""
    pad = vocabulary["<pad>"]
    config = MarianConfig(
        vocab_size=len(vocabulary), d_model=192, encoder_layers=3, decoder_layers=2, encoder_ffn_dim=768,
        decoder_ffn_dim=768, encoder_attention_heads=4, decoder_attention_heads=4, activation_function="relu",
        dropout=0.1, attention_dropout=0.0, activation_dropout=0.0, max_position_embeddings=512, scale_embedding=True,
        pad_token_id=pad, eos_token_id=vocabulary["</s>"], decoder_start_token_id=pad, forced_eos_token_id=None,
        init_std=192**-0.5 / 2, tie_word_embeddings=True, attn_implementation="eager",
    )  # fmt: skip
    model = MarianMTModel(config)
    model.generation_config = GenerationConfig(
        bad_words_ids=[[pad]], pad_token_id=pad, eos_token_id=config.eos_token_id, decoder_start_token_id=pad,
        max_length=128, num_beams=4,
    )  # fmt: skip
    return model


def encode(pairs, processor, vocabulary):
    """Return [(source ids, target ids, alignment)] for both directions, with </s>; leave out very long pairs."""
    ids = [vocabulary[processor.id_to_piece(number)] for number in range(processor.vocab_size())]
    zh, en = (
        [[ids[number] for number in sentence] for sentence in processor.encode(list(side))] for side in zip(*pairs)
    )
    ways = [("en", zh, en), ("zh", en, zh)]
    examples = [
        ([vocabulary[TAGS[target]], *before, 0], [*after, 0])
        for target, source, wanted in ways
        for before, after in zip(source, wanted)
    ]
    examples = [pair for pair in examples if max(map(len, pair)) <= MAX_PIECES]
    return [(*pair, matrix) for pair, matrix in zip(examples, align(examples, len(vocabulary)))]


def make_batches(examples, generator):
    """Yield (source, target, alignment) tensors of about BATCH_TOKENS forever, of sentences of similar length."""
    while True:
        order = sorted(examples, key=lambda example: (len(example[1]), len(example[0]), generator.random()))
        batches, batch, longest = [], [], 0
        for example in order:
            longest = max(longest, *map(len, example[:2]))
            if batch and longest * (len(batch) + 1) > BATCH_TOKENS:
                batches.append(batch)
                batch, longest = [], max(map(len, example[:2]))
            batch.append(example)
        generator.shuffle(batches)
        for batch in batches:
            sources, targets, matrices = zip(*batch)
            source, target = (
                torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in side], batch_first=True, padding_value=-1)
                for side in (sources, targets)
            )
            alignment = torch.zeros(*target.shape, source.shape[1])
            for row, matrix in zip(alignment, matrices):
                row[: matrix.shape[0], : matrix.shape[1]] = torch.from_numpy(matrix)
            yield source, target, alignment


def loss_of(model, source, target, alignment):
    """Return the cross entropy of a batch; in training, add that between attention and alignment."""
    pad = model.config.pad_token_id
    decoder_input = torch.cat([torch.full_like(target[:, :1], pad), target[:, :-1].clamp(min=0)], dim=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model.model(
            input_ids=source.where(source >= 0, pad), attention_mask=(source >= 0).long(),
            decoder_input_ids=decoder_input, use_cache=False, output_attentions=model.training,
        )  # fmt: skip
        known = target >= 0
        logits = model.lm_head(output.last_hidden_state[known])
    if not model.training:
        return torch.nn.functional.cross_entropy(logits.float(), target[known])
    loss = torch.nn.functional.cross_entropy(logits.float(), target[known], label_smoothing=LABEL_SMOOTHING)
    attention = output.cross_attentions[-1].float().mean(dim=1)[known]
    return loss - GUIDANCE * (alignment[known] * (attention + 1e-4).log()).sum(dim=1).mean()


def rate_at(step, steps):
    """Return the learning rate: it rises, stays level, and falls to zero."""
    return PEAK_RATE * min(step / WARM_UP_STEPS, 1.0, max(0, steps - step) / (COOL_DOWN * steps))


def train(examples, validation, model, folder, steps):
    """Train `model`; at the end, its weights are their running average."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    average = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    checkpoint, step = folder / "checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        average, step = saved["average"], saved["step"]
    batches = make_batches(examples, random.Random(step))
    model.train()
    with tqdm(total=steps, initial=step, mininterval=10) as progress:
        while step < steps:
            step += 1
            for group in optimizer.param_groups:
                group["lr"] = rate_at(step, steps)
            loss = loss_of(model, *next(batches))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                model.model.shared.weight[model.config.pad_token_id] = 0  # the decoder starts from it
                share = min(AVERAGE, step / (step + 10))
                for name, weight in model.named_parameters():
                    average[name].lerp_(weight, 1 - share)
            progress.update()
            if step % CHECKPOINT_STEPS == 0 or step == steps:
                saved = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average}
                torch.save({**saved, "step": step}, checkpoint.with_suffix(".new"))
                os.replace(checkpoint.with_suffix(".new"), checkpoint)
                progress.write(f"{time.process_time():.0f} s  step {step}  loss {loss.item():.3f}")
            if step % (5 * CHECKPOINT_STEPS) == 0:
                progress.write(f"validation loss {evaluate(model, validation):.3f}")
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(average[name])
    print(f"validation loss of the average {evaluate(model, validation):.3f}")


@torch.no_grad()
def evaluate(model, examples):
    """Return the mean cross entropy of a few batches, without label smoothing."""
    model.eval()
    batches = make_batches(examples, random.Random(0))
    losses = [loss_of(model, *next(batches)).item() for _ in range(4)]
    model.train()
    return sum(losses) / len(losses)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path, help="cmn-eng.tsv.gz")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("build/marian"))
    parser.add_argument("--steps", type=int, default=10000)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    folder = arguments.folder
    print(os.getpid(), flush=True)
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    folder.mkdir(parents=True, exist_ok=True)
    splits = split_pairs(read_pairs(arguments.pairs))
    processor, vocabulary = train_pieces(splits["train"], folder)
    examples, validation = (encode(splits[name], processor, vocabulary) for name in ("train", "validation"))
    model = make_model(vocabulary)
    sizes = {name: len(pairs) for name, pairs in splits.items()}
    print(f"pairs {sizes}, parameters {model.num_parameters():,}", flush=True)
    train(examples, validation, model, folder, arguments.steps)
    model.eval().save_pretrained(folder)
    print(f"wrote {folder}")


if __name__ == "__main__":
    main()
